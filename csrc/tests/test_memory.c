/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's memory: what is described wrongly, comes, goes, or is cut off while it is used. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "guestmem.h"
#include "sigbus.h"
#include "world.h"

#define PAGE UINT64_C(4096)

static int file;
static volatile unsigned told; /* by a signal handler */

static void lost(void *owner)
{
	(void)owner;
	told++;
}

static struct rp_guestmem *table(const struct rp_mem_slot *slots, uint32_t n, struct rp_err *err)
{
	int32_t fds[8];

	for (uint32_t i = 0; i < n; i++)
		fds[i] = file;
	return rp_guestmem_new(NULL, slots, fds, n, lost, NULL, err);
}

static void open_file(uint64_t bytes)
{
	file = memfd_create("ram", MFD_CLOEXEC);
	EXPECT(file >= 0);
	EXPECT_EQ(ftruncate(file, (off_t)bytes), 0);
}

TEST(an_address_is_translated_to_its_byte)
{
	const struct rp_mem_slot slots[] = {
		{ 0x10000, PAGE, 0x7000, PAGE }, /* not in the order of addresses */
		{ 0x1000, 2 * PAGE, 0x100000, 2 * PAGE },
	};
	uint32_t hint = 0, n;
	struct rp_guestmem *m;
	struct rp_err err;
	uint8_t *direct;

	open_file(4 * PAGE);
	direct = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	EXPECT(direct != MAP_FAILED);
	m = table(slots, 2, &err);
	EXPECT(m);
	direct[PAGE + 5] = 11;
	direct[2 * PAGE] = 22;
	direct[4 * PAGE - 1] = 33;
	n = 100;
	EXPECT_EQ(*rp_guestmem_at(m, &hint, 0x10005, &n), 11);
	EXPECT_EQ(n, 100);
	EXPECT_EQ(*rp_guestmem_at(m, &hint, 0x1000, &n), 22);
	n = UINT32_MAX;
	EXPECT_EQ(*rp_guestmem_at(m, &hint, 0x2fff, &n), 33);
	EXPECT_EQ(n, 1);
	n = PAGE + 1;
	EXPECT(rp_guestmem_at(m, &hint, 0x10000, &n));
	EXPECT_EQ(n, PAGE);
	n = 1;
	EXPECT(!rp_guestmem_at(m, &hint, 0xfff, &n));
	EXPECT(!rp_guestmem_at(m, &hint, 0x3000, &n));
	EXPECT(!rp_guestmem_at(m, &hint, 0xffff, &n));
	EXPECT(!rp_guestmem_at(m, &hint, 0x11000, &n));
	EXPECT(!rp_guestmem_at(m, &hint, UINT64_MAX, &n));
	hint = 1000; /* of a larger table that was */
	EXPECT(rp_guestmem_at(m, &hint, 0x1000, &n));

	EXPECT_EQ(*(uint8_t *)rp_guestmem_user(m, 0x7005, 1), 11);
	EXPECT(rp_guestmem_user(m, 0x7000, PAGE));
	EXPECT(!rp_guestmem_user(m, 0x7000, PAGE + 1));
	EXPECT(!rp_guestmem_user(m, 0x7fff, 2));
	EXPECT(!rp_guestmem_user(m, 0x7005, UINT64_MAX));
	EXPECT(!rp_guestmem_user(m, 0x6fff, 1));
	EXPECT(!rp_guestmem_user(m, 0x8000, 1));
	rp_guestmem_free(m);
	munmap(direct, 4 * PAGE);
	close(file);
}

TEST(an_address_is_found_among_many_regions_whichever_was_used_last)
{
	enum { REGIONS = 7, FIRST = 0x10000, STEP = 2 * PAGE }; /* a hole behind each */
	struct rp_mem_slot slots[REGIONS];
	struct rp_guestmem *m;
	struct rp_err err;

	open_file(REGIONS * PAGE);
	for (uint32_t i = 0; i < REGIONS; i++)
		slots[i] = (struct rp_mem_slot){ FIRST + i * STEP, PAGE, i * PAGE, i * PAGE };
	m = table(slots, REGIONS, &err);
	EXPECT(m);
	for (uint32_t last = 0; last < REGIONS; last++) {
		for (uint32_t i = 0; i < REGIONS; i++) {
			uint32_t hint = last, n = 2;

			EXPECT(rp_guestmem_at(m, &hint, slots[i].guest_addr + PAGE - 1, &n) ==
			       m->region[i].host + PAGE - 1);
			EXPECT_EQ(n, 1);
			EXPECT_EQ(hint, i);
			hint = last;
			EXPECT(!rp_guestmem_at(m, &hint, slots[i].guest_addr + PAGE, &n));
			EXPECT(!rp_guestmem_at(m, &hint, slots[i].guest_addr - 1, &n));
			EXPECT_EQ(hint, last);
		}
	}
	rp_guestmem_free(m);
	close(file);
}

TEST(an_empty_table_has_no_address)
{
	struct rp_guestmem *m;
	struct rp_err err;
	uint32_t hint = 0, n = 1;

	m = rp_guestmem_new(NULL, NULL, NULL, 0, lost, NULL, &err);
	EXPECT(m);
	EXPECT(!rp_guestmem_at(m, &hint, 0, &n));
	EXPECT(!rp_guestmem_user(m, 0, 1));
	rp_guestmem_free(m);
	EXPECT(!rp_guestmem_user(NULL, 0, 1));
}

struct bad_table {
	const char *why;
	uint32_t n;
	struct rp_mem_slot slot[3];
};

static const struct bad_table bad[] = {
	{ "is empty", 1, { { 0, 0, 0, 0 } } },
	{ "is empty", 2, { { 0, PAGE, 0, 0 }, { 0x10000, 0, 0, 0 } } },
	{ "overflows", 1, { { UINT64_MAX - PAGE + 2, PAGE, 0, 0 } } },
	{ "overflows", 1, { { 0, PAGE, UINT64_MAX - 100, 0 } } },
	{ "overflows", 1, { { 0, PAGE, 0, UINT64_MAX - 100 } } },
	{ "overflows", 1, { { 0, PAGE, 0, INT64_MAX - 100 } } },
	{ "overflows", 1, { { PAGE, UINT64_MAX, 0, 0 } } },
	{ "overlap", 2, { { 0, PAGE, 0, 0 }, { PAGE - 1, PAGE, 0x10000, 0 } } },
	{ "overlap", 2, { { 0x5000, PAGE, 0, 0 }, { 0x5000, PAGE, 0x10000, 0 } } },
	{ "overlap",
	  3,
	  { { 0x4000, PAGE, 0, 0 }, { 0x10000, PAGE, 0x10000, 0 }, { 0, 0x8000, 0x20000, 0 } } },
	{ "more than 4398046511104 bytes", 1, { { 0, RP_MAX_MEM_BYTES + 1, 0, 0 } } },
	{ "more than", 2, { { 0, PAGE, 0, 0 }, { PAGE, RP_MAX_MEM_BYTES, PAGE, 0 } } },
	{ "ends at offset 16385 of a file of 16384", 1, { { 0, 4 * PAGE + 1, 0, 0 } } },
	{ "ends at offset", 1, { { 0, PAGE, 0, 4 * PAGE } } },
	{ "ends at offset", 2, { { 0, PAGE, 0, 0 }, { 0x10000, PAGE, 0x10000, 0x100000 } } },
};

TEST(a_table_that_cannot_be_is_refused_with_the_reason)
{
	open_file(4 * PAGE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rp_err err = { 0 };

		EXPECT(!table(bad[i].slot, bad[i].n, &err));
		EXPECT_EQ(err.code, EINVAL);
		EXPECT_TEXT(err.text, bad[i].why);
	}
	close(file);
}

static void expect_refused(int fd, const char *why)
{
	const struct rp_mem_slot slot = { 0, PAGE, 0, 0 };
	struct rp_err err = { 0 };

	EXPECT(!rp_guestmem_new(NULL, &slot, &fd, 1, lost, NULL, &err));
	EXPECT_EQ(err.code, EINVAL);
	EXPECT_TEXT(err.text, why);
}

TEST(a_descriptor_that_is_no_shared_memory_is_refused_with_the_reason)
{
	char path[] = "/tmp/rp-ram-XXXXXX";
	int fd = mkstemp(path), read_only, pipes[2];

	EXPECT_EQ(ftruncate(fd, PAGE), 0);
	EXPECT_EQ(pipe(pipes), 0);
	expect_refused(-1, "came without a descriptor");
	expect_refused(1000000, "bad descriptor");
	expect_refused(pipes[0], "ends at offset 4096 of a file of 0 bytes");
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	expect_refused(read_only, "cannot be mapped shared: Permission denied");
	close(pipes[0]);
	close(pipes[1]);
	close(read_only);
	close(fd);
	unlink(path);
}

TEST(more_regions_than_there_can_be_are_refused)
{
	static struct rp_mem_slot slots[RP_MAX_MEM_SLOTS + 1];
	static int32_t fds[RP_MAX_MEM_SLOTS + 1];
	struct rp_guestmem *m;
	struct rp_err err;

	open_file(PAGE);
	for (uint32_t i = 0; i < RP_MAX_MEM_SLOTS + 1; i++) {
		slots[i] = (struct rp_mem_slot){ i * (2 * PAGE), PAGE, i * (2 * PAGE), 0 };
		fds[i] = file;
	}
	EXPECT(!rp_guestmem_new(NULL, slots, fds, RP_MAX_MEM_SLOTS + 1, lost, NULL, &err));
	EXPECT_TEXT(err.text, "at most 509 fit");
	m = rp_guestmem_new(NULL, slots, fds, RP_MAX_MEM_SLOTS, lost, NULL, &err);
	EXPECT(m);
	rp_guestmem_free(m);
	close(file);
}

TEST(a_new_table_takes_over_the_mappings_that_stay)
{
	const struct rp_mem_slot slots[] = { { 0, PAGE, 0, 0 }, { 0x10000, PAGE, 0x10000, PAGE } };
	const int32_t none[] = { -1, -1 };
	struct rp_guestmem *old, *now;
	struct rp_err err;
	uint8_t *was;

	open_file(2 * PAGE);
	old = table(slots, 2, &err);
	was = rp_guestmem_user(old, 0x10000, 1);
	now = rp_guestmem_new(old, slots + 1, none, 1, lost, NULL, &err);
	EXPECT(now);
	rp_guestmem_free(old);
	EXPECT(rp_guestmem_user(now, 0x10000, 1) == was);
	*was = 1; /* still there */
	EXPECT(!rp_guestmem_new(now, slots, none, 2, lost, NULL, &err));
	EXPECT_TEXT(err.text, "memory region 0 came without");
	rp_guestmem_free(now);
	close(file);
}

TEST(memory_that_is_cut_off_reads_as_zeros_and_its_owner_is_told)
{
	const struct rp_mem_slot slot = { 0, 4 * PAGE, 0, 0 };
	volatile uint8_t *at;
	struct rp_guestmem *m;
	struct rp_err err;

	open_file(4 * PAGE);
	EXPECT_OK(rp_sigbus_install(&err), err);
	m = rp_guestmem_new(NULL, &slot, &file, 1, lost, NULL, &err);
	at = rp_guestmem_user(m, 0, 4 * PAGE);
	at[0] = 1;
	at[3 * PAGE] = 2;
	told = 0;
	EXPECT_EQ(ftruncate(file, PAGE), 0);
	EXPECT_EQ(at[3 * PAGE], 0);
	EXPECT_EQ(told, 1);
	EXPECT_EQ(at[0], 0); /* all of the mapping, once */
	at[2 * PAGE] = 3;
	EXPECT_EQ(at[2 * PAGE], 3);
	EXPECT_EQ(told, 1);
	rp_guestmem_free(m);
	close(file);
}

/* The rest is about guests that exchange frames meanwhile. */
static struct world w;
static struct fake_guest a, b, c; /* hosts 1, 2 and 3 */
static struct fake_frame got;
static const struct fake_guest_config plain;

static void send(struct fake_guest *g, unsigned to, unsigned from, uint32_t number)
{
	uint8_t frame[200];

	frame_make(frame, sizeof(frame), to, from, number);
	EXPECT(fake_guest_send(g, NULL, frame, sizeof(frame), FAKE_PLAIN));
	fake_queue_kick(&g->tx);
}

static void open_three(void)
{
	struct fake_guest *guest[] = { &a, &b, &c };
	static const char *const names[] = { "a", "b", "c" };

	world_open(&w);
	for (unsigned i = 0; i < 3; i++) {
		fake_guest_open(guest[i], &plain);
		fake_guest_connect(guest[i], w.dp, world_add_vhost(&w, names[i]));
		send(guest[i], HOST_BROADCAST, i + 1, 0);
		EXPECT_SOON(fake_guest_sent(guest[i]) == 1);
	}
}

static void close_three(void)
{
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
	fake_guest_close(&c);
}

static void expect_works(struct fake_guest *from, unsigned from_host, struct fake_guest *to,
			 unsigned to_host)
{
	fake_guest_post(to, 1, 1000, FAKE_PLAIN);
	send(from, to_host, from_host, 77);
	do {
		EXPECT_SOON(fake_guest_receive(to, &got));
	} while (frame_from(got.data) != from_host); /* what was on its way before */
	EXPECT_EQ(frame_number(got.data), 77);
	EXPECT(frame_whole(got.data, got.len));
	EXPECT_SOON(fake_guest_sent(from) == 1);
}

TEST(a_refused_table_leaves_the_old_one_in_use)
{
	struct rp_mem_slot slot;
	struct rp_err err;

	open_three();
	slot = a.ram.region[0].slot;
	slot.bytes *= 2;
	EXPECT_EQ(rp_vhost_mem_set(w.dp, a.port, &slot, &a.ram.region[0].fd, 1, &err), -EINVAL);
	EXPECT_EQ(rp_vhost_mem_add(w.dp, a.port, &slot, a.ram.region[0].fd, &err), -EINVAL);
	EXPECT_TEXT(err.text, "overlap");
	slot.guest_addr = 0x1000;
	EXPECT_EQ(rp_vhost_mem_del(w.dp, a.port, &slot, &err), -EINVAL);
	EXPECT_TEXT(err.text, "there is no memory region at guest address 0x1000");
	expect_works(&a, 1, &b, 2);
	expect_works(&b, 2, &a, 1);
	close_three();
}

TEST(a_ring_whose_memory_is_removed_stops_and_its_port_stays_up)
{
	struct rp_err err;

	open_three();
	EXPECT_OK(rp_vhost_mem_del(w.dp, a.port, &a.ram.region[0].slot, &err), err);
	EXPECT_EQ(world_status(&w, a.port).tx_live, 0);
	EXPECT_EQ(world_status(&w, a.port).rx_live, 0);
	EXPECT(!world_broken(&w, a.port));
	send(&b, 1, 2, 1);
	EXPECT_SOON(fake_guest_sent(&b) == 1);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_TX, RP_DROP_DOWN), 1);
	expect_works(&b, 2, &c, 3);
	a.tx.base = 1; /* what GET_VRING_BASE would have said */
	fake_guest_connect(&a, w.dp, a.port);
	expect_works(&a, 1, &c, 3);
	expect_works(&c, 3, &a, 1);
	close_three();
}

struct stream {
	uint32_t stop;
	uint32_t sent;
};

/* a sends to b whatever happens to its memory. */
static void *stream(void *arg)
{
	static _Thread_local struct fake_frame frame;
	struct stream *s = arg;
	uint32_t next = 0;

	while (!rp_load(&s->stop) || next < s->sent) {
		fake_guest_post(&b, 64, 300, FAKE_PLAIN);
		for (unsigned i = 0; i < 16 && !rp_load(&s->stop); i++) {
			send(&a, 2, 1, s->sent);
			rp_store(&s->sent, s->sent + 1);
		}
		while (next < s->sent) {
			if (!fake_guest_receive(&b, &frame)) {
				sched_yield();
				continue;
			}
			EXPECT_EQ(frame_number(frame.data), next);
			EXPECT(frame_whole(frame.data, frame.len));
			next++;
		}
		EXPECT_SOON(fake_queue_done(&a.tx));
		fake_guest_sent(&a);
	}
	return NULL;
}

TEST_RINGS(memory_is_added_and_removed_while_frames_flow)
{
	struct stream s = { 0 };
	struct rp_mem_slot more = { 0x1000, 4 * PAGE, 0x1000, 0 };
	pthread_t thread;
	uint64_t dropped;
	struct rp_err err;

	open_three();
	open_file(4 * PAGE);
	dropped = world_all_drops(&w, a.port, NETMAP_DIR_TX);
	EXPECT_EQ(pthread_create(&thread, NULL, stream, &s), 0);
	for (unsigned i = 0; rp_load(&s.sent) < 5000; i++) {
		int port = i % 2 ? a.port : b.port;

		EXPECT_OK(rp_vhost_mem_add(w.dp, port, &more, file, &err), err);
		EXPECT_OK(rp_vhost_mem_del(w.dp, port, &more, &err), err);
	}
	rp_store(&s.stop, 1);
	pthread_join(thread, NULL);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), dropped);
	close(file);
	close_three();
}

/* The rings lie in another mapping of the same memory each time. */
TEST_FORMATS(rings_move_while_frames_flow)
{
	struct stream s = { 0 };
	struct rp_mem_slot whole, half[2];
	int32_t fds[2];
	pthread_t thread;
	uint64_t dropped;
	struct rp_err err;

	open_three();
	whole = a.ram.region[0].slot;
	half[0] = half[1] = whole;
	half[0].bytes = whole.bytes / PAGE / 2 * PAGE;
	half[1].guest_addr += half[0].bytes;
	half[1].user_addr += half[0].bytes;
	half[1].mmap_offset += half[0].bytes;
	half[1].bytes -= half[0].bytes;
	fds[0] = fds[1] = a.ram.region[0].fd;
	dropped = world_all_drops(&w, a.port, NETMAP_DIR_TX);
	EXPECT_EQ(pthread_create(&thread, NULL, stream, &s), 0);
	while (rp_load(&s.sent) < 5000) {
		EXPECT_OK(rp_vhost_mem_set(w.dp, a.port, half, fds, 2, &err), err);
		EXPECT_OK(rp_vhost_mem_set(w.dp, a.port, &whole, fds, 1, &err), err);
	}
	rp_store(&s.stop, 1);
	pthread_join(thread, NULL);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), dropped);
	close_three();
}

static void expect_truncated(struct fake_guest *g)
{
	struct rp_port_status s;

	EXPECT_SOON(world_broken(&w, g->port));
	s = world_status(&w, g->port);
	EXPECT_TEXT(s.reason, "truncated");
	EXPECT_EQ(s.tx_live | s.rx_live, 0);
}

/* A rebooted guest has new memory; what was there is gone. */
static void replace_guest(struct fake_guest *g)
{
	rp_dataplane *dp = g->dp;
	int port = g->port;

	fake_guest_close(g);
	fake_guest_open(g, &plain);
	fake_guest_connect(g, dp, port);
}

TEST_FORMATS(a_sender_that_cuts_off_its_memory_breaks_its_port_alone)
{
	struct rp_err err;

	open_three();
	EXPECT_EQ(ftruncate(a.ram.region[0].fd, 0), 0);
	EXPECT_OK(rp_port_set_full(w.dp, a.port, RP_FULL_DROP, 0, &err), err);
	EXPECT_EQ(write(a.tx.kick_fd, &(uint64_t){ 1 }, 8), 8);
	expect_truncated(&a);
	expect_works(&b, 2, &c, 3);
	send(&b, 1, 2, 1);
	EXPECT_SOON(fake_guest_sent(&b) == 1);
	EXPECT_EQ(world_drops(&w, b.port, NETMAP_DIR_TX, RP_DROP_BROKEN), 1);
	EXPECT_OK(rp_port_repair(w.dp, a.port, &err), err);
	replace_guest(&a);
	expect_works(&a, 1, &b, 2);
	expect_works(&b, 2, &a, 1);
	close_three();
}

TEST_FORMATS(a_receiver_that_cuts_off_its_memory_breaks_its_port_alone)
{
	struct rp_err err;

	open_three();
	fake_guest_post(&b, 100, 1000, FAKE_PLAIN);
	EXPECT_EQ(ftruncate(b.ram.region[0].fd, 0), 0);
	for (uint32_t i = 0; i < 10; i++)
		send(&a, 2, 1, i);
	expect_truncated(&b);
	EXPECT_SOON(fake_queue_done(&a.tx));
	EXPECT_EQ(fake_guest_sent(&a), 10);
	expect_works(&a, 1, &c, 3);
	EXPECT_OK(rp_port_repair(w.dp, b.port, &err), err);
	replace_guest(&b);
	expect_works(&a, 1, &b, 2);
	expect_works(&b, 2, &a, 1);
	close_three();
}

TEST_RINGS(memory_is_cut_off_while_frames_flow)
{
	open_three();
	for (unsigned i = 0; i < 40; i++) {
		struct fake_guest *victim = i % 2 ? &b : &a, *other = i % 2 ? &a : &b;
		struct rp_err err;

		fake_guest_post(&b, 200, 1000, FAKE_PLAIN);
		for (uint32_t n = 0; n < 200; n++)
			send(&a, 2, 1, n);
		EXPECT_EQ(ftruncate(victim->ram.region[0].fd, i % 4 < 2 ? 0 : 5 * PAGE), 0);
		EXPECT_EQ(write(victim->tx.kick_fd, &(uint64_t){ 1 }, 8), 8);
		if (victim == &a)
			expect_truncated(&a); /* b may have been faster than we were */
		EXPECT_SOON(other == &b || fake_queue_done(&a.tx));
		fake_guest_sent(other);
		while (fake_guest_receive(other, &got))
			;
		expect_works(&c, 3, other, 1 + (other == &b));
		EXPECT_OK(rp_port_repair(w.dp, victim->port, &err), err);
		fake_guest_disconnect(victim);
		replace_guest(victim);
	}
	expect_works(&a, 1, &b, 2);
	close_three();
}
