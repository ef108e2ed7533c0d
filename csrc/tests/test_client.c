/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Ports as processes use them: bound, with CSBs, and synced by csrc/client; the
 * process is this one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/rp_attach.h"
#include "abi/rp_barrier.h"
#include "check.h"
#include "client/rp_client.h"
#include "frames.h"
#include "world.h"

enum { TX, RX, SIDES };

static struct world w;
static uint8_t frame[FRAME_MAX];

/* One open of a port. */
struct user {
	int port;
	int binding;
	rp_client *c;
	struct netmap_ring *ring[SIDES];
};

static int copy_fd(int *fds, uint32_t *n, int fd)
{
	if (fd < 0)
		return -1;
	fds[*n] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	EXPECT(fds[*n] >= 0);
	return (int)(*n)++;
}

static struct rp_nm_ring describe(const struct rp_ring_info *in, int dir, int peer_call, int *fds,
				  uint32_t *n)
{
	return (struct rp_nm_ring){
		.ring_offset = in->ring_offset,
		.csb = in->csb,
		.peer_csb = in->peer_csb,
		.dir = (uint16_t)dir,
		.kick = (int16_t)copy_fd(fds, n, in->kick_fd),
		.call = (int16_t)copy_fd(fds, n, in->call_fd),
		.peer_call = (int16_t)copy_fd(fds, n, peer_call),
	};
}

/* What the backend's control plane does when a process registers a port. */
static void open_user(struct user *u, int port, int peer)
{
	struct {
		struct rp_nm_attachment head;
		struct rp_nm_ring ring[SIDES];
	} a = { 0 };
	const struct rp_bind_config cfg = { .port = port, .host_port = -1, .tx_n = 1, .rx_n = 1 };
	struct rp_port_rings mine, its = { 0 };
	struct rp_pools_info pools;
	struct rp_bind_info info;
	struct rp_err err;
	uint32_t nfds = 0;
	int fds[16];

	*u = (struct user){ .port = port };
	u->binding = rp_binding_add(w.dp, &cfg, &info, &err);
	EXPECT_OK(u->binding, err);
	EXPECT_OK(rp_port_rings(w.dp, port, &mine, &err), err);
	if (peer >= 0)
		EXPECT_OK(rp_port_rings(w.dp, peer, &its, &err), err);
	EXPECT_OK(rp_region_pools(w.dp, mine.region, &pools, &err), err);
	copy_fd(fds, &nfds, pools.fd);
	a.ring[TX] =
		describe(&mine.tx[0], NETMAP_DIR_TX, peer < 0 ? -1 : its.rx[0].call_fd, fds, &nfds);
	a.ring[RX] =
		describe(&mine.rx[0], NETMAP_DIR_RX, peer < 0 ? -1 : its.tx[0].call_fd, fds, &nfds);
	a.head = (struct rp_nm_attachment){ .region_bytes = pools.bytes,
					    .nifp_offset = info.nifp_offset,
					    .nrings = SIDES,
					    .nfds = nfds };
	u->c = rp_client_open(&a, sizeof(a), fds, nfds);
	EXPECT(u->c);
	for (uint32_t i = 0; i < SIDES; i++)
		u->ring[i] =
			(void *)((uint8_t *)rp_client_base(u->c) + rp_client_ring_offset(u->c, i));
}

static void close_user(struct user *u)
{
	struct rp_err err;

	rp_client_close(u->c);
	EXPECT_OK(rp_binding_del(w.dp, u->binding, &err), err);
}

static uint8_t *slot_buf(struct netmap_ring *ring, uint32_t i)
{
	return (uint8_t *)ring + ring->buf_ofs +
	       (uint64_t)ring->slot[i].buf_idx * ring->nr_buf_size;
}

static bool put(struct user *u, uint32_t number)
{
	struct netmap_ring *ring = u->ring[TX];

	if (ring->head == ring->tail)
		return false;
	frame_make(slot_buf(ring, ring->head), 60, 2, 1, number);
	ring->slot[ring->head].len = 60;
	ring->slot[ring->head].flags = 0;
	ring->head = ring->cur = ring_next(ring, ring->head);
	return true;
}

static int get(struct user *u)
{
	struct netmap_ring *ring = u->ring[RX];
	int number;

	if (ring->head == ring->tail)
		return -1;
	EXPECT_EQ(ring->slot[ring->head].len, 60);
	memcpy(frame, slot_buf(ring, ring->head), 60);
	EXPECT(frame_whole(frame, 60));
	number = (int)frame_number(frame);
	ring->head = ring->cur = ring_next(ring, ring->head);
	return number;
}

/* Sync and, if nothing is there, sleep until it is, as a program that polls does. */
static int wait_and_get(struct user *u)
{
	struct pollfd call = { .fd = rp_client_call_fd(u->c, RX), .events = POLLIN };
	int number;

	for (;;) {
		EXPECT_EQ(rp_client_sync(u->c, RX), 0);
		number = get(u);
		if (number >= 0)
			return number;
		rp_client_arm(u->c, RX);
		EXPECT_EQ(rp_client_sync(u->c, RX), 0);
		if (u->ring[RX]->head == u->ring[RX]->tail)
			EXPECT_EQ(poll(&call, 1, WORLD_FOREVER_US / 1000), 1);
		rp_client_disarm(u->c, RX);
	}
}

static int add_vale(const char *name)
{
	struct rp_port_config cfg = world_rings_config(&w, name);

	cfg.csb = 1;
	cfg.worker = w.worker;
	return world_add_port(&w, &cfg);
}

static void add_pipe(int *a, int *b)
{
	struct rp_region_config region = { .name = "pipe", .slots_max = 64, .buf_max = 4 * 64 };
	struct rp_port_config cfg = world_rings_config(&w, "p{1");
	struct rp_err err;

	cfg.kind = RP_KIND_LINK;
	cfg.csb = 1;
	cfg.region = rp_region_add(w.dp, &region, &err);
	EXPECT_OK(cfg.region, err);
	*a = world_add_port(&w, &cfg);
	memcpy(cfg.name, "p}1", 4);
	*b = world_add_port(&w, &cfg);
	EXPECT_OK(rp_port_link(w.dp, *a, *b, &err), err);
}

TEST(frames_pass_the_switch_in_order_and_a_sync_means_that_they_are_gone)
{
	struct user a, b;

	world_open(&w);
	open_user(&a, add_vale("vale0:a"), -1);
	open_user(&b, add_vale("vale0:b"), -1);
	for (int round = 0, sent = 0, seen = 0; round < 20; round++) {
		for (int i = 0; i < 1 + 3 * round; i++)
			EXPECT(put(&a, (uint32_t)sent++));
		EXPECT_EQ(rp_client_sync(a.c, TX), 0);
		EXPECT_EQ(a.ring[TX]->tail, (a.ring[TX]->head + 63) % 64);
		while (seen < sent)
			EXPECT_EQ(wait_and_get(&b), seen++);
	}
	EXPECT(world_count(&w, a.port, NETMAP_DIR_TX)->kicks > 0);
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

static void *send_later(void *arg)
{
	usleep(20000);
	EXPECT(put(arg, 7));
	EXPECT_EQ(rp_client_sync(((struct user *)arg)->c, TX), 0);
	return NULL;
}

TEST(a_receiver_that_sleeps_is_called)
{
	pthread_t thread;
	int pa, pb;

	world_open(&w);
	for (int pipe = 0; pipe < 2; pipe++) {
		struct user a, b;

		if (pipe) {
			add_pipe(&pa, &pb);
		} else {
			pa = add_vale("vale0:a");
			pb = add_vale("vale0:b");
		}
		open_user(&a, pa, pipe ? pb : -1);
		open_user(&b, pb, pipe ? pa : -1);
		EXPECT_EQ(pthread_create(&thread, NULL, send_later, &a), 0);
		EXPECT_EQ(wait_and_get(&b), 7);
		pthread_join(thread, NULL);
		rp_dataplane_beat(w.dp);
		EXPECT_EQ(world_count(&w, pb, NETMAP_DIR_RX)->frames, 1);
		EXPECT_EQ(world_count(&w, pb, NETMAP_DIR_RX)->calls, 1);
		EXPECT_EQ(world_count(&w, pa, NETMAP_DIR_TX)->kicks, 1);
		close_user(&a);
		close_user(&b);
	}
	world_close(&w);
}

TEST(nobody_waits_for_an_eventfd_that_its_peer_made_blocking)
{
	const uint64_t full = UINT64_MAX - 1;
	struct user a, b;
	int pa, pb, call;

	world_open(&w);
	add_pipe(&pa, &pb);
	open_user(&a, pa, pb);
	open_user(&b, pb, pa);
	call = rp_client_call_fd(b.c, RX);
	EXPECT_EQ(fcntl(call, F_SETFL, 0), 0);
	rp_client_arm(b.c, RX); /* empty: a plain read would wait for ever */
	EXPECT_EQ(write(call, &full, sizeof(full)), sizeof(full));
	EXPECT(put(&a, 1));
	EXPECT_EQ(rp_client_sync(a.c, TX), 0); /* full: so would a plain write */
	EXPECT_EQ(wait_and_get(&b), 1);
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

TEST(a_pipe_moves_buffers_and_holds_back_who_sends_too_much)
{
	struct user a, b;
	uint32_t sent = 0, buf;
	int pa, pb;

	world_open(&w);
	add_pipe(&pa, &pb);
	open_user(&a, pa, pb);
	open_user(&b, pb, pa);
	buf = a.ring[TX]->slot[0].buf_idx;
	while (put(&a, sent))
		sent++;
	EXPECT_EQ(sent, 63);
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	rp_dataplane_beat(w.dp);
	EXPECT_EQ(world_count(&w, pa, NETMAP_DIR_TX)->frames, 63);
	EXPECT_EQ(world_count(&w, pa, NETMAP_DIR_TX)->batches, 1);
	EXPECT_EQ(world_count(&w, pb, NETMAP_DIR_RX)->frames, 63);
	EXPECT_EQ(world_count(&w, pb, NETMAP_DIR_RX)->bytes,
		  world_count(&w, pa, NETMAP_DIR_TX)->bytes);
	EXPECT_EQ(world_count(&w, pb, NETMAP_DIR_TX)->frames, 0);
	EXPECT(!put(&a, sent));
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(b.ring[RX]->slot[0].buf_idx, buf);
	for (uint32_t i = 0; i < sent; i++)
		EXPECT_EQ(get(&b), (int)i);
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	EXPECT(!put(&a, sent)); /* nothing was given back yet */
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	EXPECT(put(&a, sent));
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

/* One frame there, and its slot back. */
static void pass(struct user *a, struct user *b, uint32_t number)
{
	EXPECT(put(a, number));
	EXPECT_EQ(rp_client_sync(a->c, TX), 0);
	EXPECT_EQ(rp_client_sync(b->c, RX), 0);
	EXPECT_EQ(get(b), (int)number);
	EXPECT_EQ(rp_client_sync(b->c, RX), 0);
}

TEST(a_sender_sees_what_was_given_back_before_it_needs_it)
{
	struct user a, b;
	uint32_t tail;
	int pa, pb;

	world_open(&w);
	add_pipe(&pa, &pb);
	open_user(&a, pa, pb);
	open_user(&b, pb, pa);
	tail = a.ring[TX]->tail;
	pass(&a, &b, 0);
	pass(&a, &b, 1);
	EXPECT_EQ(a.ring[TX]->tail, tail); /* it has plenty */
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	EXPECT_EQ(a.ring[TX]->tail, (tail + 2) % 64); /* nothing else to do */
	pass(&a, &b, 2);
	rp_client_arm(a.c, TX);
	pass(&a, &b, 3);
	EXPECT_EQ(a.ring[TX]->tail, (tail + 3) % 64); /* it is about to wait */
	rp_client_disarm(a.c, TX);
	for (uint32_t i = 0; i < 3 * 64; i++) {
		pass(&a, &b, i);
		EXPECT((a.ring[TX]->tail - a.ring[TX]->head) % 64 >= 31);
	}
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

TEST(a_buffer_that_the_receiver_puts_into_a_slot_is_the_senders_later)
{
	struct user a, b;
	uint32_t kept, other;
	int pa, pb;

	world_open(&w);
	add_pipe(&pa, &pb);
	open_user(&a, pa, pb);
	open_user(&b, pb, pa);
	EXPECT(put(&a, 1) && put(&a, 2));
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	kept = b.ring[RX]->slot[0].buf_idx;
	other = b.ring[TX]->slot[5].buf_idx; /* b forwards the frame in another ring of its own */
	b.ring[RX]->slot[0].buf_idx = other;
	b.ring[RX]->slot[0].flags |= NS_BUF_CHANGED;
	b.ring[TX]->slot[5].buf_idx = kept;
	b.ring[RX]->head = b.ring[RX]->tail;
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(a.ring[TX]->slot[0].buf_idx, other);
	EXPECT(a.ring[TX]->slot[0].flags & NS_BUF_CHANGED);
	EXPECT(a.ring[TX]->slot[1].buf_idx != kept);
	EXPECT_EQ(b.ring[RX]->slot[0].flags & NS_BUF_CHANGED, 0);
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

TEST(frames_wait_in_a_pipe_for_a_receiver_that_comes_later)
{
	struct user a, b;
	int pa, pb;

	world_open(&w);
	add_pipe(&pa, &pb);
	open_user(&a, pa, pb);
	EXPECT(put(&a, 1) && put(&a, 2));
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	close_user(&a);
	open_user(&b, pb, pa);
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(get(&b), 1);
	close_user(&b);
	open_user(&b, pb, pa);
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(get(&b), 2);
	close_user(&b);
	world_close(&w);
}

TEST(an_unfinished_frame_is_not_shown)
{
	struct user a, b;
	int pa, pb;

	world_open(&w);
	add_pipe(&pa, &pb);
	open_user(&a, pa, pb);
	open_user(&b, pb, pa);
	EXPECT(put(&a, 1) && put(&a, 2));
	a.ring[TX]->slot[1].flags = NS_MOREFRAG;
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(b.ring[RX]->tail, 1);
	EXPECT(put(&a, 3));
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_EQ(b.ring[RX]->tail, 3);
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

TEST(a_head_outside_the_ring_is_refused_and_moves_nothing)
{
	static const uint32_t bad[] = { 64, 1000, UINT32_MAX };
	struct user a, b;
	int pa, pb;

	world_open(&w);
	add_pipe(&pa, &pb);
	for (int pipe = 0; pipe < 2; pipe++) {
		open_user(&a, pipe ? pa : add_vale("vale0:a"), pipe ? pb : -1);
		open_user(&b, pipe ? pb : add_vale("vale0:b"), pipe ? pa : -1);
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			a.ring[TX]->head = bad[i];
			EXPECT_EQ(rp_client_sync(a.c, TX), -EINVAL);
			b.ring[RX]->head = bad[i];
			EXPECT_EQ(rp_client_sync(b.c, RX), -EINVAL);
		}
		a.ring[TX]->head = b.ring[RX]->head = 0;
		b.ring[RX]->head = 5; /* beyond what came */
		EXPECT_EQ(rp_client_sync(b.c, RX), -EINVAL);
		b.ring[RX]->head = 0;
		EXPECT(put(&a, 9));
		EXPECT_EQ(rp_client_sync(a.c, TX), 0);
		EXPECT_EQ(wait_and_get(&b), 9);
		close_user(&a);
		close_user(&b);
	}
	world_close(&w);
}

TEST(noise_in_a_csb_breaks_its_port_alone_and_closing_it_mends_it)
{
	struct user a, b, noisy;
	struct rp_port_rings rings;
	struct rp_err err;
	struct rp_csb *csb;
	int port;

	world_open(&w);
	open_user(&a, add_vale("vale0:a"), -1);
	open_user(&b, add_vale("vale0:b"), -1);
	port = add_vale("vale0:c");
	open_user(&noisy, port, -1);
	EXPECT_OK(rp_port_rings(w.dp, port, &rings, &err), err);
	csb = (struct rp_csb *)(void *)((uint8_t *)rp_client_base(noisy.c) + RP_DIRECTORY_BYTES);
	memset(csb, 0xa5, 2 * sizeof(*csb));
	for (int i = 0; i < 40; i++)
		EXPECT(put(&a, (uint32_t)i)); /* flooded, so to the noisy one as well */
	EXPECT_EQ(rp_client_sync(a.c, TX), 0);
	for (int i = 0; i < 40; i++)
		EXPECT_EQ(wait_and_get(&b), i);
	while (!world_broken(&w, port)) {
		EXPECT(put(&a, 40));
		EXPECT_EQ(rp_client_sync(a.c, TX), 0);
		EXPECT_EQ(wait_and_get(&b), 40);
	}
	EXPECT(!world_broken(&w, a.port) && !world_broken(&w, b.port));
	close_user(&noisy);
	EXPECT(!world_broken(&w, port));
	open_user(&noisy, port, -1);
	EXPECT(put(&noisy, 3));
	EXPECT_EQ(rp_client_sync(noisy.c, TX), 0);
	EXPECT_EQ(wait_and_get(&b), 3);
	close_user(&noisy);
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

static void *break_later(void *arg)
{
	struct user *u = arg;

	usleep(20000);
	EXPECT(put(u, 1));
	u->ring[TX]->slot[0].buf_idx = 0;
	rp_client_sync(u->c, TX); /* the worker may be slower than this sync is patient */
	return NULL;
}

TEST(who_has_a_port_open_that_breaks_is_woken_and_told_when_all_is_read)
{
	pthread_t thread;
	struct user a, b;
	struct rp_err err;

	world_open(&w);
	open_user(&a, add_vale("vale0:a"), -1);
	open_user(&b, add_vale("vale0:b"), -1);
	EXPECT(put(&b, 5));
	do
		EXPECT_EQ(rp_client_sync(b.c, TX), 0);
	while (b.ring[TX]->tail == 63);
	EXPECT_EQ(pthread_create(&thread, NULL, break_later, &a), 0);
	for (;;) {
		struct pollfd call = { .fd = rp_client_call_fd(a.c, RX), .events = POLLIN };

		rp_client_arm(a.c, RX);
		EXPECT_EQ(rp_client_sync(a.c, RX), 0); /* the frame of b is there to the end */
		if (world_broken(&w, a.port))
			break;
		EXPECT_EQ(poll(&call, 1, 60000), 1);
		rp_client_disarm(a.c, RX);
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(rp_client_sync(a.c, TX), -EIO);
	EXPECT_EQ(get(&a), 5);
	EXPECT_EQ(rp_client_sync(a.c, RX), -EIO);
	EXPECT_EQ(rp_client_sync(b.c, RX), 0);
	EXPECT_OK(rp_port_repair(w.dp, a.port, &err), err);
	EXPECT_EQ(rp_client_sync(a.c, RX), 0);
	close_user(&a);
	close_user(&b);
	world_close(&w);
}

TEST(buffers_are_where_they_were_after_each_close)
{
	struct rp_port_rings rings;
	struct rp_pools_info before, after;
	struct rp_bind_config cfg = { .host_port = -1, .tx_n = 1, .rx_n = 1, .extra_bufs = 100 };
	struct rp_bind_info info;
	struct rp_err err;
	struct user a;
	int binding;

	world_open(&w);
	cfg.port = add_vale("vale0:a");
	EXPECT_OK(rp_port_rings(w.dp, cfg.port, &rings, &err), err);
	EXPECT_OK(rp_region_pools(w.dp, rings.region, &before, &err), err);
	for (int i = 0; i < 3; i++) {
		open_user(&a, cfg.port, -1);
		for (uint32_t s = 0; s < 64; s++)
			a.ring[RX]->slot[s].buf_idx =
				s < 32 ? 2 : UINT32_MAX; /* twice, and nowhere */
		close_user(&a);
		binding = rp_binding_add(w.dp, &cfg, &info, &err);
		EXPECT_OK(binding, err);
		EXPECT(info.extra_bufs > 0 && info.extra_bufs <= 100);
		EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
	}
	EXPECT_OK(rp_region_pools(w.dp, rings.region, &after, &err), err);
	EXPECT_EQ(after.if_used, before.if_used);
	EXPECT_EQ(after.ring_used, before.ring_used);
	world_del_port(&w, cfg.port);
	EXPECT_EQ(rp_region_pools(w.dp, rings.region, &after, &err), -ENOENT);
	world_close(&w);
}

TEST(buffers_that_a_killed_program_had_in_its_hands_come_back)
{
	struct rp_bind_config cfg = { .host_port = -1, .tx_n = 1, .rx_n = 1, .extra_bufs = 2 };
	struct rp_pools_info before, after;
	struct rp_region_info region;
	struct rp_port_rings rings;
	struct rp_bind_info info;
	struct rp_err err;
	struct netmap_if *nifp;
	uint8_t *base;
	int binding;

	world_open(&w);
	cfg.port = add_vale("vale0:a");
	EXPECT_OK(rp_port_rings(w.dp, cfg.port, &rings, &err), err);
	EXPECT_OK(rp_port_region(w.dp, cfg.port, &region, &err), err);
	EXPECT_OK(rp_region_pools(w.dp, rings.region, &before, &err), err);
	base = mmap(NULL, region.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
	EXPECT(base != MAP_FAILED);
	binding = rp_binding_add(w.dp, &cfg, &info, &err);
	EXPECT_OK(binding, err);
	EXPECT_EQ(info.extra_bufs, 2);
	nifp = (struct netmap_if *)(void *)(base + info.nifp_offset);
	nifp->ni_bufs_head = 0;
	EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
	EXPECT_OK(rp_region_pools(w.dp, rings.region, &after, &err), err);
	EXPECT_EQ(after.buf_used, before.buf_used);
	munmap(base, region.bytes);
	world_close(&w);
}

TEST(whoever_asks_for_more_buffers_than_there_are_gets_all_and_their_pages_stay)
{
	struct rp_bind_config cfg = { .host_port = -1, .tx_n = 1, .rx_n = 1, .extra_bufs = 100000 };
	struct rp_pools_info before, full, after;
	struct rp_port_rings rings;
	struct rp_bind_info info;
	struct stat first, last;
	struct rp_err err;
	int binding;

	world_open(&w);
	cfg.port = add_vale("vale0:a");
	EXPECT_OK(rp_port_rings(w.dp, cfg.port, &rings, &err), err);
	EXPECT_OK(rp_region_pools(w.dp, rings.region, &before, &err), err);
	for (int i = 0; i < 3; i++) {
		binding = rp_binding_add(w.dp, &cfg, &info, &err);
		EXPECT_OK(binding, err);
		EXPECT_EQ(info.extra_bufs, before.buf_pool.objtotal - before.buf_used);
		EXPECT_OK(rp_region_pools(w.dp, rings.region, &full, &err), err);
		EXPECT_EQ(full.buf_used, full.buf_pool.objtotal);
		EXPECT_EQ(fstat(full.fd, i ? &last : &first), 0);
		EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
		EXPECT_OK(rp_region_pools(w.dp, rings.region, &after, &err), err);
		EXPECT_EQ(after.buf_used, before.buf_used);
	}
	EXPECT_EQ(last.st_blocks, first.st_blocks);
	EXPECT(first.st_blocks * 512 >= (int64_t)full.buf_pool.objtotal * full.buf_pool.objsize);
	world_close(&w);
}

TEST(an_exhausted_pool_says_what_was_asked_what_is_left_and_what_to_change)
{
	struct rp_region_config region = { .name = "small", .slots_max = 64, .buf_max = 100 };
	struct rp_port_config cfg;
	struct rp_err err;

	world_open(&w);
	cfg = world_rings_config(&w, "vale0:a");
	cfg.region = rp_region_add(w.dp, &region, &err);
	EXPECT_OK(cfg.region, err);
	EXPECT_EQ(rp_port_add(w.dp, &cfg, &err), -ENOMEM);
	EXPECT_TEXT(err.text, "region small: 64 buffers asked for, 36 of 102 left; raise 'buffers' "
			      "of the region");
	EXPECT_OK(rp_region_del(w.dp, cfg.region, &err), err);
	world_close(&w);
}
