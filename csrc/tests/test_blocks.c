/* SPDX-License-Identifier: BSD-2-Clause */
/* Communication blocks in memory of a guest, and regions that a guest hands back. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "frames.h"
#include "world.h"

enum { TX = 0, RX = 1, SLOTS = 64 };
enum { PAGE = 4096, KTOA_AT = 8192, MEMORY = 12288 };

/* The guest of a port with one ring in each direction, both of which it has open. */
struct guest {
	struct ring_user u;
	int region; /* 0: the port's own */
	int binding;
	int kick;
	int memory; /* a page for each array, behind one that is nobody's */
	uint8_t *pages;
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
};

static struct world w;
static struct rp_err err;
static struct guest a, b; /* of hosts 1 and 2 */
static uint8_t frame[FRAME_MAX];

static void bind(struct guest *g)
{
	const struct rp_bind_config cfg = {
		.port = g->u.port, .host_port = -1, .tx_n = 1, .rx_n = 1
	};
	struct rp_bind_info bound;

	g->binding = rp_binding_add(w.dp, &cfg, &bound, &err);
	EXPECT_OK(g->binding, err);
}

static void unbind(struct guest *g)
{
	EXPECT_OK(rp_binding_del(w.dp, g->binding, &err), err);
}

static void open_guest(struct guest *g, const char *name, bool common)
{
	struct rp_port_config cfg = world_rings_config(&w, name);
	const struct rp_region_config region = {
		.slots_max = SLOTS, .ring_max = 4, .buf_max = 4 * SLOTS, .common = common
	};

	cfg.csb = 1;
	cfg.worker = w.worker;
	cfg.region = g->region = rp_region_add(w.dp, &region, &err);
	EXPECT_OK(g->region, err);
	ring_user_open(&g->u, &w, world_add_port(&w, &cfg));
	g->kick = eventfd(0, EFD_NONBLOCK);
	EXPECT_OK(rp_port_wire(w.dp, g->u.port, NETMAP_DIR_TX, 0, g->kick, -1, &err), err);
	g->memory = memfd_create(name, 0);
	EXPECT(ftruncate(g->memory, MEMORY) == 0);
	g->pages = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, g->memory, 0);
	EXPECT(g->pages != MAP_FAILED);
	g->atok = (struct nm_csb_atok *)(void *)(g->pages + PAGE);
	g->ktoa = (struct nm_csb_ktoa *)(void *)(g->pages + KTOA_AT);
	bind(g);
}

static void close_guest(struct guest *g)
{
	munmap(g->pages, MEMORY);
	close(g->memory);
	close(g->kick);
	world_del_port(&w, g->u.port);
	EXPECT_OK(rp_region_del(w.dp, g->region, &err), err);
	ring_user_close(&g->u);
}

static void open_both(void)
{
	world_open(&w);
	open_guest(&a, "a", false);
	open_guest(&b, "b", false);
}

static void close_both(void)
{
	close_guest(&a);
	close_guest(&b);
	world_close(&w);
}

static struct rp_csb_config places(const struct guest *g)
{
	return (struct rp_csb_config){ .atok_fd = g->memory,
				       .ktoa_fd = g->memory,
				       .atok_offset = PAGE,
				       .ktoa_offset = KTOA_AT };
}

static void move(const struct guest *g, bool go_on)
{
	struct rp_csb_config cfg = places(g);

	cfg.go_on = go_on;
	EXPECT_OK(rp_port_csb(w.dp, g->u.port, &cfg, &err), err);
}

static void send(const struct guest *g, uint32_t number)
{
	const uint32_t head = rp_load(&g->atok[TX].head);
	struct netmap_slot *slot = &g->u.tx->slot[head];

	EXPECT_SOON(head != rp_load_acquire(&g->ktoa[TX].hwtail));
	frame_make(frame, 60, 2, 1, number);
	memcpy(ring_user_buf(&g->u, slot->buf_idx), frame, 60);
	slot->len = 60;
	slot->flags = 0;
	rp_store_release(&g->atok[TX].head, ring_next(g->u.tx, head));
	EXPECT(eventfd_write(g->kick, 1) == 0);
}

static void expect_frame(const struct guest *g, uint32_t number)
{
	const uint32_t head = rp_load(&g->atok[RX].head);

	EXPECT_SOON(rp_load_acquire(&g->ktoa[RX].hwtail) != head);
	memcpy(frame, ring_user_buf(&g->u, g->u.rx->slot[head].buf_idx), 60);
	EXPECT_EQ(frame_number(frame), number);
	EXPECT(frame_whole(frame, 60));
	rp_store_release(&g->atok[RX].head, ring_next(g->u.rx, head));
}

TEST(frames_go_between_rings_whose_blocks_are_in_guests_memory)
{
	open_both();
	move(&a, false);
	move(&b, false);
	for (uint32_t i = 0; i < 3 * SLOTS; i++) {
		send(&a, i);
		expect_frame(&b, i);
	}
	close_both();
}

TEST(rings_begin_where_a_guest_is_that_does_not_know)
{
	open_both();
	a.atok[TX].head = a.atok[TX].cur = 33;
	b.atok[RX].head = b.ktoa[RX].hwtail = SLOTS - 1;
	move(&a, true);
	move(&b, true);
	EXPECT_EQ(a.ktoa[TX].hwcur, 33);
	EXPECT_EQ(a.ktoa[TX].hwtail, 32);
	EXPECT_EQ(b.ktoa[RX].hwtail, SLOTS - 1);
	EXPECT_EQ(a.atok[TX].appl_need_kick, 0);
	for (uint32_t i = 0; i < 2 * SLOTS; i++) {
		send(&a, i);
		expect_frame(&b, i);
	}
	close_both();
}

TEST(a_guest_that_does_not_know_reads_on_what_it_was_shown)
{
	enum { UNREAD = 3 };

	open_both();
	move(&a, false);
	move(&b, false);
	for (uint32_t i = 0; i < UNREAD; i++)
		send(&a, i);
	EXPECT_SOON(rp_load_acquire(&b.ktoa[RX].hwtail) == UNREAD);
	unbind(&b);
	bind(&b);
	move(&b, true);
	EXPECT_EQ(b.ktoa[RX].hwcur, 0);
	EXPECT_EQ(b.ktoa[RX].hwtail, UNREAD);
	rp_store_release(&b.atok[RX].head, UNREAD);
	for (uint32_t i = UNREAD; i < 2 * SLOTS; i++) {
		send(&a, i);
		expect_frame(&b, i);
	}
	close_both();
}

TEST(a_head_outside_its_ring_breaks_the_port_wherever_it_is)
{
	open_both();
	a.atok[TX].head = SLOTS;
	move(&a, true);
	EXPECT_EQ(a.ktoa[TX].hwcur, 0);
	EXPECT_SOON(world_broken(&w, a.u.port));
	EXPECT(!world_broken(&w, b.u.port));
	close_both();
}

TEST(blocks_come_and_go_while_others_send)
{
	open_both();
	move(&a, false);
	for (uint32_t round = 0; round < 200; round++) {
		send(&a, round);
		move(&b, false);
		send(&a, round);
		unbind(&b);
		bind(&b);
	}
	EXPECT(!world_broken(&w, a.u.port) && !world_broken(&w, b.u.port));
	move(&b, false);
	EXPECT_SOON(rp_load_acquire(&a.ktoa[TX].hwcur) == rp_load(&a.atok[TX].head));
	rp_store_release(&b.atok[RX].head, rp_load_acquire(&b.ktoa[RX].hwtail));
	send(&a, 4711);
	expect_frame(&b, 4711);
	close_both();
}

TEST(memory_that_goes_away_breaks_its_port_alone)
{
	open_both();
	move(&a, false);
	move(&b, false);
	send(&a, 1);
	expect_frame(&b, 1);
	EXPECT(ftruncate(b.memory, 0) == 0);
	send(&a, 2);
	EXPECT_SOON(world_broken(&w, b.u.port));
	EXPECT(!world_broken(&w, a.u.port));
	unbind(&b);
	EXPECT(!world_broken(&w, b.u.port));
	EXPECT(ftruncate(b.memory, MEMORY) == 0);
	bind(&b);
	move(&b, false);
	send(&a, 3);
	expect_frame(&b, 3);
	close_both();
}

static void expect_refused(struct rp_csb_config cfg, int code)
{
	EXPECT_EQ(rp_port_csb(w.dp, a.u.port, &cfg, &err), -code);
}

TEST(places_that_do_not_fit_are_refused)
{
	const uint64_t wrong[] = { 1, 63, PAGE - 64, MEMORY, UINT64_MAX - 63 };
	struct rp_csb_config cfg;

	open_both();
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cfg = places(&a);
		cfg.atok_offset = wrong[i];
		expect_refused(cfg, EINVAL);
		cfg = places(&a);
		cfg.ktoa_offset = wrong[i];
		expect_refused(cfg, EINVAL);
	}
	cfg = places(&a);
	cfg.ktoa_fd = -1;
	expect_refused(cfg, EINVAL);
	move(&a, false);
	expect_refused(places(&a), EBUSY);
	unbind(&a);
	expect_refused(places(&a), EBUSY);
	bind(&a);
	move(&a, false);
	close_both();
}

static int sealed(uint64_t bytes)
{
	const int fd = memfd_create("r", MFD_ALLOW_SEALING);

	EXPECT(ftruncate(fd, (off_t)bytes) == 0);
	EXPECT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
	return fd;
}

TEST(a_region_moves_into_memory_that_comes_back)
{
	struct ring_user before;
	int fd;

	open_both();
	before = a.u;
	fd = sealed(before.bytes);
	EXPECT_EQ(rp_region_hand_back(w.dp, a.region, fd, &err), -EBUSY); /* it is open */
	unbind(&a);
	EXPECT_OK(rp_region_hand_back(w.dp, a.region, fd, &err), err);
	EXPECT_EQ(rp_region_hand_back(w.dp, b.region, fd, &err), -EBUSY); /* a's */
	ring_user_open(&a.u, &w, before.port);
	EXPECT_EQ(memcmp(before.nifp, a.u.nifp, sizeof(*before.nifp)), 0);
	memset(before.base, 0xff, before.bytes); /* nobody looks there now */
	ring_user_close(&before);
	for (int round = 0; round < 2; round++) {
		bind(&a);
		move(&a, false);
		move(&b, false);
		for (uint32_t i = 0; i < 2 * SLOTS; i++) {
			send(&a, i);
			expect_frame(&b, i);
		}
		unbind(&a);
		unbind(&b);
		bind(&b);
		EXPECT_OK(rp_region_hand_back(w.dp, a.region, fd, &err), err); /* its own */
	}
	close(fd);
	close_both();
}

TEST(memory_that_no_backend_gave_is_refused)
{
	struct rp_pools_info pools;
	int fd;

	open_both();
	unbind(&a);
	EXPECT_OK(rp_region_pools(w.dp, a.region, &pools, &err), err);
	fd = sealed(pools.bytes / 2);
	EXPECT_EQ(rp_region_hand_back(w.dp, a.region, fd, &err), -EINVAL);
	close(fd);
	EXPECT_EQ(rp_region_hand_back(w.dp, a.region, a.memory, &err), -EINVAL);
	EXPECT_EQ(rp_region_hand_back(w.dp, a.region, a.kick, &err), -EINVAL);
	EXPECT_EQ(rp_region_hand_back(w.dp, a.region, -1, &err), -EINVAL);
	EXPECT_EQ(rp_region_hand_back(w.dp, 99, a.memory, &err), -ENOENT);
	bind(&a);
	move(&a, false);
	move(&b, false);
	send(&a, 1);
	expect_frame(&b, 1);
	close_both();
}

TEST(a_region_that_ports_share_stays_where_it_is)
{
	int fd;

	world_open(&w);
	open_guest(&a, "a", true);
	unbind(&a);
	fd = sealed(a.u.bytes);
	EXPECT_EQ(rp_region_hand_back(w.dp, a.region, fd, &err), -EBUSY);
	close(fd);
	close_guest(&a);
	world_close(&w);
}
