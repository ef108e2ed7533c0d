/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of the kernel's, with a socket pair in the kernel's place: a datagram
 * is what a TAP device and a packet socket read and write, a virtio-net header
 * and a frame.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "dataplane.h"
#include "frames.h"
#include "front_xdp.h"
#include "packets.h"
#include "partial.h"
#include "vnet.h"
#include "world.h"

enum { SLOTS = 64, US = 1, KERNEL = 2, KINDS = 2 };

struct datagram {
	struct virtio_net_hdr vnet;
	uint8_t frame[FRAME_MAX];
};

static struct world w;
static struct ring_user user;
static struct datagram d;
static struct rp_err err;
static int port; /* the kernel's */
static int kernel_fd;
static int32_t mode;
static bool worker; /* serves it */

static const char *choose_mode(unsigned i)
{
	static const struct {
		const char *name;
		int32_t mode;
	} modes[KINDS] = { { "TAP", RP_KERNEL_TAP }, { "packet socket", RP_KERNEL_PACKET } };

	mode = modes[i].mode;
	return modes[i].name;
}

static const char *choose_worker(unsigned i)
{
	worker = i;
	return worker ? "a worker" : "no worker";
}

static struct rp_port_config kernel_port_config(void)
{
	struct rp_port_config cfg = world_vhost_config(&w, "kernel");

	cfg.front_end = RP_FRONT_KERNEL;
	cfg.worker = -1;
	cfg.mtu = 0;
	return cfg;
}

/* Start the port on one end of a socket pair; the other one is kernel_fd. */
static void start(void)
{
	const int room = 1 << 22;
	struct rp_kernel_config cfg = { .mode = mode, .slots = SLOTS };
	int pair[2];

	EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	EXPECT_EQ(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	EXPECT_EQ(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	cfg.fd[0] = pair[0];
	EXPECT_OK(rp_kernel_start(w.dp, port, &cfg, &err), err);
	EXPECT_OK(rp_kernel_enable(w.dp, port, 1, &err), err);
	close(pair[0]);
	kernel_fd = pair[1];
}

static void open_world(void)
{
	struct rp_port_config cfg;

	world_open(&w);
	cfg = kernel_port_config();
	port = world_add_port(&w, &cfg);
	ring_user_open(&user, &w, world_add_rings(&w, "user"));
	start();
}

static void close_world(void)
{
	close(kernel_fd);
	ring_user_close(&user);
	world_close(&w);
}

/* The kernel sends a frame; its port is synced. */
static void from_kernel(uint32_t len)
{
	EXPECT(send(kernel_fd, &d, sizeof(d.vnet) + len, 0) > 0);
	EXPECT(rp_port_txsync(w.caller, port, 0) >= 0);
}

/* Return: the length of the frame that the kernel received, 0: none */
static uint32_t to_kernel(void)
{
	ssize_t n = recv(kernel_fd, &d, sizeof(d), 0);

	return n < 0 ? 0 : (uint32_t)n - (uint32_t)sizeof(d.vnet);
}

static void expect_frame(uint32_t len, const uint8_t *frame, uint32_t want, uint32_t number)
{
	EXPECT_EQ(len, want);
	EXPECT(frame_whole(frame, len));
	EXPECT_EQ(frame_number(frame), number);
}

TEST_EACH(frames_of_all_lengths_cross_both_ways, KINDS, choose_mode)
{
	static const uint32_t lengths[] = { 60, 1514, 2048, 4096, 4097, 9014, 65535 };
	uint8_t frame[FRAME_MAX];

	open_world();
	for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		d.vnet = (struct virtio_net_hdr){ 0 };
		frame_make(d.frame, lengths[i], US, KERNEL, i);
		from_kernel(lengths[i]);
		expect_frame(ring_get(&user, frame), frame, lengths[i], i);
		frame_make(frame, lengths[i], KERNEL, US, i);
		EXPECT(ring_send(&user, frame, lengths[i]) > 0);
		expect_frame(to_kernel(), d.frame, lengths[i], i);
	}
	EXPECT_EQ(world_all_drops(&w, port, NETMAP_DIR_TX), 0);
	close_world();
}

TEST_EACH(a_checksum_that_the_kernel_left_is_completed_for_rings, KINDS, choose_mode)
{
	struct packet p = PACKET_TCP4;
	uint8_t frame[FRAME_MAX], whole[FRAME_MAX];
	uint32_t len;

	p.payload = 1000;
	open_world();
	d.vnet = packet_vnet(&p, 0);
	len = packet_make(d.frame, &p, 0, false);
	packet_make(whole, &p, 0, true);
	from_kernel(len);
	EXPECT_EQ(ring_get(&user, frame), len);
	EXPECT_EQ(memcmp(frame, whole, len), 0);
	close_world();
}

TEST_EACH(what_is_malformed_is_counted_and_the_rest_goes_on, KINDS, choose_mode)
{
	uint8_t frame[FRAME_MAX];

	open_world();
	d.vnet = (struct virtio_net_hdr){ 0 };
	frame_make(d.frame, 60, US, KERNEL, 7);
	EXPECT(send(kernel_fd, &d, sizeof(d.vnet) + RP_ETH_MIN - 1, 0) > 0);
	d.vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 59 };
	EXPECT(send(kernel_fd, &d, sizeof(d.vnet) + 60, 0) > 0);
	d.vnet = (struct virtio_net_hdr){ .gso_type = 0x77, .gso_size = 1 };
	EXPECT(send(kernel_fd, &d, sizeof(d.vnet) + 60, 0) > 0);
	d.vnet = (struct virtio_net_hdr){ 0 };
	from_kernel(60);
	expect_frame(ring_get(&user, frame), frame, 60, 7);
	EXPECT_EQ(world_drops(&w, port, NETMAP_DIR_TX, RP_DROP_SHORT), 1);
	EXPECT_EQ(world_drops(&w, port, NETMAP_DIR_TX, RP_DROP_HEADER), 2);
	EXPECT_EQ(world_count(&w, port, NETMAP_DIR_TX)->frames, 4);
	close_world();
}

TEST_EACH(more_frames_than_the_queue_has_slots_pass_in_order, KINDS, choose_mode)
{
	enum { ROUNDS = 50, BURST = 40 };
	uint8_t frame[FRAME_MAX];
	uint32_t sent = 0, got = 0;

	open_world();
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < BURST; i++, sent++) {
			const uint32_t len = 60 + sent % 1400;

			frame_make(frame, len, KERNEL, US, sent);
			ring_put(&user, frame, len);
		}
		EXPECT(ring_txsync(&user) > 0);
		for (uint32_t len; (len = to_kernel()); got++)
			expect_frame(len, d.frame, 60 + got % 1400, got);
	}
	EXPECT_EQ(got, ROUNDS * BURST);
	close_world();
}

static void little_room(void)
{
	const int bytes = 4096;

	EXPECT_EQ(setsockopt(rp_kernel_fd(w.dp, port, 0, &err), SOL_SOCKET, SO_SNDBUF, &bytes,
			     sizeof(bytes)),
		  0);
}

/*
 * The port's worker sleeps when somebody else finds that the kernel takes no more for a moment.
 * Nobody sends again: what is left goes out as soon as there is room.
 */
TEST(what_the_kernel_did_not_take_at_once_goes_out_later)
{
	enum { FRAMES = 40, LEN = 1500 };
	struct rp_port_config cfg;
	uint8_t frame[FRAME_MAX];
	uint32_t got = 0, len;

	mode = RP_KERNEL_PACKET;
	world_open(&w);
	cfg = kernel_port_config();
	cfg.worker = w.worker;
	port = world_add_port(&w, &cfg);
	ring_user_open(&user, &w, world_add_rings(&w, "user"));
	start();
	little_room();
	for (uint32_t i = 0; i < FRAMES; i++) {
		frame_make(frame, LEN, KERNEL, US, i);
		ring_put(&user, frame, LEN);
	}
	EXPECT_SOON(w.counters->workers[w.worker].sleeps > 0);
	rp_test_nap(10000000); /* it counts before it sleeps */
	EXPECT_EQ(ring_txsync(&user), FRAMES);
	while (got < FRAMES) {
		EXPECT_SOON((len = to_kernel()) > 0);
		expect_frame(len, d.frame, LEN, got++);
	}
	close_world();
}

/* A link between the kernel's port and that of a program that never reads; each holds for ever. */
static void open_link(void)
{
	struct rp_port_config cfg;
	int rings;

	mode = RP_KERNEL_PACKET;
	world_open(&w);
	cfg = kernel_port_config();
	cfg.kind = RP_KIND_LINK;
	cfg.full = RP_FULL_HOLD;
	cfg.hold_us = WORLD_FOREVER_US;
	cfg.worker = worker ? w.worker : -1;
	port = world_add_port(&w, &cfg);
	cfg = world_rings_config(&w, "user");
	cfg.kind = RP_KIND_LINK;
	cfg.full = RP_FULL_HOLD;
	cfg.hold_us = WORLD_FOREVER_US;
	rings = world_add_port(&w, &cfg);
	EXPECT_OK(rp_port_link(w.dp, port, rings, &err), err);
	ring_user_open(&user, &w, rings);
	start();
}

/* The kernel sends what the program has no room for, so that its port holds frames and reads none. */
static void fill_program(void)
{
	const struct rp_ring_counters *in = world_count(&w, port, NETMAP_DIR_TX);

	d.vnet = (struct virtio_net_hdr){ 0 };
	frame_make(d.frame, 60, US, KERNEL, 0);
	for (unsigned i = 0; i < 2 * SLOTS; i++)
		EXPECT(send(kernel_fd, &d, sizeof(d.vnet) + 60, 0) > 0);
	if (!worker)
		EXPECT(rp_port_txsync(w.caller, port, 0) >= 0);
	EXPECT_SOON(rp_load(&in->frames) >= SLOTS); /* one more than its ring takes */
}

TEST_EACH(what_the_kernel_did_not_take_goes_out_while_its_own_frames_wait, 2, choose_worker)
{
	enum { FRAMES = 40, LEN = 1500 };
	uint8_t frame[FRAME_MAX];
	uint32_t len = 0;

	open_link();
	fill_program();
	little_room();
	for (uint32_t i = 0; i < FRAMES; i++) {
		frame_make(frame, LEN, KERNEL, US, i);
		ring_put(&user, frame, LEN);
	}
	EXPECT_EQ(ring_txsync(&user), FRAMES);
	for (uint32_t got = 0; got < FRAMES; got++) {
		if (worker)
			EXPECT_SOON((len = to_kernel()) > 0);
		else if (!(len = to_kernel())) {
			EXPECT_EQ(rp_port_txsync(w.caller, port, 0), 0);
			len = to_kernel();
		}
		expect_frame(len, d.frame, LEN, got);
	}
	close_world();
}

/* Nobody syncs the kernel's port: who waits for room in its queue sends what is in it. */
TEST(a_sender_that_waits_for_room_makes_some)
{
	enum { FRAMES = 4 * SLOTS, LEN = 1500 };
	uint8_t frame[FRAME_MAX];
	uint32_t put = 0, got = 0, len;

	worker = false;
	open_link();
	little_room();
	for (unsigned round = 0; got < FRAMES && round < FRAMES; round++) {
		for (; put < FRAMES && ring_space(user.tx); put++) {
			frame_make(frame, LEN, KERNEL, US, put);
			ring_put(&user, frame, LEN);
		}
		EXPECT(ring_txsync(&user) >= 0);
		for (; (len = to_kernel()); got++)
			expect_frame(len, d.frame, LEN, got);
		if (put == FRAMES) /* nobody waits for room any more */
			EXPECT_EQ(rp_port_txsync(w.caller, port, 0), 0);
	}
	EXPECT_EQ(got, FRAMES);
	close_world();
}

TEST_EACH(a_stopped_port_starts_again, KINDS, choose_mode)
{
	uint8_t frame[FRAME_MAX];

	open_world();
	EXPECT_OK(rp_kernel_stop(w.dp, port, &err), err);
	close(kernel_fd);
	frame_make(frame, 60, KERNEL, US, 1);
	ring_send(&user, frame, 60);
	EXPECT_EQ(world_drops(&w, user.port, NETMAP_DIR_TX, RP_DROP_NOBODY), 1);
	start();
	frame_make(frame, 60, KERNEL, US, 2);
	ring_send(&user, frame, 60);
	expect_frame(to_kernel(), d.frame, 60, 2);
	close_world();
}

TEST(an_interface_that_is_gone_breaks_its_port)
{
	mode = RP_KERNEL_TAP;
	open_world();
	/* A TAP device that was removed says EBADFD; a directory, that it cannot be read. */
	EXPECT_OK(rp_kernel_stop(w.dp, port, &err), err);
	close(kernel_fd);
	kernel_fd = open("/", O_RDONLY);
	EXPECT_OK(rp_kernel_start(w.dp, port,
				  &(struct rp_kernel_config){
					  .mode = mode, .slots = SLOTS, .fd = { kernel_fd } },
				  &err),
		  err);
	EXPECT_OK(rp_kernel_enable(w.dp, port, 1, &err), err);
	EXPECT_EQ(rp_port_txsync(w.caller, port, 0), -EPIPE);
	EXPECT_TEXT(world_status(&w, port).reason, "the interface was removed");
	EXPECT_OK(rp_kernel_stop(w.dp, port, &err), err);
	close(kernel_fd);
	EXPECT_OK(rp_port_repair(w.dp, port, &err), err);
	start();
	EXPECT(!world_broken(&w, port));
	EXPECT_EQ(world_status(&w, port).tx_live, 1);
	close_world();
}

TEST(what_cannot_be_started_is_refused)
{
	struct rp_kernel_config cfg = { .mode = RP_KERNEL_TAP, .slots = 100, .fd = { 0 } };

	mode = RP_KERNEL_TAP;
	open_world();
	EXPECT_EQ(rp_kernel_start(w.dp, port, &cfg, &err), -EINVAL);
	EXPECT_TEXT(err.text, "a power of two");
	cfg.slots = SLOTS;
	EXPECT_EQ(rp_kernel_start(w.dp, port, &cfg, &err), -EBUSY);
	EXPECT_OK(rp_kernel_stop(w.dp, port, &err), err);
	cfg.fd[0] = -1;
	EXPECT_EQ(rp_kernel_start(w.dp, port, &cfg, &err), -EBADF);
	cfg.mode = 17;
	EXPECT_EQ(rp_kernel_start(w.dp, port, &cfg, &err), -EINVAL);
	EXPECT_EQ(rp_kernel_start(w.dp, user.port, &(struct rp_kernel_config){ .slots = SLOTS },
				  &err),
		  -EINVAL);
	EXPECT_TEXT(err.text, "none of the kernel's");
	EXPECT_EQ(rp_vhost_features(w.dp, port, 0, &err), -EINVAL);
	EXPECT_TEXT(err.text, "not virtqueues");
	close_world();
}

TEST(a_descriptor_must_be_of_a_chunk_that_was_lent)
{
	const uint64_t chunk = 2048;
	enum { CHUNKS = 4 };
	uint8_t lent[CHUNKS] = { 1, 1, 0, 1 };
	struct rp_xdp_chunks c = { .bytes = chunk * CHUNKS,
				   .chunk_bytes = (uint32_t)chunk,
				   .lent = lent };

	EXPECT_EQ(rp_xdp_take(&c, 256, 1514), 0);
	EXPECT_EQ(rp_xdp_take(&c, 256, 1514), -1);			    /* twice */
	EXPECT_EQ(rp_xdp_take(&c, chunk + 256, (uint32_t)chunk - 255), -1); /* beyond its end */
	EXPECT_EQ(rp_xdp_take(&c, chunk + 256, (uint32_t)chunk - 256), 1);
	EXPECT_EQ(rp_xdp_take(&c, 2 * chunk, 60), -1); /* never lent */
	EXPECT_EQ(rp_xdp_take(&c, 4 * chunk, 60), -1);
	EXPECT_EQ(rp_xdp_take(&c, UINT64_MAX, 60), -1);
	EXPECT_EQ(rp_xdp_take(&c, UINT64_MAX - chunk, UINT32_MAX), -1);
	EXPECT_EQ(rp_xdp_take(&c, 3 * chunk, UINT32_MAX), -1);
	EXPECT_EQ(rp_xdp_take(&c, 3 * chunk, 0), 3);
}

/* A frame with an open checksum is known as one; with a complete one it is not. */
static void expect_found(const struct packet *p)
{
	struct virtio_net_hdr want = packet_vnet(p, 0), found;
	uint8_t frame[FRAME_MAX];
	uint32_t len = packet_make(frame, p, 0, false);

	found = rp_partial_find(frame, len);
	EXPECT_EQ(found.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	EXPECT_EQ(found.csum_start, want.csum_start);
	EXPECT_EQ(found.csum_offset, want.csum_offset);
	EXPECT_EQ(found.gso_type, 0);
	for (uint32_t cut = 0; cut < found.csum_start + found.csum_offset + 2u; cut++)
		EXPECT_EQ(rp_partial_find(frame, cut).flags, 0);
	packet_make(frame, p, 0, true);
	EXPECT_EQ(rp_partial_find(frame, len).flags, 0);
}

TEST(an_open_checksum_is_found)
{
	for (unsigned i = 0; i < 16; i++) {
		struct packet p = PACKET_TCP4;

		p.payload = 100 + i;
		p.ipv6 = i & 1;
		p.udp = i & 2;
		p.vlans = i >> 2;
		p.ip_options = p.ipv6 ? 0 : 8;
		rp_test_note("variant %u", i);
		expect_found(&p);
	}
}

TEST(a_fragment_has_no_checksum_to_complete)
{
	struct packet p = PACKET_TCP4;
	uint8_t frame[FRAME_MAX];
	uint32_t len;

	p.payload = 100;
	len = packet_make(frame, &p, 0, false);
	frame[packet_ip_at(&p) + 6] |= 0x20; /* more fragments */
	EXPECT_EQ(rp_partial_find(frame, len).flags, 0);
	frame[packet_ip_at(&p) + 6] = 0;
	frame[packet_ip_at(&p)] = 0x41; /* a header shorter than any */
	EXPECT_EQ(rp_partial_find(frame, len).flags, 0);
}
