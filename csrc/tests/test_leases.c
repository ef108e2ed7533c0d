/* SPDX-License-Identifier: BSD-2-Clause */
/* Many senders copy into one receiver at a time: nothing is lost, torn or out of a sender's order. */
#include <pthread.h>
#include <sched.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "dataplane.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

enum { SENDERS = 4, RECEIVER = 100 /* host */ };

static struct world w;

struct sender {
	struct ring_user user;
	rp_caller *caller;
	unsigned host;
	uint32_t frames;
	uint32_t len;
	pthread_t thread;
	uint32_t *stop;
};

static struct sender sender[SENDERS];

/* Batches of all sizes, with the frames of this sender numbered from 0. */
static void *send_all(void *arg)
{
	struct sender *s = arg;
	uint8_t frame[2048];
	uint32_t number = 0;
	unsigned batch = 1;

	while (number < s->frames && !rp_load(s->stop)) {
		for (unsigned i = 0; i < batch && number < s->frames; i++) {
			if (!ring_space(s->user.tx))
				break;
			frame_make(frame, s->len, RECEIVER, s->host, number);
			ring_put(&s->user, frame, s->len);
			number++;
		}
		EXPECT(rp_port_txsync(s->caller, s->user.port, 0) >= 0);
		batch = batch % 40 + 1;
		if (batch % 8 == 0)
			sched_yield();
	}
	/* What is held is not sent yet. */
	while (ring_space(s->user.tx) != s->user.tx->num_slots - 1 && !rp_load(s->stop)) {
		EXPECT(rp_port_txsync(s->caller, s->user.port, 0) >= 0);
		sched_yield();
	}
	return NULL;
}

static void start_senders(unsigned n, uint32_t frames, uint32_t *stop)
{
	static const char *const names[SENDERS] = { "s0", "s1", "s2", "s3" };
	struct rp_err err;

	for (unsigned i = 0; i < n; i++) {
		sender[i] = (struct sender){
			.host = i, .frames = frames, .len = 60 + 400 * i, .stop = stop
		};
		ring_user_open(&sender[i].user, &w, world_add_rings(&w, names[i]));
		sender[i].caller = rp_caller_new(w.dp, &err);
		EXPECT(sender[i].caller);
	}
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(pthread_create(&sender[i].thread, NULL, send_all, &sender[i]), 0);
}

static void join_senders(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		pthread_join(sender[i].thread, NULL);
		rp_caller_free(sender[i].caller);
		ring_user_close(&sender[i].user);
	}
}

/* What one receiver saw of each sender. */
struct seen {
	uint32_t next[SENDERS];
	uint64_t frames;
	uint64_t lost;
};

static void see(struct seen *seen, const uint8_t *frame, uint32_t len)
{
	unsigned from = frame_from(frame);
	uint32_t number = frame_number(frame);

	EXPECT(from < SENDERS);
	EXPECT_EQ(len, sender[from].len);
	EXPECT(frame_whole(frame, len));
	EXPECT(number >= seen->next[from]);
	seen->lost += number - seen->next[from];
	seen->next[from] = number + 1;
	seen->frames++;
}

static bool all_senders_done(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct netmap_ring *tx = sender[i].user.tx;

		if (rp_load(&world_count(&w, sender[i].user.port, NETMAP_DIR_TX)->frames) <
			    sender[i].frames ||
		    ring_space(tx) != tx->num_slots - 1)
			return false;
	}
	return true;
}

/* Ring to rings. The receiver says where it is: host RECEIVER speaks first. */
static void expect_all_arrive(int full, uint32_t hold_us, uint32_t frames)
{
	uint8_t frame[FRAME_MAX];
	struct seen seen = { 0 };
	struct ring_user r;
	uint32_t stop = 0;
	uint64_t full_drops = 0, sent;
	bool done = false;

	world_open(&w);
	ring_user_open(&r, &w, world_add_rings(&w, "receiver"));
	world_set_full(&w, r.port, full, hold_us);
	frame_make(frame, 60, 0, RECEIVER, 0);
	EXPECT_EQ(ring_send(&r, frame, 60), 1);
	start_senders(SENDERS, frames, &stop);
	while (!done) {
		uint32_t len;

		done = all_senders_done(SENDERS); /* and then once more */
		while ((len = ring_get(&r, frame)))
			see(&seen, frame, len);
		EXPECT_EQ(ring_rxsync(&r), 0);
		sched_yield();
	}
	join_senders(SENDERS);
	full_drops = world_drops(&w, r.port, NETMAP_DIR_RX, RP_DROP_FULL);
	sent = (uint64_t)SENDERS * frames;
	EXPECT_EQ(seen.frames + full_drops, sent);
	EXPECT_EQ(world_count(&w, r.port, NETMAP_DIR_RX)->frames, seen.frames);
	if (full == RP_FULL_HOLD)
		EXPECT_EQ(seen.frames, sent);
	ring_user_close(&r);
	world_close(&w);
}

TEST(all_frames_of_many_senders_arrive_when_they_are_held)
{
	expect_all_arrive(RP_FULL_HOLD, WORLD_FOREVER_US, 10000);
}

TEST(frames_of_many_senders_arrive_or_are_dropped_as_full)
{
	expect_all_arrive(RP_FULL_DROP, 0, 20000);
}

/* The same into a guest's mergeable buffers, which are posted as they come back. */
TEST_FORMATS(all_frames_of_many_senders_arrive_in_a_guest)
{
	static const struct fake_guest_config plain = { .rx_buf_bytes = 1000 };
	static struct fake_frame got;
	struct seen seen = { 0 };
	const uint32_t frames = 5000;
	struct fake_guest g;
	uint32_t stop = 0;

	world_open(&w);
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "receiver"));
	world_set_full(&w, g.port, RP_FULL_HOLD, WORLD_FOREVER_US);
	frame_make(got.data, 60, 0, RECEIVER, 0);
	EXPECT(fake_guest_send(&g, NULL, got.data, 60, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	fake_guest_post(&g, 250, 500, FAKE_PLAIN); /* some frames need three */
	start_senders(SENDERS, frames, &stop);
	while (seen.frames < (uint64_t)SENDERS * frames) {
		if (!fake_guest_receive(&g, &got)) {
			sched_yield();
			continue;
		}
		see(&seen, got.data, got.len);
		fake_guest_post(&g, got.header.num_buffers, 500, FAKE_PLAIN);
	}
	join_senders(SENDERS);
	EXPECT_EQ(seen.lost, 0);
	EXPECT_EQ(world_all_drops(&w, g.port, NETMAP_DIR_RX), 0);
	world_close(&w);
	fake_guest_close(&g);
}

/* A sender that was interrupted between reserving and publishing, by hand. */
struct slow_sender {
	struct rp_endpoint from;
	struct rp_ring_counters count;
	struct rp_batch batch;
	struct rp_lease lease;
	uint8_t frame[60];
};

static struct slow_sender slow;

static void reserve_slowly(struct rp_endpoint *to)
{
	const uint16_t order = 0;

	frame_make(slow.frame, 60, RECEIVER, 0, 0);
	slow.from = (struct rp_endpoint){ .count = &slow.count, .batch = &slow.batch };
	slow.batch.nframes = slow.batch.nsegs = 1;
	slow.batch.frame[0] = (struct rp_frame){ .len = 60, .nseg = 1 };
	slow.batch.seg[0] = (struct rp_seg){ .addr = slow.frame, .len = 60 };
	EXPECT_EQ(to->ops->lease(to, &slow.lease, &slow.from, &slow.batch, &order, 1), 1);
	EXPECT(slow.lease.open);
}

static void publish_at_last(struct rp_endpoint *to)
{
	const struct rp_seg *piece = &slow.lease.seg[slow.lease.slice[0].seg];

	EXPECT_EQ(slow.lease.slice[0].nseg, 1);
	memcpy(piece->addr, slow.frame, 60);
	to->ops->publish(to, &slow.lease);
}

TEST(frames_behind_a_slow_sender_wait_for_it_however_many_they_are)
{
	struct rp_port_config cfg;
	uint8_t frame[FRAME_MAX];
	struct ring_user r, fast;
	struct rp_endpoint *to;

	world_open(&w);
	cfg = world_rings_config(&w, "receiver");
	cfg.tx_slots = cfg.rx_slots = 1024;
	ring_user_open(&r, &w, world_add_port(&w, &cfg));
	ring_user_open(&fast, &w, world_add_rings(&w, "fast"));
	to = w.dp->port[r.port]->rx[0];
	for (unsigned round = 0; round < 3; round++) {
		reserve_slowly(to);
		for (uint32_t i = 0; i < 1000; i++) { /* a lease each */
			frame_make(frame, 60, RECEIVER, 1, i);
			EXPECT_EQ(ring_send(&fast, frame, 60), 1);
		}
		EXPECT_EQ(ring_get(&r, frame), 0);
		publish_at_last(to);
		EXPECT_EQ(ring_get(&r, frame), 60);
		EXPECT_EQ(frame_from(frame), 0);
		EXPECT(frame_whole(frame, 60));
		for (uint32_t i = 0; i < 1000; i++) {
			EXPECT_EQ(ring_get(&r, frame), 60);
			EXPECT_EQ(frame_from(frame), 1);
			EXPECT_EQ(frame_number(frame), i);
			EXPECT(frame_whole(frame, 60));
		}
		EXPECT_EQ(ring_get(&r, frame), 0);
		EXPECT_EQ(ring_rxsync(&r), 0);
	}
	EXPECT_EQ(world_all_drops(&w, r.port, NETMAP_DIR_RX), 0);
	ring_user_close(&r);
	ring_user_close(&fast);
	world_close(&w);
}

TEST_FORMATS(a_guest_sees_nothing_before_the_oldest_sender_is_done)
{
	static const struct fake_guest_config plain = { .queue_size = 1024 };
	static struct fake_frame got;
	struct ring_user fast;
	struct rp_endpoint *to;
	struct fake_guest g;
	uint8_t frame[60];

	world_open(&w);
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "receiver"));
	fake_guest_post(&g, 1024, 100, FAKE_PLAIN);
	ring_user_open(&fast, &w, world_add_rings(&w, "fast"));
	to = w.dp->port[g.port]->rx[0];
	EXPECT(fake_queue_arm(&g.rx));
	reserve_slowly(to);
	for (uint32_t i = 0; i < 1000; i++) {
		frame_make(frame, 60, RECEIVER, 1, i);
		EXPECT_EQ(ring_send(&fast, frame, 60), 1);
	}
	EXPECT(!fake_guest_receive(&g, &got));
	EXPECT(!fake_queue_called(&g.rx, 0));
	/* Its header was written when room was reserved; the frame goes behind it. */
	EXPECT_EQ(slow.lease.seg[slow.lease.slice[0].seg].addr -
			  (uint8_t *)rp_guestmem_user(w.dp->port[g.port]->mem,
						      fake_ram_user(&g.ram, g.rx.buf_addr), 1),
		  (long)g.header_bytes);
	publish_at_last(to);
	EXPECT(fake_guest_receive(&g, &got));
	EXPECT_EQ(frame_from(got.data), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		EXPECT(fake_guest_receive(&g, &got));
		EXPECT_EQ(frame_number(got.data), i);
		EXPECT(frame_whole(got.data, got.len));
	}
	ring_user_close(&fast);
	world_close(&w);
	fake_guest_close(&g);
}

/* Its first buffer is reserved, and it says that this one is available once more, a lap later. */
TEST(a_packed_ring_that_overtakes_a_slow_sender_breaks_and_harms_nobody)
{
	static const struct fake_guest_config small = { .queue_size = 16 };
	struct ring_user fast;
	struct rp_endpoint *to;
	struct fake_guest g;
	uint8_t frame[60];

	fake_choose_format(1);
	world_open(&w);
	fake_guest_open(&g, &small);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "receiver"));
	EXPECT_EQ(fake_guest_post(&g, 17, 100, FAKE_PLAIN), 16);
	ring_user_open(&fast, &w, world_add_rings(&w, "fast"));
	to = w.dp->port[g.port]->rx[0];
	reserve_slowly(to);
	for (uint32_t i = 0; i < 16; i++) { /* the last one finds no room */
		frame_make(frame, 60, RECEIVER, 1, i);
		EXPECT_EQ(ring_send(&fast, frame, 60), 1);
	}
	EXPECT_EQ(world_drops(&w, g.port, NETMAP_DIR_RX, RP_DROP_FULL), 1);
	EXPECT_EQ(fake_queue_used(&g.rx), 0);
	g.rx.packed.desc[0].flags ^= 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;
	EXPECT_EQ(ring_send(&fast, frame, 60), 1);
	EXPECT(world_broken(&w, g.port));
	EXPECT_TEXT(world_status(&w, g.port).reason, "more descriptors are available than");
	EXPECT_EQ(world_drops(&w, fast.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 1);
	publish_at_last(to);
	ring_user_close(&fast);
	world_close(&w);
	fake_guest_close(&g);
	fake_choose_format(0);
}
