/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that changes its rings, descriptors and tables all the time, also
 * between two reads of the same word: nothing outside its memory is touched,
 * as the guards around that would show. Racing is the point here.
 */
#include <pthread.h>
#include <time.h>

#include "abi/rp_barrier.h"
#include "bare.h"
#include "check.h"
#include "front_vhost.h"
#include "virtq.h"
#include "vnet.h"

enum {
	GUESTS = 2,
	QUEUE = 16,
	/* In region 0. */
	RX_DESC = 0x000,
	RX_AVAIL = 0x200,
	RX_USED = 0x280,
	TX_DESC = 0x400,
	TX_AVAIL = 0x600,
	TX_USED = 0x680,
	TABLES = 0x800, /* of 16 entries each, for each direction */
	RUN_NS = 400000000
};

#define PATIENCE_NS UINT64_C(20000000000)

static struct bare b;
static struct rp_guestmem *mem[GUESTS];
static uint32_t stop;

static uint32_t random_from(uint64_t *seed, uint32_t n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % n;
}

/* Mostly what a driver could write; now and then what none would. */
static struct vring_desc scribble(uint64_t *seed, unsigned at, bool writable, uint32_t table)
{
	static const uint64_t addrs[] = {
		BARE_R1,
		BARE_R1 + 100,
		BARE_R1 - 8,
		BARE_R2,
		BARE_R2 + BARE_R2_BYTES - 72,
		BARE_R2 + BARE_R2_BYTES - 1,
		BARE_R1 + BARE_R1_BYTES - 1,
		0x2000,
	};
	static const uint32_t lens[] = { 72, 100, 12, 1, 0, 0x400, 1500, 0x10000, UINT32_MAX };
	const uint32_t odd = random_from(seed, 4000);
	struct vring_desc d = {
		.addr = addrs[random_from(seed, odd ? 5 : 8)],
		.len = lens[random_from(seed, odd ? 4 : 9)],
		.flags = (uint16_t)(writable ? VRING_DESC_F_WRITE : 0),
		.next = (uint16_t)(odd ? at + 1 : random_from(seed, 2 * QUEUE)),
	};

	if (random_from(seed, 3) == 0 && (at + 1 < QUEUE || !odd))
		d.flags |= VRING_DESC_F_NEXT;
	if (table && random_from(seed, 3) == 0)
		d = (struct vring_desc){ .addr = table,
					 .len = 16 * (1 + random_from(seed, QUEUE)),
					 .flags = VRING_DESC_F_INDIRECT };
	if (odd == 1)
		d.flags ^= VRING_DESC_F_WRITE;
	if (odd == 2)
		d.addr = UINT64_MAX - d.len / 2;
	return d;
}

static void scribble_direction(uint64_t *seed, uint8_t *r0, bool rx)
{
	struct vring_desc *desc = (struct vring_desc *)(void *)(r0 + (rx ? RX_DESC : TX_DESC));
	struct vring_avail *avail = (struct vring_avail *)(void *)(r0 + (rx ? RX_AVAIL : TX_AVAIL));
	struct vring_used *used = (struct vring_used *)(void *)(r0 + (rx ? RX_USED : TX_USED));
	const uint32_t table = TABLES + (rx ? 0 : 16 * QUEUE);
	struct vring_desc *entry;
	unsigned at;
	uint16_t idx;

	at = random_from(seed, QUEUE);
	desc[at] = scribble(seed, at, rx, table);
	at = random_from(seed, QUEUE);
	entry = (struct vring_desc *)(void *)(r0 + table) + at;
	*entry = scribble(seed, at, rx, random_from(seed, 2000) ? 0 : table);
	avail->ring[random_from(seed, QUEUE)] =
		(uint16_t)random_from(seed, random_from(seed, 5000) ? QUEUE : 65536);
	idx = (uint16_t)(rp_load(&used->idx) + random_from(seed, QUEUE + 1));
	if ((int16_t)(idx - avail->idx) > 0 || random_from(seed, 20000) == 0)
		rp_store_release(&avail->idx, idx);
}

static void *scribble_forever(void *arg)
{
	uint64_t seed = 1;

	(void)arg;
	while (!rp_load(&stop)) {
		for (unsigned i = 0; i < GUESTS; i++) {
			scribble_direction(&seed, mem[i]->region[0].host, true);
			scribble_direction(&seed, mem[i]->region[0].host, false);
		}
	}
	return NULL;
}

/* What is available now is given up: most chains that break a rule would break it again. */
static struct rp_vring_config config(const struct rp_port *p, uint32_t desc, uint32_t avail,
				     uint32_t used)
{
	uint8_t *r0 = p->mem->region[0].host;
	uint16_t base = rp_load(&((struct vring_avail *)(void *)(r0 + avail))->idx);

	rp_store(&((struct vring_used *)(void *)(r0 + used))->idx, base);
	return (struct rp_vring_config){ QUEUE, base, desc, avail, used, -1, -1 };
}

static void start(struct rp_port *p)
{
	const struct rp_vring_config rx = config(p, RX_DESC, RX_AVAIL, RX_USED);
	const struct rp_vring_config tx = config(p, TX_DESC, TX_AVAIL, TX_USED);
	struct rp_err err;

	EXPECT_OK(rp_front_vhost_start(p->rx[0], &rx, &err), err);
	EXPECT_OK(rp_front_vhost_start(p->tx[0], &tx, &err), err);
	p->state = RP_PORT_UP;
	p->breaking = 0;
	p->tx[0]->live = p->rx[0]->live = 1;
}

static void stop_rings(struct rp_port *p)
{
	p->tx[0]->live = p->rx[0]->live = 0;
	rp_front_vhost_stop(p->rx[0]);
	rp_front_vhost_stop(p->tx[0]);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Neither too tame nor too wild. */
static bool meant_something(unsigned broken)
{
	return broken > 10 && b.port[0].rx[0]->count->frames > 10 &&
	       b.port[1].rx[0]->count->frames > 10;
}

#define SPLIT (rp_vhost_offered() & ~RP_FEATURE(VIRTIO_F_RING_PACKED))

static void expect_no_harm(uint64_t features)
{
	pthread_t thread;
	unsigned broken = 0;
	uint64_t end;

	bare_open(&b);
	for (unsigned i = 0; i < GUESTS; i++) {
		struct rp_port *p = bare_add(&b, NULL);

		p->mem = mem[i] = bare_memory();
		p->features = features;
		start(p);
	}
	stop = 0;
	EXPECT_EQ(pthread_create(&thread, NULL, scribble_forever, NULL), 0);
	end = now_ns() + RUN_NS;
	/* On a busy machine the scribbler may not run for a while: go on until it did. */
	while (now_ns() < end || (!meant_something(broken) && now_ns() < end + PATIENCE_NS)) {
		for (unsigned i = 0; i < GUESTS; i++) {
			struct rp_port *p = &b.port[i];

			bare_txsync(&b, p);
			bare_check(&b);
			if (!rp_port_broken(p))
				continue;
			broken++;
			stop_rings(p);
			start(p);
		}
	}
	rp_store(&stop, 1);
	pthread_join(thread, NULL);
	stop_rings(&b.port[0]);
	stop_rings(&b.port[1]);
	EXPECT(meant_something(broken));
	bare_close(&b);
	bare_memory_free(mem[0]);
	bare_memory_free(mem[1]);
}

TEST(a_guest_that_changes_all_it_has_at_any_moment_harms_nobody)
{
	expect_no_harm(SPLIT);
}

TEST(nor_does_one_without_mergeable_buffers)
{
	expect_no_harm(SPLIT & ~RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF));
}
