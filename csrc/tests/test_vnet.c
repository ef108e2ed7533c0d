/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtio-net headers in netmap rings: the same frames arrive as between virtqueues. */
#include "vnet.h"

#include <errno.h>

#include "check.h"
#include "csum.h"
#include "fake_guest.h"
#include "frames.h"
#include "packets.h"
#include "world.h"

enum { SLOTS = 2048, HEADER = sizeof(struct virtio_net_hdr_mrg_rxbuf) };

static struct world w;
static uint8_t bytes[HEADER + PACKET_MAX], got[FRAME_MAX], want[PACKET_MAX];
static struct fake_frame received;

/* A port, by its rings or by its virtqueues. */
struct end {
	bool rings;
	int port;
	struct ring_user u;
	struct fake_guest g;
};

static struct end a, b;

static int set_vnet(int port, uint32_t header, uint64_t features)
{
	struct rp_err err;
	const int ret = rp_port_vnet(w.dp, port, header, features, &err);

	if (ret < 0)
		rp_test_note("%s", err.text);
	return ret;
}

static struct rp_port_config rings_config(const char *name)
{
	struct rp_port_config cfg = world_rings_config(&w, name);

	cfg.tx_slots = cfg.rx_slots = SLOTS;
	return cfg;
}

static void end_open(struct end *e, const char *name, bool rings, uint64_t features)
{
	const struct fake_guest_config guest = {
		.features = (fake_features() & ~RP_VNET_FEATURES) | features,
		.queue_size = 1024,
		.tx_buf_bytes = PACKET_MAX + HEADER,
	};
	struct rp_port_config cfg = rings ? rings_config(name) : world_vhost_config(&w, name);

	cfg.worker = -1;
	e->rings = rings;
	e->port = world_add_port(&w, &cfg);
	if (rings) {
		ring_user_open(&e->u, &w, e->port);
		EXPECT_EQ(set_vnet(e->port, HEADER, features), 0);
		return;
	}
	fake_guest_open(&e->g, &guest);
	fake_guest_connect(&e->g, w.dp, e->port);
}

static void end_close(struct end *e)
{
	world_del_port(&w, e->port);
	if (e->rings)
		ring_user_close(&e->u);
	else
		fake_guest_close(&e->g);
}

static void open_ends(bool a_rings, uint64_t a_features, bool b_rings, uint64_t b_features)
{
	world_open(&w);
	end_open(&a, "a", a_rings, a_features);
	end_open(&b, "b", b_rings, b_features);
}

static void close_ends(void)
{
	end_close(&a);
	end_close(&b);
	world_close(&w);
}

/* Into slots: the first one of @first bytes, header included, all others of @then at most. */
static void put_pieces(struct ring_user *u, uint32_t len, uint32_t first, uint32_t then)
{
	uint32_t n = first;

	for (uint32_t at = 0; at < len; at += n, n = then) {
		if (len - at < n)
			n = len - at;
		ring_put_slot(u, bytes + at, n, at + n < len ? NS_MOREFRAG : 0);
	}
}

/* bytes[] is the header and @len bytes behind it. */
static void end_send(struct end *e, uint32_t len, uint32_t first)
{
	struct virtio_net_hdr vnet;

	if (e->rings) {
		put_pieces(&e->u, HEADER + len, first, e->u.buf_bytes);
	} else {
		memcpy(&vnet, bytes, sizeof(vnet));
		EXPECT(fake_guest_send(&e->g, &vnet, bytes + HEADER, len, FAKE_PLAIN));
		fake_queue_kick(&e->g.tx);
	}
	EXPECT(rp_port_txsync(w.caller, e->port, 0) > 0);
	if (!e->rings)
		EXPECT_EQ(fake_guest_sent(&e->g), 1);
}

/* Take a frame: received.header.hdr, received.data. False: there is none. */
static bool end_get(struct end *e)
{
	uint32_t len;

	if (!e->rings)
		return fake_guest_receive(&e->g, &received);
	len = ring_get(&e->u, got);
	if (!len)
		return false;
	EXPECT(len >= HEADER + FRAME_ETH);
	memcpy(&received.header, got, HEADER);
	EXPECT_EQ(received.header.num_buffers, 1);
	received.len = len - HEADER;
	memcpy(received.data, got + HEADER, received.len);
	return true;
}

static void end_post(struct end *e)
{
	if (!e->rings)
		fake_guest_post(&e->g, 1024, 2048, FAKE_PLAIN);
}

/* What became of a frame. */
struct outcome {
	uint32_t frames;
	uint64_t digest; /* of the frames with their headers */
	uint64_t drops[RP_DROP_REASONS];
};

static uint64_t digest(uint64_t before, const void *data, uint32_t n)
{
	const uint8_t *at = data;

	for (uint32_t i = 0; i < n; i++)
		before = (before ^ at[i]) * UINT64_C(0x100000001b3);
	return before;
}

static struct outcome pass(uint32_t len, uint32_t first)
{
	struct outcome o = { 0 };

	end_post(&b);
	end_send(&a, len, first);
	while (end_get(&b)) {
		o.frames++;
		o.digest = digest(o.digest, &received.header.hdr, sizeof(received.header.hdr));
		o.digest = digest(o.digest, received.data, received.len);
	}
	memcpy(o.drops, world_count(&w, a.port, NETMAP_DIR_TX)->drops, sizeof(o.drops));
	EXPECT(!world_broken(&w, a.port) && !world_broken(&w, b.port));
	return o;
}

static uint64_t seed;

/* Not 0 to @n. */
static uint32_t below(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % n;
}

/* A packet that a driver might send, and now and then a lie. Return: its length */
static uint32_t invent(void)
{
	struct packet p = {
		.from = 1,
		.to = 2,
		.vlans = below(4),
		.ipv6 = below(2),
		.ip_options = below(3) * 4,
		.extension = { 0xff, 0xff, 0xff },
		.udp = below(4) == 0,
		.tcp_options = below(3) * 12,
		.tcp_flags = (uint8_t)below(256),
		.id = (uint16_t)below(65536),
		.seq = below(UINT32_MAX),
		.payload = below(below(2) ? 200 : 65000),
	};
	struct virtio_net_hdr_mrg_rxbuf header = { 0 };
	uint32_t len;

	if (p.ipv6 && below(2))
		p.extension[0] = below(2) ? 0 : 60;
	len = packet_make(bytes + HEADER, &p, 0, false);
	if (below(8))
		header.hdr =
			packet_vnet(&p, p.udp || below(3) == 0 ? 0 : (uint16_t)(500 + below(1000)));
	memcpy(bytes, &header, HEADER);
	for (unsigned lies = below(6) ? 0 : below(4); lies; lies--)
		bytes[below(sizeof(header.hdr))] = (uint8_t)below(256);
	if (below(50) == 0)
		len = below(FRAME_ETH + 2);
	return len;
}

/* One in @odds is missing. */
static uint64_t some_features(uint32_t odds)
{
	uint64_t features = 0;

	for (unsigned bit = 0; bit < 64; bit++)
		features |= below(odds) ? RP_VNET_FEATURES & UINT64_C(1) << bit : 0;
	return features;
}

enum { FRAMES = 60 };

/* 0: virtqueues to virtqueues, as all others must do it. */
static void try(unsigned kind, uint64_t from, struct outcome *o)
{
	uint64_t features;
	uint32_t len;

	seed = from * UINT64_C(0x9e3779b97f4a7c15);
	features = some_features(16);
	open_ends(kind & 1, features, kind & 2, some_features(2));
	for (unsigned i = 0; i < FRAMES; i++) {
		len = invent();
		o[i] = pass(len, HEADER + (below(2) ? 0 : below(len < 2000 ? len + 1 : 2000)));
	}
	close_ends();
}

static void expect_alike(const struct outcome *o, const struct outcome *as)
{
	EXPECT_EQ(o->frames, as->frames);
	EXPECT_EQ(o->digest, as->digest);
	for (int i = 0; i < RP_DROP_REASONS; i++)
		EXPECT_EQ(o->drops[i], as->drops[i]);
}

TEST(rings_with_headers_are_like_virtqueues)
{
	static struct outcome as[FRAMES], o[FRAMES];
	uint64_t frames = 0, lies = 0, alone = 0;

	for (uint64_t from = 1; from < 10; from++) {
		try(0, from, as);
		for (unsigned i = 0; i < FRAMES; i++) {
			frames += as[i].frames;
			alone += as[i].frames == 1;
		}
		lies += as[FRAMES - 1].drops[RP_DROP_HEADER];
		for (unsigned kind = 1; kind < 4; kind++) {
			try(kind, from, o);
			for (unsigned i = 0; i < FRAMES; i++) {
				rp_test_note("kind %u from %llu, frame %u", kind,
					     (unsigned long long)from, i);
				expect_alike(&o[i], &as[i]);
			}
		}
	}
	/* Whole frames, frames in segments, and lies: none of them is tried by chance only. */
	EXPECT(alone > 150 && frames > 500 && lies > 25);
}

static void header_of(const struct packet *p, uint16_t gso_size)
{
	const struct virtio_net_hdr_mrg_rxbuf header = { .hdr = packet_vnet(p, gso_size) };

	memcpy(bytes, &header, HEADER);
}

TEST(a_segment_of_64_kb_arrives_as_it_was_sent)
{
	struct packet p = PACKET_TCP4;
	uint32_t len;

	open_ends(true, RP_VNET_FEATURES, true, RP_VNET_FEATURES);
	for (p.payload = 64000; p.payload < 65400; p.payload += 100) {
		len = packet_make(bytes + HEADER, &p, 0, false);
		header_of(&p, 1448);
		end_send(&a, len, 2048);
		EXPECT(end_get(&b));
		EXPECT_EQ(received.len, len);
		EXPECT_EQ(memcmp(received.data, bytes + HEADER, len), 0);
		EXPECT_EQ(memcmp(&received.header.hdr, bytes, sizeof(received.header.hdr)), 0);
		EXPECT(!end_get(&b));
	}
	EXPECT_EQ(world_count(&w, a.port, NETMAP_DIR_TX)->segments, 0);
	close_ends();
}

TEST(a_full_ring_of_small_frames_has_a_header_each)
{
	open_ends(true, RP_VNET_FEATURES, true, RP_VNET_FEATURES);
	for (unsigned round = 0; round < 3; round++) {
		memset(bytes, 0, HEADER);
		for (uint32_t i = 0; i < SLOTS - 1; i++) {
			frame_make(bytes + HEADER, 60 + i % 200, 2, 1, i);
			put_pieces(&a.u, HEADER + 60 + i % 200, HEADER + 60 + i % 200, 1);
		}
		for (uint32_t sent = 0; sent < SLOTS - 1;)
			sent += (uint32_t)ring_txsync(&a.u);
		for (uint32_t i = 0; i < SLOTS - 1; i++) {
			EXPECT(end_get(&b));
			EXPECT_EQ(received.len, 60 + i % 200);
			EXPECT_EQ(frame_number(received.data), i);
			EXPECT(frame_whole(received.data, received.len));
			EXPECT_EQ(received.header.hdr.flags | received.header.hdr.gso_type, 0);
		}
		EXPECT(!end_get(&b));
	}
	close_ends();
}

static uint64_t a_drops(enum rp_drop reason)
{
	return world_drops(&w, a.port, NETMAP_DIR_TX, reason);
}

TEST(a_header_lies_in_the_first_slot)
{
	open_ends(true, 0, true, 0);
	memset(bytes, 0, HEADER);
	frame_make(bytes + HEADER, 100, 2, 1, 7);
	for (uint32_t first = 1; first < HEADER; first++) {
		put_pieces(&a.u, HEADER + 100, first, 200);
		EXPECT(ring_txsync(&a.u) > 0);
		EXPECT_EQ(a_drops(RP_DROP_HEADER), first);
		EXPECT(!end_get(&b));
	}
	for (uint32_t first = HEADER; first <= HEADER + 100; first++) {
		put_pieces(&a.u, HEADER + 100, first, 200);
		EXPECT(ring_txsync(&a.u) > 0);
		EXPECT(end_get(&b));
		EXPECT(frame_whole(received.data, 100));
	}
	for (uint32_t len = 1; len < HEADER + FRAME_ETH; len++) {
		put_pieces(&a.u, len, len, 1);
		EXPECT_EQ(ring_txsync(&a.u), 1);
		EXPECT_EQ(a_drops(RP_DROP_SHORT), len);
	}
	EXPECT(!end_get(&b));
	close_ends();
}

TEST(a_header_counts_among_the_bytes_of_a_slot)
{
	open_ends(true, 0, true, 0);
	memset(bytes, 0, HEADER);
	for (uint32_t len = 2048 - HEADER - 2; len < 2048 + 2; len++) {
		frame_make(bytes + HEADER, len, 2, 1, len);
		end_send(&a, len, 2048);
		EXPECT_EQ(ring_rxsync(&b.u), 0);
		EXPECT_EQ(ring_space(b.u.rx), len + HEADER > 2048 ? 2 : 1);
		EXPECT(end_get(&b));
		EXPECT_EQ(received.len, len);
		EXPECT(frame_whole(received.data, len));
	}
	close_ends();
}

/* Ten bytes, and a receiver that has no header at all. */
TEST(every_port_has_a_header_of_its_own)
{
	struct packet p = PACKET_TCP4;

	open_ends(true, RP_VNET_FEATURES, true, 0);
	EXPECT_EQ(set_vnet(a.port, 10, RP_VNET_FEATURES), 0);
	EXPECT_EQ(set_vnet(b.port, 0, 0), 0);
	for (p.payload = 100; p.payload < 5000; p.payload += 400) {
		const struct virtio_net_hdr vnet = packet_vnet(&p, 1000);
		const uint32_t len = packet_make(bytes + sizeof(vnet), &p, 0, false);
		uint32_t n = 0;

		memcpy(bytes, &vnet, sizeof(vnet));
		put_pieces(&a.u, sizeof(vnet) + len, 2048, 2048);
		EXPECT(ring_txsync(&a.u) > 0);
		for (uint32_t get; (get = ring_get(&b.u, got)); n++) {
			EXPECT_EQ(get, packet_segment(want, &p, 1000, n, true));
			EXPECT_EQ(memcmp(got, want, get), 0);
		}
		EXPECT_EQ(n, packet_segments(&p, 1000));
	}
	close_ends();
}

TEST(rings_too_small_for_large_segments_get_small_ones)
{
	struct packet p = PACKET_TCP4;
	struct rp_port_config cfg;
	struct ring_user small;
	uint32_t n = 0;

	world_open(&w);
	end_open(&a, "a", true, RP_VNET_FEATURES);
	cfg = world_rings_config(&w, "small");
	cfg.tx_slots = cfg.rx_slots = 32;
	ring_user_open(&small, &w, world_add_port(&w, &cfg));
	EXPECT_EQ(set_vnet(small.port, HEADER, RP_VNET_FEATURES), 0);
	p.payload = 20000;
	packet_make(bytes + HEADER, &p, 0, false);
	header_of(&p, 1000);
	end_send(&a, packet_len(&p), 2048);
	for (uint32_t get; (get = ring_get(&small, got)); n++) {
		/* It completes checksums itself, and is told where. */
		EXPECT_EQ(get, HEADER + packet_segment(want, &p, 1000, n, false));
		EXPECT_EQ(memcmp(got + HEADER, want, get - HEADER), 0);
		EXPECT_EQ(got[0], VIRTIO_NET_HDR_F_NEEDS_CSUM);
	}
	EXPECT_EQ(n, 20);
	ring_user_close(&small);
	end_close(&a);
	world_close(&w);
}

TEST(frames_with_headers_begin_where_their_slots_say)
{
	struct netmap_slot *slot;
	struct rp_err err;

	open_ends(true, 0, true, 0);
	EXPECT_EQ(rp_port_offsets(w.dp, a.port, 16, 2048 - HEADER - FRAME_ETH + 1, 0, &err),
		  -EINVAL);
	EXPECT_OK(rp_port_offsets(w.dp, a.port, 16, 512, 0, &err), err);
	EXPECT_OK(rp_port_offsets(w.dp, b.port, 16, 2048 - HEADER - FRAME_ETH, 128, &err), err);
	memset(bytes, 0, HEADER);
	frame_make(bytes + HEADER, 1400, 2, 1, 9);
	slot = &a.u.tx->slot[a.u.tx->head];
	slot->ptr = 500;
	memcpy(ring_user_buf(&a.u, slot->buf_idx) + 500, bytes, HEADER + 1400);
	slot->len = HEADER + 1400;
	a.u.tx->head = a.u.tx->cur = ring_next(a.u.tx, a.u.tx->head);
	EXPECT_EQ(ring_txsync(&a.u), 1);
	EXPECT_EQ(ring_rxsync(&b.u), 0);
	/* Whatever offset its user chooses, 26 bytes of a slot are sure. */
	EXPECT_EQ(ring_space(b.u.rx), (HEADER + 1400 + 25) / 26);
	for (uint32_t at = 0; at < HEADER + 1400; at += slot->len) {
		slot = &b.u.rx->slot[b.u.rx->head];
		EXPECT_EQ(slot->ptr, 128);
		memcpy(got + at, ring_user_buf(&b.u, slot->buf_idx) + 128, slot->len);
		b.u.rx->head = b.u.rx->cur = ring_next(b.u.rx, b.u.rx->head);
	}
	EXPECT(frame_whole(got + HEADER, 1400));
	EXPECT_EQ(ring_space(b.u.rx), 0);
	close_ends();
}

TEST(what_is_no_header_is_refused_with_the_reason)
{
	static const uint32_t lengths[] = { 1, 9, 11, 13, 14, 2048, UINT32_MAX };
	struct rp_port_config cfg;
	struct rp_err err;
	int port;

	open_ends(true, 0, false, 0);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		EXPECT_EQ(rp_port_vnet(w.dp, a.port, lengths[i], 0, &err), -EINVAL);
		EXPECT_TEXT(err.text, "it has 10 or 12");
	}
	EXPECT_EQ(rp_vnet_offered(), RP_VNET_FEATURES);
	EXPECT_EQ(rp_port_vnet(w.dp, a.port, 0, 1, &err), -EINVAL);
	EXPECT_TEXT(err.text, "with a header of 0 bytes 0x0 is offered");
	EXPECT_EQ(rp_port_vnet(w.dp, a.port, 12, RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF), &err),
		  -EINVAL);
	EXPECT_TEXT(err.text, "is offered");
	EXPECT_EQ(rp_port_vnet(w.dp, b.port, 12, 0, &err), -EINVAL);
	EXPECT_TEXT(err.text, "its rings are not netmap's");
	EXPECT_EQ(rp_port_vnet(w.dp, 77, 12, 0, &err), -ENOENT);
	cfg = world_rings_config(&w, "monitor");
	cfg.kind = RP_KIND_MONITOR;
	port = world_add_port(&w, &cfg);
	EXPECT_EQ(rp_port_vnet(w.dp, port, 12, 0, &err), -EINVAL);
	EXPECT_TEXT(err.text, "without virtio-net header");
	close_ends();
}

static int bind_all(int port)
{
	const struct rp_bind_config cfg = { .port = port, .host_port = -1, .tx_n = 1, .rx_n = 1 };
	struct rp_bind_info info;
	struct rp_err err;
	int binding = rp_binding_add(w.dp, &cfg, &info, &err);

	EXPECT_OK(binding, err);
	return binding;
}

static void unbind(int binding)
{
	struct rp_err err;

	EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
}

TEST(a_header_goes_with_the_open_that_brought_it)
{
	int one, two;

	open_ends(true, 0, true, 0);
	EXPECT_EQ(set_vnet(a.port, 0, 0), 0);
	one = bind_all(a.port);
	two = bind_all(a.port);
	EXPECT_EQ(set_vnet(a.port, 10, RP_VNET_FEATURES), 0);
	unbind(one);
	EXPECT_EQ(world_status(&w, a.port).net_header, 10);
	unbind(two);
	EXPECT_EQ(world_status(&w, a.port).net_header, 0);
	EXPECT_EQ(set_vnet(a.port, 12, RP_VNET_FEATURES), 0);
	unbind(bind_all(a.port));
	EXPECT_EQ(world_status(&w, a.port).net_header, 12);
	close_ends();
}

/* Frames that wait for a receiver are dropped; those behind them are read as the ring is now. */
TEST(a_header_changes_while_frames_wait)
{
	open_ends(true, RP_VNET_FEATURES, true, 0);
	world_set_full(&w, b.port, RP_FULL_HOLD, WORLD_FOREVER_US);
	memset(bytes, 0, HEADER);
	frame_make(bytes + HEADER, 60, 1, 2, 0);
	end_send(&b, 60, 100); /* says where host 2 is: a flooded frame waits for nobody */
	while (end_get(&a))
		;
	frame_make(bytes + HEADER, 60, 2, 1, 1);
	for (uint32_t i = 0; i < SLOTS - 1; i++)
		end_send(&a, 60, 100);
	ring_put_slot(&a.u, bytes, HEADER + 60, 0);
	EXPECT_EQ(ring_txsync(&a.u), 0);
	EXPECT_EQ(set_vnet(a.port, 0, 0), 0);
	EXPECT_EQ(a_drops(RP_DROP_RESET), 1);
	for (uint32_t i = 0; i < SLOTS - 1; i++)
		EXPECT(end_get(&b));
	EXPECT(!end_get(&b));
	frame_make(got, 60, 2, 1, 2);
	EXPECT_EQ(ring_send(&a.u, got, 60), 1);
	EXPECT(end_get(&b));
	EXPECT_EQ(frame_number(received.data), 2);
	EXPECT_EQ(received.header.hdr.flags, 0);
	close_ends();
}

TEST(a_copying_monitor_shows_frames_without_header)
{
	struct packet p = PACKET_TCP4;
	struct rp_port_config cfg;
	struct ring_user m;
	struct rp_err err;
	uint32_t len;

	open_ends(true, RP_VNET_FEATURES, true, RP_VNET_FEATURES);
	cfg = rings_config("monitor");
	cfg.kind = RP_KIND_MONITOR;
	ring_user_open(&m, &w, world_add_port(&w, &cfg));
	EXPECT_OK(rp_monitor_attach(w.dp, m.port, a.port, RP_MONITOR_TX | RP_MONITOR_RX, &err),
		  err);
	p.payload = 30000;
	len = packet_make(bytes + HEADER, &p, 0, false);
	header_of(&p, 1000);
	end_send(&a, len, HEADER);
	EXPECT_EQ(ring_get(&m, got), len);
	EXPECT_EQ(memcmp(got, bytes + HEADER, len), 0);
	p.from = 2;
	p.to = 1;
	len = packet_make(bytes + HEADER, &p, 0, false);
	end_send(&b, len, 2048);
	EXPECT_EQ(ring_get(&m, got), len);
	EXPECT_EQ(memcmp(got, bytes + HEADER, len), 0);
	ring_user_close(&m);
	close_ends();
}

static int add_end(const char *name, int region)
{
	struct rp_port_config cfg = world_rings_config(&w, name);

	cfg.kind = RP_KIND_LINK;
	cfg.region = region;
	cfg.csb = 1;
	return world_add_port(&w, &cfg);
}

TEST(both_ends_of_a_pipe_have_the_same_header)
{
	const struct rp_region_config cfg = { .name = "pipe", .buf_max = 1024 };
	const uint64_t all = RP_VNET_FEATURES;
	const uint64_t less = all & ~RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4);
	int region, one, other, left, right;
	struct rp_err err;

	world_open(&w);
	region = rp_region_add(w.dp, &cfg, &err);
	EXPECT_OK(region, err);
	one = add_end("one", region);
	other = add_end("other", region);
	EXPECT_OK(rp_port_link(w.dp, one, other, &err), err);
	EXPECT_EQ(set_vnet(one, 12, all), 0);
	EXPECT_EQ(world_status(&w, other).net_header, 12);
	EXPECT_EQ(set_vnet(other, 0, 0), 0); /* nobody is there to mind */
	EXPECT_EQ(world_status(&w, one).net_header, 0);
	left = bind_all(one);
	EXPECT_EQ(rp_port_vnet(w.dp, other, 12, all, &err), -EBUSY);
	EXPECT_TEXT(err.text, "both ends must have the same");
	EXPECT_EQ(set_vnet(one, 12, all), 0);
	EXPECT_EQ(rp_port_vnet(w.dp, other, 10, all, &err), -EBUSY);
	EXPECT_EQ(rp_port_vnet(w.dp, other, 12, less, &err), -EBUSY);
	EXPECT_TEXT(err.text, "do not suit");
	EXPECT_EQ(set_vnet(other, 12, all), 0);
	right = bind_all(other);
	unbind(left);
	EXPECT_EQ(world_status(&w, one).net_header, 12);
	EXPECT_EQ(rp_port_vnet(w.dp, one, 0, 0, &err), -EBUSY);
	unbind(right);
	EXPECT_EQ(set_vnet(one, 0, 0), 0);
	EXPECT_EQ(world_status(&w, other).net_header, 0);
	world_close(&w);
}

TEST(a_receiver_suits_who_sends_no_more_than_it_takes)
{
	EXPECT_EQ(rp_vnet_turned(RP_VNET_FEATURES), RP_VNET_FEATURES);
	for (unsigned bit = 0; bit < 64; bit++) {
		const uint64_t one = RP_VNET_FEATURES & UINT64_C(1) << bit;

		EXPECT_EQ(rp_vnet_turned(rp_vnet_turned(one)), one);
		EXPECT(rp_vnet_suits(one, rp_vnet_turned(one)));
		if (one)
			EXPECT(rp_vnet_suits(one, 0) != rp_vnet_suits(rp_vnet_turned(one), 0));
	}
}
