/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Users of netmap rings write what they like into their regions, between
 * the syncs of a switch.
 *
 * All of a region that no frame may ever be copied into or from is poisoned:
 * its directory, the two reserved buffers, and what lies behind the last one.
 * The first port has large buffers, the others small ones.
 *
 * Input: steps, each a byte: its lowest two bits say whose, the rest what:
 *
 *   0 slot index, length, flags    of the tx ring: 4, 2 and 2 bytes
 *   1 slot index                   of the rx ring: 4 bytes
 *   2 head                         of the tx ring, 4 bytes, and sync
 *   3 head                         of the rx ring, 4 bytes, and sync
 *   4 n                            send n frames as one should, with MACs from the input
 *   5                              receive all there is as one should
 *   6                              repair the port
 *   7 length, features             of the virtio-net header: a byte and 2
 *   8 slot index, n, bytes         to the beginning of a tx slot's buffer
 *
 * With a header that is not zero, 4 sends what software must complete or cut for the others.
 */
#include <sanitizer/asan_interface.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bare.h"
#include "front_rings.h"
#include "region.h"
#include "vnet.h"

enum { SLOTS = 16, STEPS = 64 };

#define PAGE UINT64_C(4096)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bare b;

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static uint16_t take16(struct input *in)
{
	uint16_t low = take(in);

	return (uint16_t)(low | take(in) << 8);
}

static uint32_t take32(struct input *in)
{
	uint32_t low = take16(in);

	return low | (uint32_t)take16(in) << 16;
}

/* Between pages that may not be touched. */
static void move_region(struct rp_region *r)
{
	uint8_t *at =
		mmap(NULL, r->bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || mremap(r->base, r->bytes, r->bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
				       at + PAGE) == MAP_FAILED)
		abort();
	r->base = at + PAGE;
}

static void poison(const struct rp_region *r)
{
	const uint64_t end = r->bufs.offset + (uint64_t)r->bufs.total * r->bufs.objsize;

	ASAN_POISON_MEMORY_REGION(r->base, RP_DIRECTORY_BYTES);
	ASAN_POISON_MEMORY_REGION(rp_region_bufs(r),
				  (uint64_t)NETMAP_BUF_RESERVED * r->bufs.objsize);
	ASAN_POISON_MEMORY_REGION(r->base + end, r->bytes - end);
}

static void set_up(void)
{
	bare_open(&b);
	for (unsigned i = 0; i < BARE_PORTS; i++) {
		const struct rp_region_config cfg = {
			.name = "fuzz",
			.ring_max = 2,
			.slots_max = SLOTS,
			.buf_bytes = i ? 64 : 2048,
			.buf_max = 2 * SLOTS,
		};
		struct rp_err err;
		struct rp_region *r = rp_region_new(&cfg, &err);

		if (!r)
			abort();
		move_region(r);
		poison(r);
		bare_add(&b, r, SLOTS);
	}
}

static void empty(struct rp_port *p, int dir)
{
	struct netmap_ring *ring = rp_region_ring_at(p->region, p->own[dir][0].obj);
	struct rp_endpoint *ep = dir == NETMAP_DIR_TX ? p->tx[0] : p->rx[0];
	const uint32_t first = NETMAP_BUF_RESERVED + (dir == NETMAP_DIR_TX ? 0 : SLOTS);

	ring->head = ring->cur = 0;
	ring->tail = dir == NETMAP_DIR_TX ? SLOTS - 1 : 0;
	for (uint32_t i = 0; i < SLOTS; i++)
		ring->slot[i] = (struct netmap_slot){ .buf_idx = first + i };
	ep->ops->free(ep);
}

static void renew(struct rp_port *p)
{
	const size_t i = (size_t)p->id;
	struct rp_ring_counters *rx = &b.count[2 * i], *tx = &b.count[2 * i + 1];

	empty(p, NETMAP_DIR_TX);
	empty(p, NETMAP_DIR_RX);
	p->rx[0] = rp_front_rings_new(p, NETMAP_DIR_RX, 0, &p->own[NETMAP_DIR_RX][0], false,
				      &b.state[2 * i]);
	p->tx[0] = rp_front_rings_new(p, NETMAP_DIR_TX, 0, &p->own[NETMAP_DIR_TX][0], false,
				      &b.state[2 * i + 1]);
	if (!p->rx[0] || !p->tx[0])
		abort();
	p->rx[0]->count = rx;
	p->tx[0]->count = tx;
	p->net_header = 0;
	p->features = 0;
}

static void set_header(struct rp_port *p, struct input *in)
{
	static const uint32_t lengths[] = { 0, 10, 12 };

	p->net_header = lengths[take(in) % 3];
	p->features = p->net_header ? take16(in) & RP_VNET_FEATURES : 0;
	rp_front_rings_header(p->tx[0]);
	rp_front_rings_header(p->rx[0]);
}

static uint8_t *buffer(const struct rp_port *p, uint32_t slot)
{
	return rp_region_bufs(p->region) +
	       (uint64_t)(NETMAP_BUF_RESERVED + slot) * p->region->bufs.objsize;
}

static void write_buffer(const struct rp_port *p, struct input *in)
{
	uint8_t *at = buffer(p, take(in) % SLOTS);

	for (uint8_t n = take(in) % 64; n; n--)
		*at++ = take(in);
}

static uint32_t next(uint32_t slot)
{
	return (slot + 1) % SLOTS;
}

static void send_well(struct rp_port *p, struct input *in)
{
	struct netmap_ring *ring = rp_region_ring_at(p->region, p->own[NETMAP_DIR_TX][0].obj);
	const uint32_t len = p->net_header ? p->region->bufs.objsize : 60;
	uint8_t n = take(in) % SLOTS, macs = take(in);
	uint32_t head = ring->head % SLOTS;

	for (; n && head != ring->tail % SLOTS; n--, head = next(head)) {
		struct netmap_slot *s = &ring->slot[head];
		uint8_t *frame;

		s->buf_idx = NETMAP_BUF_RESERVED + head;
		s->len = (uint16_t)len;
		s->flags = 0;
		frame = buffer(p, head) + p->net_header;
		if (!p->net_header)
			memset(frame, 0, len);
		frame[0] = frame[6] = 2;
		frame[5] = macs & 7;
		frame[11] = macs >> 3 & 7;
	}
	ring->head = head;
	bare_txsync(&b, p);
}

static void receive_well(struct rp_port *p)
{
	struct netmap_ring *ring = rp_region_ring_at(p->region, p->own[NETMAP_DIR_RX][0].obj);

	if (!p->rx[0]->live || p->rx[0]->ops->sync(p->rx[0]) < 0)
		return;
	ring->head = ring->tail;
	p->rx[0]->ops->sync(p->rx[0]);
}

static void step(struct input *in)
{
	const uint8_t op = take(in);
	struct rp_port *p = &b.port[(op & 3) % BARE_PORTS];
	struct netmap_ring *tx = rp_region_ring_at(p->region, p->own[NETMAP_DIR_TX][0].obj);
	struct netmap_ring *rx = rp_region_ring_at(p->region, p->own[NETMAP_DIR_RX][0].obj);
	struct netmap_slot *slot;

	switch ((op >> 2) % 9) {
	case 0:
		slot = &tx->slot[take(in) % SLOTS];
		slot->buf_idx = take32(in);
		slot->len = take16(in);
		slot->flags = take16(in);
		break;
	case 1:
		slot = &rx->slot[take(in) % SLOTS];
		slot->buf_idx = take32(in);
		break;
	case 2:
		tx->head = take32(in);
		bare_txsync(&b, p);
		break;
	case 3:
		rx->head = take32(in);
		if (p->rx[0]->live)
			p->rx[0]->ops->sync(p->rx[0]);
		break;
	case 4:
		send_well(p, in);
		break;
	case 5:
		receive_well(p);
		break;
	case 6:
		p->state = RP_PORT_UP;
		p->breaking = 0;
		p->tx[0]->live = p->rx[0]->live = 1;
		break;
	case 7:
		set_header(p, in);
		break;
	case 8:
		write_buffer(p, in);
		break;
	}
	bare_check(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (!b.n)
		set_up();
	for (unsigned i = 0; i < BARE_PORTS; i++)
		renew(&b.port[i]);
	bare_reset(&b);
	for (unsigned n = 0; in.left && n < STEPS; n++)
		step(&in);
	return 0;
}
