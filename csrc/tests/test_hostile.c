/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that breaks the rules of virtio breaks its own port, with the reason, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "vnet.h"
#include "world.h"

static struct world w;
static struct fake_guest evil, b, c; /* hosts 1, 2 and 3 */
static struct fake_frame got;
static const struct fake_guest_config plain;

static void add(struct fake_guest *g, unsigned to, unsigned from, uint32_t number)
{
	uint8_t frame[200];

	frame_make(frame, sizeof(frame), to, from, number);
	EXPECT(fake_guest_send(g, NULL, frame, sizeof(frame), FAKE_PLAIN));
}

/* One frame from a good guest to another good guest. */
static void expect_works(struct fake_guest *from, unsigned from_host, struct fake_guest *to,
			 unsigned to_host)
{
	fake_guest_post(to, 1, 1000, FAKE_PLAIN);
	add(from, to_host, from_host, 77);
	fake_queue_kick(&from->tx);
	EXPECT_SOON(fake_guest_sent(from) == 1);
	EXPECT(fake_guest_receive(to, &got));
	EXPECT_EQ(frame_number(got.data), 77);
	EXPECT(frame_whole(got.data, got.len));
}

static void open_three(void)
{
	world_open(&w);
	fake_guest_open(&evil, &plain);
	fake_guest_open(&b, &plain);
	fake_guest_open(&c, &plain);
	fake_guest_connect(&evil, w.dp, world_add_vhost(&w, "evil"));
	fake_guest_connect(&b, w.dp, world_add_vhost(&w, "b"));
	fake_guest_connect(&c, w.dp, world_add_vhost(&w, "c"));
	expect_works(&b, 2, &c, 3);
	expect_works(&c, 3, &b, 2);
	expect_works(&evil, 1, &b, 2);
}

static void close_three(void)
{
	world_close(&w);
	fake_guest_close(&evil);
	fake_guest_close(&b);
	fake_guest_close(&c);
}

/* Its transmit queue gets one chain, a bad one. */
static void write_only(void)
{
	fake_queue_add_buf(&evil.tx, 100, VRING_DESC_F_WRITE, FAKE_PLAIN);
}

static void loop(void)
{
	int head = fake_queue_add_buf(&evil.tx, 100, 0, FAKE_PLAIN);

	evil.tx.split.desc[head].flags = VRING_DESC_F_NEXT;
	evil.tx.split.desc[head].next = (uint16_t)head;
}

static void outside(void)
{
	evil.tx.split.desc[fake_queue_add_buf(&evil.tx, 100, 0, FAKE_PLAIN)].addr = 0xfee00000;
}

static void huge(void)
{
	evil.tx.split.desc[fake_queue_add_buf(&evil.tx, 100, 0, FAKE_PLAIN)].len = UINT32_MAX;
}

static void wraps(void)
{
	struct vring_desc *d = &evil.tx.split.desc[fake_queue_add_buf(&evil.tx, 100, 0, FAKE_PLAIN)];

	d->addr = UINT64_MAX - 50;
}

static void far_head(void)
{
	fake_queue_add_buf(&evil.tx, 100, 0, FAKE_PLAIN);
	evil.tx.split.avail->ring[(uint16_t)(evil.tx.avail_idx - 1) & (evil.tx.size - 1)] = 9999;
}

static void far_ahead(void)
{
	evil.tx.avail_idx += 1000;
}

static void backwards(void)
{
	evil.tx.avail_idx -= 1;
}

static void nested(void)
{
	int head = fake_queue_add_buf(&evil.tx, 100, 0, (struct fake_layout){ 0, 0, true });
	struct vring_desc *table = fake_ram_at(&evil.ram, evil.tx.split.desc[head].addr);

	table->flags = VRING_DESC_F_INDIRECT;
}

static const struct attack {
	void (*prepare)(void);
	const char *why;
} attacks[] = {
	{ write_only, "transmit virtqueue 0: a transmit buffer that the device may write only" },
	{ loop, "transmit virtqueue 0: a descriptor chain that is a loop" },
	{ outside, "transmit virtqueue 0: a descriptor outside the guest's memory" },
	{ huge, "transmit virtqueue 0: a descriptor outside the guest's memory" },
	{ wraps, "transmit virtqueue 0: a descriptor outside the guest's memory" },
	{ far_head, "transmit virtqueue 0: a descriptor index beyond its table" },
	{ far_ahead, "transmit virtqueue 0: the avail index runs backwards" },
	{ backwards, "transmit virtqueue 0: the avail index runs backwards" },
	{ nested, "transmit virtqueue 0: an indirect descriptor in an indirect table" },
};

enum { ATTACKS = sizeof(attacks) / sizeof(attacks[0]) };

/* What is sent, and who breaks, does not depend on what was sent just before. */
static void attack(const struct attack *how, unsigned good_frames)
{
	const int event_fd = rp_dataplane_event_fd(w.dp);
	struct rp_port_status s;
	uint64_t events;
	struct rp_err err;

	fake_guest_post(&b, good_frames, 1000, FAKE_PLAIN);
	for (uint32_t i = 0; i < good_frames; i++)
		add(&evil, 2, 1, i);
	how->prepare();
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(world_broken(&w, evil.port));
	EXPECT_EQ(read(event_fd, &events, sizeof(events)), sizeof(events));
	EXPECT_EQ(events, 1);
	s = world_status(&w, evil.port);
	EXPECT_TEXT(s.reason, how->why);
	EXPECT_EQ(s.tx_live | s.rx_live, 0);
	EXPECT_OK(rp_port_repair(w.dp, evil.port, &err), err);
}

static void reset_evil(void)
{
	const int port = evil.port;

	fake_queue_reset(&evil.rx, 0);
	fake_queue_reset(&evil.tx, 0);
	fake_guest_connect(&evil, w.dp, port);
}

TEST(a_transmitter_that_breaks_a_rule_breaks_its_port_alone)
{
	for (unsigned i = 0; i < ATTACKS; i++) {
		open_three();
		attack(&attacks[i], 0);
		expect_works(&b, 2, &c, 3);
		expect_works(&c, 3, &b, 2);
		close_three();
	}
}

TEST(frames_before_the_one_that_breaks_a_rule_arrive)
{
	for (unsigned i = 0; i < ATTACKS; i++) {
		unsigned good = attacks[i].prepare == backwards || attacks[i].prepare == far_ahead ?
					0 :
					5; /* these take the others with them */

		open_three();
		attack(&attacks[i], good);
		for (uint32_t n = 0; n < good; n++) {
			EXPECT_SOON(fake_guest_receive(&b, &got));
			EXPECT_EQ(frame_number(got.data), n);
			EXPECT(frame_whole(got.data, got.len));
		}
		EXPECT(!fake_guest_receive(&b, &got));
		close_three();
	}
}

TEST(a_broken_port_works_again_after_repair_and_reset)
{
	open_three();
	for (unsigned round = 0; round < 3 * ATTACKS; round++) {
		attack(&attacks[round % ATTACKS], 0);
		reset_evil();
		expect_works(&evil, 1, &b, 2);
		expect_works(&b, 2, &evil, 1);
	}
	close_three();
}

/* The receiver breaks while somebody else sends to it. */
static void expect_receiver_breaks(const char *why)
{
	struct rp_port_status s;

	fake_queue_kick(&evil.rx);
	add(&b, 1, 2, 1);
	fake_queue_kick(&b.tx);
	EXPECT_SOON(fake_guest_sent(&b) == 1);
	EXPECT(world_broken(&w, evil.port));
	s = world_status(&w, evil.port);
	EXPECT_TEXT(s.reason, why);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 1);
	EXPECT(!world_broken(&w, b.port));
	expect_works(&b, 2, &c, 3);
	expect_works(&c, 3, &b, 2);
}

TEST(a_receive_buffer_that_may_not_be_written_breaks_the_receiver_alone)
{
	open_three();
	fake_queue_add_buf(&evil.rx, 1000, 0, FAKE_PLAIN);
	expect_receiver_breaks("receive virtqueue 0: a receive buffer that the device may not");
	close_three();
}

TEST(a_receive_buffer_outside_memory_breaks_the_receiver_alone)
{
	open_three();
	evil.rx.split.desc[fake_queue_add_buf(&evil.rx, 1000, VRING_DESC_F_WRITE, FAKE_PLAIN)].addr = 0;
	expect_receiver_breaks("receive virtqueue 0: a descriptor outside");
	close_three();
}

TEST(a_bad_buffer_behind_a_good_one_of_the_same_frame_breaks_the_receiver_alone)
{
	open_three();
	fake_queue_add_buf(&evil.rx, 100, VRING_DESC_F_WRITE, FAKE_PLAIN);
	evil.rx.split.desc[fake_queue_add_buf(&evil.rx, 1000, VRING_DESC_F_WRITE, FAKE_PLAIN)].addr = 0;
	expect_receiver_breaks("receive virtqueue 0: a descriptor outside");
	EXPECT_EQ(rp_load(&evil.rx.split.used->idx), 0);
	close_three();
}

TEST(a_receive_index_that_is_a_lie_breaks_the_receiver_alone)
{
	open_three();
	evil.rx.avail_idx = 300;
	expect_receiver_breaks("receive virtqueue 0: the avail index");
	close_three();
}

TEST(receive_buffers_in_endless_pieces_break_the_receiver_alone)
{
	static const struct fake_guest_config many = { .queue_size = 8192 };
	const struct vring_desc one = { .len = 0, .flags = VRING_DESC_F_WRITE | VRING_DESC_F_NEXT };
	int port;

	open_three();
	port = evil.port;
	fake_guest_disconnect(&evil);
	fake_guest_close(&evil);
	fake_guest_open(&evil, &many);
	fake_guest_connect(&evil, w.dp, port);
	for (uint32_t i = 0; i < 8192; i++) {
		evil.rx.split.desc[i] = one;
		evil.rx.split.desc[i].addr = FAKE_RAM_BASE;
		evil.rx.split.desc[i].next = (uint16_t)(i + 1);
	}
	evil.rx.split.desc[8191] = (struct vring_desc){ FAKE_RAM_BASE, 1, VRING_DESC_F_WRITE, 0 };
	evil.rx.avail_idx = 1;
	expect_receiver_breaks("receive virtqueue 0: receive buffers in more pieces");
	close_three();
}

/* Not a frame of them arrives, but each one costs as much as a batch: others must get their turn. */
TEST(a_batch_does_not_look_at_more_pieces_than_it_could_hold)
{
	const struct rp_ring_counters *count;
	struct fake_piece piece[FAKE_TABLE];
	uint64_t before;

	open_three();
	count = world_count(&w, evil.port, NETMAP_DIR_TX);
	before = rp_load(&count->batches);
	for (unsigned i = 0; i < FAKE_TABLE; i++)
		piece[i] = (struct fake_piece){ FAKE_RAM_BASE, 0 };
	for (unsigned i = 0; i < 128; i++)
		EXPECT(fake_queue_add(&evil.tx, piece, FAKE_TABLE, 0, true) >= 0);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(rp_load_acquire(&evil.tx.split.used->idx) == evil.tx.avail_idx);
	EXPECT_EQ(world_drops(&w, evil.port, NETMAP_DIR_TX, RP_DROP_SHORT), 128);
	EXPECT(rp_load(&count->batches) - before >= 128 * FAKE_TABLE / RP_BATCH_SEGS);
	close_three();
}

TEST(a_guest_that_floods_calls_of_its_own_harms_nobody)
{
	open_three();
	for (unsigned i = 0; i < 5000; i++)
		EXPECT_EQ(write(evil.tx.kick_fd, &(uint64_t){ 1 }, 8), 8);
	expect_works(&b, 2, &c, 3);
	EXPECT(!world_broken(&w, evil.port));
	close_three();
}

TEST(a_call_descriptor_that_is_no_eventfd_harms_nobody)
{
	struct rp_err err;
	int pipes[2];

	open_three();
	EXPECT_EQ(pipe(pipes), 0);
	EXPECT_OK(rp_vhost_ring_call(w.dp, evil.port, 1, pipes[1], &err), err);
	close(pipes[0]); /* writing gets SIGPIPE, or EPIPE */
	close(pipes[1]);
	EXPECT(fake_queue_arm(&evil.tx));
	add(&evil, 2, 1, 0);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(fake_guest_sent(&evil) == 1);
	EXPECT_EQ(rp_vhost_ring_call(w.dp, evil.port, 1, 1000000, &err), -EBADF);
	expect_works(&b, 2, &c, 3);
	close_three();
}

TEST(a_call_descriptor_that_blocks_whoever_writes_to_it_harms_nobody)
{
	const uint64_t full = UINT64_MAX - 1;
	uint64_t count;
	int flags;

	open_three();
	while (read(evil.tx.call_fd, &count, sizeof(count)) == sizeof(count))
		;
	flags = fcntl(evil.tx.call_fd, F_GETFL);
	EXPECT_EQ(fcntl(evil.tx.call_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	EXPECT_EQ(write(evil.tx.call_fd, &full, sizeof(full)), sizeof(full));
	EXPECT(fake_queue_arm(&evil.tx));
	add(&evil, 2, 1, 0);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(fake_guest_sent(&evil) == 1);
	expect_works(&b, 2, &c, 3);
	/* The control plane waits for nothing either, and calls go on once there is room. */
	EXPECT_EQ(read(evil.tx.call_fd, &count, sizeof(count)), sizeof(count));
	EXPECT(fake_queue_arm(&evil.tx));
	add(&evil, 2, 1, 1);
	fake_queue_kick(&evil.tx);
	EXPECT_EQ(read(evil.tx.call_fd, &count, sizeof(count)), sizeof(count));
	close_three();
}

TEST(a_kick_descriptor_that_cannot_be_waited_for_is_refused)
{
	struct rp_vring_config cfg;
	struct rp_err err;

	open_three();
	fake_guest_disconnect(&evil);
	cfg = fake_queue_config(&evil.tx);
	cfg.kick_fd = evil.ram.region[0].fd; /* a file: always readable, never waited for */
	EXPECT_EQ(rp_vhost_ring_start(w.dp, evil.port, 1, &cfg, &err), -EPERM);
	EXPECT_TEXT(err.text, "cannot wait for kicks");
	cfg.kick_fd = 1000000;
	EXPECT_EQ(rp_vhost_ring_start(w.dp, evil.port, 1, &cfg, &err), -EBADF);
	fake_guest_connect(&evil, w.dp, evil.port);
	expect_works(&evil, 1, &b, 2);
	close_three();
}
