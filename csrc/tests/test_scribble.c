/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that changes its rings, descriptors and tables all the time, also
 * between two reads of the same word: nothing outside its memory is touched,
 * as the guards around that would show. Racing is the point here.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "bare.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "front_vhost.h"
#include "virtq.h"
#include "vnet.h"
#include "world.h"

enum {
	GUESTS = 2,
	QUEUE = 16,
	/* In region 0: the areas of the receive queue, and of the transmit queue. */
	RX = 0x000,
	TX = 0x400,
	DRIVER_AREA = 0x200,
	DEVICE_AREA = 0x280,
	TABLES = 0x800, /* of 16 entries each, for each direction */
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	USED = 1 << VRING_PACKED_DESC_F_USED,
	FIRST_BASE = 0x8000, /* of a packed ring: index 0, wrap counter 1 */
	RUN_NS = 200000000
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

static void scribble_table(uint64_t *seed, uint8_t *r0, bool rx, uint32_t table)
{
	const unsigned at = random_from(seed, QUEUE);
	struct vring_desc *entry = (struct vring_desc *)(void *)(r0 + table) + at;

	*entry = scribble(seed, at, rx, random_from(seed, 2000) ? 0 : table);
}

static void scribble_split(uint64_t *seed, uint8_t *areas, bool rx, uint32_t table)
{
	struct vring_desc *desc = (struct vring_desc *)(void *)areas;
	struct vring_avail *avail = (struct vring_avail *)(void *)(areas + DRIVER_AREA);
	struct vring_used *used = (struct vring_used *)(void *)(areas + DEVICE_AREA);
	const unsigned at = random_from(seed, QUEUE);
	uint16_t idx;

	desc[at] = scribble(seed, at, rx, table);
	avail->ring[random_from(seed, QUEUE)] =
		(uint16_t)random_from(seed, random_from(seed, 5000) ? QUEUE : 65536);
	idx = (uint16_t)(rp_load(&used->idx) + random_from(seed, QUEUE + 1));
	if ((int16_t)(idx - avail->idx) > 0 || random_from(seed, 20000) == 0)
		rp_store_release(&avail->idx, idx);
}

/* Mostly the driver's turn: what was used becomes available for the next lap. */
static uint16_t choose_lap(uint64_t *seed, uint16_t flags)
{
	const uint16_t before = flags & (AVAIL | USED);

	if (random_from(seed, 4) == 0)
		return random_from(seed, 2) ? AVAIL : USED;
	if (before == AVAIL || before == USED)
		return before;
	return before ? USED : AVAIL;
}

static void scribble_packed(uint64_t *seed, uint8_t *areas, bool rx, uint32_t table)
{
	struct vring_packed_desc *desc = (struct vring_packed_desc *)(void *)areas;
	struct vring_packed_desc_event *driver =
		(struct vring_packed_desc_event *)(void *)(areas + DRIVER_AREA);
	struct vring_packed_desc_event *device =
		(struct vring_packed_desc_event *)(void *)(areas + DEVICE_AREA);
	const unsigned at = random_from(seed, QUEUE);
	struct vring_desc d = scribble(seed, at, rx, table);

	/* Chains run into descriptors that are taken already, which is an end, not a beginning. */
	if (random_from(seed, 20))
		d.flags &= (uint16_t)~VRING_DESC_F_NEXT;
	desc[at].addr = d.addr;
	desc[at].len = d.len;
	desc[at].id = (uint16_t)random_from(seed, 65536);
	d.flags |= choose_lap(seed, rp_load(&desc[at].flags));
	rp_store_release(&desc[at].flags, d.flags);
	rp_store(&driver->off_wrap, (uint16_t)random_from(seed, 65536));
	rp_store(&driver->flags, (uint16_t)random_from(seed, 4));
	rp_store(&device->flags, (uint16_t)random_from(seed, 65536));
}

static bool is_packed(uint64_t features)
{
	return features & RP_FEATURE(VIRTIO_F_RING_PACKED);
}

static void scribble_direction(uint64_t *seed, unsigned guest, bool rx)
{
	const uint32_t table = TABLES + (rx ? 0 : 16 * QUEUE);
	uint8_t *r0 = mem[guest]->region[0].host;

	scribble_table(seed, r0, rx, table);
	(is_packed(b.port[guest].features) ? scribble_packed :
					     scribble_split)(seed, r0 + (rx ? RX : TX), rx, table);
}

/* The virtio-net header of what is sent, and the headers behind it. */
static void scribble_payload(uint64_t *seed, uint8_t *r1)
{
	static const uint8_t bytes[] = { 0, 0, 1, 4, 6, 8, 34, 54, 64, 100, 0x45, 0x81, 0xff };

	r1[random_from(seed, 90)] = bytes[random_from(seed, sizeof(bytes))];
}

static void *scribble_forever(void *arg)
{
	uint64_t seed = 1;

	(void)arg;
	while (!rp_load(&stop)) {
		for (unsigned i = 0; i < GUESTS; i++) {
			scribble_direction(&seed, i, true);
			scribble_direction(&seed, i, false);
			if (random_from(&seed, 10) == 0)
				scribble_payload(&seed, mem[i]->region[1].host);
		}
		if (random_from(&seed, 100) == 0)
			sched_yield(); /* both may have one core only */
	}
	return NULL;
}

/* What is available now is given up: most chains that break a rule would break it again. */
static struct rp_vring_config config(const struct rp_port *p, uint32_t areas)
{
	uint8_t *r0 = p->mem->region[0].host + areas;
	uint16_t base = FIRST_BASE;

	if (is_packed(p->features)) {
		memset(r0, 0, QUEUE * sizeof(struct vring_packed_desc));
	} else {
		base = rp_load(&((struct vring_avail *)(void *)(r0 + DRIVER_AREA))->idx);
		rp_store(&((struct vring_used *)(void *)(r0 + DEVICE_AREA))->idx, base);
	}
	return (struct rp_vring_config){
		QUEUE, base, areas, areas + DRIVER_AREA, areas + DEVICE_AREA, -1, -1
	};
}

static void start(struct rp_port *p)
{
	const struct rp_vring_config rx = config(p, RX);
	const struct rp_vring_config tx = config(p, TX);
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

/* @features: of each guest */
static void expect_no_harm(const uint64_t features[GUESTS])
{
	pthread_t thread;
	unsigned broken = 0;
	uint64_t end;

	bare_open(&b);
	for (unsigned i = 0; i < GUESTS; i++) {
		struct rp_port *p = bare_add(&b, NULL, 0);

		p->mem = mem[i] = bare_memory();
		p->features = features[i];
		start(p);
	}
	stop = 0;
	EXPECT_EQ(pthread_create(&thread, NULL, scribble_forever, NULL), 0);
	end = now_ns() + RUN_NS;
	/* On a busy machine the scribbler may not run for a while: go on until it did. */
	while (now_ns() < end || (!meant_something(broken) && now_ns() < end + PATIENCE_NS)) {
		for (unsigned i = 0; i < GUESTS; i++) {
			struct rp_port *p = &b.port[i];

			if (!bare_txsync(&b, p))
				sched_yield();
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

TEST_FORMATS(a_guest_that_changes_all_it_has_at_any_moment_harms_nobody)
{
	/* One of them leaves its offloads to software. */
	const uint64_t features[] = { fake_features(), fake_features() & ~RP_VNET_FEATURES };

	expect_no_harm(features);
}

TEST_RINGS(nor_does_one_without_mergeable_buffers)
{
	const uint64_t one = fake_features() & ~RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF);
	const uint64_t features[] = { one, one };

	expect_no_harm(features);
}

/*
 * The same beside guests who are served by the same worker, and who get all
 * of each other's frames.
 */
static struct world w;
static struct fake_guest evil, one, two;

static void scribble_area(uint64_t *seed, uint64_t addr, uint64_t bytes)
{
	uint16_t *at = fake_ram_at(&evil.ram, addr);
	const uint32_t word = random_from(seed, (uint32_t)bytes / 2);

	rp_store(&at[word], (uint16_t)random_from(seed, random_from(seed, 2) ? 16 : 65536));
}

/* A good descriptor, or some word of any area. */
static void scribble_queue(uint64_t *seed, const struct fake_queue *q, uint16_t flags)
{
	const uint32_t slot = random_from(seed, q->size);

	if (q->ops == &fake_packed) {
		struct vring_packed_desc *d = &q->packed.desc[slot];

		flags |= choose_lap(seed, rp_load(&d->flags));
		*d = (struct vring_packed_desc){ q->buf_addr, 1000, 7, flags };
	} else {
		q->split.desc[slot] = (struct vring_desc){ q->buf_addr, 1000, flags, 0 };
		rp_store(&q->split.avail->idx, (uint16_t)(rp_load(&q->split.used->idx) + q->size));
	}
	if (random_from(seed, 200) == 0)
		scribble_area(seed, q->desc_addr, UINT64_C(16) * q->size);
	if (random_from(seed, 200) == 0)
		scribble_area(seed, q->driver_addr, 4);
	if (random_from(seed, 200) == 0)
		scribble_area(seed, q->device_addr, 4);
}

static void *scribble_beside(void *arg)
{
	uint64_t seed = 1;

	(void)arg;
	while (!rp_load(&stop)) {
		scribble_queue(&seed, &evil.rx, VRING_DESC_F_WRITE);
		scribble_queue(&seed, &evil.tx, 0);
		if (random_from(&seed, 100) == 0)
			sched_yield();
	}
	return NULL;
}

static void open_guest(struct fake_guest *g, const char *name)
{
	const struct fake_guest_config plain = { .queue_size = QUEUE };

	fake_guest_open(g, &plain);
	fake_guest_connect(g, w.dp, world_add_vhost(&w, name));
}

static void send_frame(struct fake_guest *g, unsigned to, unsigned from, uint32_t number)
{
	uint8_t frame[200];

	frame_make(frame, sizeof(frame), to, from, number);
	EXPECT(fake_guest_send(g, NULL, frame, sizeof(frame), FAKE_PLAIN));
	fake_queue_kick(&g->tx);
	EXPECT_SOON(fake_guest_sent(g) == 1);
}

/* The next frame of host 1 to host 2, among what the others flood. */
static bool take_mine(uint32_t number)
{
	static struct fake_frame got;
	bool mine = false;

	while (!mine && fake_guest_receive(&two, &got)) {
		fake_guest_post(&two, QUEUE, 1100, FAKE_PLAIN);
		mine = frame_from(got.data) == 1;
		if (mine) {
			EXPECT_EQ(frame_number(got.data), number);
			EXPECT(frame_whole(got.data, got.len));
		}
	}
	return mine;
}

static void expect_delivery(uint32_t number)
{
	uint8_t frame[200];

	send_frame(&two, HOST_BROADCAST, 2, number); /* into the evil one's ring, too */
	frame_make(frame, sizeof(frame), 2, 1, number);
	EXPECT(fake_guest_send(&one, NULL, frame, sizeof(frame), FAKE_PLAIN));
	fake_queue_kick(&one.tx);
	EXPECT_SOON(take_mine(number));
	EXPECT_SOON(fake_guest_sent(&one) == 1);
}

static void repair_evil(void)
{
	struct rp_err err;

	EXPECT_OK(rp_port_repair(w.dp, evil.port, &err), err);
	fake_guest_disconnect(&evil);
	fake_queue_reset(&evil.rx, 0);
	fake_queue_reset(&evil.tx, 0);
	fake_guest_connect(&evil, w.dp, evil.port);
}

TEST_RINGS(a_guest_that_scribbles_costs_its_neighbours_no_frame)
{
	unsigned broken = 0;
	uint32_t number = 0;
	pthread_t thread;
	uint64_t end;

	world_open(&w);
	open_guest(&evil, "evil");
	open_guest(&one, "one");
	open_guest(&two, "two");
	world_set_full(&w, two.port, RP_FULL_HOLD, WORLD_FOREVER_US); /* the evil one floods it */
	fake_guest_post(&two, QUEUE, 1100, FAKE_PLAIN);
	stop = 0;
	EXPECT_EQ(pthread_create(&thread, NULL, scribble_beside, NULL), 0);
	end = now_ns() + RUN_NS;
	while (now_ns() < end || (broken < 5 && now_ns() < end + PATIENCE_NS)) {
		expect_delivery(number++);
		EXPECT_EQ(write(evil.tx.kick_fd, &(uint64_t){ 1 }, 8), 8);
		if (!world_broken(&w, evil.port))
			continue;
		broken++;
		repair_evil();
	}
	rp_store(&stop, 1);
	pthread_join(thread, NULL);
	EXPECT(broken >= 5);
	EXPECT_EQ(world_all_drops(&w, one.port, NETMAP_DIR_TX), 0);
	world_close(&w);
	fake_guest_close(&evil);
	fake_guest_close(&one);
	fake_guest_close(&two);
}
