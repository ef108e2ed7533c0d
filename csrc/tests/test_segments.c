/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames made in software on their way through the switch: in order, each once, to whoever has room. */
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "offload.h"
#include "packets.h"
#include "vnet.h"
#include "world.h"

enum { GSO = 1000, SENDER = 1, GUEST = 2, RINGS = 3, SLOTS = 63 };

static struct world w;
static struct fake_guest a, b;
static struct ring_user r;
static struct fake_frame got;
static uint8_t frame[PACKET_MAX], want[PACKET_MAX];

/* The sender has every feature; the receiving guest lacks some. */
static void open_three(uint64_t b_without, int full)
{
	const struct fake_guest_config cfg_a = { .tx_buf_bytes = PACKET_MAX + 12,
						 .queue_size = 64 };
	const struct fake_guest_config cfg_b = { .features = fake_features() & ~b_without,
						 .queue_size = 1024 };
	struct rp_port_config port_a, port_b, port_r;

	world_open(&w);
	port_a = world_vhost_config(&w, "a");
	port_b = world_vhost_config(&w, "b");
	port_r = world_rings_config(&w, "r");
	port_a.worker = port_b.worker = -1;
	port_b.full = port_r.full = full;
	port_b.hold_us = port_r.hold_us = WORLD_FOREVER_US;
	fake_guest_open(&a, &cfg_a);
	fake_guest_open(&b, &cfg_b);
	fake_guest_connect(&a, w.dp, world_add_port(&w, &port_a));
	fake_guest_connect(&b, w.dp, world_add_port(&w, &port_b));
	ring_user_open(&r, &w, world_add_port(&w, &port_r));
	/* Both receivers say where they are, to each other. */
	frame_make(frame, 60, RINGS, GUEST, 0);
	EXPECT(fake_guest_send(&b, NULL, frame, 60, FAKE_PLAIN));
	fake_queue_kick(&b.tx);
	EXPECT_EQ(rp_port_txsync(w.caller, b.port, 0), 1);
	EXPECT_EQ(ring_get(&r, frame), 60);
	frame_make(frame, 60, SENDER, RINGS, 0);
	EXPECT_EQ(ring_send(&r, frame, 60), 1); /* the guest has no buffer for it */
	EXPECT_EQ(ring_rxsync(&r), 0);
}

static void close_three(void)
{
	ring_user_close(&r);
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
}

static struct packet tcp(unsigned to, uint32_t payload, uint16_t id)
{
	struct packet p = PACKET_TCP4;

	p.to = to;
	p.payload = payload;
	p.id = id;
	return p;
}

static void send(const struct packet *p, uint16_t gso_size, struct fake_layout layout)
{
	const struct virtio_net_hdr vnet = packet_vnet(p, gso_size);
	const uint32_t len = packet_make(frame, p, 0, false);

	EXPECT(fake_guest_send(&a, &vnet, frame, len, layout));
	fake_queue_kick(&a.tx);
}

static int sync(void)
{
	return rp_port_txsync(w.caller, a.port, 0);
}

static void expect_same(const uint8_t *bytes, uint32_t len, uint32_t want_len)
{
	EXPECT_EQ(len, want_len);
	EXPECT_EQ(memcmp(bytes, want, len), 0);
}

static void rings_get(const struct packet *p, uint32_t first, uint32_t behind)
{
	for (uint32_t i = first; i < behind; i++) {
		uint32_t len = packet_segment(want, p, GSO, i, true);

		expect_same(frame, ring_get(&r, frame), len);
	}
}

static void guest_gets(const struct packet *p, uint32_t first, uint32_t behind, bool complete)
{
	for (uint32_t i = first; i < behind; i++) {
		uint32_t len = packet_segment(want, p, GSO, i, complete);
		struct virtio_net_hdr vnet = { 0 };

		if (!complete)
			vnet = packet_vnet(p, 0);
		EXPECT(fake_guest_receive(&b, &got));
		expect_same(got.data, got.len, len);
		EXPECT_EQ(memcmp(&got.header.hdr, &vnet, sizeof(vnet)), 0);
	}
}

static uint64_t full_drops(int port)
{
	return world_drops(&w, port, NETMAP_DIR_RX, RP_DROP_FULL);
}

static const struct rp_ring_counters *count(void)
{
	return world_count(&w, a.port, NETMAP_DIR_TX);
}

TEST_FORMATS(a_ring_gets_segments_between_other_frames)
{
	const struct packet small = tcp(RINGS, 100, 1), large = tcp(RINGS, 20500, 2);

	open_three(0, RP_FULL_DROP);
	send(&small, 0, FAKE_PLAIN);
	send(&large, GSO, FAKE_PLAIN);
	send(&small, 0, FAKE_PLAIN);
	EXPECT_EQ(sync(), 3);
	EXPECT_EQ(fake_guest_sent(&a), 3);
	rings_get(&small, 0, 1);
	rings_get(&large, 0, 21);
	rings_get(&small, 0, 1);
	EXPECT_EQ(ring_get(&r, frame), 0);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	EXPECT_EQ(count()->segments, 21);
	EXPECT_EQ(count()->checksums, 2);
	EXPECT_EQ(world_count(&w, r.port, NETMAP_DIR_RX)->frames, 24);
	close_three();
}

TEST_FORMATS(a_guest_gets_what_it_agreed_to)
{
	const struct packet p = tcp(GUEST, 5500, 1);

	/* All of it. */
	open_three(0, RP_FULL_DROP);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	EXPECT(fake_guest_receive(&b, &got));
	EXPECT_EQ(got.header.hdr.gso_size, GSO);
	expect_same(got.data, got.len, packet_make(want, &p, 0, false));
	EXPECT_EQ(count()->segments, 0);
	close_three();
	/* Checksums only. */
	open_three(RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4), RP_FULL_DROP);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	guest_gets(&p, 0, 6, false);
	close_three();
	/* Nothing. */
	open_three(RP_VNET_FEATURES, RP_FULL_DROP);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	guest_gets(&p, 0, 6, true);
	close_three();
}

TEST(ecn_is_an_offload_of_its_own)
{
	struct packet p = tcp(GUEST, 5500, 1);

	p.tcp_flags |= 0x80; /* the congestion window was reduced: said once */
	open_three(RP_FEATURE(VIRTIO_NET_F_GUEST_ECN), RP_FULL_DROP);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	guest_gets(&p, 0, 6, false);
	close_three();
}

TEST(a_flooded_frame_reaches_each_as_it_agreed)
{
	const struct packet p = tcp(9, 5500, 1); /* nobody's */

	open_three(0, RP_FULL_DROP);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	rings_get(&p, 0, 6);
	EXPECT(fake_guest_receive(&b, &got));
	expect_same(got.data, got.len, packet_make(want, &p, 0, false));
	close_three();
}

/* More segments than the ring has slots, twice. */
TEST_FORMATS(a_frame_that_is_held_goes_on_where_it_stopped)
{
	const struct packet first = tcp(RINGS, 65000, 1), second = tcp(RINGS, 64001, 2);

	open_three(0, RP_FULL_HOLD);
	send(&first, GSO, (struct fake_layout){ 5, 4096, true });
	send(&second, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 0); /* 63 segments of 65 */
	EXPECT_EQ(sync(), 0);
	EXPECT_EQ(fake_guest_sent(&a), 0);
	rings_get(&first, 0, 3);
	EXPECT_EQ(ring_rxsync(&r), 0);
	EXPECT_EQ(sync(), 1); /* the last two, and one of the second frame */
	rings_get(&first, 3, 65);
	rings_get(&second, 0, 1);
	EXPECT_EQ(ring_rxsync(&r), 0);
	EXPECT_EQ(sync(), 0); /* all but the last one of it */
	rings_get(&second, 1, 64);
	EXPECT_EQ(ring_rxsync(&r), 0);
	EXPECT_EQ(sync(), 1);
	rings_get(&second, 64, 65);
	EXPECT_EQ(ring_get(&r, frame), 0);
	EXPECT_EQ(fake_guest_sent(&a), 2);
	EXPECT_EQ(full_drops(r.port), 0);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_three();
}

TEST_FORMATS(a_guest_that_posts_one_buffer_at_a_time_gets_each_segment_once)
{
	const struct packet p = tcp(GUEST, 20500, 1);

	open_three(RP_VNET_FEATURES, RP_FULL_HOLD);
	send(&p, GSO, (struct fake_layout){ 100, 333, true });
	EXPECT_EQ(sync(), 0);
	for (uint32_t i = 0; i < 21; i++) {
		EXPECT(!fake_guest_receive(&b, &got));
		EXPECT_EQ(fake_guest_post(&b, 1, 2048, FAKE_PLAIN), 1);
		EXPECT_EQ(sync(), i == 20);
		guest_gets(&p, i, i + 1, true);
	}
	EXPECT_EQ(fake_guest_sent(&a), 1);
	EXPECT_EQ(full_drops(b.port), 1); /* from the introduction */
	close_three();
}

/* What it could have taken whole is cut nevertheless: it has the first segments. */
TEST(a_held_frame_is_cut_to_its_end_whatever_the_receiver_learns)
{
	const struct packet p = tcp(GUEST, 9000, 1);
	struct rp_err err;

	open_three(RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4), RP_FULL_HOLD);
	fake_guest_post(&b, 4, 2048, FAKE_PLAIN);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 0);
	guest_gets(&p, 0, 4, false);
	EXPECT_OK(rp_vhost_features(w.dp, b.port, fake_features(), &err), err);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	guest_gets(&p, 4, 9, false);
	EXPECT(!fake_guest_receive(&b, &got));
	/* And the next one is not. */
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	EXPECT(fake_guest_receive(&b, &got));
	expect_same(got.data, got.len, packet_make(want, &p, 0, false));
	close_three();
}

TEST(what_a_full_receiver_misses_of_a_frame_is_one_drop)
{
	const struct packet large = tcp(RINGS, 65000, 1), small = tcp(RINGS, 100, 1);

	open_three(0, RP_FULL_DROP);
	send(&large, GSO, FAKE_PLAIN);
	send(&large, GSO, FAKE_PLAIN);
	send(&small, 0, FAKE_PLAIN);
	EXPECT_EQ(sync(), 3);
	EXPECT_EQ(fake_guest_sent(&a), 3);
	rings_get(&large, 0, SLOTS);
	EXPECT_EQ(full_drops(r.port), 3);
	EXPECT_EQ(ring_rxsync(&r), 0);
	send(&small, 0, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	rings_get(&small, 0, 1);
	close_three();
}

TEST(a_frame_that_is_held_goes_with_its_ring)
{
	const struct packet p = tcp(RINGS, 65000, 1), q = tcp(RINGS, 2000, 2);

	open_three(0, RP_FULL_HOLD);
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 0);
	fake_guest_disconnect(&a);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_RESET), 1);
	EXPECT_EQ(fake_guest_sent(&a), 1);
	fake_guest_connect(&a, w.dp, a.port);
	rings_get(&p, 0, SLOTS);
	EXPECT_EQ(ring_rxsync(&r), 0);
	send(&q, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 1);
	rings_get(&q, 0, 2);
	close_three();
}

/* Buffers in so many descriptors that a lease has no pieces left for the next segment. */
TEST_FORMATS(segments_go_on_with_the_next_lease)
{
	const struct packet p = tcp(GUEST, 50000, 1);

	open_three(RP_VNET_FEATURES, RP_FULL_DROP);
	EXPECT_EQ(fake_guest_post(&b, 50, 1100, (struct fake_layout){ 0, 6, true }), 50);
	send(&p, GSO, (struct fake_layout){ 31, 997, true });
	EXPECT_EQ(sync(), 1);
	guest_gets(&p, 0, 50, true);
	EXPECT_EQ(full_drops(b.port), 1); /* from the introduction */
	EXPECT(world_count(&w, b.port, NETMAP_DIR_RX)->batches > 1);
	close_three();
}

TEST(a_frame_that_cannot_be_cut_is_counted_between_others)
{
	const struct packet p = tcp(RINGS, 3000, 1);
	const struct virtio_net_hdr vnet = packet_vnet(&p, GSO);
	uint32_t len;

	open_three(0, RP_FULL_DROP);
	send(&p, GSO, FAKE_PLAIN);
	len = packet_make(frame, &p, 0, false);
	frame[packet_ip_at(&p) + 9] = 17; /* UDP */
	EXPECT(fake_guest_send(&a, &vnet, frame, len, FAKE_PLAIN));
	send(&p, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 3);
	rings_get(&p, 0, 3);
	rings_get(&p, 0, 3);
	EXPECT_EQ(ring_get(&r, frame), 0);
	EXPECT_EQ(world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_HEADER), 1);
	close_three();
}

static void set_mtu(int port, uint32_t mtu)
{
	struct rp_err err;

	EXPECT_OK(rp_port_set_mtu(w.dp, port, mtu, &err), err);
}

static uint64_t mtu_drops(void)
{
	return world_drops(&w, a.port, NETMAP_DIR_TX, RP_DROP_MTU);
}

static void send_plain(unsigned to, uint32_t len)
{
	frame_make(frame, len, to, SENDER, len);
	EXPECT(fake_guest_send(&a, NULL, frame, len, FAKE_PLAIN));
	fake_queue_kick(&a.tx);
	EXPECT_EQ(sync(), 1);
}

TEST_FORMATS(frames_longer_than_the_mtu_are_dropped_at_their_sender)
{
	static const uint32_t mtus[] = { 68, 1500, 9000, 65535 };

	open_three(0, RP_FULL_DROP);
	for (unsigned i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
		const uint32_t longest = mtus[i] + FRAME_ETH + 4;
		const uint64_t before = mtu_drops();

		set_mtu(r.port, mtus[i]);
		set_mtu(b.port, mtus[i]);
		fake_guest_post(&b, 64, 2048, FAKE_PLAIN);
		send_plain(RINGS, longest);
		EXPECT_EQ(ring_get(&r, want), longest);
		EXPECT(frame_whole(want, longest));
		EXPECT_EQ(ring_rxsync(&r), 0);
		send_plain(GUEST, longest);
		EXPECT(fake_guest_receive(&b, &got));
		EXPECT_EQ(got.len, longest);
		EXPECT(frame_whole(got.data, longest));
		EXPECT_EQ(mtu_drops(), before);
		send_plain(RINGS, longest + 1);
		send_plain(GUEST, longest + 1);
		EXPECT_EQ(mtu_drops(), before + 2);
		EXPECT_EQ(ring_get(&r, frame), 0);
		EXPECT(!fake_guest_receive(&b, &got));
	}
	close_three();
}

/* Whole for a guest that takes it so, in segments for a ring: both are measured by the segments. */
TEST(segments_longer_than_the_mtu_are_dropped_at_their_sender)
{
	const struct packet to_guest = tcp(GUEST, 9000, 1), to_rings = tcp(RINGS, 9000, 1);

	open_three(0, RP_FULL_DROP);
	fake_guest_post(&b, 16, 2048, FAKE_PLAIN);
	set_mtu(b.port, 20 + 20 + GSO);
	set_mtu(r.port, 20 + 32 + GSO);
	send(&to_guest, GSO, FAKE_PLAIN);
	send(&to_rings, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 2);
	EXPECT(fake_guest_receive(&b, &got));
	rings_get(&to_rings, 0, 9);
	EXPECT_EQ(mtu_drops(), 0);
	set_mtu(b.port, 20 + 20 + GSO - 4 - 1);
	set_mtu(r.port, 20 + 20 + GSO - 4 - 1);
	send(&to_guest, GSO, FAKE_PLAIN);
	send(&to_rings, GSO, FAKE_PLAIN);
	EXPECT_EQ(sync(), 2);
	EXPECT_EQ(mtu_drops(), 2);
	EXPECT_EQ(ring_get(&r, frame), 0);
	EXPECT(!fake_guest_receive(&b, &got));
	close_three();
}

/* A turn has 1 MiB of frames, or fewer if they may have to be cut small. */
TEST(a_turn_is_bounded_in_bytes_and_segments)
{
	const struct packet p = tcp(GUEST, 65000, 1);

	open_three(0, RP_FULL_DROP);
	fake_guest_post(&b, 1024, 2048, FAKE_PLAIN);
	frame_make(frame, 65000, GUEST, SENDER, 0);
	for (unsigned i = 0; i < 40; i++)
		EXPECT(fake_guest_send(&a, NULL, frame, 65000, FAKE_PLAIN));
	fake_queue_kick(&a.tx);
	EXPECT_EQ(sync(), 40);
	EXPECT_EQ(count()->batches, 3); /* of 17 frames, and what is left */
	EXPECT_EQ(fake_guest_sent(&a), 40);
	for (unsigned i = 0; i < 40; i++)
		send(&p, 48, FAKE_PLAIN);
	EXPECT_EQ(sync(), 40);
	EXPECT_EQ(count()->batches, 3 + 20); /* of 2 frames */
	close_three();
}

TEST(so_is_the_turn_of_a_ring_with_large_buffers)
{
	enum { FRAMES = 100, LONG = 32000 };
	struct rp_port_config cfg;
	struct ring_user large;

	open_three(0, RP_FULL_DROP);
	cfg = world_rings_config(&w, "large");
	cfg.tx_slots = cfg.rx_slots = 128;
	cfg.buf_bytes = 32768;
	ring_user_open(&large, &w, world_add_port(&w, &cfg));
	frame_make(frame, LONG, RINGS, 7, 0);
	for (unsigned i = 0; i < FRAMES; i++)
		ring_put(&large, frame, LONG);
	EXPECT_EQ(ring_txsync(&large), FRAMES);
	EXPECT_EQ(world_count(&w, large.port, NETMAP_DIR_TX)->frames, FRAMES);
	EXPECT_EQ(world_count(&w, large.port, NETMAP_DIR_TX)->batches, 4); /* of 33 frames */
	ring_user_close(&large);
	close_three();
}
