/* SPDX-License-Identifier: BSD-2-Clause */
/* Full receivers: their senders wait, once and not for long, or lose frames; nobody else does. */
#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

enum { SLOTS = 63 }; /* that a receiver's ring has room for */

static struct world w;
static struct ring_user a, b, c; /* hosts 1, 2 and 3 */
static uint8_t frame[FRAME_MAX];

static void put(struct ring_user *u, unsigned to, unsigned from, uint32_t number)
{
	frame_make(frame, 60, to, from, number);
	ring_put(u, frame, 60);
}

static void empty(struct ring_user *u)
{
	while (ring_get(u, frame))
		;
	EXPECT_EQ(ring_rxsync(u), 0);
}

static void open_three(int full, uint32_t hold_us)
{
	world_open(&w);
	ring_user_open(&a, &w, world_add_rings(&w, "a"));
	ring_user_open(&b, &w, world_add_rings(&w, "b"));
	ring_user_open(&c, &w, world_add_rings(&w, "c"));
	put(&a, HOST_BROADCAST, 1, 0);
	put(&b, HOST_BROADCAST, 2, 0);
	put(&c, HOST_BROADCAST, 3, 0);
	EXPECT_EQ(ring_txsync(&a) + ring_txsync(&b) + ring_txsync(&c), 3);
	empty(&a);
	empty(&b);
	empty(&c);
	world_set_full(&w, b.port, full, hold_us);
}

static void close_three(void)
{
	ring_user_close(&a);
	ring_user_close(&b);
	ring_user_close(&c);
	world_close(&w);
}

/* Host 3 fills host 2's ring with frames 0 to 62. */
static void fill_b(void)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		put(&c, 2, 3, i);
	EXPECT_EQ(ring_txsync(&c), SLOTS);
}

static void expect_frames(struct ring_user *u, unsigned from, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++) {
		EXPECT_EQ(ring_get(u, frame), 60);
		EXPECT_EQ(frame_from(frame), from);
		EXPECT_EQ(frame_number(frame), i);
		EXPECT(frame_whole(frame, 60));
	}
}

static uint64_t full_drops(void)
{
	return world_drops(&w, b.port, NETMAP_DIR_RX, RP_DROP_FULL);
}

static uint64_t holds(void)
{
	return world_count(&w, b.port, NETMAP_DIR_RX)->holds;
}

TEST(a_receiver_that_drops_never_holds_its_senders)
{
	open_three(RP_FULL_DROP, WORLD_FOREVER_US);
	fill_b();
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 1);
	EXPECT_EQ(full_drops(), 1);
	EXPECT_EQ(holds(), 0);
	EXPECT_EQ(ring_space(a.tx), SLOTS);
	close_three();
}

TEST(held_frames_arrive_once_and_in_order)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	for (uint32_t i = 0; i < 20; i++)
		put(&a, 2, 1, i);
	EXPECT_EQ(ring_txsync(&a), 0);
	EXPECT_EQ(ring_space(a.tx), SLOTS - 20); /* nothing is given back */
	EXPECT_EQ(ring_txsync(&a), 0);
	EXPECT_EQ(ring_rxsync(&b), 0);
	expect_frames(&b, 3, 0, 5);
	EXPECT_EQ(ring_rxsync(&b), 0); /* room for 5 */
	EXPECT_EQ(ring_txsync(&a), 5);
	EXPECT_EQ(ring_txsync(&a), 0);
	for (uint32_t i = 20; i < 30; i++)
		put(&a, 2, 1, i); /* behind those that wait */
	EXPECT_EQ(ring_txsync(&a), 0);
	expect_frames(&b, 3, 5, SLOTS - 5);
	EXPECT_EQ(ring_rxsync(&b), 0);
	EXPECT_EQ(ring_txsync(&a), 15 + 10);
	expect_frames(&b, 1, 0, 30);
	EXPECT_EQ(ring_get(&b, frame), 0);
	EXPECT_EQ(ring_space(a.tx), SLOTS);
	EXPECT_EQ(full_drops(), 0);
	close_three();
}

TEST(a_hold_ends_after_its_time_and_the_next_frames_do_not_wait)
{
	open_three(RP_FULL_HOLD, 2000);
	fill_b();
	for (uint32_t i = 0; i < 10; i++)
		put(&a, 2, 1, i);
	EXPECT_EQ(ring_txsync(&a), 0);
	EXPECT_EQ(holds(), 1);
	rp_test_nap(3000000);
	EXPECT_EQ(ring_txsync(&a), 10);
	EXPECT_EQ(full_drops(), 10);
	put(&a, 2, 1, 10);
	EXPECT_EQ(ring_txsync(&a), 1);
	EXPECT_EQ(full_drops(), 11);
	EXPECT_EQ(holds(), 1);
	EXPECT_EQ(ring_rxsync(&b), 0);
	expect_frames(&b, 3, 0, 1);
	EXPECT_EQ(ring_rxsync(&b), 0);
	put(&a, 2, 1, 11); /* there is room: the congestion is over */
	EXPECT_EQ(ring_txsync(&a), 1);
	put(&a, 2, 1, 12);
	EXPECT_EQ(ring_txsync(&a), 0);
	EXPECT_EQ(holds(), 2);
	EXPECT_EQ(full_drops(), 11);
	close_three();
}

TEST(a_sender_whose_turn_never_comes_waits_no_longer_than_a_hold)
{
	uint32_t taken = 0;

	open_three(RP_FULL_HOLD, 20000);
	fill_b();
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 0);
	/* Host 3 takes each slot that host 2 frees: no episode of congestion lasts. */
	for (unsigned i = 0; i < 1000 && full_drops() == 0; i++) {
		expect_frames(&b, 3, taken++, 1);
		EXPECT_EQ(ring_rxsync(&b), 0);
		put(&c, 2, 3, SLOTS + i);
		EXPECT_EQ(ring_txsync(&c), 1);
		EXPECT_EQ(ring_txsync(&a), full_drops());
		rp_test_nap(1000000);
	}
	EXPECT_EQ(full_drops(), 1);
	EXPECT(taken > 1);
	EXPECT_EQ(ring_space(a.tx), SLOTS);
	close_three();
}

TEST(a_slow_receiver_loses_nothing_while_it_frees_a_slot_now_and_then)
{
	open_three(RP_FULL_HOLD, 300000);
	fill_b();
	for (uint32_t i = 0; i < 10; i++)
		put(&a, 2, 1, i);
	EXPECT_EQ(ring_txsync(&a), 0);
	for (uint32_t i = 0; i < 10; i++) {
		rp_test_nap(50000000);
		EXPECT_EQ(ring_txsync(&a), 0);
		expect_frames(&b, 3, i, 1);
		EXPECT_EQ(ring_rxsync(&b), 0);
		EXPECT_EQ(ring_txsync(&a), 1);
	}
	EXPECT_EQ(full_drops(), 0);
	close_three();
}

TEST(frames_for_others_in_the_same_batch_do_not_wait)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	for (uint32_t i = 0; i < 10; i++)
		put(&a, i % 2 ? 3 : 2, 1, i / 2);
	EXPECT_EQ(ring_txsync(&a), 5);
	expect_frames(&c, 1, 0, 5);
	EXPECT_EQ(ring_rxsync(&b), 0);
	expect_frames(&b, 3, 0, SLOTS);
	EXPECT_EQ(ring_rxsync(&b), 0);
	EXPECT_EQ(ring_txsync(&a), 5);
	expect_frames(&b, 1, 0, 5);
	EXPECT_EQ(ring_get(&c, frame), 0); /* once */
	close_three();
}

TEST(other_senders_and_receivers_do_not_wait)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 0);
	for (uint32_t i = 0; i < 30; i++) {
		put(&b, 3, 2, i);
		put(&c, 1, 3, i);
		EXPECT_EQ(ring_txsync(&b), 1);
		EXPECT_EQ(ring_txsync(&c), 1);
	}
	expect_frames(&c, 2, 0, 30);
	expect_frames(&a, 3, 0, 30);
	close_three();
}

TEST(flooded_frames_are_never_held)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	put(&a, 2, 1, 0);
	put(&a, HOST_BROADCAST, 1, 1);
	put(&a, 99, 1, 2);
	put(&a, 2, 1, 3);
	EXPECT_EQ(ring_txsync(&a), 2);
	EXPECT_EQ(full_drops(), 2);
	expect_frames(&c, 1, 1, 2);
	EXPECT_EQ(ring_rxsync(&b), 0);
	empty(&b);
	EXPECT_EQ(ring_txsync(&a), 2);
	expect_frames(&b, 1, 0, 1);
	expect_frames(&b, 1, 3, 1);
	EXPECT_EQ(ring_get(&c, frame), 0);
	close_three();
}

TEST(a_change_of_policy_frees_those_who_wait)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 0);
	world_set_full(&w, b.port, RP_FULL_DROP, 0);
	EXPECT_EQ(ring_txsync(&a), 1);
	EXPECT_EQ(full_drops(), 1);
	close_three();
}

TEST(frames_held_for_a_port_that_breaks_are_dropped_as_broken)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 0);
	b.rx->head = 1000;
	EXPECT(ring_rxsync(&b) < 0);
	EXPECT_EQ(ring_txsync(&a), 1);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 1);
	close_three();
}

TEST(frames_held_for_a_port_that_goes_away_are_for_whoever_has_its_hosts_now)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 0);
	world_del_port(&w, b.port);
	EXPECT_EQ(ring_txsync(&a), 1); /* host 2 is unknown: flooded */
	expect_frames(&c, 1, 0, 1);
	close_three();
}

static const struct fake_guest_config plain;
static struct fake_guest g;

/* A guest's frames, @n of them, wait for host 2. */
static void hold_guest(unsigned n)
{
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "guest"));
	for (uint32_t i = 0; i < n; i++) {
		frame_make(frame, 60, 2, 4, i);
		EXPECT(fake_guest_send(&g, NULL, frame, 60, FAKE_PLAIN));
	}
	fake_queue_kick(&g.tx);
	EXPECT_SOON(rp_load(&world_count(&w, b.port, NETMAP_DIR_RX)->holds) == 1);
	EXPECT_SOON(rp_load(&world_count(&w, g.port, NETMAP_DIR_TX)->frames) == n);
	EXPECT_EQ(fake_guest_sent(&g), 0);
}

static void expect_reset(unsigned n)
{
	EXPECT_SOON(world_drops(&w, g.port, NETMAP_DIR_TX, RP_DROP_RESET) == n);
	EXPECT_SOON(fake_queue_used(&g.tx) == n);
	EXPECT_EQ(fake_guest_sent(&g), n);
	empty(&b);
	EXPECT_EQ(ring_get(&b, frame), 0);
}

TEST_FORMATS(frames_held_when_the_senders_memory_is_replaced_are_dropped_as_reset)
{
	struct rp_err err;

	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	hold_guest(10);
	EXPECT_OK(fake_ram_share(&g.ram, w.dp, g.port, &err), err);
	expect_reset(10);
	frame_make(frame, 60, 2, 4, 10);
	EXPECT(fake_guest_send(&g, NULL, frame, 60, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	expect_frames(&b, 4, 10, 1);
	close_three();
	fake_guest_close(&g);
}

TEST_FORMATS(frames_held_when_the_senders_ring_stops_are_dropped_as_reset)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	hold_guest(10);
	fake_guest_disconnect(&g);
	EXPECT_EQ(g.tx.base, fake_queue_base(&g.tx, 10, 10)); /* all that was taken is given back */
	expect_reset(10);
	fake_guest_connect(&g, w.dp, g.port);
	frame_make(frame, 60, 2, 4, 10);
	EXPECT(fake_guest_send(&g, NULL, frame, 60, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	expect_frames(&b, 4, 10, 1);
	close_three();
	fake_guest_close(&g);
}

TEST_FORMATS(frames_held_when_the_senders_rings_leave_its_memory_are_dropped_as_reset)
{
	const struct rp_mem_slot elsewhere = { 0, 4096, 0x1000, 0 };
	struct rp_err err;

	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	hold_guest(10);
	EXPECT_OK(rp_vhost_mem_set(w.dp, g.port, &elsewhere, &g.ram.region[0].fd, 1, &err), err);
	expect_reset(10);
	EXPECT_EQ(world_status(&w, g.port).tx_live, 0);
	EXPECT(!world_broken(&w, g.port));
	close_three();
	fake_guest_close(&g);
}

TEST_FORMATS(a_port_may_go_away_while_its_own_frames_are_held)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	hold_guest(10);
	world_del_port(&w, g.port);
	EXPECT_EQ(fake_queue_used(&g.tx), 10);
	put(&a, 2, 1, 0);
	EXPECT_EQ(ring_txsync(&a), 0);
	world_del_port(&w, a.port);
	empty(&b);
	close_three();
	fake_guest_close(&g);
}

TEST_FORMATS(a_worker_delivers_held_frames_when_there_is_room_again)
{
	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	hold_guest(100);
	EXPECT_EQ(ring_rxsync(&b), 0);
	expect_frames(&b, 3, 0, SLOTS);
	for (uint32_t i = 0; i < 100; i++) {
		EXPECT_SOON(ring_get(&b, frame) == 60);
		EXPECT_EQ(frame_number(frame), i);
	}
	EXPECT_SOON(fake_queue_used(&g.tx) == 100);
	EXPECT_EQ(full_drops(), 0);
	close_three();
	fake_guest_close(&g);
}

/* A turn moves all that there is room for, so it must end before there is more. */
static void let_turn_end(void)
{
	const struct rp_worker_counters *worker = &w.counters->workers[w.worker];
	const uint64_t now = rp_load(&worker->loops);

	EXPECT_SOON(rp_load(&worker->loops) != now);
}

TEST(senders_that_wait_for_one_receiver_take_turns)
{
	enum { QUEUED = 200, FREED = 2 * SLOTS };
	static struct fake_guest second;
	unsigned from_second = 0;

	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fill_b();
	hold_guest(QUEUED);
	fake_guest_open(&second, &plain);
	fake_guest_connect(&second, w.dp, world_add_vhost(&w, "second"));
	for (uint32_t i = 0; i < QUEUED; i++) {
		frame_make(frame, 60, 2, 5, i);
		EXPECT(fake_guest_send(&second, NULL, frame, 60, FAKE_PLAIN));
	}
	fake_queue_kick(&second.tx);
	EXPECT_SOON(rp_load(&world_count(&w, second.port, NETMAP_DIR_TX)->frames) == QUEUED);
	expect_frames(&b, 3, 0, SLOTS);
	for (unsigned i = 0; i < SLOTS + FREED; i++) {
		EXPECT_EQ(ring_rxsync(&b), 0);
		EXPECT_SOON(ring_get(&b, frame) == 60);
		let_turn_end();
		/* The slots that were free at first are the first sender's. */
		if (i >= SLOTS)
			from_second += frame_from(frame) == 5;
	}
	/* Who does not get turns gets nothing. */
	EXPECT(from_second > FREED / 4 && from_second < FREED * 3 / 4);
	EXPECT_EQ(full_drops(), 0);
	close_three();
	fake_guest_close(&g);
	fake_guest_close(&second);
}

/* The same, the other way round: a guest that posts its buffers late. */
TEST_FORMATS(a_guest_that_posts_buffers_late_gets_what_was_held_for_it)
{
	static struct fake_frame got;

	open_three(RP_FULL_HOLD, WORLD_FOREVER_US);
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "guest"));
	frame_make(frame, 60, 99, 4, 0);
	EXPECT(fake_guest_send(&g, NULL, frame, 60, FAKE_PLAIN));
	fake_queue_kick(&g.tx);
	EXPECT_SOON(fake_guest_sent(&g) == 1);
	world_set_full(&w, g.port, RP_FULL_HOLD, WORLD_FOREVER_US);
	for (uint32_t i = 0; i < 10; i++)
		put(&a, 4, 1, i);
	EXPECT_EQ(ring_txsync(&a), 0);
	for (uint32_t i = 0; i < 10; i++) {
		EXPECT_EQ(fake_guest_post(&g, 1, 72, FAKE_PLAIN), 1);
		EXPECT_EQ(ring_txsync(&a), 1);
		EXPECT(fake_guest_receive(&g, &got));
		EXPECT_EQ(frame_number(got.data), i);
		EXPECT(frame_whole(got.data, got.len));
	}
	EXPECT_EQ(ring_txsync(&a), 0);
	EXPECT_EQ(ring_space(a.tx), SLOTS);
	close_three();
	fake_guest_close(&g);
}
