/* SPDX-License-Identifier: BSD-2-Clause */
/* What software makes of a frame: compared with packets built segment by segment. */
#include "offload.h"

#include <pthread.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "csum.h"
#include "endpoint.h"
#include "frames.h"
#include "packets.h"
#include "vnet.h"

static struct rp_batch batch;
static struct rp_ring_counters count;
static struct rp_endpoint from = { .batch = &batch, .count = &count };
static struct rp_offload o;
static uint16_t order[RP_BATCH];
static uint8_t sent[PACKET_MAX], got[PACKET_MAX], want[PACKET_MAX];

#define GUEST_CSUM RP_FEATURE(VIRTIO_NET_F_GUEST_CSUM)
#define GUEST_TSO4 RP_FEATURE(VIRTIO_NET_F_GUEST_TSO4)

static void start(void)
{
	batch.nframes = batch.nsegs = 0;
	count = (struct rp_ring_counters){ 0 };
	for (unsigned i = 0; i < RP_BATCH; i++)
		order[i] = (uint16_t)i;
}

/* Queue a frame of @len bytes, in pieces of @piece bytes behind the first one of @first. */
static void queue(uint8_t *frame, uint32_t len, const struct virtio_net_hdr *vnet, uint32_t first,
		  uint32_t piece)
{
	struct rp_frame *f = &batch.frame[batch.nframes++];
	uint32_t n = first;

	*f = (struct rp_frame){ .len = len, .seg = batch.nsegs, .vnet = *vnet };
	for (uint32_t at = 0; at < len; at += n, n = piece) {
		if (len - at < n)
			n = len - at;
		EXPECT(batch.nsegs < RP_BATCH_SEGS);
		batch.seg[batch.nsegs++] = (struct rp_seg){ frame + at, n };
		f->nseg++;
	}
}

static void begin(void)
{
	rp_offload_from(&o, &batch, order, batch.nframes, 0);
}

static void make(uint64_t features)
{
	rp_offload_make(&o, &from, order, batch.nframes, features);
}

static uint32_t gather(const struct rp_frame *f)
{
	uint32_t at = 0;

	for (uint16_t i = 0; i < f->nseg; i++) {
		const struct rp_seg *s = &o.batch.seg[f->seg + i];

		memcpy(got + at, s->addr, s->len);
		at += s->len;
	}
	EXPECT_EQ(at, f->len);
	return at;
}

static void expect_bytes(const struct rp_frame *f, const uint8_t *bytes, uint32_t len)
{
	EXPECT_EQ(gather(f), len);
	for (uint32_t i = 0; i < len; i++) {
		if (got[i] != bytes[i])
			rp_test_fail(__FILE__, __LINE__, "byte %u is %02x, expected %02x", i,
				     got[i], bytes[i]);
	}
}

static const struct packet usual = PACKET_TCP4;

#define TCP6(...)                                                                              \
	{                                                                                      \
		.from = 1, .to = 2, .ipv6 = true, .tcp_flags = 0x10, .extension = __VA_ARGS__, \
	}
#define NONE 0xff

static const struct packet packets[] = {
	PACKET_TCP4,
	{ .from = 3, .to = 4, .tcp_flags = 0x19, .extension = { NONE } },
	{ .from = 3, .to = 4, .tcp_flags = 0x99, .tcp_options = 40, .id = 65535 },
	{ .from = 3, .to = 4, .vlans = 1, .tcp_flags = 0x90, .seq = UINT32_MAX },
	{ .from = 3, .to = 4, .vlans = 2, .ip_options = 4, .tcp_options = 12 },
	{ .from = 3, .to = 4, .vlans = 3, .ip_options = 40, .tcp_options = 20, .tcp_flags = 1 },
	TCP6({ NONE }),
	TCP6({ 0, NONE }),
	TCP6({ 43, NONE }),
	TCP6({ 60, NONE }),
	TCP6({ 0, 60, 43 }),
	{ .from = 5,
	  .to = 6,
	  .vlans = 2,
	  .ipv6 = true,
	  .extension = { 0, 43, 60 },
	  .tcp_options = 12,
	  .tcp_flags = 0xff },
};

enum { PACKETS = sizeof(packets) / sizeof(packets[0]) };

TEST(sums_are_those_of_two_bytes_at_a_time)
{
	for (uint32_t n = 0; n < 200; n++) {
		for (uint32_t at = 0; at < 8; at++) {
			uint32_t sum = 0;

			for (uint32_t i = 0; i < n + 8; i++)
				sent[i] = (uint8_t)(i * i + n);
			memset(sent + at + n, 0, 1);
			for (uint32_t i = 0; i < n; i += 2)
				sum += sent[at + i] | sent[at + i + 1] << 8;
			EXPECT_EQ(rp_sum_fold(rp_sum(sent + at, n)), rp_sum_fold(sum));
		}
	}
	memset(sent, 0xff, sizeof(sent));
	EXPECT_EQ(rp_sum_fold(rp_sum(sent, sizeof(sent))), 0xffff);
	EXPECT_EQ(rp_sum_fold(UINT64_MAX), 0xffff);
	EXPECT_EQ(rp_sum_fold(0), 0);
}

/* In two pieces, divided anywhere in the headers, and in many. */
static void expect_completed(const struct packet *p)
{
	const struct virtio_net_hdr vnet = packet_vnet(p, 0);
	const uint32_t len = packet_make(want, p, 0, true);

	packet_make(sent, p, 0, false);
	for (uint32_t first = 1; first < packet_payload_at(p) + 2; first++) {
		start();
		queue(sent, len, &vnet, first, first % 3 ? len : 7);
		begin();
		make(0);
		EXPECT_EQ(o.next.i, 1);
		EXPECT_EQ(o.batch.nframes, 1);
		EXPECT_EQ(o.batch.frame[0].vnet.flags, 0);
		expect_bytes(&o.batch.frame[0], want, len);
		EXPECT_EQ(count.checksums, 1);
	}
}

TEST(checksums_are_completed_behind_any_header)
{
	for (unsigned i = 0; i < PACKETS; i++) {
		for (uint32_t payload = 0; payload < 70; payload += 23) {
			struct packet p = packets[i];

			p.payload = payload;
			expect_completed(&p);
			p.udp = true;
			expect_completed(&p);
		}
	}
}

TEST(a_checksum_of_zero_is_sent_as_its_other_form)
{
	struct packet p = { .from = 1, .to = 2, .udp = true, .payload = 2 };
	const struct virtio_net_hdr vnet = packet_vnet(&p, 0);
	uint32_t at = packet_payload_at(&p), len = packet_make(sent, &p, 0, false);
	uint16_t rest;

	/* The payload that makes the sum of all 0xffff. */
	memset(sent + at, 0, 2);
	rest = (uint16_t)~rp_sum_fold(rp_sum(sent + packet_l4_at(&p), len - packet_l4_at(&p)));
	memcpy(sent + at, &rest, 2);
	start();
	queue(sent, len, &vnet, len, len);
	begin();
	make(0);
	gather(&o.batch.frame[0]);
	EXPECT_EQ(got[packet_l4_at(&p) + 6], 0xff);
	EXPECT_EQ(got[packet_l4_at(&p) + 7], 0xff);
}

/* A checksum needs no header that anybody knows. */
TEST(a_checksum_may_be_anywhere)
{
	static const uint16_t places[][2] = { { 0, 0 },	 { 0, 97 }, { 1, 0 }, { 13, 4 },
					      { 98, 0 }, { 97, 1 }, { 50, 1 } };

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const struct virtio_net_hdr vnet = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						     .csum_start = places[i][0],
						     .csum_offset = places[i][1] };
		const uint32_t at = vnet.csum_start + vnet.csum_offset;
		uint16_t sum;

		frame_make(sent, 100, 1, 2, i);
		sum = (uint16_t)~rp_sum_fold(
			rp_sum(sent + vnet.csum_start, 100u - vnet.csum_start));
		memcpy(want, sent, 100);
		memcpy(want + at, &sum, 2);
		for (uint32_t first = 1; first < 100; first++) {
			start();
			queue(sent, 100, &vnet, first, 1 + first % 5);
			begin();
			make(0);
			expect_bytes(&o.batch.frame[0], want, 100);
		}
	}
}

/* Take all segments of a packet that was queued, and compare. */
static void expect_segments(const struct packet *p, uint16_t gso_size, uint64_t features,
			    uint32_t first)
{
	const uint32_t segments = packet_segments(p, gso_size);
	const bool complete = !(features & GUEST_CSUM);
	uint32_t i = first;

	begin();
	while (o.next.i < batch.nframes) {
		make(features);
		EXPECT(o.batch.nframes);
		for (unsigned n = 0; n < o.batch.nframes; n++, i++) {
			const struct rp_frame *f = &o.batch.frame[n];
			uint32_t len = packet_segment(want, p, gso_size, i, complete);
			struct virtio_net_hdr vnet = { 0 };

			if (!complete)
				vnet = packet_vnet(p, 0);
			EXPECT(i < segments);
			expect_bytes(f, want, len);
			EXPECT_EQ(memcmp(&f->vnet, &vnet, sizeof(vnet)), 0);
			EXPECT_EQ(o.made_of[n].segment, i);
		}
	}
	EXPECT_EQ(i, segments);
	EXPECT_EQ(count.drops[RP_DROP_HEADER] + count.drops[RP_DROP_FRAGS], 0);
}

TEST(packets_are_cut_behind_any_header)
{
	static const uint32_t payloads[] = { 101, 199, 200, 201, 8000 };

	for (unsigned i = 0; i < PACKETS; i++) {
		for (unsigned k = 0; k < sizeof(payloads) / sizeof(payloads[0]); k++) {
			struct packet p = packets[i];
			struct virtio_net_hdr vnet = packet_vnet(&p, 100);
			uint32_t len;

			p.payload = payloads[k];
			len = packet_make(sent, &p, 0, false);
			start();
			queue(sent, len, &vnet, len, len);
			expect_segments(&p, 100, 0, 0);
			EXPECT_EQ(count.segments, packet_segments(&p, 100));
			expect_segments(&p, 100, GUEST_CSUM, 0);
		}
	}
}

TEST(headers_may_be_divided_anywhere)
{
	for (unsigned i = 0; i < PACKETS; i++) {
		struct packet p = packets[i];
		struct virtio_net_hdr vnet = packet_vnet(&p, 111);
		uint32_t len;

		p.payload = 1000;
		len = packet_make(sent, &p, 0, false);
		for (uint32_t first = 1; first < packet_payload_at(&p) + 120; first++) {
			start();
			queue(sent, len, &vnet, first, first % 4 ? len : 13);
			expect_segments(&p, 111, 0, 0);
		}
		start();
		queue(sent, len, &vnet, 1, 1);
		expect_segments(&p, 111, 0, 0);
	}
}

TEST(segments_have_any_size)
{
	struct packet p = usual;

	p.payload = 65483; /* as much as IPv4 allows */
	for (uint32_t size = 36; size < 33000; size += size / 7) {
		struct virtio_net_hdr vnet = packet_vnet(&p, (uint16_t)size);
		uint32_t len = packet_make(sent, &p, 0, false);

		start();
		queue(sent, len, &vnet, 1500, 4096);
		expect_segments(&p, (uint16_t)size, 0, 0);
	}
}

/* A driver's guess of the headers' length is not believed. */
TEST(the_length_of_headers_is_found_out)
{
	struct packet p = usual;
	struct virtio_net_hdr vnet = packet_vnet(&p, 500);
	uint32_t len;

	p.payload = 1200;
	len = packet_make(sent, &p, 0, false);
	for (uint32_t hdr_len = 0; hdr_len < len; hdr_len += 31) {
		vnet.hdr_len = (uint16_t)hdr_len;
		start();
		queue(sent, len, &vnet, len, len);
		expect_segments(&p, 500, 0, 0);
	}
}

TEST(a_frame_goes_on_at_any_segment)
{
	struct packet p = usual;
	struct virtio_net_hdr vnet = packet_vnet(&p, 100);
	uint32_t len;

	p.payload = 3050;
	len = packet_make(sent, &p, 0, false);
	for (uint16_t segment = 0; segment <= 30; segment++) {
		start();
		queue(sent, len, &vnet, 60, 77);
		batch.frame[0].segment = segment;
		expect_segments(&p, 100, 0, segment);
	}
	/* Even for a receiver that would have taken it as a whole. */
	start();
	queue(sent, len, &vnet, 60, 77);
	batch.frame[0].segment = 7;
	expect_segments(&p, 100, GUEST_CSUM | GUEST_TSO4, 7);
}

TEST(a_frame_that_might_be_a_segment_is_not_cut)
{
	struct packet p = usual;
	struct virtio_net_hdr vnet;
	uint32_t len;

	p.tcp_options = 0;
	for (p.payload = 0; p.payload <= 100; p.payload += 50) {
		vnet = packet_vnet(&p, 100);
		len = packet_make(sent, &p, 0, false);
		packet_make(want, &p, 0, true);
		start();
		queue(sent, len, &vnet, len, len);
		begin();
		make(0);
		EXPECT_EQ(o.batch.nframes, 1);
		expect_bytes(&o.batch.frame[0], want, len);
		begin();
		make(GUEST_CSUM);
		expect_bytes(&o.batch.frame[0], sent, len);
		EXPECT_EQ(o.batch.frame[0].vnet.gso_type, 0);
		EXPECT_EQ(o.batch.frame[0].vnet.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	}
	/* Options make it longer than that, payload does not. */
	p = usual;
	p.payload = 95;
	vnet = packet_vnet(&p, 100);
	len = packet_make(sent, &p, 0, false);
	start();
	queue(sent, len, &vnet, len, len);
	expect_segments(&p, 100, 0, 0);
}

TEST(frames_that_need_nothing_keep_their_place)
{
	static uint8_t frames[100][100];
	const struct virtio_net_hdr none = { 0 };
	struct packet p = usual;
	unsigned next = 0;

	start();
	p.payload = 20;
	for (unsigned i = 0; i < 100; i++) {
		const struct virtio_net_hdr vnet = packet_vnet(&p, 0);
		uint32_t len;

		p.id = (uint16_t)i;
		len = packet_make(frames[i], &p, 0, i % 3 == 0);
		queue(frames[i], len, i % 3 ? &vnet : &none, 1 + i % 50, 10);
	}
	begin();
	while (o.next.i < batch.nframes) {
		make(0);
		for (unsigned n = 0; n < o.batch.nframes; n++, next++) {
			uint32_t len;

			p.id = (uint16_t)next;
			len = packet_make(want, &p, 0, true);
			EXPECT_EQ(o.made_of[n].i, next);
			expect_bytes(&o.batch.frame[n], want, len);
		}
	}
	EXPECT_EQ(next, 100);
	EXPECT_EQ(count.checksums, 66);
}

static void expect_dropped(uint32_t len, const struct virtio_net_hdr *vnet, enum rp_drop reason)
{
	start();
	queue(sent, len, vnet, len, len);
	begin();
	make(0);
	EXPECT_EQ(o.batch.nframes, 0);
	EXPECT_EQ(count.drops[reason], 1);
	EXPECT_EQ(o.next.i, 1);
}

/* One byte changed, which makes it something else. */
struct lie {
	uint32_t at;
	uint8_t value;
};

static const struct lie lies4[] = {
	{ 12, 0x86 }, /* an unknown type */
	{ 13, 0x06 }, /* ARP */
	{ 14, 0x65 }, /* another version of IP */
	{ 14, 0x44 }, /* an IPv4 header of 16 bytes */
	{ 14, 0x46 }, /* one that ends behind csum_start */
	{ 23, 17 },   /* UDP */
	{ 46, 0x40 }, /* a TCP header of 16 bytes */
};

static const struct lie lies6[] = {
	{ 12, 0x08 }, /* an unknown type */
	{ 14, 0x45 }, /* another version of IP */
	{ 20, 44 },   /* a fragment header */
	{ 20, 51 },   /* an authentication header */
	{ 20, 17 },   /* UDP */
	{ 20, 6 },    /* TCP where the extension is */
	{ 54, 0 },    /* one more extension */
	{ 54, 58 },   /* ICMP behind it */
	{ 55, 1 },    /* an extension that ends behind csum_start */
	{ 55, 255 },  /* one that ends behind the frame */
};

static void expect_no_lie(struct packet p, const struct lie *lie, unsigned n)
{
	const struct virtio_net_hdr vnet = packet_vnet(&p, 100);

	p.payload = 200;
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = packet_make(sent, &p, 0, false);

		sent[lie[i].at] = lie[i].value;
		expect_dropped(len, &vnet, RP_DROP_HEADER);
	}
}

TEST(headers_that_are_not_as_told_are_dropped)
{
	const struct packet tcp4 = { .from = 1, .to = 2 }, tcp6 = TCP6({ 0, NONE });

	expect_no_lie(tcp4, lies4, sizeof(lies4) / sizeof(lies4[0]));
	expect_no_lie(tcp6, lies6, sizeof(lies6) / sizeof(lies6[0]));
}

TEST(virtio_net_headers_that_are_not_as_found_are_dropped)
{
	struct packet p = { .from = 1, .to = 2, .payload = 1000 };
	const struct virtio_net_hdr right = packet_vnet(&p, 100);
	const uint32_t len = packet_make(sent, &p, 0, false);
	struct virtio_net_hdr vnet = right;

	vnet.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	expect_dropped(len, &vnet, RP_DROP_HEADER);
	vnet = right;
	vnet.csum_offset = 6;
	expect_dropped(len, &vnet, RP_DROP_HEADER);
	for (uint16_t at = 0; at < 1000; at++) {
		vnet = right;
		vnet.csum_start = at;
		if (at != right.csum_start && len > at + 20u + vnet.gso_size)
			expect_dropped(len, &vnet, RP_DROP_HEADER);
	}
}

TEST(a_tcp_header_ends_in_its_frame)
{
	struct packet p = { .from = 1, .to = 2, .payload = 39 };
	const struct virtio_net_hdr vnet = packet_vnet(&p, 30);
	const uint32_t len = packet_make(sent, &p, 0, false);

	sent[packet_l4_at(&p) + 12] = 0xf0; /* 60 bytes, of which the last one is missing */
	expect_dropped(len, &vnet, RP_DROP_HEADER);
}

/* The length of an extension tells how long the headers are. */
TEST(headers_have_an_end)
{
	struct packet p = TCP6({ 60, NONE });
	const uint32_t behind = packet_l4_at(&p);

	for (uint32_t longer = 0; longer < 256; longer++) {
		const uint32_t at = behind + 8 * longer;
		struct virtio_net_hdr vnet = packet_vnet(&p, 500);
		uint32_t len;

		p.payload = 2000;
		len = packet_make(sent, &p, 0, false);
		memmove(sent + at, sent + behind, len - behind);
		memset(sent + behind, 0, at - behind);
		sent[packet_ip_at(&p) + 41] = (uint8_t)longer;
		vnet.csum_start = (uint16_t)at;
		if (at + 60 > RP_OFFLOAD_HEAD) {
			expect_dropped(len + 8 * longer, &vnet, RP_DROP_HEADER);
			continue;
		}
		start();
		queue(sent, len + 8 * longer, &vnet, 99, 99);
		begin();
		make(0);
		EXPECT_EQ(o.batch.nframes, 4);
		EXPECT_EQ(o.batch.frame[3].len, at + 20 + 500);
	}
}

TEST(segments_are_neither_too_small_nor_too_many)
{
	struct packet p = { .from = 1, .to = 2, .payload = 65000 };
	struct virtio_net_hdr vnet;

	for (p.tcp_options = 0; p.tcp_options <= 40; p.tcp_options += 4) {
		const uint16_t least = (uint16_t)(RP_OFFLOAD_MSS_MIN - p.tcp_options);
		uint32_t len = packet_make(sent, &p, 0, false);

		vnet = packet_vnet(&p, least);
		start();
		queue(sent, len, &vnet, len, len);
		expect_segments(&p, least, 0, 0);
		vnet.gso_size--;
		expect_dropped(len, &vnet, RP_DROP_HEADER);
	}
	/* All their headers together: 1 MiB at most. */
	p = (struct packet){ .from = 1, .to = 2, .vlans = 3, .payload = 65000 };
	p.tcp_options = p.ip_options = 40;
	p.payload = (RP_BATCH_BYTES / (packet_payload_at(&p) + 8) + 1) * 8;
	vnet = packet_vnet(&p, 8);
	expect_dropped(packet_make(sent, &p, 0, false), &vnet, RP_DROP_HEADER);
}

TEST(a_frame_of_too_many_pieces_is_dropped_between_others)
{
	const struct virtio_net_hdr none = { 0 };
	struct packet p = { .from = 1, .to = 2, .payload = 1900 };
	struct virtio_net_hdr vnet = packet_vnet(&p, 0);
	uint32_t len = packet_make(sent, &p, 0, false);

	packet_make(want, &p, 0, true);
	start();
	queue(want, 60, &none, 60, 60);
	queue(sent, len, &vnet, 3, 1);
	begin();
	make(0);
	EXPECT_EQ(o.batch.nframes, 2);
	expect_bytes(&o.batch.frame[1], want, len);
	/* As many as a batch has, and the checksum one more. */
	memset(sent, 0x5a, RP_BATCH_SEGS);
	vnet.csum_start = 100;
	start();
	queue(sent, 4000, &vnet, 4000 - RP_BATCH_SEGS + 1, 1);
	begin();
	make(0);
	EXPECT_EQ(o.next.i, 1);
	EXPECT_EQ(o.batch.nframes, 0);
	EXPECT_EQ(count.drops[RP_DROP_FRAGS], 1);
}

static uint32_t stop;

static void *scribble(void *arg)
{
	uint64_t seed = 1;

	(void)arg;
	while (!rp_load(&stop)) {
		seed = seed * UINT64_C(6364136223846793005) + 1;
		rp_store(&sent[12 + (seed >> 33) % 90], (uint8_t)(seed >> 56));
	}
	return NULL;
}

/* Frames keep their lengths and their places, whatever becomes of their bytes meanwhile. */
static void expect_sane(uint32_t len)
{
	for (unsigned n = 0; n < o.batch.nframes; n++) {
		const struct rp_frame *f = &o.batch.frame[n];

		EXPECT(f->len <= len);
		gather(f);
		for (uint16_t i = 0; i < f->nseg; i++) {
			const struct rp_seg *s = &o.batch.seg[f->seg + i];
			const bool private = s->addr >= o.head && s->addr < o.head + sizeof(o.head);
			const uint8_t *start_of = private ? o.head : sent;

			EXPECT(s->addr >= start_of &&
			       s->addr + s->len <= start_of + (private ? sizeof(o.head) : len));
		}
	}
}

TEST(headers_may_change_at_any_moment)
{
	unsigned made = 0, dropped = 0;
	pthread_t thread;

	stop = 0;
	EXPECT_EQ(pthread_create(&thread, NULL, scribble, NULL), 0);
	for (unsigned round = 0; round < 200000 && (round < 1000 || !made || !dropped); round++) {
		struct packet p = packets[round % PACKETS];
		struct virtio_net_hdr vnet;
		uint32_t len;

		p.payload = 9000;
		vnet = packet_vnet(&p, 100);
		len = packet_make(sent, &p, 0, false);
		start();
		queue(sent, len, &vnet, 1 + round % 80, 1500);
		begin();
		while (o.next.i < 1) {
			make(round % 2 ? GUEST_CSUM : 0);
			expect_sane(len);
			made += o.batch.nframes;
		}
		dropped += (unsigned)count.drops[RP_DROP_HEADER];
	}
	rp_store(&stop, 1);
	pthread_join(thread, NULL);
	EXPECT(made && dropped);
}
