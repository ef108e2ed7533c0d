/* SPDX-License-Identifier: BSD-2-Clause */
/* Netmap rings, against users that write what they like into their region. */
#include <errno.h>

#include "check.h"
#include "frames.h"
#include "world.h"

static struct world w;
static struct ring_user a, b; /* of hosts 1 and 2, which know each other */
static uint8_t frame[FRAME_MAX];

static void introduce(void)
{
	frame_make(frame, 60, 2, 1, 0);
	ring_send(&a, frame, 60);
	frame_make(frame, 60, 1, 2, 0);
	ring_send(&b, frame, 60);
	while (ring_get(&a, frame) || ring_get(&b, frame))
		;
}

static void open_pair_as(const struct rp_port_config *cfg_a, const struct rp_port_config *cfg_b)
{
	ring_user_open(&a, &w, world_add_port(&w, cfg_a));
	ring_user_open(&b, &w, world_add_port(&w, cfg_b));
	introduce();
}

static void open_pair(void)
{
	struct rp_port_config cfg_a, cfg_b;

	world_open(&w);
	cfg_a = world_rings_config(&w, "a");
	cfg_b = world_rings_config(&w, "b");
	open_pair_as(&cfg_a, &cfg_b);
}

static void close_pair(void)
{
	ring_user_close(&a);
	ring_user_close(&b);
	world_close(&w);
}

static void expect_works(void)
{
	frame_make(frame, 100, 2, 1, 42);
	EXPECT_EQ(ring_send(&a, frame, 100), 1);
	EXPECT_EQ(ring_get(&b, frame), 100);
	EXPECT_EQ(frame_number(frame), 42);
	EXPECT(frame_whole(frame, 100));
}

static void expect_broken(struct ring_user *u, const char *why)
{
	struct rp_port_status s = world_status(&w, u->port);

	EXPECT_EQ(s.state, RP_PORT_BROKEN);
	EXPECT_TEXT(s.reason, why);
	EXPECT_EQ(s.tx_live | s.rx_live, 0);
	EXPECT_EQ(ring_txsync(u), -EPIPE);
	EXPECT_EQ(ring_rxsync(u), -EPIPE);
}

static void repair(struct ring_user *u)
{
	struct rp_err err;

	EXPECT_OK(rp_port_repair(w.dp, u->port, &err), err);
	EXPECT(!world_broken(&w, u->port));
}

TEST(a_new_ring_is_empty_as_netmap_says)
{
	open_pair();
	for (unsigned i = 0; i < 2; i++) {
		struct ring_user fresh;

		ring_user_open(&fresh, &w, world_add_rings(&w, "fresh"));
		EXPECT_EQ(fresh.tx->head, 0);
		EXPECT_EQ(fresh.tx->cur, 0);
		EXPECT_EQ(fresh.tx->tail, fresh.tx->num_slots - 1);
		EXPECT_EQ(fresh.rx->head, 0);
		EXPECT_EQ(fresh.rx->tail, 0);
		EXPECT_EQ(fresh.tx->dir, NETMAP_DIR_TX);
		EXPECT_EQ(fresh.rx->dir, NETMAP_DIR_RX);
		world_del_port(&w, fresh.port);
		ring_user_close(&fresh);
	}
	close_pair();
}

TEST(a_receive_ring_takes_all_slots_but_one)
{
	open_pair();
	for (uint32_t i = 0; i < 100; i++) {
		frame_make(frame, 60, 2, 1, i);
		EXPECT_EQ(ring_send(&a, frame, 60), 1);
	}
	EXPECT_EQ(ring_rxsync(&b), 0);
	EXPECT_EQ(ring_space(b.rx), 63);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_RX, RP_DROP_FULL), 37);
	for (uint32_t i = 0; i < 63; i++) {
		EXPECT_EQ(ring_get(&b, frame), 60);
		EXPECT_EQ(frame_number(frame), i);
	}
	EXPECT_EQ(ring_get(&b, frame), 0);
	close_pair();
}

TEST(a_full_transmit_ring_is_sent_at_once)
{
	open_pair();
	for (uint32_t i = 0; i < 63; i++) {
		frame_make(frame, 60, 2, 1, i);
		ring_put(&a, frame, 60);
	}
	EXPECT_EQ(ring_space(a.tx), 0);
	EXPECT_EQ(ring_txsync(&a), 63);
	EXPECT_EQ(ring_space(a.tx), 63);
	for (uint32_t i = 0; i < 63; i++) {
		EXPECT_EQ(ring_get(&b, frame), 60);
		EXPECT_EQ(frame_number(frame), i);
	}
	close_pair();
}

TEST(rings_wrap_around_at_any_place)
{
	uint32_t sent = 0, got = 0;

	open_pair();
	for (unsigned round = 0; round < 500; round++) {
		unsigned n = 1 + round % 63;

		for (unsigned i = 0; i < n; i++) {
			frame_make(frame, 60 + sent % 50, 2, 1, sent);
			ring_put(&a, frame, 60 + sent % 50);
			sent++;
		}
		EXPECT_EQ(ring_txsync(&a), n);
		for (unsigned i = 0; i < n; i++) {
			EXPECT_EQ(ring_get(&b, frame), 60 + got % 50);
			EXPECT_EQ(frame_number(frame), got);
			EXPECT(frame_whole(frame, 60 + got % 50));
			got++;
		}
		EXPECT_EQ(ring_rxsync(&b), 0); /* all slots are free again */
	}
	close_pair();
}

TEST(a_transmit_head_beyond_the_ring_breaks_the_port)
{
	static const uint32_t heads[] = { 64, 65, 1000, UINT32_MAX };

	open_pair();
	for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		uint32_t good = a.tx->head;

		a.tx->head = heads[i];
		EXPECT_EQ(ring_txsync(&a), -EPIPE);
		expect_broken(&a, "a tx ring's head is outside");
		a.tx->head = good;
		repair(&a);
		expect_works();
	}
	close_pair();
}

TEST(a_receive_head_that_the_user_does_not_own_breaks_the_port)
{
	open_pair();
	for (uint32_t i = 0; i < 5; i++) {
		frame_make(frame, 60, 2, 1, i);
		ring_send(&a, frame, 60);
	}
	EXPECT_EQ(ring_rxsync(&b), 0);
	for (unsigned i = 0; i < 3; i++) {
		const uint32_t head = b.rx->head;
		const uint32_t bad[] = { head + 6, head - 1, UINT32_MAX };

		b.rx->head = bad[i];
		EXPECT_EQ(ring_rxsync(&b), -EPIPE);
		expect_broken(&b, "an rx ring's head is outside");
		b.rx->head = head;
		repair(&b);
	}
	for (uint32_t i = 0; i < 5; i++) {
		EXPECT_EQ(ring_get(&b, frame), 60);
		EXPECT_EQ(frame_number(frame), i);
	}
	expect_works();
	close_pair();
}

TEST(what_the_user_writes_into_the_backends_fields_changes_nothing)
{
	open_pair();
	a.tx->tail = 7;
	a.tx->num_slots = 100000;
	a.tx->nr_buf_size = UINT32_MAX;
	a.tx->buf_ofs = -1;
	b.rx->tail = 12;
	b.rx->num_slots = 0;
	a.nifp->ni_tx_rings = 1000;
	memset(a.base, 0xff, sizeof(struct rp_directory));
	frame_make(frame, 60, 2, 1, 5);
	memcpy(ring_user_buf(&a, a.tx->slot[a.tx->head].buf_idx), frame, 60);
	a.tx->slot[a.tx->head].len = 60;
	a.tx->head++;
	EXPECT_EQ(ring_txsync(&a), 1);
	EXPECT_EQ(a.tx->tail, a.tx->head - 1);
	b.rx->num_slots = 64;
	EXPECT_EQ(ring_rxsync(&b), 0);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(frame_number(frame), 5);
	close_pair();
}

TEST(frames_begin_where_their_slots_say)
{
	struct netmap_slot *slot;
	struct rp_err err;

	open_pair();
	EXPECT_EQ(rp_port_offsets(w.dp, a.port, 8, 256, 0, &err), -EINVAL);
	EXPECT_EQ(rp_port_offsets(w.dp, a.port, 16, 2048, 0, &err), -EINVAL);
	EXPECT_OK(rp_port_offsets(w.dp, a.port, 16, 512, 0, &err), err);
	EXPECT_OK(rp_port_offsets(w.dp, b.port, 0, 128, 128, &err), err);
	EXPECT_EQ(a.tx->offset_mask, 0xffff);
	slot = &a.tx->slot[a.tx->head];
	frame_make(ring_user_buf(&a, slot->buf_idx) + 500, 1500, 2, 1, 77);
	slot->ptr = 500 | UINT64_C(1) << 20; /* what is above the mask is the user's own */
	slot->len = 1500;
	a.tx->head = a.tx->cur = ring_next(a.tx, a.tx->head);
	EXPECT_EQ(ring_txsync(&a), 1);
	slot = &b.rx->slot[b.rx->head];
	EXPECT_EQ(slot->ptr, 128);
	EXPECT_EQ(ring_rxsync(&b), 0);
	EXPECT_EQ(ring_space(b.rx), 1);
	EXPECT(frame_whole(ring_user_buf(&b, slot->buf_idx) + 128, 1500));
	slot = &a.tx->slot[a.tx->head];
	slot->ptr = 513;
	slot->len = 60;
	a.tx->head = a.tx->cur = ring_next(a.tx, a.tx->head);
	EXPECT_EQ(ring_txsync(&a), -EPIPE);
	expect_broken(&a, "a slot's offset is larger than its user agreed to");
	close_pair();
}

TEST(a_transmit_buffer_outside_the_region_breaks_the_port)
{
	/* Buffers 0 and 1 are reserved; 2 * 64 slots have the next ones, then there are a few more. */
	static const uint32_t bad[] = { 0, 1, 2 + 2 * 64 + WORLD_MORE_BUFS, 100000, UINT32_MAX };

	open_pair();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct netmap_slot *s = &a.tx->slot[a.tx->head];
		uint32_t good = s->buf_idx;

		frame_make(frame, 60, 2, 1, i);
		ring_put(&a, frame, 60);
		s->buf_idx = bad[i];
		EXPECT_EQ(ring_txsync(&a), -EPIPE);
		expect_broken(&a, "a tx slot's buffer index is not in the region");
		s->buf_idx = good;
		repair(&a);
		ring_txsync(&a);
		while (ring_get(&b, frame))
			;
		expect_works();
	}
	close_pair();
}

TEST(a_receive_buffer_outside_the_region_breaks_the_receiver_alone)
{
	static const uint32_t bad[] = { 0, 1, 2 + 2 * 64 + WORLD_MORE_BUFS, UINT32_MAX };

	open_pair();
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct netmap_slot *s = &b.rx->slot[b.rx->head];
		uint32_t good = s->buf_idx;

		s->buf_idx = bad[i];
		frame_make(frame, 60, 2, 1, i);
		EXPECT_EQ(ring_send(&a, frame, 60), 1);
		expect_broken(&b, "an rx slot's buffer index is not in the region");
		EXPECT(!world_broken(&w, a.port));
		EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 2 * i + 1);
		EXPECT_EQ(ring_send(&a, frame, 60), 1);
		EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 2 * i + 2);
		s->buf_idx = good;
		repair(&b);
		expect_works();
	}
	close_pair();
}

/* The first of a frame's slots is good: what was taken of it must not be published later. */
TEST(a_receiver_that_breaks_in_the_middle_of_a_frame_gets_nothing_of_it)
{
	struct netmap_slot *second;
	uint32_t good;

	open_pair();
	second = &b.rx->slot[ring_next(b.rx, ring_next(b.rx, b.rx->head))];
	good = second->buf_idx;
	second->buf_idx = 0;
	frame_make(frame, 60, 2, 1, 1);
	ring_put(&a, frame, 60);
	frame_make(frame, 3000, 2, 1, 2);
	ring_put(&a, frame, 3000);
	EXPECT_EQ(ring_txsync(&a), 3);
	expect_broken(&b, "an rx slot's buffer index");
	second->buf_idx = good;
	repair(&b);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(ring_get(&b, frame), 0);
	expect_works();
	close_pair();
}

TEST(a_length_over_the_buffer_breaks_the_port)
{
	open_pair();
	frame_make(frame, 60, 2, 1, 0);
	ring_put(&a, frame, 60);
	a.tx->slot[a.tx->head - 1].len = 2049;
	EXPECT_EQ(ring_txsync(&a), -EPIPE);
	expect_broken(&a, "a tx slot's length exceeds its buffer");
	EXPECT_EQ(ring_get(&b, frame), 0);
	close_pair();
}

TEST(frames_shorter_than_an_ethernet_header_are_dropped_as_short)
{
	open_pair();
	for (uint32_t len = 0; len < FRAME_ETH; len++) {
		frame_make(frame, len, 2, 1, 0);
		EXPECT_EQ(ring_send(&a, frame, len), 1);
	}
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_SHORT), FRAME_ETH);
	frame_make(frame, FRAME_ETH, 2, 1, 0);
	ring_send(&a, frame, FRAME_ETH);
	EXPECT_EQ(ring_get(&b, frame), FRAME_ETH);
	close_pair();
}

TEST(a_frame_may_have_64_pieces_of_any_length)
{
	uint32_t at = 0;

	open_pair();
	frame_make(frame, 600, 2, 1, 3);
	for (unsigned i = 0; i < NETMAP_MAX_FRAGS - 1; i++) {
		uint32_t n = i < 20 ? 1 : i == 30 ? 0 : 10; /* not even the MACs are in one piece */

		/* 63 fill the ring: the last of the 64 comes with the next frame, below. */
		ring_put_slot(&a, frame + at, n, i + 2 < NETMAP_MAX_FRAGS ? NS_MOREFRAG : 0);
		at += n;
	}
	EXPECT_EQ(ring_txsync(&a), NETMAP_MAX_FRAGS - 1);
	EXPECT_EQ(ring_get(&b, frame), at);
	EXPECT_EQ(frame_number(frame), 3);
	EXPECT(frame_whole(frame, at));
	expect_works();
	close_pair();
}

static void open_with_slots(uint32_t slots, uint32_t buf_bytes)
{
	struct rp_port_config cfg_a, cfg_b;

	world_open(&w);
	cfg_a = world_rings_config(&w, "a");
	cfg_b = world_rings_config(&w, "b");
	cfg_a.tx_slots = cfg_a.rx_slots = slots;
	cfg_a.buf_bytes = buf_bytes;
	cfg_b.tx_slots = cfg_b.rx_slots = 256;
	open_pair_as(&cfg_a, &cfg_b);
}

static void put_pieces(unsigned n, uint32_t len, uint16_t last_flags)
{
	uint32_t at = 0;

	frame_make(frame, n * len, 2, 1, 9);
	for (unsigned i = 0; i < n; i++) {
		ring_put_slot(&a, frame + at, len, i + 1 < n ? NS_MOREFRAG : last_flags);
		at += len;
	}
}

TEST(one_more_piece_is_one_too_many)
{
	open_with_slots(256, 64);
	put_pieces(NETMAP_MAX_FRAGS, 20, 0);
	EXPECT_EQ(ring_txsync(&a), NETMAP_MAX_FRAGS);
	EXPECT_EQ(ring_get(&b, frame), NETMAP_MAX_FRAGS * 20);
	EXPECT(frame_whole(frame, NETMAP_MAX_FRAGS * 20));
	put_pieces(NETMAP_MAX_FRAGS + 1, 20, 0);
	EXPECT_EQ(ring_txsync(&a), NETMAP_MAX_FRAGS + 1);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_FRAGS), 1);
	put_pieces(200, 20, 0);
	EXPECT_EQ(ring_txsync(&a), 200);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_FRAGS), 2);
	EXPECT_EQ(ring_get(&b, frame), 0);
	close_pair();
}

/* VALE's rule: what is there is sent as it is. */
TEST(a_frame_that_the_sync_cuts_off_ends_there)
{
	open_pair();
	put_pieces(3, 30, NS_MOREFRAG);
	EXPECT_EQ(ring_txsync(&a), 3);
	EXPECT_EQ(ring_get(&b, frame), 90);
	EXPECT(frame_whole(frame, 90));
	expect_works();
	close_pair();
}

TEST(frames_longer_than_any_frame_are_dropped_as_mtu)
{
	open_with_slots(256, 2048);
	put_pieces(33, 2000, 0);
	EXPECT_EQ(ring_txsync(&a), 33);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_MTU), 1);
	EXPECT_EQ(ring_get(&b, frame), 0);
	close_pair();
}

TEST(frames_that_can_never_fit_are_dropped_as_mtu)
{
	struct rp_port_config cfg_a, cfg_b;

	world_open(&w);
	cfg_a = world_rings_config(&w, "a");
	cfg_b = world_rings_config(&w, "b");
	cfg_b.buf_bytes = 64;
	cfg_b.tx_slots = cfg_b.rx_slots = 8;
	cfg_b.full = RP_FULL_HOLD;
	cfg_b.hold_us = WORLD_FOREVER_US;
	open_pair_as(&cfg_a, &cfg_b);
	frame_make(frame, 7 * 64, 2, 1, 1);
	EXPECT_EQ(ring_send(&a, frame, 7 * 64), 1);
	EXPECT_EQ(ring_get(&b, frame), 7 * 64);
	frame_make(frame, 7 * 64 + 1, 2, 1, 2);
	EXPECT_EQ(ring_send(&a, frame, 7 * 64 + 1), 1);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_MTU), 1);
	close_pair();
}

TEST(a_receiver_that_swaps_buffers_gets_its_frames_in_them)
{
	open_pair();
	for (uint32_t i = 0; i < 200; i++) {
		/* With a slot of its own tx ring, as a zero-copy forwarder does. */
		struct netmap_slot *mine = &b.rx->slot[b.rx->head];
		struct netmap_slot *other = &b.tx->slot[i % 64];
		uint32_t idx = mine->buf_idx;

		mine->buf_idx = other->buf_idx;
		mine->flags |= NS_BUF_CHANGED;
		other->buf_idx = idx;
		frame_make(frame, 60 + i, 2, 1, i);
		EXPECT_EQ(ring_send(&a, frame, 60 + i), 1);
		EXPECT_EQ(ring_get(&b, frame), 60 + i);
		EXPECT_EQ(frame_number(frame), i);
		EXPECT(frame_whole(frame, 60 + i));
	}
	close_pair();
}

TEST(the_largest_buffers_hold_their_length_in_a_slot)
{
	struct rp_port_config cfg;
	struct rp_err err;

	open_with_slots(64, 65472);
	cfg = world_rings_config(&w, "large");
	cfg.buf_bytes = 65536;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "up to 65472");
	frame_make(frame, 65472, 2, 1, 1);
	EXPECT_EQ(ring_send(&a, frame, 65472), 1);
	EXPECT_EQ(ring_get(&b, frame), 65472);
	EXPECT(frame_whole(frame, 65472));
	frame_make(frame, 65800 - 60, 1, 2, 2); /* of many pieces, into large ones */
	EXPECT(ring_send(&b, frame, 65800 - 60) > 0);
	EXPECT_EQ(ring_get(&a, frame), 65800 - 60);
	EXPECT(frame_whole(frame, 65800 - 60));
	close_pair();
}

TEST(impossible_rings_are_refused_with_the_reason)
{
	struct rp_port_config good, cfg;
	struct rp_err err;

	world_open(&w);
	good = world_rings_config(&w, "x");
	cfg = good;
	cfg.tx_slots = cfg.rx_slots = 1;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "rings of 1 slots");
	cfg.tx_slots = cfg.rx_slots = RP_MAX_SLOTS + 1;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	cfg = good;
	cfg.buf_bytes = 100;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "multiple of 64");
	cfg = good;
	cfg.tx_rings = RP_PORT_RINGS + 1;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	cfg = good;
	cfg.rx_rings = 0;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	cfg = good;
	memset(cfg.name, 'x', sizeof(cfg.name));
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "name");
	cfg = good;
	cfg.sw = 17;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -ENOENT);
	EXPECT_TEXT(err.text, "no switch 17");
	cfg = good;
	cfg.worker = 5;
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -ENOENT);
	EXPECT_OK(rp_port_add(w.dp, &good, &err), err);
	world_close(&w);
}

TEST(a_caller_may_not_sync_what_is_not_there_or_not_its_own)
{
	struct rp_port_config cfg;
	int port;

	open_pair();
	EXPECT_EQ(rp_port_txsync(w.caller, 1000, 0), -ENOENT);
	EXPECT_EQ(rp_port_txsync(w.caller, -1, 0), -ENOENT);
	EXPECT_EQ(rp_port_rxsync(w.caller, RP_MAX_PORTS, 0), -ENOENT);
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 1), -EINVAL);
	EXPECT_EQ(rp_port_rxsync(w.caller, a.port, 1), -EINVAL);
	cfg = world_rings_config(&w, "served");
	cfg.worker = w.worker;
	port = world_add_port(&w, &cfg);
	EXPECT_EQ(rp_port_txsync(w.caller, port, 0), -EBUSY);
	close_pair();
}

/* Nobody kicks for netmap rings: even a worker that sleeps until a kick must look at them. */
TEST(a_worker_serves_netmap_rings_without_kicks)
{
	struct rp_port_config cfg_a, cfg_b;

	world_open(&w);
	cfg_a = world_rings_config(&w, "a");
	cfg_b = world_rings_config(&w, "b");
	cfg_a.worker = w.worker;
	ring_user_open(&a, &w, world_add_port(&w, &cfg_a));
	ring_user_open(&b, &w, world_add_port(&w, &cfg_b));
	for (uint32_t i = 0; i < 10; i++) {
		frame_make(frame, 60, 2, 1, i);
		ring_put(&a, frame, 60);
		EXPECT_SOON(ring_get(&b, frame) == 60);
		EXPECT_EQ(frame_number(frame), i);
	}
	close_pair();
}

TEST(rings_go_to_the_receivers_ring_of_the_same_number)
{
	struct rp_port_config cfg_a, cfg_b;
	struct netmap_ring *second;
	struct netmap_if *nifp;

	world_open(&w);
	cfg_a = world_rings_config(&w, "a");
	cfg_b = world_rings_config(&w, "b");
	cfg_a.tx_rings = 3;
	cfg_b.rx_rings = 2;
	open_pair_as(&cfg_a, &cfg_b);
	for (uint32_t ring = 0; ring < 3; ring++) {
		struct netmap_ring *tx;

		nifp = a.nifp;
		tx = (struct netmap_ring *)(void *)((uint8_t *)nifp + nifp->ring_ofs[ring]);
		EXPECT_EQ(tx->ringid, ring);
		frame_make(ring_user_buf(&a, tx->slot[tx->head].buf_idx), 60, 2, 1, ring);
		tx->slot[tx->head].len = 60;
		tx->head = ring_next(tx, tx->head);
		EXPECT_EQ(rp_port_txsync(w.caller, a.port, ring), 1);
	}
	nifp = b.nifp;
	second = (struct netmap_ring *)(void *)((uint8_t *)nifp +
						nifp->ring_ofs[nifp->ni_tx_rings +
							       nifp->ni_host_tx_rings + 1]);
	EXPECT_EQ(second->ringid, 1);
	EXPECT_EQ(rp_port_rxsync(w.caller, b.port, 1), 0);
	EXPECT_EQ(ring_space(second), 1);
	EXPECT_EQ(frame_number(ring_user_buf(&b, second->slot[second->head].buf_idx)), 1);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(frame_number(frame), 0);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(frame_number(frame), 2);
	close_pair();
}
