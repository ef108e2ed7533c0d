/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames of all lengths between every pair of front ends: each arrives whole,
 * or is dropped as mtu. The tables say which.
 */
#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "packets.h"
#include "vnet.h"
#include "world.h"

enum { LENGTHS = 9, MTUS = 3, SMALL = 2048, BIG = 16384, HUGE = 66000 };

/* With a VLAN tag, 1518 and 9018 bytes are packets of 1500 and 9000. */
static const uint32_t lengths[LENGTHS] = { 60, 1514, 1518, 1519, 2048, 9014, 9018, 9019, 65536 };
static const uint32_t mtus[MTUS] = { 0, 1500, 9000 }; /* 0: none */

enum front {
	SPLIT,
	PACKED,
	VIRTQUEUES,
	NETMAP
}; /* a table's row is for both kinds of virtqueues */

struct kind {
	enum front front;
	const char *name;
	uint64_t without;   /* features */
	uint32_t buf_bytes; /* of a receive buffer, virtio-net header included, or of a slot */
};

#define SINGLE	 RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF)
#define OFFLOADS RP_VNET_FEATURES

static const struct kind senders[] = {
	{ SPLIT, "a split virtqueue", 0, SMALL },
	{ PACKED, "a packed virtqueue", 0, SMALL },
	{ NETMAP, "2 KB slots", 0, SMALL },
	{ NETMAP, "16 KB slots", 0, BIG },
};

static const struct {
	struct kind to;
	const char *arrives[MTUS]; /* +: whole, -: dropped as mtu; one for each of lengths */
} table[] = {
	{ { VIRTQUEUES, "512 bytes, mergeable", 0, 512 },
	  { "+++++++++", /* no MTU */
	    "+++------", /* 1500 */
	    "+++++++--" /* 9000 */ } },
	{ { VIRTQUEUES, "16 KB, mergeable", 0, BIG },
	  { "+++++++++", /* no MTU */
	    "+++------", /* 1500 */
	    "+++++++--" /* 9000 */ } },
	{ { VIRTQUEUES, "2 KB", SINGLE, SMALL },
	  { "++++-----", /* no MTU */
	    "+++------", /* 1500 */
	    "++++-----" /* 9000 */ } },
	{ { VIRTQUEUES, "16 KB", SINGLE, BIG },
	  { "++++++++-", /* no MTU */
	    "+++------", /* 1500 */
	    "+++++++--" /* 9000 */ } },
	{ { NETMAP, "2 KB slots", 0, SMALL },
	  { "+++++++++", /* no MTU */
	    "+++------", /* 1500 */
	    "+++++++--" /* 9000 */ } },
	{ { NETMAP, "16 KB slots", 0, BIG },
	  { "+++++++++", /* no MTU */
	    "+++------", /* 1500 */
	    "+++++++--" /* 9000 */ } },
};

enum { ROWS = sizeof(table) / sizeof(table[0]), SENDERS = sizeof(senders) / sizeof(senders[0]) };

/* A port with whatever is on its other side. */
struct end {
	struct kind kind;
	int port;
	struct fake_guest g;
	struct ring_user u;
};

static struct world w;
static struct end from, to;
static struct fake_frame got;
static uint8_t frame[FRAME_MAX];

static void open_end(struct end *e, const char *name, const struct kind *kind)
{
	struct fake_guest_config cfg = { .tx_buf_bytes = HUGE, .rx_buf_bytes = kind->buf_bytes };
	struct rp_port_config port = world_rings_config(&w, name);

	e->kind = *kind;
	if (kind->front == NETMAP) {
		port.buf_bytes = kind->buf_bytes;
		e->port = world_add_port(&w, &port);
		ring_user_open(&e->u, &w, e->port);
		return;
	}
	fake_choose_format(kind->front == PACKED);
	cfg.features = fake_features() & ~kind->without;
	fake_choose_format(0);
	fake_guest_open(&e->g, &cfg);
	e->port = world_add_vhost(&w, name);
	fake_guest_connect(&e->g, w.dp, e->port);
}

static void close_end(struct end *e)
{
	if (e->kind.front == NETMAP)
		ring_user_close(&e->u);
	else
		fake_guest_close(&e->g);
}

/* Return when it was delivered or dropped. */
static void send_frame(struct end *e, const struct virtio_net_hdr *vnet, uint32_t len)
{
	if (e->kind.front == NETMAP) {
		EXPECT(ring_send(&e->u, frame, len) > 0);
		return;
	}
	EXPECT(fake_guest_send(&e->g, vnet, frame, len, FAKE_PLAIN));
	fake_queue_kick(&e->g.tx);
	EXPECT_SOON(fake_guest_sent(&e->g) == 1);
}

static void post_buffers(struct end *e)
{
	if (e->kind.front != NETMAP)
		fake_guest_post(&e->g, e->g.rx.nfree, e->kind.buf_bytes, FAKE_PLAIN);
}

/* Return: was there a frame? It is in got. */
static bool receive(struct end *e)
{
	if (e->kind.front != NETMAP)
		return fake_guest_receive(&e->g, &got);
	memset(&got.header, 0, sizeof(got.header));
	got.len = ring_get(&e->u, got.data);
	return got.len;
}

static void open_pair(const struct kind *sender, const struct kind *receiver)
{
	world_open(&w);
	open_end(&from, "from", sender);
	open_end(&to, "to", receiver);
	frame_make(frame, 60, HOST_BROADCAST, 2, 0); /* the switch knows where host 2 is */
	send_frame(&to, NULL, 60);
	while (receive(&from))
		;
}

static void close_pair(void)
{
	world_close(&w);
	close_end(&from);
	close_end(&to);
}

static void set_mtu(uint32_t mtu)
{
	struct rp_err err;

	EXPECT_OK(rp_port_set_mtu(w.dp, to.port, mtu, &err), err);
}

static uint64_t drops(enum rp_drop reason)
{
	return world_drops(&w, from.port, NETMAP_DIR_TX, reason);
}

static uint64_t all_drops(void)
{
	return world_all_drops(&w, from.port, NETMAP_DIR_TX) +
	       world_all_drops(&w, to.port, NETMAP_DIR_RX);
}

/* Frame @number of @len bytes arrives, or is dropped for its length and for nothing else. */
static void expect_cell(uint32_t len, uint32_t number, bool arrives)
{
	const uint64_t all = all_drops(), mtu = drops(RP_DROP_MTU);

	post_buffers(&to);
	frame_make(frame, len, 2, 1, number);
	send_frame(&from, NULL, len);
	EXPECT_EQ(receive(&to), arrives);
	if (arrives) {
		EXPECT_EQ(got.len, len);
		EXPECT_EQ(frame_number(got.data), number);
		EXPECT(frame_whole(got.data, len));
	}
	EXPECT(!receive(&to));
	EXPECT_EQ(drops(RP_DROP_MTU) - mtu, !arrives);
	EXPECT_EQ(all_drops() - all, !arrives);
}

static void expect_row(const char *const arrives[MTUS])
{
	for (unsigned m = 0; m < MTUS; m++) {
		set_mtu(mtus[m]);
		for (uint32_t l = 0; l < LENGTHS; l++) {
			rp_test_note("%u bytes from %s to %s, MTU %u", lengths[l], from.kind.name,
				     to.kind.name, mtus[m]);
			expect_cell(lengths[l], m * LENGTHS + l, arrives[m][l] == '+');
		}
	}
}

/* A row for virtqueues is for split and for packed ones. */
static unsigned fronts(const struct kind *row)
{
	return row->front == VIRTQUEUES ? 2 : 1;
}

static struct kind nth_front(const struct kind *row, unsigned i)
{
	struct kind kind = *row;

	if (row->front == VIRTQUEUES)
		kind.front = i ? PACKED : SPLIT;
	return kind;
}

TEST(a_frame_arrives_whole_or_is_dropped_as_mtu_between_all_pairs)
{
	for (unsigned s = 0; s < SENDERS; s++) {
		for (unsigned row = 0; row < ROWS; row++) {
			for (unsigned f = 0; f < fronts(&table[row].to); f++) {
				const struct kind kind = nth_front(&table[row].to, f);

				open_pair(&senders[s], &kind);
				expect_row(table[row].arrives);
				close_pair();
			}
		}
	}
}

/* What goes to segments is measured by them. */
static const uint16_t sizes[] = { 1400, 8900 }; /* of segments, without their 66 bytes of headers */

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static const struct {
	struct kind to;
	const char *arrives[SIZES]; /* W: whole, c: cut, -: dropped as mtu; one for each of mtus */
} gso_table[] = {
	{ { VIRTQUEUES, "2 KB, mergeable, with TSO", 0, SMALL }, { "WWW", "W-W" } },
	{ { VIRTQUEUES, "64 KB, with TSO", SINGLE, HUGE }, { "WWW", "W-W" } },
	{ { VIRTQUEUES, "2 KB, with TSO", SINGLE, SMALL }, { "---", "---" } },
	{ { VIRTQUEUES, "2 KB, mergeable", OFFLOADS, SMALL }, { "ccc", "c-c" } },
	{ { VIRTQUEUES, "2 KB", SINGLE | OFFLOADS, SMALL }, { "ccc", "---" } },
	{ { VIRTQUEUES, "16 KB", SINGLE | OFFLOADS, BIG }, { "ccc", "c-c" } },
	{ { NETMAP, "2 KB slots", 0, SMALL }, { "ccc", "c-c" } },
	{ { NETMAP, "16 KB slots", 0, BIG }, { "ccc", "c-c" } },
};

enum { GSO_ROWS = sizeof(gso_table) / sizeof(gso_table[0]) };

static void expect_gso_cell(uint16_t gso_size, char arrives)
{
	const struct packet p = { .from = 1,
				  .to = 2,
				  .tcp_options = 12,
				  .payload = 20000,
				  .extension = { 0xff, 0xff, 0xff } };
	const struct virtio_net_hdr vnet = packet_vnet(&p, gso_size);
	const uint32_t len = packet_make(frame, &p, 0, false);
	const uint64_t all = all_drops(), mtu = drops(RP_DROP_MTU);

	post_buffers(&to);
	send_frame(&from, &vnet, len);
	if (arrives == 'W') {
		EXPECT(receive(&to));
		EXPECT_EQ(got.len, len);
		EXPECT_EQ(got.header.hdr.gso_size, gso_size);
		EXPECT_EQ(memcmp(got.data, frame, len), 0);
	}
	for (uint32_t i = 0; arrives == 'c' && i < packet_segments(&p, gso_size); i++) {
		EXPECT(receive(&to));
		EXPECT_EQ(got.header.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		EXPECT_EQ(got.len, packet_segment(frame, &p, gso_size, i, true));
		EXPECT_EQ(memcmp(got.data, frame, got.len), 0);
	}
	EXPECT(!receive(&to));
	EXPECT_EQ(all_drops() - all, drops(RP_DROP_MTU) - mtu);
	EXPECT_EQ(all_drops() > all, arrives == '-');
}

static void expect_gso_row(const char *const arrives[SIZES])
{
	for (unsigned size = 0; size < SIZES; size++) {
		for (unsigned m = 0; m < MTUS; m++) {
			set_mtu(mtus[m]);
			rp_test_note("segments of %u bytes from %s to %s, MTU %u", sizes[size],
				     from.kind.name, to.kind.name, mtus[m]);
			expect_gso_cell(sizes[size], arrives[size][m]);
		}
	}
}

TEST(a_frame_for_segments_arrives_as_mtu_and_receiver_allow)
{
	for (unsigned s = 0; senders[s].front != NETMAP; s++) {
		for (unsigned row = 0; row < GSO_ROWS; row++) {
			for (unsigned f = 0; f < fronts(&gso_table[row].to); f++) {
				const struct kind kind = nth_front(&gso_table[row].to, f);

				open_pair(&senders[s], &kind);
				expect_gso_row(gso_table[row].arrives);
				close_pair();
			}
		}
	}
}
