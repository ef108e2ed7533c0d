/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that arrived is announced: its switch knows where it is, and so do all others. */
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 9 };

static struct world w;
static struct ring_user a, b;
static struct rp_err err;
static uint8_t got[FRAME_MAX];

static void open_world(void)
{
	world_open(&w);
	ring_user_open(&a, &w, world_add_rings(&w, "a"));
	ring_user_open(&b, &w, world_add_rings(&w, "b"));
}

static void close_world(void)
{
	ring_user_close(&a);
	ring_user_close(&b);
	world_close(&w);
}

TEST(the_others_get_a_reverse_arp_request_and_the_port_itself_gets_none)
{
	static const uint8_t fixed[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };

	open_world();
	EXPECT_OK(rp_port_announce(w.dp, a.port, mac, &err), err);
	EXPECT_EQ(ring_get(&b, got), 60);
	EXPECT(!memcmp(got, "\xff\xff\xff\xff\xff\xff", 6));
	EXPECT(!memcmp(got + 6, mac, 6));
	EXPECT(!memcmp(got + 12, fixed, sizeof(fixed)));
	EXPECT(!memcmp(got + 22, mac, 6)); /* the sender */
	EXPECT(!memcmp(got + 32, mac, 6)); /* the target */
	EXPECT_EQ(ring_get(&b, got), 0);
	EXPECT_EQ(ring_get(&a, got), 0);
	EXPECT_EQ(world_count(&w, a.port, NETMAP_DIR_TX)->frames, 0);
	close_world();
}

TEST(the_switch_learns_the_address_where_it_was_announced)
{
	struct rp_fdb_row rows[4];

	open_world();
	EXPECT_OK(rp_port_announce(w.dp, a.port, mac, &err), err);
	EXPECT_EQ(rp_switch_fdb(w.dp, w.sw, rows, 4, &err), 1);
	EXPECT(!memcmp(rows[0].mac, mac, 6));
	EXPECT_EQ(rows[0].port, a.port);
	EXPECT_OK(rp_port_announce(w.dp, b.port, mac, &err), err);
	EXPECT_EQ(rp_switch_fdb(w.dp, w.sw, rows, 4, &err), 1);
	EXPECT_EQ(rows[0].port, b.port);
	close_world();
}

TEST(guests_hear_of_it_and_full_ones_lose_it)
{
	const struct fake_guest_config plain = { 0 };
	static struct fake_frame frame;
	struct fake_guest guest;

	open_world();
	fake_guest_open(&guest, &plain);
	fake_guest_connect(&guest, w.dp, world_add_vhost(&w, "guest"));
	EXPECT_OK(rp_port_announce(w.dp, a.port, mac, &err), err);
	EXPECT_EQ(world_drops(&w, guest.port, NETMAP_DIR_RX, RP_DROP_FULL), 1);
	EXPECT_EQ(fake_guest_post(&guest, 1, 128, FAKE_PLAIN), 1);
	EXPECT_OK(rp_port_announce(w.dp, a.port, mac, &err), err);
	EXPECT(fake_guest_receive(&guest, &frame));
	EXPECT_EQ(frame.len, 60);
	EXPECT(!memcmp(frame.data + 6, mac, 6));
	world_close(&w);
	fake_guest_close(&guest);
}

TEST(a_port_without_a_switch_has_nobody_to_tell)
{
	struct rp_port_config cfg;

	world_open(&w);
	cfg = world_rings_config(&w, "null");
	cfg.kind = RP_KIND_NULL;
	EXPECT_OK(rp_port_announce(w.dp, world_add_port(&w, &cfg), mac, &err), err);
	EXPECT(rp_port_announce(w.dp, 77, mac, &err) < 0);
	world_close(&w);
}
