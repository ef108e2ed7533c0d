/* SPDX-License-Identifier: BSD-2-Clause */
/* A learning bridge, seen by the users of its ports. */
#include <errno.h>

#include "check.h"
#include "frames.h"
#include "world.h"

enum { PORTS = 4 };

static struct world w;
static struct ring_user user[PORTS];
static uint8_t frame[FRAME_MAX];
static const char *const names[PORTS] = { "a", "b", "c", "d" };

static void open_ports(unsigned n)
{
	world_open(&w);
	for (unsigned i = 0; i < n; i++)
		ring_user_open(&user[i], &w, world_add_rings(&w, names[i]));
}

static void close_ports(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ring_user_close(&user[i]);
	world_close(&w);
}

/* Port @at sends: host @from talks to host @to. */
static void talk(unsigned at, unsigned from, unsigned to, uint32_t number)
{
	frame_make(frame, 60, to, from, number);
	EXPECT_EQ(ring_send(&user[at], frame, 60), 1);
}

/* The next frame of port @at is number @number, unharmed. */
static void expect_number(unsigned at, uint32_t number)
{
	EXPECT_EQ(ring_get(&user[at], frame), 60);
	EXPECT_EQ(frame_number(frame), number);
	EXPECT(frame_whole(frame, 60));
}

static void expect_nothing(unsigned at)
{
	EXPECT_EQ(ring_get(&user[at], frame), 0);
}

TEST(unknown_unicast_reaches_all_but_its_sender)
{
	open_ports(PORTS);
	talk(0, 1, 2, 7);
	expect_nothing(0);
	for (unsigned i = 1; i < PORTS; i++) {
		expect_number(i, 7);
		expect_nothing(i);
	}
	close_ports(PORTS);
}

TEST(broadcast_reaches_all_but_its_sender_even_when_all_are_known)
{
	open_ports(3);
	for (unsigned i = 0; i < 3; i++)
		talk(i, i + 1, 99, i);
	for (unsigned i = 0; i < 3; i++) {
		while (ring_get(&user[i], frame))
			;
	}
	talk(1, 2, HOST_BROADCAST, 5);
	expect_number(0, 5);
	expect_nothing(1);
	expect_number(2, 5);
	close_ports(3);
}

TEST(a_known_host_gets_its_frames_alone)
{
	open_ports(3);
	talk(1, 2, 1, 0);
	expect_number(0, 0);
	expect_number(2, 0);
	talk(0, 1, 2, 1);
	expect_number(1, 1);
	expect_nothing(2);
	close_ports(3);
}

TEST(a_host_that_moves_is_found_where_it_spoke_last)
{
	open_ports(3);
	talk(0, 1, 99, 0);
	talk(1, 1, 99, 1); /* host 1 went from port 0 to port 1 */
	talk(2, 3, 1, 2);
	expect_number(1, 0);
	expect_number(1, 2);
	talk(0, 1, 99, 3); /* and back */
	talk(2, 3, 1, 4);
	expect_number(0, 1);
	expect_number(0, 4);
	expect_number(1, 3);
	expect_nothing(1);
	close_ports(3);
}

TEST(a_host_that_moves_within_a_batch_is_learnt_in_order)
{
	open_ports(2);
	frame_make(frame, 60, 99, 1, 0);
	ring_put(&user[0], frame, 60);
	frame_make(frame, 60, 99, 2, 1);
	ring_put(&user[0], frame, 60);
	frame_make(frame, 60, 1, 2, 2); /* to the host that the batch's first frame is from */
	ring_put(&user[0], frame, 60);
	EXPECT_EQ(ring_txsync(&user[0]), 3);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_SELF), 1);
	expect_number(1, 0);
	expect_number(1, 1);
	expect_nothing(1);
	close_ports(2);
}

TEST(a_multicast_source_is_never_learnt)
{
	struct rp_fdb_row rows[4];
	struct rp_err err;

	open_ports(2);
	talk(0, HOST_BROADCAST, 1, 0);
	EXPECT_EQ(rp_switch_fdb(w.dp, w.sw, rows, 4, &err), 0);
	close_ports(2);
}

TEST(frames_to_the_senders_own_port_are_dropped_as_self)
{
	open_ports(2);
	talk(0, 1, 99, 0);
	expect_number(1, 0);
	talk(0, 2, 1, 1);
	expect_nothing(0);
	expect_nothing(1);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_SELF), 1);
	close_ports(2);
}

TEST(a_lonely_ports_flood_is_dropped_as_nobody)
{
	open_ports(1);
	talk(0, 1, 2, 0);
	talk(0, 1, HOST_BROADCAST, 1);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_NOBODY), 2);
	close_ports(1);
}

/* Its user moves head where it must not: the port breaks, and its rings stop. */
static void break_port(unsigned at)
{
	user[at].tx->head = user[at].tx->num_slots;
	ring_txsync(&user[at]);
}

TEST(a_flood_that_a_stopped_port_misses_is_no_loss_unless_nobody_is_left)
{
	open_ports(3);
	talk(2, 3, 1, 0);
	break_port(2);
	talk(0, 1, HOST_BROADCAST, 1);
	expect_number(1, 0);
	expect_number(1, 1);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_BROKEN), 0);
	talk(0, 1, 3, 2);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_BROKEN), 1);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_NOBODY), 0);
	break_port(1);
	talk(0, 1, HOST_BROADCAST, 3);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_NOBODY), 1);
	close_ports(3);
}

TEST(unicast_and_flooded_frames_of_a_sender_arrive_in_its_order)
{
	static const unsigned to[] = { 2, 99, 2, HOST_BROADCAST, 3, 2, 98, 3, 2, 2 };
	enum { N = sizeof(to) / sizeof(to[0]) };

	open_ports(3);
	talk(1, 2, 1, 0);
	talk(2, 3, 1, 0);
	for (unsigned i = 0; i < 3; i++) {
		while (ring_get(&user[i], frame))
			;
	}
	for (uint32_t i = 0; i < N; i++) {
		frame_make(frame, 60, to[i], 1, i);
		ring_put(&user[0], frame, 60);
	}
	EXPECT_EQ(ring_txsync(&user[0]), N);
	for (uint32_t i = 0; i < N; i++) {
		if (to[i] != 3)
			expect_number(1, i);
		if (to[i] != 2)
			expect_number(2, i);
	}
	expect_nothing(1);
	expect_nothing(2);
	close_ports(3);
}

TEST(a_removed_ports_hosts_are_forgotten)
{
	struct rp_fdb_row rows[4];
	struct rp_err err;

	open_ports(3);
	talk(1, 2, 1, 0);
	talk(2, 3, 1, 1);
	EXPECT_EQ(rp_switch_fdb(w.dp, w.sw, rows, 4, &err), 2);
	world_del_port(&w, user[1].port);
	EXPECT_EQ(rp_switch_fdb(w.dp, w.sw, rows, 4, &err), 1);
	EXPECT_EQ(rows[0].port, user[2].port);
	ring_user_close(&user[1]);
	/* A new port takes the old one's place; what was for host 2 is not for it alone. */
	ring_user_open(&user[1], &w, world_add_rings(&w, "b2"));
	while (ring_get(&user[2], frame))
		;
	talk(0, 1, 2, 3);
	expect_number(1, 3);
	expect_number(2, 3);
	close_ports(3);
}

TEST(switches_do_not_know_each_others_hosts)
{
	const struct rp_switch_config other = { .name = "vale1" };
	struct rp_port_config cfg;
	struct rp_fdb_row rows[4];
	struct rp_err err;
	int sw;

	open_ports(2);
	sw = rp_switch_add(w.dp, &other, &err);
	EXPECT_OK(sw, err);
	cfg = world_rings_config(&w, "x");
	cfg.sw = sw;
	ring_user_open(&user[2], &w, world_add_port(&w, &cfg));
	talk(0, 1, HOST_BROADCAST, 0);
	expect_number(1, 0);
	expect_nothing(2);
	EXPECT_EQ(rp_switch_fdb(w.dp, sw, rows, 4, &err), 0);
	EXPECT_EQ(rp_switch_del(w.dp, sw, &err), -EBUSY);
	world_del_port(&w, user[2].port);
	EXPECT_OK(rp_switch_del(w.dp, sw, &err), err);
	ring_user_close(&user[2]);
	close_ports(2);
}

TEST(a_null_port_throws_away_what_it_is_sent)
{
	struct rp_port_config cfg;

	open_ports(1);
	cfg = world_rings_config(&w, "null");
	cfg.kind = RP_KIND_NULL;
	ring_user_open(&user[1], &w, world_add_port(&w, &cfg));
	talk(1, 1, 2, 0);
	talk(1, 1, HOST_BROADCAST, 1);
	expect_nothing(0);
	EXPECT_EQ(world_drops(&w, user[1].port, NETMAP_DIR_TX, RP_DROP_DISCARD), 2);
	talk(0, 1, HOST_BROADCAST, 0);
	expect_nothing(1);
	EXPECT_EQ(world_drops(&w, user[0].port, NETMAP_DIR_TX, RP_DROP_NOBODY), 1);
	close_ports(2);
}

/* Frames between netmap rings of different buffer sizes: pieces do not match. */
TEST(unicast_is_copied_once_whatever_its_pieces)
{
	struct rp_port_config cfg;
	uint64_t sent = 0;

	open_ports(1);
	cfg = world_rings_config(&w, "small");
	cfg.buf_bytes = 192;
	cfg.tx_slots = cfg.rx_slots = 1024;
	ring_user_open(&user[1], &w, world_add_port(&w, &cfg));
	talk(1, 2, 1, 0);
	expect_number(0, 0);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t len = 60 + i * 37 % 9000;

		frame_make(frame, len, 2, 1, i);
		EXPECT(ring_send(&user[0], frame, len) > 0);
		EXPECT_EQ(ring_get(&user[1], frame), len);
		EXPECT_EQ(frame_number(frame), i);
		EXPECT(frame_whole(frame, len));
		sent += len;
	}
	EXPECT_EQ(world_all_drops(&w, user[0].port, NETMAP_DIR_TX), 0);
	EXPECT_EQ(world_count(&w, user[0].port, NETMAP_DIR_TX)->copied, sent);
	EXPECT_EQ(world_count(&w, user[1].port, NETMAP_DIR_RX)->bytes, sent);
	close_ports(2);
}

TEST(every_frame_is_delivered_or_dropped_for_a_reason)
{
	uint64_t taken, delivered = 0, dropped = 0;
	uint32_t random = 1;

	open_ports(3);
	for (unsigned i = 0; i < 3; i++)
		talk(i, i + 1, i == 0 ? 2 : 1, 0);
	for (unsigned i = 0; i < 3; i++) {
		while (ring_get(&user[i], frame))
			;
	}
	taken = world_count(&w, user[0].port, NETMAP_DIR_TX)->frames;
	for (unsigned i = 1; i < 3; i++)
		delivered -= world_count(&w, user[i].port, NETMAP_DIR_RX)->frames;
	/* To both receivers, to itself and in lengths that are not allowed; nobody receives. */
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t len;

		random = random * 1103515245 + 12345;
		len = (random >> 8) % 100;
		frame_make(frame, len, 1 + (random >> 16) % 3, 1, i);
		EXPECT_EQ(ring_send(&user[0], frame, len), 1);
	}
	for (unsigned i = 1; i < 3; i++) {
		delivered += world_count(&w, user[i].port, NETMAP_DIR_RX)->frames;
		dropped += world_all_drops(&w, user[i].port, NETMAP_DIR_RX);
	}
	dropped += world_all_drops(&w, user[0].port, NETMAP_DIR_TX);
	EXPECT_EQ(world_count(&w, user[0].port, NETMAP_DIR_TX)->frames - taken, 1000);
	EXPECT_EQ(delivered, 2 * 63); /* one slot of each ring stays empty */
	EXPECT_EQ(delivered + dropped, 1000);
	close_ports(3);
}
