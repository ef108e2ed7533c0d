/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames between guests: every layout, header and kind of receive buffer that virtio allows. */
#include <errno.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "vnet.h"
#include "world.h"

enum { LINE = 1514 };

static struct world w;
static struct fake_guest a, b; /* hosts 1 and 2 */
static struct fake_frame got;
static uint8_t frame[FRAME_MAX];

/* What is sent goes everywhere until both have spoken; so they speak. */
static void introduce(void)
{
	const struct fake_layout plain = FAKE_PLAIN;

	frame_make(frame, 60, 2, 1, 0);
	EXPECT(fake_guest_send(&a, NULL, frame, 60, plain));
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	frame_make(frame, 60, 1, 2, 0);
	EXPECT(fake_guest_send(&b, NULL, frame, 60, plain));
	fake_queue_kick(&b.tx);
	EXPECT_SOON(fake_guest_sent(&b) == 1);
	while (fake_guest_receive(&a, &got) || fake_guest_receive(&b, &got))
		;
}

static void connect_pair(void)
{
	world_open(&w);
	fake_guest_connect(&a, w.dp, world_add_vhost(&w, "a"));
	fake_guest_connect(&b, w.dp, world_add_vhost(&w, "b"));
	introduce();
}

static void open_pair_as(const struct fake_guest_config *cfg_a,
			 const struct fake_guest_config *cfg_b)
{
	fake_guest_open(&a, cfg_a);
	fake_guest_open(&b, cfg_b);
	connect_pair();
}

static void open_pair(void)
{
	const struct fake_guest_config plain = { 0 };

	open_pair_as(&plain, &plain);
}

static void close_pair(void)
{
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
}

/* Send one frame and wait until its chain is back: then it was delivered, or dropped. */
static void send_one(struct fake_guest *g, const struct virtio_net_hdr *header, uint32_t len,
		     uint32_t number, struct fake_layout layout)
{
	unsigned to = g == &a ? 2 : 1;

	frame_make(frame, len, to, 3 - to, number);
	EXPECT(fake_guest_send(g, header, frame, len, layout));
	fake_queue_kick(&g->tx);
	EXPECT_SOON(fake_guest_sent(g) == 1);
}

static void expect_frame(struct fake_guest *g, uint32_t len, uint32_t number)
{
	EXPECT(fake_guest_receive(g, &got));
	EXPECT_EQ(got.len, len);
	EXPECT_EQ(frame_number(got.data), number);
	EXPECT(frame_whole(got.data, len));
}

static uint64_t sent_drops(enum rp_drop reason)
{
	return world_drops(&w, a.port, NETMAP_DIR_TX, reason);
}

static const struct fake_layout layouts[] = {
	{ 0, 0, false },  { 12, 0, false }, { 1, 0, false },   { 13, 0, false }, { 12, 6, false },
	{ 1, 1, false },  { 0, 7, false },  { 18, 17, false }, { 0, 0, true },	 { 12, 0, true },
	{ 12, 20, true }, { 5, 3, true },   { 1, 1, true },    { 11, 0, false },
};

enum { LAYOUTS = sizeof(layouts) / sizeof(layouts[0]) };

TEST_FORMATS(a_frame_may_be_in_any_descriptors_on_both_sides)
{
	uint32_t number = 0;

	open_pair();
	for (unsigned i = 0; i < LAYOUTS; i++) {
		for (unsigned j = 0; j < LAYOUTS; j++) {
			uint32_t len = 20 + (i * LAYOUTS + j) % 40;

			EXPECT_EQ(fake_guest_post(&b, 1, 80, layouts[j]), 1);
			send_one(&a, NULL, len, ++number, layouts[i]);
			expect_frame(&b, len, number);
			EXPECT_EQ(got.header.num_buffers, 1);
		}
	}
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_pair();
}

TEST_FORMATS(every_set_of_features_moves_frames)
{
	static const uint64_t without[] = {
		0,
		RP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
		RP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
		RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
		RP_FEATURE(VIRTIO_F_VERSION_1),
		RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | RP_FEATURE(VIRTIO_F_VERSION_1),
		RP_VNET_FEATURES,
	};
	enum { SETS = sizeof(without) / sizeof(without[0]) };

	for (unsigned i = 0; i < SETS; i++) {
		for (unsigned j = 0; j < SETS; j++) {
			struct fake_guest_config cfg_a = {
				.features = fake_features() & ~without[i],
			};
			struct fake_guest_config cfg_b = {
				.features = fake_features() & ~without[j],
			};

			open_pair_as(&cfg_a, &cfg_b);
			EXPECT_EQ(fake_guest_post(&b, 4, LINE + 12, FAKE_PLAIN), 4);
			send_one(&a, NULL, 60, 1, FAKE_PLAIN);
			send_one(&a, NULL, LINE, 2, FAKE_PLAIN);
			expect_frame(&b, 60, 1);
			expect_frame(&b, LINE, 2);
			close_pair();
		}
	}
}

TEST_FORMATS(a_legacy_header_has_ten_bytes)
{
	struct fake_guest_config legacy = {
		.features = fake_features() &
			    ~(RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | RP_FEATURE(VIRTIO_F_VERSION_1)),
	};
	const struct fake_guest_config modern = { 0 };

	open_pair_as(&legacy, &modern);
	EXPECT_EQ(a.header_bytes, 10);
	EXPECT_EQ(b.header_bytes, 12);
	fake_guest_post(&a, 1, 10 + 60, FAKE_PLAIN);
	fake_guest_post(&b, 1, 12 + 60, FAKE_PLAIN);
	send_one(&a, NULL, 60, 1, FAKE_PLAIN);
	send_one(&b, NULL, 60, 2, FAKE_PLAIN);
	expect_frame(&b, 60, 1);
	expect_frame(&a, 60, 2);
	/* Not a byte more than the first piece has: the header is not one of 12 bytes. */
	for (uint32_t first = 1; first < 14; first++) {
		const struct fake_layout layout = { first, 0, false };

		fake_guest_post(&a, 1, 10 + 60, layout);
		send_one(&b, NULL, 60, 2 + first, layout);
		expect_frame(&a, 60, 2 + first);
	}
	close_pair();
}

TEST_FORMATS(a_64_kb_frame_takes_as_many_buffers_as_it_needs)
{
	static const uint32_t sizes[] = { 100, 512, 1526, 2048, 4096, 65536 };
	const struct fake_guest_config cfg = {
		.queue_size = 1024,
		.tx_buf_bytes = 66000,
		.rx_buf_bytes = 66000,
	};

	open_pair_as(&cfg, &cfg);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const uint32_t len = 65550, need = (len + 12 + sizes[i] - 1) / sizes[i];

		EXPECT_EQ(fake_guest_post(&b, need, sizes[i], FAKE_PLAIN), need);
		send_one(&a, NULL, len, i, (struct fake_layout){ 12, 4096, true });
		expect_frame(&b, len, i);
		EXPECT_EQ(got.header.num_buffers, need);
		EXPECT(!fake_guest_receive(&b, &got));
	}
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_pair();
}

TEST_FORMATS(frames_take_buffers_of_many_sizes_in_their_order)
{
	enum { FRAMES = 40 };

	open_pair();
	for (unsigned i = 0; i < 200; i++)
		EXPECT_EQ(fake_guest_post(&b, 1, 20 + i * 83 % 700, FAKE_PLAIN), 1);
	for (uint32_t i = 0; i < FRAMES; i++) {
		frame_make(frame, 60 + i * 29, 2, 1, i);
		EXPECT(fake_guest_send(&a, NULL, frame, 60 + i * 29, FAKE_PLAIN));
	}
	fake_queue_kick(&a.tx);
	for (unsigned back = 0; back < FRAMES;)
		EXPECT_SOON((back += fake_guest_sent(&a)) == FRAMES);
	for (uint32_t i = 0; i < FRAMES; i++)
		expect_frame(&b, 60 + i * 29, i);
	close_pair();
}

/* A guest's memory becomes two regions, neighbours for the guest alone. */
static void cut_memory(struct fake_guest *g, uint64_t addr)
{
	const struct fake_region *whole = &g->ram.region[0];
	const uint64_t first = addr - whole->slot.guest_addr;
	struct rp_mem_slot part[2] = { whole->slot, whole->slot };
	const int32_t fds[2] = { whole->fd, whole->fd };
	struct rp_err err;

	part[0].bytes = first;
	part[1].guest_addr += first;
	part[1].user_addr += first;
	part[1].mmap_offset += first;
	part[1].bytes -= first;
	EXPECT_OK(rp_vhost_mem_set(w.dp, g->port, part, fds, 2, &err), err);
}

TEST_FORMATS(a_frame_may_lie_across_regions_on_both_sides)
{
	static const uint32_t cuts[] = { 1, 4, 11, 12, 13, 26, 71 }; /* header, and frame */
	uint32_t number = 0;

	open_pair();
	for (unsigned i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		for (unsigned l = 0; l < LAYOUTS; l += 3) {
			const unsigned tx = (unsigned)fake_queue_head(&a.tx);
			const unsigned rx = (unsigned)fake_queue_head(&b.rx);

			cut_memory(&a, fake_queue_buf_addr(&a.tx, tx) + cuts[i]);
			cut_memory(&b, fake_queue_buf_addr(&b.rx, rx) + cuts[i] + 1);
			EXPECT_EQ(fake_guest_post(&b, 1, 80, layouts[l]), 1);
			send_one(&a, NULL, 60, ++number, layouts[l]);
			expect_frame(&b, 60, number);
		}
	}
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_pair();
}

/* Any division of the receive buffers, and the virtio-net header across two of them. */
TEST_FORMATS(mergeable_buffers_may_be_smaller_than_the_header)
{
	open_pair();
	fake_guest_post(&b, 10, 8, FAKE_PLAIN);
	send_one(&a, NULL, 60, 1, FAKE_PLAIN);
	EXPECT_SOON(fake_queue_used(&b.rx) == 9); /* 72 bytes */
	EXPECT(!world_broken(&w, b.port));
	close_pair();
}

TEST_FORMATS(a_buffer_that_is_too_small_and_may_not_be_merged_costs_the_frame_only)
{
	const struct fake_guest_config plain = { 0 };
	const struct fake_guest_config single = {
		.features = fake_features() & ~RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
	};

	open_pair_as(&plain, &single);
	EXPECT_EQ(b.header_bytes, 12);
	fake_guest_post(&b, 2, 12 + 100, FAKE_PLAIN);
	send_one(&a, NULL, 101, 1, FAKE_PLAIN);
	EXPECT_EQ(sent_drops(RP_DROP_MTU), 1);
	send_one(&a, NULL, 100, 2, FAKE_PLAIN);
	send_one(&a, NULL, 60, 3, FAKE_PLAIN);
	expect_frame(&b, 100, 2);
	EXPECT_EQ(got.header.num_buffers, 1);
	expect_frame(&b, 60, 3);
	close_pair();
}

TEST_FORMATS(frames_that_are_too_long_cost_those_among_them_nothing)
{
	const struct fake_guest_config plain = { 0 };
	const struct fake_guest_config single = {
		.features = fake_features() & ~RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
	};
	enum { FRAMES = 90 };

	open_pair_as(&plain, &single);
	EXPECT_EQ(fake_guest_post(&b, FRAMES, 12 + 100, FAKE_PLAIN), FRAMES);
	for (uint32_t i = 0; i < FRAMES; i++) {
		const uint32_t len = i % 3 ? 60 + i % 40 : 101 + i;

		frame_make(frame, len, 2, 1, i);
		EXPECT(fake_guest_send(&a, NULL, frame, len, FAKE_PLAIN));
	}
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_queue_done(&a.tx));
	EXPECT_EQ(sent_drops(RP_DROP_MTU), FRAMES / 3);
	for (uint32_t i = 0; i < FRAMES; i++) {
		if (i % 3)
			expect_frame(&b, 60 + i % 40, i);
	}
	EXPECT(!fake_guest_receive(&b, &got));
	close_pair();
}

/* As many as a lease can name, to the last one; what follows goes with the next lease. */
TEST_FORMATS(receive_buffers_of_many_pieces_may_fill_a_lease)
{
	enum { PIECES = 32, MANY = 2 * RP_BATCH_SEGS / PIECES, MORE = 100 };
	const struct fake_guest_config cfg = { .queue_size = 8192, .rx_buf_bytes = 128 };
	const struct fake_layout pieces = { 3, 3, false };

	open_pair_as(&cfg, &cfg);
	EXPECT_EQ(fake_guest_post(&b, MANY, 3 * PIECES, pieces), MANY);
	EXPECT_EQ(fake_guest_post(&b, MORE, 3 * PIECES, FAKE_PLAIN), MORE);
	for (uint32_t i = 0; i < MANY + MORE; i++) {
		frame_make(frame, 60, 2, 1, i);
		EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
	}
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_queue_done(&a.tx));
	for (uint32_t i = 0; i < MANY + MORE; i++)
		expect_frame(&b, 60, i);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_pair();
}

TEST_FORMATS(short_frames_are_dropped_and_given_back)
{
	const uint32_t shortest = 12 + FRAME_ETH;
	uint32_t number = 0;

	open_pair();
	fake_guest_post(&b, 10, 100, FAKE_PLAIN);
	memset(fake_queue_buf(&a.tx, (unsigned)fake_queue_head(&a.tx)), 0, 64);
	for (uint32_t bytes = 1; bytes < shortest; bytes++) {
		EXPECT(fake_queue_add_buf(&a.tx, bytes, 0, layouts[bytes % LAYOUTS]) >= 0);
		fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_guest_sent(&a) == 1);
	}
	EXPECT_EQ(sent_drops(RP_DROP_SHORT), shortest - 1);
	EXPECT(!world_broken(&w, a.port));
	EXPECT(!fake_guest_receive(&b, &got));
	send_one(&a, NULL, 60, ++number, FAKE_PLAIN);
	expect_frame(&b, 60, number);
	close_pair();
}

TEST_FORMATS(frames_longer_than_any_frame_are_dropped_as_mtu)
{
	const struct fake_guest_config cfg = { .queue_size = 16, .tx_buf_bytes = 66000 };
	const uint32_t longest = 65536 + 256;

	open_pair_as(&cfg, &cfg);
	frame_make(frame, longest + 1 > FRAME_MAX ? FRAME_MAX : longest + 1, 2, 1, 0);
	EXPECT(fake_guest_send(&a, NULL, frame, longest + 1, FAKE_PLAIN));
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	EXPECT_EQ(sent_drops(RP_DROP_MTU), 1);
	EXPECT(fake_guest_send(&a, NULL, frame, longest, FAKE_PLAIN)); /* b has no buffers */
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_RX, RP_DROP_FULL), 1 + 1); /* introduced */
	close_pair();
}

TEST_FORMATS(a_frame_may_have_as_many_pieces_as_a_batch)
{
	const struct fake_guest_config cfg = { .queue_size = 4096 };
	const struct fake_layout bytes = { 1, 1, false };

	open_pair_as(&cfg, &cfg);
	fake_guest_post(&b, 1, 2048, FAKE_PLAIN);
	frame_make(frame, RP_BATCH_SEGS - 12, 2, 1, 7);
	EXPECT(fake_guest_send(&a, NULL, frame, RP_BATCH_SEGS - 12, bytes));
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	expect_frame(&b, RP_BATCH_SEGS - 12, 7);
	close_pair();
}

TEST_FORMATS(a_longer_chain_is_dropped_between_others)
{
	const struct fake_guest_config cfg = { .queue_size = 4096, .tx_buf_bytes = 4096 };
	const struct fake_layout bytes = { 1, 1, false };

	open_pair_as(&cfg, &cfg);
	fake_guest_post(&b, 3, 2048, FAKE_PLAIN);
	frame_make(frame, 60, 2, 1, 1);
	EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
	EXPECT(fake_guest_send(&a, NULL, frame, RP_BATCH_SEGS - 12 + 1, bytes));
	frame_make(frame, 60, 2, 1, 2);
	EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
	fake_queue_kick(&a.tx);
	for (unsigned back = 0; back < 3;)
		EXPECT_SOON((back += fake_guest_sent(&a)) == 3);
	EXPECT_EQ(sent_drops(RP_DROP_FRAGS), 1);
	expect_frame(&b, 60, 1);
	expect_frame(&b, 60, 2);
	close_pair();
}

struct offload_case {
	struct virtio_net_hdr header;
	uint64_t without; /* features that the receiver did not agree to */
	uint64_t unsent;  /* features that the sender did not agree to */
	int drop;	  /* -1: delivered with the header as it is */
};

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM
#define HDR(f, type, hl, size, start, offset)                                          \
	{                                                                              \
		.flags = (f), .gso_type = (type), .hdr_len = (hl), .gso_size = (size), \
		.csum_start = (start), .csum_offset = (offset)                         \
	}

static const struct offload_case offloads[] = {
	{ HDR(0, 0, 0, 0, 0, 0), RP_VNET_FEATURES, RP_VNET_FEATURES, -1 },
	{ HDR(CSUM, 0, 0, 0, 34, 16), 0, 0, -1 },
	{ HDR(CSUM, 0, 0, 0, 34, 16), 0, RP_FEATURE(VIRTIO_NET_F_CSUM), RP_DROP_HEADER },
	{ HDR(CSUM, 0, 0, 0, 1000 - 18, 16), 0, 0, -1 }, /* the frame's last two bytes */
	{ HDR(CSUM, 0, 0, 0, 1000 - 17, 16), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, 0, 0, 0, 65535, 65535), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 900, 34, 16), 0, 0, -1 },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 74, 900, 54, 16), 0, 0, -1 },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 54, 900, 34, 16), 0, 0, -1 },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 900, 34, 16), RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4),
	  0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 74, 900, 54, 16), RP_FEATURE(VIRTIO_NET_F_GUEST_TSO6),
	  0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 54, 900, 34, 16),
	  RP_FEATURE(VIRTIO_NET_F_GUEST_ECN), 0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 900, 34, 16), 0,
	  RP_FEATURE(VIRTIO_NET_F_HOST_TSO4), RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 54, 900, 34, 16), 0,
	  RP_FEATURE(VIRTIO_NET_F_HOST_TSO6), RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 54, 900, 34, 16), 0,
	  RP_FEATURE(VIRTIO_NET_F_HOST_ECN), RP_DROP_HEADER },
	{ HDR(0, VIRTIO_NET_HDR_GSO_TCPV4, 54, 900, 34, 16), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 0, 34, 16), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 1001, 900, 34, 16), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_UDP, 42, 900, 34, 6), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, 2, 42, 900, 34, 6), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, 0x7f, 42, 900, 34, 6), 0, 0, RP_DROP_HEADER },
	{ HDR(CSUM, VIRTIO_NET_HDR_GSO_ECN, 42, 900, 34, 6), 0, 0, RP_DROP_HEADER },
};

TEST(offloads_pass_between_guests_that_agree_and_lies_are_dropped)
{
	for (unsigned i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
		const struct offload_case *c = &offloads[i];
		struct fake_guest_config cfg_a = { .features = fake_features() & ~c->unsent };
		struct fake_guest_config cfg_b = { .features = fake_features() & ~c->without };

		open_pair_as(&cfg_a, &cfg_b);
		fake_guest_post(&b, 2, 1012, FAKE_PLAIN);
		send_one(&a, &c->header, 1000, i, FAKE_PLAIN);
		if (c->drop < 0) {
			expect_frame(&b, 1000, i);
			EXPECT_EQ(memcmp(&got.header.hdr, &c->header, sizeof(c->header)), 0);
			EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
		} else {
			EXPECT(!fake_guest_receive(&b, &got));
			EXPECT_EQ(sent_drops((enum rp_drop)c->drop), 1);
			EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 1);
		}
		EXPECT(!world_broken(&w, a.port) && !world_broken(&w, b.port));
		close_pair();
	}
}

/* RX-only flags in what a guest sends mean nothing; a receiver must not see them. */
TEST(header_bits_without_a_meaning_do_not_reach_the_receiver)
{
	const struct virtio_net_hdr sent =
		HDR(VIRTIO_NET_HDR_F_DATA_VALID | 0xf8, 0, 77, 88, 99, 11);
	const struct virtio_net_hdr zero = { 0 };

	open_pair();
	fake_guest_post(&b, 1, 100, FAKE_PLAIN);
	send_one(&a, &sent, 60, 1, FAKE_PLAIN);
	expect_frame(&b, 60, 1);
	EXPECT_EQ(memcmp(&got.header.hdr, &zero, sizeof(zero)), 0);
	close_pair();
}

TEST_FORMATS(a_frame_between_guests_is_copied_once)
{
	uint64_t delivered = 0, copied;
	uint32_t next = 0;

	open_pair();
	copied = world_count(&w, a.port, NETMAP_DIR_TX)->copied;
	for (uint32_t number = 0; number < 5000;) {
		fake_guest_post(&b, 256, 12 + 300 + number % 1300, layouts[number % 5]);
		for (unsigned i = 0; i < 32; i++, number++) {
			uint32_t len = 60 + number * 13 % 1450;

			frame_make(frame, len, 2, 1, number);
			if (!fake_guest_send(&a, NULL, frame, len, layouts[number % 8 ? 0 : 1]))
				break;
		}
		fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_queue_done(&a.tx));
		fake_guest_sent(&a);
		while (fake_guest_receive(&b, &got)) {
			EXPECT(frame_whole(got.data, got.len));
			EXPECT(frame_number(got.data) >= next);
			next = frame_number(got.data) + 1;
			delivered += got.len;
		}
	}
	copied = world_count(&w, a.port, NETMAP_DIR_TX)->copied - copied;
	EXPECT(delivered > 1000000);
	EXPECT_EQ(copied, delivered);
	EXPECT_EQ(world_count(&w, b.port, NETMAP_DIR_RX)->bytes, delivered);
	close_pair();
}

TEST_FORMATS(frames_sent_are_delivered_or_dropped_for_a_reason)
{
	const struct virtio_net_hdr lie = HDR(CSUM, 0, 0, 0, 60, 60);
	uint64_t taken, delivered, dropped;

	open_pair();
	taken = world_count(&w, a.port, NETMAP_DIR_TX)->frames;
	delivered = world_count(&w, b.port, NETMAP_DIR_RX)->frames;
	dropped = world_all_drops(&w, a.port, NETMAP_DIR_TX) +
		  world_all_drops(&w, b.port, NETMAP_DIR_RX);
	fake_guest_post(&b, 100, 1000, FAKE_PLAIN);
	for (uint32_t i = 0; i < 200; i++) {
		frame_make(frame, 60, i % 11 == 10 ? 1 : 2, 1, i);
		EXPECT(fake_guest_send(&a, i % 7 == 6 ? &lie : NULL, frame, i % 5 == 4 ? 10 : 60,
				       FAKE_PLAIN));
	}
	fake_queue_kick(&a.tx);
	EXPECT_SOON(fake_queue_done(&a.tx));
	taken = world_count(&w, a.port, NETMAP_DIR_TX)->frames - taken;
	delivered = world_count(&w, b.port, NETMAP_DIR_RX)->frames - delivered;
	dropped = world_all_drops(&w, a.port, NETMAP_DIR_TX) +
		  world_all_drops(&w, b.port, NETMAP_DIR_RX) - dropped;
	EXPECT_EQ(taken, 200);
	EXPECT_EQ(delivered, 100);
	EXPECT_EQ(taken, delivered + dropped);
	close_pair();
}

TEST_FORMATS(a_stopped_ring_says_where_it_stopped_and_starts_there_again)
{
	struct rp_err err;
	uint32_t base;

	open_pair();
	EXPECT_OK(rp_vhost_ring_stop(w.dp, b.port, 0, &base, &err), err);
	EXPECT_EQ(base, fake_queue_base(&b.rx, 0, 0));
	fake_guest_disconnect(&b);
	fake_guest_connect(&b, w.dp, b.port);
	fake_guest_post(&b, 10, 100, FAKE_PLAIN);
	for (uint32_t i = 0; i < 4; i++)
		send_one(&a, NULL, 60, i, FAKE_PLAIN);
	fake_guest_disconnect(&b);
	EXPECT_EQ(b.rx.base, fake_queue_base(&b.rx, 4, 4));
	EXPECT_EQ(b.tx.base, fake_queue_base(&b.tx, 1, 1)); /* it introduced itself */
	EXPECT_EQ(fake_queue_used(&b.rx), 4);
	send_one(&a, NULL, 60, 4, FAKE_PLAIN);
	EXPECT_EQ(sent_drops(RP_DROP_DOWN), 1);
	fake_guest_connect(&b, w.dp, b.port);
	send_one(&a, NULL, 60, 5, FAKE_PLAIN);
	for (uint32_t i = 0; i < 4; i++)
		expect_frame(&b, 60, i);
	expect_frame(&b, 60, 5);
	EXPECT(!fake_guest_receive(&b, &got));
	close_pair();
}

TEST_FORMATS(a_ring_that_never_ran_stops_at_0)
{
	struct rp_err err;
	uint32_t base = 77;
	int port;

	open_pair();
	fake_guest_post(&b, 1, 100, FAKE_PLAIN);
	send_one(&a, NULL, 60, 0, FAKE_PLAIN);
	world_del_port(&w, b.port);
	port = world_add_vhost(&w, "b again"); /* in the place of the one before */
	for (uint32_t vring = 0; vring < 2; vring++) {
		EXPECT_OK(rp_vhost_ring_stop(w.dp, port, vring, &base, &err), err);
		EXPECT_EQ(base, 0);
	}
	close_pair();
}

/* An earlier backend took chains that it never gave back: base is ahead of the used index. */
TEST(a_ring_may_start_with_chains_that_are_never_given_back)
{
	open_pair();
	fake_guest_disconnect(&a);
	fake_guest_disconnect(&b);
	for (uint32_t i = 0; i < 3; i++) {
		frame_make(frame, 60, 2, 1, i);
		EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
	}
	a.tx.base = fake_queue_base(&a.tx, 1 + 2, 1); /* it introduced itself */
	for (uint32_t i = 0; i < 3; i++)
		EXPECT(fake_queue_add_buf(&b.rx, 100, VRING_DESC_F_WRITE, FAKE_PLAIN) >= 0);
	b.rx.base = fake_queue_base(&b.rx, 1, 0);
	fake_queue_kick(&a.tx);
	fake_queue_kick(&b.rx);
	fake_guest_connect(&b, w.dp, b.port);
	fake_guest_connect(&a, w.dp, a.port);
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	expect_frame(&b, 60, 2);
	send_one(&a, NULL, 60, 3, FAKE_PLAIN);
	expect_frame(&b, 60, 3);
	close_pair();
}

TEST_FORMATS(indexes_wrap_at_65536_in_both_directions)
{
	enum { BURST = 64 };
	uint32_t number = 0;

	open_pair();
	for (unsigned round = 0; round < 70000 / BURST; round++) {
		EXPECT_EQ(fake_guest_post(&b, BURST, 100, FAKE_PLAIN), BURST);
		for (unsigned i = 0; i < BURST; i++) {
			frame_make(frame, 60, 2, 1, number + i);
			EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
		}
		fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_queue_done(&a.tx));
		EXPECT_EQ(fake_guest_sent(&a), BURST);
		for (unsigned i = 0; i < BURST; i++)
			expect_frame(&b, 60, number++);
	}
	EXPECT(number > 65536);
	close_pair();
}

/* Frames @from to @from + @n arrive, in batches that fit into both queues. */
static void expect_stream(uint32_t from, uint32_t n)
{
	const uint32_t fit = a.tx.size < 64 ? a.tx.size : 64;

	for (uint32_t done = 0; done < n;) {
		const uint32_t burst = n - done < fit ? n - done : fit;

		fake_guest_post(&b, burst, 100, FAKE_PLAIN);
		for (uint32_t i = 0; i < burst; i++) {
			frame_make(frame, 60, 2, 1, from + done + i);
			EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
		}
		fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_queue_done(&a.tx));
		EXPECT_EQ(fake_guest_sent(&a), burst);
		for (uint32_t i = 0; i < burst; i++)
			expect_frame(&b, 60, from + done++);
	}
}

TEST_FORMATS(queues_of_all_sizes_move_frames)
{
	static const uint32_t sizes[] = { 1, 2, 4, 64, 1024, 32768 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct fake_guest_config cfg = { .queue_size = sizes[i],
						       .tx_buf_bytes = 128,
						       .rx_buf_bytes = 128 };

		rp_test_note("%u entries", sizes[i]);
		open_pair_as(&cfg, &cfg);
		expect_stream(0, 200);
		close_pair();
	}
}

static void expect_base(const struct fake_queue *q)
{
	const uint32_t used = q->taken.descriptors; /* each chain has one */

	EXPECT_EQ(fake_queue_used(q), 0);
	EXPECT_EQ(q->base, fake_queue_base(q, used, used));
}

/* At every index of a ring, in every lap that tells itself from others, with buffers posted. */
TEST_FORMATS(rings_stop_and_start_at_every_position)
{
	const struct fake_guest_config small = { .queue_size = 8 };
	const uint32_t n = 3; /* has no factor in common with 8 */
	uint32_t number = 0;

	open_pair_as(&small, &small);
	EXPECT_EQ(fake_guest_post(&b, 4, 100, FAKE_PLAIN), 4);
	for (unsigned round = 0; round < 100; round++) {
		expect_stream(number, n);
		number += n;
		fake_guest_disconnect(&a);
		fake_guest_disconnect(&b);
		expect_base(&a.tx);
		expect_base(&b.rx);
		fake_guest_connect(&b, w.dp, b.port);
		fake_guest_connect(&a, w.dp, a.port);
	}
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_pair();
}

/* Both ends of the 16 bits of a position are near from the start. */
TEST_FORMATS(rings_may_begin_where_an_earlier_backend_stopped)
{
	static const uint32_t starts[] = { 1, 7, 8, 15, 16, 32767, 32768, 65535, 65536 + 12 };
	const struct fake_guest_config small = { .queue_size = 8 };

	for (unsigned i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		rp_test_note("from %u on", starts[i]);
		fake_guest_open(&a, &small);
		fake_guest_open(&b, &small);
		fake_queue_reset(&a.tx, starts[i]);
		fake_queue_reset(&b.rx, starts[i]);
		connect_pair();
		expect_stream(0, 40);
		close_pair();
	}
}

TEST_FORMATS(a_disabled_ring_moves_nothing_until_it_is_enabled)
{
	struct rp_err err;

	open_pair();
	fake_guest_post(&b, 4, 100, FAKE_PLAIN);
	EXPECT_OK(rp_vhost_ring_enable(w.dp, b.port, 0, 0, &err), err);
	send_one(&a, NULL, 60, 1, FAKE_PLAIN);
	EXPECT_EQ(sent_drops(RP_DROP_DOWN), 1);
	EXPECT_OK(rp_vhost_ring_enable(w.dp, a.port, 1, 0, &err), err);
	EXPECT_OK(rp_vhost_ring_enable(w.dp, b.port, 0, 1, &err), err);
	frame_make(frame, 60, 2, 1, 2);
	EXPECT(fake_guest_send(&a, NULL, frame, 60, FAKE_PLAIN));
	fake_queue_kick(&a.tx);
	rp_test_nap(20000000);
	EXPECT_EQ(fake_guest_sent(&a), 0);
	EXPECT_OK(rp_vhost_ring_enable(w.dp, a.port, 1, 1, &err), err);
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	expect_frame(&b, 60, 2);
	close_pair();
}

TEST(what_front_ends_ask_for_in_the_wrong_order_is_refused)
{
	const struct fake_guest_config plain = { 0 };
	struct rp_vring_config cfg;
	struct rp_err err;
	uint32_t base;
	int port;

	world_open(&w);
	fake_guest_open(&a, &plain);
	port = world_add_vhost(&w, "a");
	cfg = fake_queue_config(&a.rx);
	EXPECT_EQ(rp_vhost_ring_start(w.dp, port, 0, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "did not describe");
	EXPECT_OK(fake_ram_share(&a.ram, w.dp, port, &err), err);
	EXPECT_EQ(rp_vhost_ring_start(w.dp, port, 2, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "virtqueue 2 of a port with 1");
	EXPECT_EQ(rp_vhost_ring_enable(w.dp, port, 7, 1, &err), -EINVAL);
	EXPECT_EQ(rp_vhost_ring_call(w.dp, port, UINT32_MAX, -1, &err), -EINVAL);
	EXPECT_EQ(rp_vhost_ring_stop(w.dp, port, 9, &base, &err), -EINVAL);
	EXPECT_OK(rp_vhost_ring_start(w.dp, port, 0, &cfg, &err), err);
	EXPECT_EQ(rp_vhost_ring_start(w.dp, port, 0, &cfg, &err), -EBUSY);
	EXPECT_TEXT(err.text, "runs already");
	EXPECT_EQ(rp_vhost_features(w.dp, world_add_rings(&w, "r"), 0, &err), -EINVAL);
	EXPECT_TEXT(err.text, "netmap rings, not virtqueues");
	world_close(&w);
	fake_guest_close(&a);
}
