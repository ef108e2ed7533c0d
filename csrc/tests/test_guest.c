/* SPDX-License-Identifier: BSD-2-Clause */
/* What virtual machines that map a region need: records, mailboxes, eventfds that are given, relays. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "world.h"

enum { GUESTS = 2 };

static struct world w;
static struct rp_err err;
static int region;
static struct rp_guest *guest; /* the last one's record, as it maps it */
static struct rp_guest_request *request;
static uint64_t region_bytes;
static uint8_t *base;

static void open_region(void)
{
	const struct rp_region_config cfg = { .name = "r", .guests = GUESTS };
	const struct rp_directory *d;
	struct rp_pools_info pools;

	world_open(&w);
	region = rp_region_add(w.dp, &cfg, &err);
	EXPECT_OK(region, err);
	EXPECT_OK(rp_region_pools(w.dp, region, &pools, &err), err);
	region_bytes = pools.bytes;
	base = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, pools.fd, 0);
	EXPECT(base != MAP_FAILED);
	d = (const struct rp_directory *)(const void *)base;
	EXPECT_EQ(d->guest_pool.objtotal, GUESTS);
	EXPECT_EQ(d->guest_pool.objsize, RP_GUEST_BYTES);
	EXPECT_EQ(pools.guest_pool.offset, d->guest_pool.offset);
	EXPECT(d->csb_pool.offset >= d->guest_pool.offset + (uint64_t)GUESTS * RP_GUEST_BYTES);
	guest = (struct rp_guest *)(void *)(base + d->guest_pool.offset) +
		(size_t)2 * (GUESTS - 1); /* two pages each */
	request = (struct rp_guest_request *)(void *)(guest + 1);
}

static void close_region(void)
{
	munmap(base, region_bytes);
	EXPECT_OK(rp_region_del(w.dp, region, &err), err);
	world_close(&w);
}

TEST(a_guest_finds_its_record_and_nothing_else_of_the_page_changes)
{
	const struct rp_guest record = {
		.peer = 7, .mtu = 1500, .vectors = 9, .port = "vale0:vm1"
	};

	open_region();
	EXPECT_EQ(guest->peer, 0);
	guest->answered = 5;
	EXPECT_OK(rp_guest_write(w.dp, region, GUESTS - 1, &record, &err), err);
	EXPECT_EQ(guest->peer, 7);
	EXPECT_EQ(guest->mtu, 1500);
	EXPECT_EQ(guest->vectors, 9);
	EXPECT_TEXT(guest->port, "vale0:vm1");
	EXPECT_EQ(guest->answered, 5);
	EXPECT_EQ(rp_guest_write(w.dp, region, GUESTS, &record, &err), -ENOENT);
	close_region();
}

TEST(a_request_is_taken_once_and_gets_its_answer)
{
	struct rp_guest_request taken;

	open_region();
	EXPECT_EQ(rp_guest_take(w.dp, region, GUESTS - 1, 0, &taken, &err), 0);
	request->op = RP_GUEST_HELLO;
	request->bytes = 3;
	memcpy(request->data, "abc", 3);
	rp_store_release(&request->sent, 1);
	EXPECT_EQ(rp_guest_take(w.dp, region, GUESTS - 1, 0, &taken, &err), 1);
	EXPECT_EQ(taken.sent, 1);
	EXPECT_EQ(taken.op, RP_GUEST_HELLO);
	EXPECT_EQ(memcmp(taken.data, "abc", 3), 0);
	EXPECT_OK(rp_guest_answer(w.dp, region, GUESTS - 1, 1, "fine", 4, &err), err);
	EXPECT_EQ(rp_load_acquire(&guest->answered), 1);
	EXPECT_EQ(guest->answer_bytes, 4);
	EXPECT_EQ(memcmp(guest->answer, "fine", 4), 0);
	EXPECT_EQ(rp_guest_take(w.dp, region, GUESTS - 1, 1, &taken, &err), 0);
	close_region();
}

TEST(what_does_not_fit_a_mailbox_is_refused)
{
	static uint8_t much[RP_GUEST_DATA_BYTES + 1];
	struct rp_guest_request taken;

	open_region();
	request->bytes = RP_GUEST_DATA_BYTES + 1;
	rp_store_release(&request->sent, 1);
	EXPECT_EQ(rp_guest_take(w.dp, region, GUESTS - 1, 0, &taken, &err), -EPROTO);
	EXPECT_EQ(taken.sent, 1);
	EXPECT_EQ(rp_guest_answer(w.dp, region, 0, 1, much, sizeof(much), &err), -EMSGSIZE);
	EXPECT_EQ(rp_guest_take(w.dp, region, GUESTS, 0, &taken, &err), -ENOENT);
	EXPECT_EQ(rp_guest_take(w.dp, region + 1, 0, 0, &taken, &err), -ENOENT);
	close_region();
}

static bool rings(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, RP_TEST_PATIENCE_MS) == 1;
}

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	EXPECT_EQ(write(fd, &one, sizeof(one)), (int)sizeof(one));
}

TEST(a_relay_passes_on_until_it_is_removed)
{
	const int from = eventfd(0, EFD_NONBLOCK), to = eventfd(0, EFD_NONBLOCK);
	const int other = eventfd(0, EFD_NONBLOCK);
	uint64_t n;
	int relay, second;

	world_open(&w);
	signal_fd(from); /* what came before is passed on, too */
	relay = rp_relay_add(w.dp, from, to, &err);
	EXPECT_OK(relay, err);
	EXPECT(rings(to));
	EXPECT_EQ(read(to, &n, sizeof(n)), (int)sizeof(n));
	signal_fd(from);
	EXPECT(rings(to));
	EXPECT_OK(rp_relay_del(w.dp, relay, &err), err);
	EXPECT_EQ(read(to, &n, sizeof(n)), (int)sizeof(n));
	EXPECT_EQ(rp_relay_del(w.dp, relay, &err), -ENOENT);
	EXPECT_EQ(rp_relay_del(w.dp, RP_MAX_RELAYS, &err), -ENOENT);
	second = rp_relay_add(w.dp, from, other, &err);
	EXPECT_EQ(second, relay);
	signal_fd(from);
	EXPECT(rings(other));
	EXPECT_EQ(read(to, &n, sizeof(n)), -1);
	EXPECT(rp_relay_add(w.dp, -1, to, &err) < 0);
	EXPECT(rp_relay_add(w.dp, from, -2, &err) >= 0); /* to nobody */
	close(from);
	close(to);
	close(other);
	world_close(&w);
}

TEST(a_ring_is_kicked_and_called_on_the_eventfds_that_it_was_given)
{
	const int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	struct rp_port_config cfg;
	struct rp_bind_info bound;
	struct rp_port_rings at;
	struct ring_user u;
	struct rp_csb *csb;
	int port, binding;

	world_open(&w);
	cfg = world_rings_config(&w, "a");
	cfg.kind = RP_KIND_NULL;
	cfg.worker = w.worker;
	cfg.csb = 1;
	port = world_add_port(&w, &cfg);
	ring_user_open(&u, &w, port);
	EXPECT_OK(rp_port_wire(w.dp, port, NETMAP_DIR_TX, 0, kick, call, &err), err);
	EXPECT_OK(rp_port_rings(w.dp, port, &at, &err), err);
	csb = (struct rp_csb *)(void *)(u.base + ((const struct rp_directory *)(void *)u.base)
							 ->csb_pool.offset) +
	      at.tx[0].csb;
	binding =
		rp_binding_add(w.dp,
			       &(struct rp_bind_config){ .port = port, .host_port = -1, .tx_n = 1 },
			       &bound, &err);
	EXPECT_OK(binding, err);
	for (uint32_t i = 0; i < at.tx[0].slots; i++)
		u.tx->slot[i].len = 60;
	rp_store(&csb->atok.appl_need_kick, 1);
	rp_store_release(&csb->atok.head, at.tx[0].slots - 1);
	signal_fd(kick);
	EXPECT(rings(call));
	EXPECT_EQ(rp_load_acquire(&csb->ktoa.hwcur), at.tx[0].slots - 1);
	EXPECT_EQ(rp_port_wire(w.dp, port, NETMAP_DIR_TX, 1, kick, call, &err), -EINVAL);
	EXPECT_EQ(rp_port_wire(w.dp, port, 2, 0, kick, call, &err), -EINVAL);
	EXPECT_OK(rp_port_wire(w.dp, port, NETMAP_DIR_TX, 0, -1, -1, &err), err);
	EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
	ring_user_close(&u);
	close(kick);
	close(call);
	world_close(&w);
}
