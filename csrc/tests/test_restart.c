/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Backends that are killed, and others that go on with their regions. This process is the
 * guest: it maps the regions all the time, and each backend is a child of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "frames.h"
#include "world.h"

enum { A, B, SIDES };

enum { SLOTS = 512, LEN = 60, EXTRA_BUFS = 5 };

/* What a backend leaves behind for the next one, and what it tells of. */
struct legacy {
	uint32_t ready;
	int region_fd[SIDES]; /* in the backend, then ours */
	int book_fd[SIDES];
	struct rp_pools_info pools[SIDES];
	struct rp_port_rings rings[SIDES];
	struct rp_bind_info bound[SIDES];
	uint64_t lost; /* drops for reason restart */
};

/* The guest's side of a port. */
struct user {
	uint8_t *base;
	struct netmap_ring *tx, *rx;
	struct rp_csb *tx_csb, *rx_csb;
	int kick, tx_call, rx_call;
};

static struct legacy *left;
static struct user user[SIDES];
static struct world w;
static pid_t backend;
static bool resumes; /* there was a backend already */

static const char *name_of(int side)
{
	return side == A ? "a" : "b";
}

static struct rp_region_config region_config(int side)
{
	struct rp_region_config cfg = { .slots_max = SLOTS, .ring_max = 8, .if_max = 4 };

	cfg.buf_max = 5 * SLOTS;
	snprintf(cfg.name, sizeof(cfg.name), "region of %s", name_of(side));
	return cfg;
}

/* In a backend. */

static int open_region(int side)
{
	const struct rp_region_config cfg = region_config(side);
	struct rp_err err;
	int region = resumes ? rp_region_resume(w.dp, &cfg, left->region_fd[side],
						left->book_fd[side], &err) :
			       rp_region_add(w.dp, &cfg, &err);

	EXPECT_OK(region, err);
	return region;
}

static void leave(int side, int region)
{
	struct rp_err err;

	EXPECT_OK(rp_region_pools(w.dp, region, &left->pools[side], &err), err);
	if (resumes)
		return; /* the guest has them */
	left->region_fd[side] = left->pools[side].fd;
	left->book_fd[side] = left->pools[side].book_fd;
}

static int add_port(const char *name, int kind, int region)
{
	struct rp_port_config cfg = world_rings_config(&w, name);

	cfg.kind = kind;
	cfg.tx_slots = cfg.rx_slots = SLOTS;
	cfg.region = region;
	cfg.csb = 1;
	cfg.worker = kind == RP_KIND_VALE ? w.worker : -1;
	cfg.full = RP_FULL_HOLD;
	cfg.hold_us = WORLD_FOREVER_US;
	return world_add_port(&w, &cfg);
}

static int bind_port(int side, int port)
{
	struct rp_bind_config cfg = {
		.port = port, .host_port = -1, .tx_n = 1, .rx_n = 1, .extra_bufs = EXTRA_BUFS
	};
	struct rp_err err;
	int binding;

	if (resumes)
		cfg.nifp_offset = left->bound[side].nifp_offset;
	binding = rp_binding_add(w.dp, &cfg, &left->bound[side], &err);
	EXPECT_OK(binding, err);
	EXPECT_EQ(left->bound[side].extra_bufs, EXTRA_BUFS);
	EXPECT_OK(rp_port_rings(w.dp, port, &left->rings[side], &err), err);
	return binding;
}

static void wire(int side, int port)
{
	const struct user *u = &user[side];
	struct rp_err err;

	EXPECT_OK(rp_port_wire(w.dp, port, NETMAP_DIR_TX, 0, u->kick, u->tx_call, &err), err);
	EXPECT_OK(rp_port_wire(w.dp, port, NETMAP_DIR_RX, 0, -1, u->rx_call, &err), err);
}

/* A port of a switch with a region of its own, open, as a guest has it. */
static void serve_port(int side)
{
	const int region = open_region(side);
	const int port = add_port(name_of(side), RP_KIND_VALE, region);
	struct rp_err err;
	uint8_t mac[6];

	bind_port(side, port);
	wire(side, port);
	frame_mac(mac, side == A ? 1 : 2);
	EXPECT_OK(rp_port_announce(w.dp, port, mac, &err), err);
	left->lost += world_drops(&w, port, NETMAP_DIR_TX, RP_DROP_RESTART);
	leave(side, region);
}

/* A first: what it sends at once must find B. */
static void serve_both(void)
{
	world_open(&w);
	serve_port(A);
	serve_port(B);
	rp_dataplane_settle(w.dp);
}

/* In the guest. */

static bool has_ended(void)
{
	int status;

	if (waitpid(backend, &status, WNOHANG) != backend)
		return false;
	EXPECT_EQ(status, 0);
	return true;
}

/* Take the descriptors that the backend has open now, as a keeper does. */
static void take_fds(int *fds)
{
	char path[64];

	for (int side = 0; side < SIDES; side++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", backend, fds[side]);
		fds[side] = fds[side] ? open(path, O_RDWR | O_CLOEXEC) : 0;
		EXPECT(fds[side] >= 0);
	}
}

static void start_backend(void (*serve)(void))
{
	left->ready = 0;
	backend = fork();
	EXPECT(backend >= 0);
	if (backend == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve();
		rp_store_release(&left->ready, 1);
		for (;;)
			pause();
	}
	EXPECT_SOON(has_ended() || rp_load_acquire(&left->ready));
	if (resumes)
		return;
	take_fds(left->region_fd);
	take_fds(left->book_fd);
}

static void kill_backend(void)
{
	kill(backend, SIGKILL);
	EXPECT_EQ(waitpid(backend, NULL, 0), backend);
	resumes = true;
}

static int bell(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	EXPECT(fd >= 0);
	return fd;
}

static void open_bells(void)
{
	for (int side = 0; side < SIDES; side++)
		user[side] = (struct user){ .kick = bell(), .tx_call = bell(), .rx_call = bell() };
}

static void map_region(int side, int region)
{
	const struct rp_ring_info *tx = &left->rings[side].tx[0], *rx = &left->rings[side].rx[0];
	const struct rp_pools_info *pools = &left->pools[region];
	struct user *u = &user[side];
	struct rp_csb *csbs;

	u->base = mmap(NULL, pools->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		       left->region_fd[region], 0);
	EXPECT(u->base != MAP_FAILED);
	csbs = (void *)(u->base + pools->csb_pool.offset);
	u->tx = (void *)(u->base + tx->ring_offset);
	u->rx = (void *)(u->base + rx->ring_offset);
	u->tx_csb = &csbs[tx->csb];
	u->rx_csb = &csbs[rx->csb];
}

static void begin(void (*serve)(void))
{
	left = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(left != MAP_FAILED);
	resumes = false;
	open_bells();
	start_backend(serve);
}

static void end(void)
{
	kill_backend();
	for (int side = 0; side < SIDES; side++) {
		close(user[side].kick);
		close(user[side].tx_call);
		close(user[side].rx_call);
		if (user[side].base)
			munmap(user[side].base,
			       left->pools[left->pools[side].bytes ? side : A].bytes);
		if (left->region_fd[side]) {
			close(left->region_fd[side]);
			close(left->book_fd[side]);
		}
	}
	munmap(left, sizeof(*left));
}

static uint8_t *buf_of(struct netmap_ring *ring, uint32_t i)
{
	return (uint8_t *)ring + ring->buf_ofs +
	       (uint64_t)ring->slot[i].buf_idx * ring->nr_buf_size;
}

static void ring_bell(int fd)
{
	EXPECT_EQ(eventfd_write(fd, 1), 0);
}

/* Fill up to @n slots, and kick if the backend wants it. Return: how many */
static uint32_t put(struct user *u, uint32_t number, uint32_t n)
{
	const uint32_t tail = rp_load_acquire(&u->tx_csb->ktoa.hwtail);
	uint32_t head = u->tx->head, done = 0;

	for (; done < n && head != tail; done++) {
		frame_make(buf_of(u->tx, head), LEN, 2, 1, number + done);
		u->tx->slot[head].len = LEN;
		u->tx->slot[head].flags = 0;
		head = ring_next(u->tx, head);
	}
	u->tx->head = head;
	rp_store_release(&u->tx_csb->atok.head, head);
	rp_fence_full();
	if (done && rp_load(&u->tx_csb->ktoa.kern_need_kick))
		ring_bell(u->kick);
	return done;
}

/* Take a frame from host 1. Return: its number, or -1 */
static int64_t get(struct user *u)
{
	const uint32_t tail = rp_load_acquire(&u->rx_csb->ktoa.hwtail);
	uint32_t head = u->rx->head;
	int64_t number = -1;

	EXPECT(tail < SLOTS);
	while (number < 0 && head != tail) {
		const uint8_t *frame = buf_of(u->rx, head);

		/* Not an announcement. */
		if (frame[FRAME_ETH - 2] == 0x88) {
			EXPECT_EQ(u->rx->slot[head].len, LEN);
			EXPECT(frame_whole(frame, LEN));
			number = frame_number(frame);
		}
		head = ring_next(u->rx, head);
	}
	u->rx->head = head;
	rp_store_release(&u->rx_csb->atok.head, head);
	return number;
}

/* What came at B, all that A sent by now, and when that was not all. */
struct tally {
	uint32_t sent, next, missing;
};

static void receive(struct tally *t)
{
	int64_t number;

	while ((number = get(&user[B])) >= 0) {
		EXPECT(number >= t->next); /* in order, and none twice */
		t->missing += (uint32_t)number - t->next;
		t->next = (uint32_t)number + 1;
	}
}

/* Let frames flow until about @until were sent; then the backend may be anywhere. */
static void flow(struct tally *t, uint32_t until)
{
	while (t->sent < until) {
		t->sent += put(&user[A], t->sent, 1 + until % 300);
		receive(t);
	}
}

TEST(frames_go_on_in_order_whenever_a_backend_is_killed)
{
	enum { ROUNDS = 12 };
	struct tally t = { 0 };
	uint32_t until = 0;

	begin(serve_both);
	map_region(A, A);
	map_region(B, B);
	for (unsigned round = 0; round < ROUNDS; round++) {
		until += 1 + round * 7919 % 1500;
		flow(&t, until);
		kill_backend();
		t.sent += put(&user[A], t.sent, round % 100);
		start_backend(serve_both);
		/* At most the batch that it had in its hands; what it had delivered of it counts, too. */
		EXPECT(t.missing <= left->lost);
		EXPECT(left->lost <= (uint64_t)(round + 1) * RP_BATCH);
	}
	flow(&t, until + SLOTS);
	EXPECT_SOON((receive(&t), t.next == t.sent));
	EXPECT(t.missing <= left->lost);
	end();
}

TEST(what_waits_in_a_ring_and_whose_kick_is_lost_is_sent_by_the_next_backend)
{
	struct tally t = { 0 };

	begin(serve_both);
	map_region(A, A);
	map_region(B, B);
	kill_backend();
	t.sent = put(&user[A], 0, 100);
	EXPECT_EQ(t.sent, 100);
	while (eventfd_read(user[A].kick, &(eventfd_t){ 0 }) == 0)
		;
	start_backend(serve_both);
	EXPECT_SOON((receive(&t), t.next == 100));
	EXPECT_EQ(t.missing, 0);
	EXPECT_EQ(left->lost, 0);
	end();
}

TEST(positions_are_the_books_whatever_the_guest_wrote)
{
	struct tally t = { 0 };
	struct rp_directory directory;
	struct netmap_ring ring;

	begin(serve_both);
	map_region(A, A);
	map_region(B, B);
	t.sent = put(&user[A], 0, 100);
	EXPECT_SOON((receive(&t), t.next == 100));
	kill_backend();
	memcpy(&directory, user[B].base, sizeof(directory));
	memcpy(&ring, user[B].rx, sizeof(ring));
	memset(user[B].base, 0xff, RP_DIRECTORY_BYTES);
	user[B].rx->buf_ofs = -1;
	user[B].rx->num_slots = user[B].rx->nr_buf_size = UINT32_MAX;
	user[B].rx_csb->ktoa.hwcur = user[B].rx_csb->ktoa.hwtail = 77777;
	user[A].tx_csb->ktoa.hwcur = user[A].tx_csb->ktoa.hwtail = UINT32_MAX;
	user[A].tx_csb->ring_offset = 3;
	start_backend(serve_both);
	EXPECT(memcmp(&directory, user[B].base, sizeof(directory)) == 0);
	EXPECT_EQ(user[B].rx->buf_ofs, ring.buf_ofs);
	EXPECT_EQ(user[B].rx->num_slots, SLOTS);
	EXPECT_EQ(user[B].rx->nr_buf_size, ring.nr_buf_size);
	t.sent += put(&user[A], 100, 100);
	EXPECT_EQ(t.sent, 200);
	EXPECT_SOON((receive(&t), t.next == 200));
	EXPECT_EQ(t.missing, 0);
	end();
}

/* One region, a pipe in it. */

static int ends[SIDES], bindings[SIDES], pipe_region;

static void serve_pipe(void)
{
	struct rp_err err;

	world_open(&w);
	pipe_region = open_region(A);
	for (int side = 0; side < SIDES; side++)
		ends[side] = add_port(name_of(side), RP_KIND_LINK, pipe_region);
	EXPECT_OK(rp_port_link(w.dp, ends[A], ends[B], &err), err);
	for (int side = 0; side < SIDES; side++)
		bindings[side] = bind_port(side, ends[side]);
	rp_dataplane_settle(w.dp);
	leave(A, pipe_region);
}

static struct rp_pools_info pipe_pools(void)
{
	struct rp_pools_info pools;
	struct rp_err err;

	EXPECT_OK(rp_region_pools(w.dp, pipe_region, &pools, &err), err);
	return pools;
}

static void serve_pipe_and_close_it(void)
{
	const struct rp_pools_info before = left->pools[A];
	struct rp_pools_info now;
	struct rp_err err;

	serve_pipe();
	now = pipe_pools();
	EXPECT_EQ(now.buf_used, before.buf_used);
	EXPECT_EQ(now.ring_used, before.ring_used);
	EXPECT_EQ(now.if_used, before.if_used);
	for (int side = 0; side < SIDES; side++) {
		EXPECT_OK(rp_binding_del(w.dp, bindings[side], &err), err);
		world_del_port(&w, ends[side]);
	}
	now = pipe_pools();
	EXPECT_EQ(now.buf_used, NETMAP_BUF_RESERVED);
	EXPECT_EQ(now.ring_used, 0);
	EXPECT_EQ(now.if_used, 0);
}

TEST(a_pipe_goes_on_with_the_buffers_that_its_ends_share)
{
	struct netmap_ring *tx, *rx;

	begin(serve_pipe);
	map_region(A, A);
	map_region(B, A);
	tx = user[A].tx;
	rx = user[B].rx;
	for (unsigned round = 0; round < 3; round++) {
		EXPECT_EQ(left->rings[A].tx[0].peer_csb, left->rings[B].rx[0].csb);
		EXPECT_EQ(user[A].tx_csb->peer, left->rings[B].rx[0].csb);
		for (uint32_t i = 0; i < SLOTS; i++)
			EXPECT_EQ(tx->slot[i].buf_idx, rx->slot[i].buf_idx);
		user[A].tx_csb->ktoa.hwcur = user[B].rx_csb->ktoa.hwtail = 100 + round;
		kill_backend();
		start_backend(serve_pipe);
		EXPECT_EQ(user[A].tx_csb->ktoa.hwcur, 100 + round);
		EXPECT_EQ(user[B].rx_csb->ktoa.hwtail, 100 + round);
	}
	kill_backend();
	start_backend(serve_pipe_and_close_it);
	end();
}

static void serve_one_end(void)
{
	struct rp_pools_info pools;

	world_open(&w);
	pipe_region = open_region(A);
	ends[A] = add_port(name_of(A), RP_KIND_LINK, pipe_region);
	bind_port(A, ends[A]);
	pools = pipe_pools();
	EXPECT_EQ(pools.ring_used, 4);
	rp_dataplane_settle(w.dp);
	pools = pipe_pools();
	EXPECT_EQ(pools.ring_used, 2);
	EXPECT_EQ(pools.if_used, 2);
	world_del_port(&w, ends[A]);
	pools = pipe_pools();
	EXPECT_EQ(pools.buf_used, NETMAP_BUF_RESERVED);
}

TEST(what_nobody_takes_up_is_given_back)
{
	begin(serve_pipe);
	kill_backend();
	start_backend(serve_one_end);
	end();
}

/* One region, two ports of a switch in it. */

static void serve_two(void)
{
	world_open(&w);
	pipe_region = open_region(A);
	for (int side = 0; side < SIDES; side++)
		bind_port(side, add_port(name_of(side), RP_KIND_VALE, pipe_region));
	rp_dataplane_settle(w.dp);
	leave(A, pipe_region);
}

static void serve_two_but_close_one_at_once(void)
{
	const uint32_t before = left->pools[A].buf_used;
	struct rp_err err;
	int port;

	world_open(&w);
	pipe_region = open_region(A);
	port = add_port(name_of(A), RP_KIND_VALE, pipe_region);
	EXPECT_OK(rp_binding_del(w.dp, bind_port(A, port), &err), err);
	EXPECT_EQ(pipe_pools().buf_used, before - EXTRA_BUFS);
	bind_port(B, add_port(name_of(B), RP_KIND_VALE, pipe_region));
	rp_dataplane_settle(w.dp);
	EXPECT_EQ(pipe_pools().buf_used, before - EXTRA_BUFS);
}

TEST(who_closes_before_all_are_there_leaves_the_others_their_buffers)
{
	begin(serve_two);
	kill_backend();
	start_backend(serve_two_but_close_one_at_once);
	end();
}

/* A backend that takes everything up, and cannot go on. */
static void serve_pipe_and_abandon_it(void)
{
	struct rp_err err;

	world_open(&w);
	pipe_region = open_region(A);
	for (int side = 0; side < SIDES; side++) {
		ends[side] = add_port(name_of(side), RP_KIND_LINK, pipe_region);
		bindings[side] = bind_port(side, ends[side]);
	}
	EXPECT_OK(rp_dataplane_abandon(w.dp, &err), err);
	for (int side = 0; side < SIDES; side++) {
		EXPECT_OK(rp_binding_del(w.dp, bindings[side], &err), err);
		world_del_port(&w, ends[side]);
	}
	EXPECT_EQ(pipe_pools().ring_used, 0);
}

TEST(what_is_abandoned_is_there_for_the_next_backend)
{
	begin(serve_pipe);
	map_region(A, A);
	user[A].tx_csb->ktoa.hwcur = 100;
	kill_backend();
	start_backend(serve_pipe_and_abandon_it);
	EXPECT_EQ(user[A].tx_csb->ktoa.hwcur, 100);
	kill_backend();
	start_backend(serve_pipe_and_close_it);
	end();
}

static void expect_refusal(const struct rp_region_config *cfg, int fd, int book_fd, const char *why)
{
	struct rp_err err;

	EXPECT(rp_region_resume(w.dp, cfg, fd, book_fd, &err) < 0);
	EXPECT_TEXT(err.text, why);
}

static void serve_nothing(void)
{
	const struct rp_region_config same = region_config(A);
	const int region = left->region_fd[A], book = left->book_fd[A];
	struct rp_region_config other = same;
	const struct rp_bind_config twice = { .host_port = -1,
					      .nifp_offset = left->bound[A].nifp_offset };
	struct rp_bind_config open = twice;
	struct rp_bind_info bound;
	struct rp_err err;
	struct stat st;
	int unsealed;

	world_open(&w);
	other.buf_max++;
	expect_refusal(&other, region, book, "layout");
	other = same;
	other.if_max = 200;
	expect_refusal(&other, region, book, "book has");
	expect_refusal(&same, region, region, "book has");
	expect_refusal(&same, book, book, "no sealed memfd");
	expect_refusal(&same, region, -1, "descriptor -1");
	expect_refusal(&same, -1, book, "descriptor -1");
	EXPECT_EQ(fstat(region, &st), 0);
	unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	EXPECT_EQ(ftruncate(unsealed, st.st_size), 0);
	expect_refusal(&same, unsealed, book, "no sealed memfd");

	open.port = add_port("a", RP_KIND_LINK, open_region(A));
	open.nifp_offset += 8;
	EXPECT_EQ(rp_binding_add(w.dp, &open, &bound, &err), -EINVAL);
	open.nifp_offset = UINT64_MAX;
	EXPECT_EQ(rp_binding_add(w.dp, &open, &bound, &err), -EINVAL);
	open.nifp_offset = twice.nifp_offset;
	EXPECT_OK(rp_binding_add(w.dp, &open, &bound, &err), err);
	EXPECT_EQ(rp_binding_add(w.dp, &open, &bound, &err), -EINVAL);
	EXPECT_TEXT(err.text, "nobody had open");
}

TEST(what_does_not_fit_is_refused)
{
	begin(serve_pipe);
	kill_backend();
	start_backend(serve_nothing);
	end();
}
