/* SPDX-License-Identifier: BSD-2-Clause */
/* Monitors: what they show, what they leave out, and that nobody else notices them. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

enum { BOTH = RP_MONITOR_TX | RP_MONITOR_RX };

static struct world w;
static struct ring_user a, b; /* of hosts 1 and 2 of a switch, which know each other */
static uint8_t frame[FRAME_MAX];

static void send(struct ring_user *from, unsigned to, unsigned host, uint32_t number, uint32_t len)
{
	frame_make(frame, len, to, host, number);
	EXPECT(ring_send(from, frame, len) >= 0);
}

static void drain(struct ring_user *u)
{
	while (ring_get(u, frame))
		;
}

static void open_pair(void)
{
	world_open(&w);
	ring_user_open(&a, &w, world_add_rings(&w, "a"));
	ring_user_open(&b, &w, world_add_rings(&w, "b"));
	send(&a, 2, 1, 0, 60);
	send(&b, 1, 2, 0, 60);
	drain(&a);
	drain(&b);
}

static void close_pair(void)
{
	ring_user_close(&a);
	ring_user_close(&b);
	world_close(&w);
}

static struct rp_port_config monitor_config(void)
{
	struct rp_port_config cfg = world_rings_config(&w, "monitor");

	cfg.kind = RP_KIND_MONITOR;
	return cfg;
}

static void attach(struct ring_user *m, int parent, uint32_t flags)
{
	struct rp_err err;

	EXPECT_OK(rp_monitor_attach(w.dp, m->port, parent, flags, &err), err);
}

static void open_monitor_as(struct ring_user *m, int parent, uint32_t flags,
			    const struct rp_port_config *cfg)
{
	ring_user_open(m, &w, world_add_port(&w, cfg));
	attach(m, parent, flags);
}

static void open_monitor(struct ring_user *m, int parent, uint32_t flags)
{
	const struct rp_port_config cfg = monitor_config();

	open_monitor_as(m, parent, flags, &cfg);
}

/* The monitor shows this frame next, whole, as sent or as received. */
static void expect_shown(struct ring_user *m, uint32_t number, uint32_t len, uint16_t flags)
{
	const struct netmap_slot *slot;

	EXPECT_EQ(ring_rxsync(m), 0);
	slot = &m->rx->slot[m->rx->head];
	EXPECT_EQ(ring_get(m, frame), len);
	EXPECT_EQ(slot->flags & NS_TXMON, flags);
	EXPECT_EQ(frame_number(frame), number);
	EXPECT(frame_whole(frame, len));
}

static void expect_nothing(struct ring_user *m)
{
	EXPECT_EQ(ring_get(m, frame), 0);
}

TEST(a_monitor_shows_what_its_parent_sends_gets_or_both)
{
	struct ring_user tx, rx, both;

	open_pair();
	open_monitor(&tx, a.port, RP_MONITOR_TX);
	open_monitor(&rx, a.port, RP_MONITOR_RX);
	open_monitor(&both, a.port, BOTH);
	send(&a, 2, 1, 10, 60);
	send(&b, 1, 2, 11, 1500);
	send(&a, 2, 1, 12, 2048);

	expect_shown(&tx, 10, 60, NS_TXMON);
	expect_shown(&tx, 12, 2048, NS_TXMON);
	expect_nothing(&tx);
	expect_shown(&rx, 11, 1500, 0);
	expect_nothing(&rx);
	expect_shown(&both, 10, 60, NS_TXMON);
	expect_shown(&both, 11, 1500, 0);
	expect_shown(&both, 12, 2048, NS_TXMON);
	expect_nothing(&both);

	/* And those that talk got the same as ever. */
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(ring_get(&b, frame), 2048);
	EXPECT_EQ(ring_get(&a, frame), 1500);
	EXPECT_EQ(world_count(&w, both.port, NETMAP_DIR_RX)->frames, 3);
	EXPECT_EQ(world_count(&w, both.port, NETMAP_DIR_RX)->copied, 60 + 1500 + 2048);
	ring_user_close(&tx);
	ring_user_close(&rx);
	ring_user_close(&both);
	close_pair();
}

TEST(what_arrives_is_shown_though_nobody_reads_it_and_what_does_not_is_not)
{
	struct ring_user m;
	struct rp_port_config cfg;

	open_pair();
	cfg = monitor_config();
	cfg.tx_slots = cfg.rx_slots = 128;
	open_monitor_as(&m, b.port, RP_MONITOR_RX, &cfg);
	for (uint32_t i = 0; i < 100; i++)
		send(&a, 2, 1, i, 60);
	for (uint32_t i = 0; i < 63; i++)
		expect_shown(&m, i, 60, 0);
	expect_nothing(&m);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_RX, RP_DROP_FULL), 37);
	ring_user_close(&m);
	close_pair();
}

TEST(what_is_sent_is_shown_though_it_reaches_nobody)
{
	struct rp_port_config cfg;
	struct ring_user sink, m, n;

	open_pair();
	open_monitor(&m, a.port, RP_MONITOR_TX);
	send(&a, 1, 1, 5, 60); /* to itself */
	expect_shown(&m, 5, 60, NS_TXMON);

	cfg = world_rings_config(&w, "null");
	cfg.kind = RP_KIND_NULL;
	ring_user_open(&sink, &w, world_add_port(&w, &cfg));
	open_monitor(&n, sink.port, BOTH);
	send(&sink, 1, 1, 6, 60);
	expect_shown(&n, 6, 60, NS_TXMON);
	ring_user_close(&sink);
	ring_user_close(&m);
	ring_user_close(&n);
	close_pair();
}

TEST(the_oldest_frames_of_a_batch_are_left_out)
{
	struct ring_user m;
	struct rp_port_config cfg;

	open_pair();
	cfg = monitor_config();
	cfg.tx_slots = cfg.rx_slots = 16;
	open_monitor_as(&m, a.port, RP_MONITOR_TX, &cfg);
	for (uint32_t i = 0; i < 5; i++)
		send(&a, 2, 1, i, 60);
	for (uint32_t i = 5; i < 25; i++) {
		frame_make(frame, 60, 2, 1, i);
		ring_put(&a, frame, 60);
	}
	EXPECT_EQ(ring_txsync(&a), 20);

	for (uint32_t i = 0; i < 5; i++)
		expect_shown(&m, i, 60, NS_TXMON);
	for (uint32_t i = 15; i < 25; i++)
		expect_shown(&m, i, 60, NS_TXMON);
	expect_nothing(&m);
	EXPECT_EQ(world_drops(&w, m.port, NETMAP_DIR_RX, RP_DROP_FULL), 10);
	EXPECT_EQ(*(uint64_t *)(void *)m.rx->sem, 10);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	EXPECT_EQ(world_all_drops(&w, b.port, NETMAP_DIR_RX), 0);
	ring_user_close(&m);
	close_pair();
}

TEST(a_monitor_that_nobody_reads_holds_nobody_back)
{
	struct ring_user m;

	open_pair();
	open_monitor(&m, a.port, BOTH);
	world_set_full(&w, m.port, RP_FULL_HOLD, WORLD_FOREVER_US);
	for (uint32_t i = 0; i < 1000; i++) {
		send(&a, 2, 1, i, 60);
		EXPECT_EQ(ring_get(&b, frame), 60);
		EXPECT_EQ(frame_number(frame), i);
	}
	EXPECT_EQ(world_drops(&w, m.port, NETMAP_DIR_RX, RP_DROP_FULL), 1000 - 63);
	ring_user_close(&m);
	close_pair();
}

TEST(a_long_frame_takes_several_slots)
{
	struct ring_user m;

	open_pair();
	open_monitor(&m, b.port, BOTH);
	send(&a, 2, 1, 3, 9000);
	EXPECT_EQ(ring_rxsync(&m), 0);
	EXPECT_EQ(ring_space(m.rx), 5);
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(m.rx->slot[i].flags, i < 4 ? NS_MOREFRAG : 0);
	expect_shown(&m, 3, 9000, 0);
	EXPECT_EQ(world_count(&w, m.port, NETMAP_DIR_RX)->truncated, 0);
	ring_user_close(&m);
	close_pair();
}

TEST(a_frame_longer_than_the_ring_is_cut_and_says_so)
{
	struct ring_user m;
	struct rp_port_config cfg;

	open_pair();
	cfg = monitor_config();
	cfg.tx_slots = cfg.rx_slots = 4;
	cfg.buf_bytes = 128;
	open_monitor_as(&m, a.port, RP_MONITOR_TX, &cfg);
	send(&a, 2, 1, 3, 385);
	EXPECT_EQ(ring_rxsync(&m), 0);
	EXPECT_EQ(ring_space(m.rx), 3);
	EXPECT_EQ(m.rx->slot[0].flags, NS_TXMON | NS_MOREFRAG);
	EXPECT_EQ(m.rx->slot[1].flags, NS_TXMON | NS_MOREFRAG);
	EXPECT_EQ(m.rx->slot[2].flags, NS_TXMON | NS_REPORT);
	EXPECT_EQ(m.rx->slot[2].ptr, 385);
	EXPECT_EQ(ring_get(&m, frame), 384);
	EXPECT(frame_whole(frame, 384));
	EXPECT_EQ(world_count(&w, m.port, NETMAP_DIR_RX)->truncated, 1);
	EXPECT_EQ(world_all_drops(&w, m.port, NETMAP_DIR_RX), 0);
	EXPECT_EQ(ring_get(&b, frame), 385);
	ring_user_close(&m);
	close_pair();
}

TEST(a_slot_tells_the_time)
{
	struct ring_user m;
	struct timespec before, after;
	uint64_t ns;

	open_pair();
	open_monitor(&m, a.port, RP_MONITOR_TX);
	clock_gettime(CLOCK_REALTIME, &before);
	send(&a, 2, 1, 0, 60);
	clock_gettime(CLOCK_REALTIME, &after);
	ns = m.rx->slot[0].ptr;
	EXPECT(ns >= (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec);
	EXPECT(ns <= (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
	ring_user_close(&m);
	close_pair();
}

TEST(ring_k_shows_rings_k)
{
	struct rp_port_config cfg;
	struct ring_user two, m;
	struct netmap_ring *tx1, *rx1;

	open_pair();
	cfg = world_rings_config(&w, "two");
	cfg.tx_rings = cfg.rx_rings = 2;
	ring_user_open(&two, &w, world_add_port(&w, &cfg));
	cfg = monitor_config();
	cfg.rx_rings = 2;
	open_monitor_as(&m, two.port, RP_MONITOR_TX, &cfg);
	tx1 = (struct netmap_ring *)(void *)((uint8_t *)two.nifp + two.nifp->ring_ofs[1]);
	rx1 = (struct netmap_ring *)(void *)((uint8_t *)m.nifp + m.nifp->ring_ofs[2 + 1 + 1]);
	two.tx = tx1;
	frame_make(frame, 60, 2, 3, 7);
	ring_put(&two, frame, 60);
	EXPECT_EQ(rp_port_txsync(w.caller, two.port, 1), 1);
	expect_nothing(&m);
	EXPECT_EQ(rp_port_rxsync(w.caller, m.port, 1), 0);
	EXPECT_EQ(ring_space(rx1), 1);
	ring_user_close(&two);
	ring_user_close(&m);
	close_pair();
}

TEST(frames_of_guests_are_shown_without_their_virtio_header)
{
	static struct fake_frame got;
	static const struct fake_guest_config plain;
	struct virtio_net_hdr gso = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				      .hdr_len = 54,
				      .gso_size = 1448,
				      .csum_start = 34,
				      .csum_offset = 16 };
	struct fake_guest g;
	struct ring_user m;

	open_pair();
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "guest"));
	fake_guest_post(&g, 64, 2000, FAKE_PLAIN);
	open_monitor(&m, g.port, BOTH);

	frame_make(frame, 100, 2, 3, 1);
	EXPECT(fake_guest_send(&g, NULL, frame, 100, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	expect_shown(&m, 1, 100, NS_TXMON);

	send(&a, 3, 1, 2, 1000);
	EXPECT(fake_guest_receive(&g, &got));
	expect_shown(&m, 2, 1000, 0);

	/* To be segmented: it is shown as it was sent. */
	frame_make(frame, 1800, 2, 3, 3);
	EXPECT(fake_guest_send(&g, &gso, frame, 1800, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	expect_shown(&m, 3, 1800, NS_TXMON);
	world_del_port(&w, g.port);
	fake_guest_close(&g);
	ring_user_close(&m);
	close_pair();
}

TEST(a_guest_may_have_a_monitor)
{
	static struct fake_frame got;
	static const struct fake_guest_config plain;
	struct rp_port_config cfg;
	struct fake_guest g;
	struct rp_err err;

	open_pair();
	cfg = world_vhost_config(&w, "monitor");
	cfg.kind = RP_KIND_MONITOR;
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_port(&w, &cfg));
	fake_guest_post(&g, 2, 2000, FAKE_PLAIN);
	EXPECT_OK(rp_monitor_attach(w.dp, g.port, a.port, BOTH, &err), err);
	for (uint32_t i = 0; i < 3; i++)
		send(&a, 2, 1, i, 60);
	for (uint32_t i = 0; i < 2; i++) {
		EXPECT(fake_guest_receive(&g, &got));
		EXPECT_EQ(frame_number(got.data), i);
	}
	EXPECT_EQ(world_drops(&w, g.port, NETMAP_DIR_RX, RP_DROP_FULL), 1);

	/* What it sends goes nowhere. */
	frame_make(frame, 100, 2, 3, 1);
	EXPECT(fake_guest_send(&g, NULL, frame, 100, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	EXPECT_EQ(world_drops(&w, g.port, NETMAP_DIR_TX, RP_DROP_DISCARD), 1);
	world_del_port(&w, g.port);
	fake_guest_close(&g);
	close_pair();
}

TEST(a_monitor_sends_nothing)
{
	struct ring_user m;

	open_pair();
	open_monitor(&m, a.port, BOTH);
	frame_make(frame, 60, 2, 3, 0);
	EXPECT_EQ(ring_send(&m, frame, 60), -EIO);
	EXPECT_EQ(ring_get(&b, frame), 0);
	ring_user_close(&m);
	close_pair();
}

TEST(what_cannot_be_attached_is_refused)
{
	struct rp_port_config cfg;
	struct ring_user m;
	struct rp_err err;
	int other;

	open_pair();
	open_monitor(&m, a.port, BOTH);
	cfg = monitor_config();
	other = world_add_port(&w, &cfg);
	EXPECT_EQ(rp_monitor_attach(w.dp, m.port, b.port, BOTH, &err), -EBUSY);
	EXPECT_TEXT(err.text, "monitors port a already");
	EXPECT_EQ(rp_monitor_attach(w.dp, a.port, b.port, BOTH, &err), -EINVAL);
	EXPECT_TEXT(err.text, "no monitor");
	EXPECT_EQ(rp_monitor_attach(w.dp, other, m.port, BOTH, &err), -EINVAL);
	EXPECT_TEXT(err.text, "monitor itself");
	EXPECT_EQ(rp_monitor_attach(w.dp, other, b.port, 0, &err), -EINVAL);
	EXPECT_EQ(rp_monitor_attach(w.dp, other, b.port, 8, &err), -EINVAL);
	EXPECT_EQ(rp_monitor_attach(w.dp, other, 999, BOTH, &err), -ENOENT);
	EXPECT_EQ(rp_monitor_attach(w.dp, 999, b.port, BOTH, &err), -ENOENT);
	EXPECT_EQ(rp_monitor_detach(w.dp, other, &err), -EINVAL);
	EXPECT_EQ(rp_monitor_detach(w.dp, a.port, &err), -EINVAL);
	ring_user_close(&m);
	close_pair();
}

TEST(a_detached_monitor_shows_nothing_and_may_be_attached_elsewhere)
{
	struct ring_user m, other;
	struct rp_err err;

	open_pair();
	open_monitor(&m, a.port, BOTH);
	open_monitor(&other, a.port, BOTH);
	EXPECT_OK(rp_monitor_detach(w.dp, m.port, &err), err);
	send(&a, 2, 1, 1, 60);
	expect_nothing(&m);
	expect_shown(&other, 1, 60, NS_TXMON);
	attach(&m, b.port, RP_MONITOR_RX);
	send(&a, 2, 1, 2, 60);
	expect_shown(&m, 2, 60, 0);
	world_del_port(&w, other.port); /* attached, and gone */
	send(&a, 2, 1, 3, 60);
	expect_shown(&m, 3, 60, 0);
	ring_user_close(&m);
	ring_user_close(&other);
	close_pair();
}

TEST(a_monitor_outlives_its_parent_and_says_so)
{
	struct rp_port_status s;
	struct ring_user m;
	struct rp_err err;

	open_pair();
	open_monitor(&m, a.port, BOTH);
	world_del_port(&w, a.port);
	s = world_status(&w, m.port);
	EXPECT_EQ(s.state, RP_PORT_BROKEN);
	EXPECT_TEXT(s.reason, "port a, which it monitored, is gone");
	EXPECT_EQ(ring_rxsync(&m), -EPIPE);
	EXPECT_OK(rp_port_repair(w.dp, m.port, &err), err);
	attach(&m, b.port, BOTH);
	send(&b, 1, 2, 9, 60);
	expect_shown(&m, 9, 60, NS_TXMON);
	ring_user_close(&m);
	close_pair();
}

TEST(a_monitor_whose_user_breaks_a_rule_harms_itself)
{
	struct ring_user m;

	open_pair();
	open_monitor(&m, a.port, BOTH);
	for (uint32_t i = 0; i < m.rx->num_slots; i++)
		m.rx->slot[i].buf_idx = UINT32_MAX;
	send(&a, 2, 1, 1, 60);
	EXPECT(world_broken(&w, m.port));
	send(&a, 2, 1, 2, 60);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(world_drops(&w, m.port, NETMAP_DIR_RX, RP_DROP_BROKEN), 1);
	ring_user_close(&m);
	close_pair();
}

static uint32_t stop, sent;

/* Host 1 sends to host 2, all the time; what b gets is whole and in order. */
static void *talk(void *arg)
{
	static uint8_t out[FRAME_MAX], in[FRAME_MAX];
	struct ring_user from = a, to = b;
	struct world own = w;
	struct rp_err err;
	uint32_t next = 0;

	(void)arg;
	own.caller = rp_caller_new(w.dp, &err);
	EXPECT(own.caller);
	from.w = to.w = &own;
	while (!rp_load(&stop)) {
		for (unsigned i = 0; i < 20; i++) {
			frame_make(out, 60 + sent % 900, 2, 1, sent);
			ring_put(&from, out, 60 + sent % 900);
			rp_store(&sent, sent + 1);
		}
		EXPECT_EQ(ring_txsync(&from), 20);
		for (uint32_t len; (len = ring_get(&to, in)); next++) {
			EXPECT_EQ(frame_number(in), next);
			EXPECT(frame_whole(in, len));
		}
	}
	EXPECT_EQ(next, sent);
	rp_caller_free(own.caller);
	return NULL;
}

/* Frames that a monitor shows of one direction come in order, if not all of them. */
static void watch(struct ring_user *m, uint32_t *shown)
{
	uint32_t last = 0;

	while (ring_rxsync(m) == 0 && ring_space(m->rx)) {
		uint32_t len = ring_get(m, frame);

		EXPECT(frame_whole(frame, len));
		EXPECT(frame_number(frame) >= last);
		last = frame_number(frame);
		++*shown;
	}
}

TEST(monitors_come_and_go_while_frames_flow)
{
	const uint32_t flags[] = { RP_MONITOR_TX, RP_MONITOR_RX, BOTH };
	uint32_t shown = 0;
	pthread_t talker;

	open_pair();
	stop = sent = 0;
	EXPECT_EQ(pthread_create(&talker, NULL, talk, NULL), 0);
	for (unsigned i = 0; i < 150 || shown < 1000; i++) {
		struct ring_user first, second;

		open_monitor(&first, a.port, RP_MONITOR_TX);
		open_monitor(&second, i % 2 ? a.port : b.port, flags[i % 3]);
		watch(&first, &shown);
		watch(&second, &shown);
		world_del_port(&w, first.port);
		watch(&second, &shown);
		world_del_port(&w, second.port);
		ring_user_close(&first);
		ring_user_close(&second);
	}
	rp_store(&stop, 1);
	pthread_join(talker, NULL);
	close_pair();
}

static void *talk_one_by_one(void *arg)
{
	struct ring_user from = a, to = b;
	uint8_t out[60], in[FRAME_MAX];
	struct world own = w;
	struct rp_err err;

	(void)arg;
	own.caller = rp_caller_new(w.dp, &err);
	EXPECT(own.caller);
	from.w = to.w = &own;
	frame_make(out, 60, 2, 1, 0);
	while (!rp_load(&stop)) {
		EXPECT_EQ(ring_send(&from, out, 60), 1);
		EXPECT_EQ(ring_get(&to, in), 60);
	}
	rp_caller_free(own.caller);
	return NULL;
}

/* Between any two instructions of a sync the list of monitors may go. */
TEST(a_monitor_may_be_gone_as_soon_as_it_came)
{
	enum { TIMES = 20000 };
	struct rp_port_config cfg;
	pthread_t talker;
	struct rp_err err;
	int monitor;

	open_pair();
	cfg = world_rings_config(&w, "vale0:m");
	cfg.kind = RP_KIND_MONITOR;
	monitor = world_add_port(&w, &cfg);
	stop = 0;
	EXPECT_EQ(pthread_create(&talker, NULL, talk_one_by_one, NULL), 0);
	for (unsigned i = 0; i < TIMES; i++) {
		EXPECT_OK(rp_monitor_attach(w.dp, monitor, a.port, BOTH, &err), err);
		EXPECT_OK(rp_monitor_detach(w.dp, monitor, &err), err);
	}
	rp_store(&stop, 1);
	pthread_join(talker, NULL);
	close_pair();
}
