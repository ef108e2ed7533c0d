/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that breaks the rules of virtio breaks its own port, with the reason, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "vnet.h"
#include "world.h"

static struct world w;
static struct fake_guest evil, b, c; /* hosts 1, 2 and 3 */
static struct fake_frame got;
static const struct fake_guest_config plain;

static void add_asking(struct fake_guest *g, const struct virtio_net_hdr *asks, unsigned to,
		       unsigned from, uint32_t number)
{
	uint8_t frame[200];

	frame_make(frame, sizeof(frame), to, from, number);
	EXPECT(fake_guest_send(g, asks, frame, sizeof(frame), FAKE_PLAIN));
}

static void add(struct fake_guest *g, unsigned to, unsigned from, uint32_t number)
{
	add_asking(g, NULL, to, from, number);
}

/* One frame from a good guest to another good guest. */
static void expect_works(struct fake_guest *from, unsigned from_host, struct fake_guest *to,
			 unsigned to_host)
{
	fake_guest_post(to, 1, 1000, FAKE_PLAIN);
	add(from, to_host, from_host, 77);
	fake_queue_kick(&from->tx);
	EXPECT_SOON(fake_guest_sent(from) == 1);
	EXPECT(fake_guest_receive(to, &got));
	EXPECT_EQ(frame_number(got.data), 77);
	EXPECT(frame_whole(got.data, got.len));
}

static void open_three(void)
{
	world_open(&w);
	fake_guest_open(&evil, &plain);
	fake_guest_open(&b, &plain);
	fake_guest_open(&c, &plain);
	fake_guest_connect(&evil, w.dp, world_add_vhost(&w, "evil"));
	fake_guest_connect(&b, w.dp, world_add_vhost(&w, "b"));
	fake_guest_connect(&c, w.dp, world_add_vhost(&w, "c"));
	expect_works(&b, 2, &c, 3);
	expect_works(&c, 3, &b, 2);
	expect_works(&evil, 1, &b, 2);
}

static void close_three(void)
{
	world_close(&w);
	fake_guest_close(&evil);
	fake_guest_close(&b);
	fake_guest_close(&c);
}

enum {
	BASE = FAKE_RAM_BASE,
	NOWHERE = 0x20000000,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT
};

static bool is_packed(void)
{
	return fake_features() & RP_FEATURE(VIRTIO_F_RING_PACKED);
}

/* Chains that go on and on: in a split ring a loop, in a packed one all that there is. */
static void endless(void)
{
	const unsigned n = is_packed() ? evil.tx.nfree : 3;
	struct fake_desc *d = calloc(n, sizeof(*d));

	EXPECT(d);
	for (unsigned i = 0; i < n; i++)
		d[i] = (struct fake_desc){ BASE, 1, NEXT };
	EXPECT(fake_queue_add_raw(&evil.tx, d, n) >= 0);
	free(d);
}

static void far_head(void)
{
	struct vring_avail *avail = evil.tx.split.avail;

	EXPECT(fake_queue_add_buf(&evil.tx, 100, 0, FAKE_PLAIN) >= 0);
	avail->ring[(evil.tx.added.chains - 1) % evil.tx.size] = 9999;
}

static void far_ahead(void)
{
	evil.tx.added.chains += 1000;
}

static void backwards(void)
{
	evil.tx.added.chains -= 1;
}

/* The transmit queue gets one chain, a bad one. */
static const struct attack {
	const char *why;
	unsigned n;
	struct fake_desc desc[2];
	bool indirect;	       /* they are a table */
	void (*instead)(void); /* of adding them */
	bool split;	       /* with split rings only */
	bool alone;	       /* those before it go with it */
} attacks[] = {
	{ .why = "a transmit buffer that the device may write only",
	  .n = 1,
	  .desc = { { BASE, 100, WRITE } } },
	{ .why = "a transmit buffer that the device may write only",
	  .n = 2,
	  .desc = { { BASE, 100, NEXT }, { BASE, 100, WRITE } },
	  .indirect = true },
	{ .why = "a descriptor outside the guest's memory",
	  .n = 1,
	  .desc = { { NOWHERE, 100, 0 } } },
	{ .why = "a descriptor outside the guest's memory",
	  .n = 1,
	  .desc = { { BASE, UINT32_MAX, 0 } } },
	{ .why = "a descriptor outside the guest's memory",
	  .n = 1,
	  .desc = { { UINT64_MAX - 50, 100, 0 } } },
	{ .why = "a descriptor outside the guest's memory",
	  .n = 2,
	  .desc = { { BASE, 100, NEXT }, { BASE - 1, 2, 0 } } },
	{ .why = "a descriptor outside the guest's memory",
	  .n = 1,
	  .desc = { { NOWHERE, 100, 0 } },
	  .indirect = true },
	{ .why = "an indirect descriptor in an indirect table",
	  .n = 1,
	  .desc = { { BASE, 16, INDIRECT } },
	  .indirect = true },
	{ .why = "an indirect descriptor with a next one",
	  .n = 2,
	  .desc = { { BASE, 16, INDIRECT | NEXT }, { BASE, 100, 0 } } },
	{ .why = "whose length is not a multiple of 16",
	  .n = 1,
	  .desc = { { BASE, 0, INDIRECT } } },
	{ .why = "whose length is not a multiple of 16",
	  .n = 1,
	  .desc = { { BASE, 40, INDIRECT } } },
	{ .why = "an indirect table outside", .n = 1, .desc = { { NOWHERE, 16, INDIRECT } } },
	{ .why = "a descriptor chain that is a loop", .instead = endless },
	{ .why = "a descriptor index beyond its table", .instead = far_head, .split = true },
	{ .why = "the avail index runs", .instead = far_ahead, .split = true, .alone = true },
	{ .why = "the avail index runs", .instead = backwards, .split = true, .alone = true },
};

enum { ATTACKS = sizeof(attacks) / sizeof(attacks[0]) };

static bool possible(const struct attack *how)
{
	return !how->split || !is_packed();
}

static void prepare(const struct attack *how)
{
	if (how->instead)
		how->instead();
	else
		EXPECT((how->indirect ? fake_queue_add_table :
					fake_queue_add_raw)(&evil.tx, how->desc, how->n) >= 0);
}

/* What is sent, and who breaks, does not depend on what was sent just before. */
static void attack(const struct attack *how, unsigned good_frames)
{
	const int event_fd = rp_dataplane_event_fd(w.dp);
	struct rp_port_status s;
	uint64_t events;
	struct rp_err err;

	fake_guest_post(&b, good_frames, 1000, FAKE_PLAIN);
	for (uint32_t i = 0; i < good_frames; i++)
		add(&evil, 2, 1, i);
	prepare(how);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(read(event_fd, &events, sizeof(events)) == sizeof(events));
	EXPECT_EQ(events, 1);
	EXPECT(world_broken(&w, evil.port));
	s = world_status(&w, evil.port);
	EXPECT_TEXT(s.reason, "transmit virtqueue 0: ");
	EXPECT_TEXT(s.reason, how->why);
	EXPECT_EQ(s.tx_live | s.rx_live, 0);
	EXPECT_OK(rp_port_repair(w.dp, evil.port, &err), err);
}

static void reset_evil(void)
{
	const int port = evil.port;

	fake_queue_reset(&evil.rx, 0);
	fake_queue_reset(&evil.tx, 0);
	fake_guest_connect(&evil, w.dp, port);
}

TEST_FORMATS(a_transmitter_that_breaks_a_rule_breaks_its_port_alone)
{
	for (unsigned i = 0; i < ATTACKS; i++) {
		if (!possible(&attacks[i]))
			continue;
		open_three();
		attack(&attacks[i], 0);
		expect_works(&b, 2, &c, 3);
		expect_works(&c, 3, &b, 2);
		close_three();
	}
}

TEST_FORMATS(frames_before_the_one_that_breaks_a_rule_arrive)
{
	for (unsigned i = 0; i < ATTACKS; i++) {
		const unsigned good = attacks[i].alone ? 0 : 5;

		if (!possible(&attacks[i]))
			continue;
		open_three();
		attack(&attacks[i], good);
		for (uint32_t n = 0; n < good; n++) {
			EXPECT_SOON(fake_guest_receive(&b, &got));
			EXPECT_EQ(frame_number(got.data), n);
			EXPECT(frame_whole(got.data, got.len));
		}
		EXPECT(!fake_guest_receive(&b, &got));
		close_three();
	}
}

TEST_FORMATS(a_broken_port_works_again_after_repair_and_reset)
{
	open_three();
	for (unsigned round = 0; round < 3 * ATTACKS; round++) {
		if (!possible(&attacks[round % ATTACKS]))
			continue;
		attack(&attacks[round % ATTACKS], 0);
		reset_evil();
		expect_works(&evil, 1, &b, 2);
		expect_works(&b, 2, &evil, 1);
	}
	close_three();
}

/* The receiver breaks while somebody else sends to it. */
static void expect_frame_breaks_receiver(const struct virtio_net_hdr *asks, const char *why)
{
	struct rp_port_status s;

	fake_queue_kick(&evil.rx);
	add_asking(&b, asks, 1, 2, 1);
	fake_queue_kick(&b.tx);
	EXPECT_SOON(fake_guest_sent(&b) == 1);
	EXPECT(world_broken(&w, evil.port));
	s = world_status(&w, evil.port);
	EXPECT_TEXT(s.reason, "receive virtqueue 0: ");
	EXPECT_TEXT(s.reason, why);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 1);
	EXPECT(!world_broken(&w, b.port));
	expect_works(&b, 2, &c, 3);
	expect_works(&c, 3, &b, 2);
}

static void expect_receiver_breaks(const char *why)
{
	expect_frame_breaks_receiver(NULL, why);
}

static const struct {
	const char *why;
	struct fake_desc desc;
	bool indirect;
} receive_attacks[] = {
	{ "a receive buffer that the device may not write", { BASE, 1000, 0 }, false },
	{ "a receive buffer that the device may not write", { BASE, 1000, 0 }, true },
	{ "a descriptor outside", { 0, 1000, WRITE }, false },
	{ "a descriptor outside", { NOWHERE, 1000, WRITE }, true },
	{ "a descriptor outside", { BASE, UINT32_MAX, WRITE }, false },
	{ "an indirect descriptor in an indirect table", { BASE, 16, INDIRECT }, true },
	{ "whose length is not a multiple of 16", { BASE, 15, INDIRECT }, false },
	{ "an indirect table outside", { NOWHERE, 32, INDIRECT }, false },
};

/* Alone, or behind a buffer that is in order, but too small for the frame. */
TEST_FORMATS(a_receiver_that_breaks_a_rule_breaks_its_port_alone)
{
	const unsigned n = sizeof(receive_attacks) / sizeof(receive_attacks[0]);

	for (unsigned i = 0; i < 2 * n; i++) {
		const struct fake_desc *d = &receive_attacks[i / 2].desc;

		open_three();
		if (i % 2)
			fake_queue_add_buf(&evil.rx, 100, WRITE, FAKE_PLAIN);
		(receive_attacks[i / 2].indirect ? fake_queue_add_table :
						   fake_queue_add_raw)(&evil.rx, d, 1);
		expect_receiver_breaks(receive_attacks[i / 2].why);
		EXPECT_EQ(fake_queue_used(&evil.rx), 0);
		close_three();
	}
}

TEST(a_receive_index_that_is_a_lie_breaks_the_receiver_alone)
{
	open_three();
	evil.rx.added.chains = 300;
	expect_receiver_breaks("the avail index");
	close_three();
}

static void open_endless(uint64_t without)
{
	const struct fake_guest_config many = { .queue_size = 8192,
						.features = fake_features() & ~without };
	struct fake_desc *d = calloc(8192, sizeof(*d));
	int port;

	open_three();
	port = evil.port;
	fake_guest_disconnect(&evil);
	fake_guest_close(&evil);
	fake_guest_open(&evil, &many);
	fake_guest_connect(&evil, w.dp, port);
	EXPECT(d);
	for (uint32_t i = 0; i < 8192; i++)
		d[i] = (struct fake_desc){ BASE, 0, WRITE | NEXT };
	d[8191] = (struct fake_desc){ BASE, 1, WRITE };
	EXPECT(fake_queue_add_raw(&evil.rx, d, 8192) >= 0);
	free(d);
}

TEST_RINGS(receive_buffers_in_endless_pieces_break_the_receiver_alone)
{
	open_endless(0);
	expect_receiver_breaks("receive buffers in more pieces");
	close_three();
}

/* What is made of a frame in software meets the same buffers. */
TEST_RINGS(receive_buffers_in_endless_pieces_break_a_receiver_without_offloads_alone)
{
	static const struct virtio_net_hdr asks = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						    .csum_start = 34,
						    .csum_offset = 16 };

	open_endless(RP_VNET_FEATURES);
	expect_frame_breaks_receiver(&asks, "receive buffers in more pieces");
	close_three();
}

/* Not a frame of them arrives, but each one costs as much as a batch: others must get their turn. */
TEST_RINGS(a_batch_does_not_look_at_more_pieces_than_it_could_hold)
{
	const struct rp_ring_counters *count;
	struct fake_piece piece[FAKE_TABLE];
	uint64_t before;

	open_three();
	count = world_count(&w, evil.port, NETMAP_DIR_TX);
	before = rp_load(&count->batches);
	for (unsigned i = 0; i < FAKE_TABLE; i++)
		piece[i] = (struct fake_piece){ FAKE_RAM_BASE, 0 };
	for (unsigned i = 0; i < 128; i++)
		EXPECT(fake_queue_add(&evil.tx, piece, FAKE_TABLE, 0, true) >= 0);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(fake_queue_done(&evil.tx));
	EXPECT_EQ(world_drops(&w, evil.port, NETMAP_DIR_TX, RP_DROP_SHORT), 128);
	EXPECT(rp_load(&count->batches) - before >= 128 * FAKE_TABLE / RP_BATCH_SEGS);
	close_three();
}

TEST_RINGS(a_guest_that_floods_calls_of_its_own_harms_nobody)
{
	open_three();
	for (unsigned i = 0; i < 5000; i++)
		EXPECT_EQ(write(evil.tx.kick_fd, &(uint64_t){ 1 }, 8), 8);
	expect_works(&b, 2, &c, 3);
	EXPECT(!world_broken(&w, evil.port));
	close_three();
}

TEST_RINGS(a_call_descriptor_that_is_no_eventfd_harms_nobody)
{
	struct rp_err err;
	int pipes[2];

	open_three();
	EXPECT_EQ(pipe(pipes), 0);
	EXPECT_OK(rp_vhost_ring_call(w.dp, evil.port, 1, pipes[1], &err), err);
	close(pipes[0]); /* writing gets SIGPIPE, or EPIPE */
	close(pipes[1]);
	EXPECT(fake_queue_arm(&evil.tx));
	add(&evil, 2, 1, 0);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(fake_guest_sent(&evil) == 1);
	EXPECT_EQ(rp_vhost_ring_call(w.dp, evil.port, 1, 1000000, &err), -EBADF);
	expect_works(&b, 2, &c, 3);
	close_three();
}

TEST_RINGS(a_call_descriptor_that_blocks_whoever_writes_to_it_harms_nobody)
{
	const uint64_t full = UINT64_MAX - 1;
	uint64_t count;
	int flags;

	open_three();
	while (read(evil.tx.call_fd, &count, sizeof(count)) == sizeof(count))
		;
	flags = fcntl(evil.tx.call_fd, F_GETFL);
	EXPECT_EQ(fcntl(evil.tx.call_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	EXPECT_EQ(write(evil.tx.call_fd, &full, sizeof(full)), sizeof(full));
	EXPECT(fake_queue_arm(&evil.tx));
	add(&evil, 2, 1, 0);
	fake_queue_kick(&evil.tx);
	EXPECT_SOON(fake_guest_sent(&evil) == 1);
	expect_works(&b, 2, &c, 3);
	/* The control plane waits for nothing either, and calls go on once there is room. */
	EXPECT_EQ(read(evil.tx.call_fd, &count, sizeof(count)), sizeof(count));
	EXPECT(fake_queue_arm(&evil.tx));
	add(&evil, 2, 1, 1);
	fake_queue_kick(&evil.tx);
	EXPECT_EQ(read(evil.tx.call_fd, &count, sizeof(count)), sizeof(count));
	close_three();
}

TEST(a_kick_descriptor_that_cannot_be_waited_for_is_refused)
{
	struct rp_vring_config cfg;
	struct rp_err err;

	open_three();
	fake_guest_disconnect(&evil);
	cfg = fake_queue_config(&evil.tx);
	cfg.kick_fd = evil.ram.region[0].fd; /* a file: always readable, never waited for */
	EXPECT_EQ(rp_vhost_ring_start(w.dp, evil.port, 1, &cfg, &err), -EPERM);
	EXPECT_TEXT(err.text, "cannot wait for kicks");
	cfg.kick_fd = 1000000;
	EXPECT_EQ(rp_vhost_ring_start(w.dp, evil.port, 1, &cfg, &err), -EBADF);
	fake_guest_connect(&evil, w.dp, evil.port);
	expect_works(&evil, 1, &b, 2);
	close_three();
}
