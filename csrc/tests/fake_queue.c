/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_queue.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "vnet.h"

static const struct {
	const char *name;
	uint64_t features;
} formats[FAKE_FORMATS] = {
	{ "split", 0 },
	{ "packed", RP_FEATURE(VIRTIO_F_RING_PACKED) },
	{ "split, in order", RP_FEATURE(VIRTIO_F_IN_ORDER) },
	{ "packed, in order", RP_FEATURE(VIRTIO_F_RING_PACKED) | RP_FEATURE(VIRTIO_F_IN_ORDER) },
};

static unsigned chosen;

const char *fake_choose_format(unsigned i)
{
	chosen = i;
	return formats[i].name;
}

uint64_t fake_features(void)
{
	const uint64_t offered = rp_vhost_offered(), wanted = formats[chosen].features;

	EXPECT_EQ(offered & wanted, wanted);
	return (offered & ~formats[FAKE_FORMATS - 1].features) | wanted;
}

void fake_queue_open(struct fake_queue *q, struct fake_ram *ram, uint32_t size, uint32_t buf_bytes,
		     uint64_t features)
{
	*q = (struct fake_queue){
		.ops = features & RP_FEATURE(VIRTIO_F_RING_PACKED) ? &fake_packed : &fake_split,
		.ram = ram,
		.size = size,
		.buf_bytes = buf_bytes,
		.event_idx = features & RP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
		.in_order = features & RP_FEATURE(VIRTIO_F_IN_ORDER),
		.table_addr = fake_ram_alloc(
			ram, (uint64_t)size * FAKE_TABLE * sizeof(struct vring_desc), 16),
		.buf_addr = fake_ram_alloc(ram, (uint64_t)size * buf_bytes, 64),
		.free = calloc(size, sizeof(*q->free)),
		.chain = calloc(size, sizeof(*q->chain)),
		.order = calloc(size, sizeof(*q->order)),
		.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	EXPECT(q->free && q->chain && q->order && q->kick_fd >= 0 && q->call_fd >= 0);
	q->ops->open(q);
	fake_queue_reset(q, 0);
}

void fake_queue_close(struct fake_queue *q)
{
	close(q->kick_fd);
	close(q->call_fd);
	free(q->free);
	free(q->chain);
	free(q->order);
}

struct rp_vring_config fake_queue_config(const struct fake_queue *q)
{
	return (struct rp_vring_config){
		.size = q->size,
		.base = q->base,
		.desc_user_addr = fake_ram_user(q->ram, q->desc_addr),
		.avail_user_addr = fake_ram_user(q->ram, q->driver_addr),
		.used_user_addr = fake_ram_user(q->ram, q->device_addr),
		.kick_fd = q->kick_fd,
		.call_fd = q->call_fd,
	};
}

void fake_queue_reset(struct fake_queue *q, uint32_t start)
{
	const struct fake_count none = { 0, 0 };

	q->start = start;
	q->added = q->published = q->kicked = q->taken = none;
	q->batch = 0;
	q->nfree = q->size;
	for (uint32_t i = 0; i < q->size; i++) {
		q->free[i] = (uint16_t)(q->size - 1 - i);
		q->chain[i].descriptors = 0;
	}
	q->ops->reset(q);
	q->base = fake_queue_base(q, 0, 0);
}

int fake_queue_head(const struct fake_queue *q)
{
	return q->nfree ? q->ops->head(q) : FAKE_NOTHING;
}

/* @bytes: that the device may write, all in all */
static int add_chain(struct fake_queue *q, const struct fake_desc *d, unsigned n, uint32_t bytes)
{
	const int head = fake_queue_head(q);

	if (n > q->nfree)
		return FAKE_NOTHING;
	q->ops->put(q, (uint16_t)head, d, n);
	q->chain[head] = (struct fake_chain){ .descriptors = (uint16_t)n, .bytes = bytes };
	q->order[q->added.chains % q->size] = (uint16_t)head;
	q->added.chains++;
	q->added.descriptors += n;
	q->nfree -= n;
	return head;
}

static uint32_t writable_bytes(const struct fake_desc *d, unsigned n)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += d[i].flags & VRING_DESC_F_WRITE ? d[i].len : 0;
	return bytes;
}

int fake_queue_add_raw(struct fake_queue *q, const struct fake_desc *d, unsigned n)
{
	return add_chain(q, d, n, writable_bytes(d, n));
}

int fake_queue_add_table(struct fake_queue *q, const struct fake_desc *d, unsigned n)
{
	struct fake_desc outer = { .len = n * (uint32_t)sizeof(struct vring_desc),
				   .flags = VRING_DESC_F_INDIRECT };

	EXPECT(n <= FAKE_TABLE);
	if (!q->nfree)
		return FAKE_NOTHING;
	outer.addr = fake_queue_table_addr(q, (unsigned)fake_queue_head(q));
	q->ops->table(fake_ram_at(q->ram, outer.addr), d, n);
	return add_chain(q, &outer, 1, writable_bytes(d, n));
}

int fake_queue_add(struct fake_queue *q, const struct fake_piece *piece, unsigned n, uint16_t flags,
		   bool indirect)
{
	struct fake_desc *d = calloc(n, sizeof(*d));
	int head;

	EXPECT(d);
	for (unsigned i = 0; i < n; i++)
		d[i] = (struct fake_desc){
			.addr = piece[i].addr,
			.len = piece[i].len,
			.flags = flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
		};
	head = (indirect ? fake_queue_add_table : fake_queue_add_raw)(q, d, n);
	free(d);
	return head;
}

static unsigned count_pieces(uint32_t bytes, struct fake_layout layout)
{
	const uint32_t first = layout.first ? layout.first : layout.then;

	if (!first || first >= bytes)
		return 1;
	return layout.then ? 1 + (bytes - first + layout.then - 1) / layout.then : 2;
}

/* Piece by piece of @bytes: @part is the next one's length, 0 for all the rest. */
static uint32_t next_part(uint32_t *part, uint32_t bytes, struct fake_layout layout)
{
	const uint32_t len = *part && *part < bytes ? *part : bytes;

	*part = layout.then;
	return len;
}

/* The byte behind a receive buffer stays as it is. */
enum { GUARD = 0xc5 };

int fake_queue_add_buf(struct fake_queue *q, uint32_t bytes, uint16_t flags,
		       struct fake_layout layout)
{
	const unsigned n = count_pieces(bytes, layout);
	uint32_t part = layout.first ? layout.first : layout.then, left = bytes;
	struct fake_piece *piece;
	uint64_t addr;
	int head;

	EXPECT(bytes && bytes <= q->buf_bytes);
	EXPECT(n && n <= (layout.indirect ? FAKE_TABLE : q->size));
	if ((layout.indirect ? 1 : n) > q->nfree)
		return FAKE_NOTHING;
	head = fake_queue_head(q);
	addr = fake_queue_buf_addr(q, (unsigned)head);
	piece = calloc(n, sizeof(*piece));
	EXPECT(piece);
	for (unsigned i = 0; i < n; i++) {
		const uint32_t len = next_part(&part, left, layout);

		left -= len;
		piece[i] = (struct fake_piece){ addr + left, len };
	}
	EXPECT_EQ(left, 0);
	if (bytes < q->buf_bytes)
		fake_queue_buf(q, (unsigned)head)[bytes] = GUARD;
	EXPECT_EQ(fake_queue_add(q, piece, n, flags, layout.indirect), head);
	free(piece);
	q->chain[head].buf_bytes = bytes;
	q->chain[head].layout = layout;
	return head;
}

/* Where byte @at of a buffer lies. @n: how many follow there */
static uint8_t *buf_at(const struct fake_queue *q, unsigned head, uint32_t at, uint32_t *n)
{
	const struct fake_chain *c = &q->chain[head];
	uint32_t part = c->layout.first ? c->layout.first : c->layout.then;
	uint32_t left = c->buf_bytes, len;

	EXPECT(at < c->buf_bytes);
	for (;; at -= len) {
		len = next_part(&part, left, c->layout);
		left -= len;
		if (at < len)
			break;
	}
	*n = len - at;
	return fake_queue_buf(q, head) + left + at;
}

void fake_queue_put(struct fake_queue *q, unsigned head, uint32_t at, const void *from, uint32_t n)
{
	const uint8_t *bytes = from;

	for (uint32_t part; n; n -= part, at += part, bytes += part) {
		uint8_t *to = buf_at(q, head, at, &part);

		part = part < n ? part : n;
		memcpy(to, bytes, part);
	}
}

void fake_queue_get(struct fake_queue *q, unsigned head, uint32_t at, void *to, uint32_t n)
{
	uint8_t *bytes = to;

	for (uint32_t part; n; n -= part, at += part, bytes += part) {
		const uint8_t *from = buf_at(q, head, at, &part);

		part = part < n ? part : n;
		memcpy(bytes, from, part);
	}
}

void fake_queue_publish(struct fake_queue *q)
{
	q->ops->publish(q);
	q->published = q->added;
}

bool fake_queue_kick(struct fake_queue *q)
{
	const uint64_t one = 1;
	bool wanted;

	fake_queue_publish(q);
	/* Pairs with the device's: it arms, fences, looks for more again. */
	rp_fence_full();
	wanted = fake_queue_kick_wanted(q);
	q->kicked = q->published;
	if (wanted)
		EXPECT_EQ(write(q->kick_fd, &one, sizeof(one)), sizeof(one));
	return wanted;
}

/* In order, a used entry stands for all chains up to its own. */
static uint32_t batch_up_to(const struct fake_queue *q, uint32_t first, uint16_t head)
{
	uint32_t n = 0;

	do
		EXPECT(first + n != q->published.chains);
	while (q->order[(first + n++) % q->size] != head);
	return n;
}

/* What the next used entry behind @taken stands for: a number of chains, the last one with @head. */
static uint32_t look(const struct fake_queue *q, struct fake_count taken, uint16_t *head,
		     uint32_t *len)
{
	if (taken.chains == q->published.chains || !q->ops->used(q, taken, head, len))
		return 0;
	EXPECT(*head < q->size && q->chain[*head].descriptors);
	return q->in_order ? batch_up_to(q, taken.chains, *head) : 1;
}

static void pass(const struct fake_queue *q, struct fake_count *taken, uint16_t head)
{
	taken->chains++;
	taken->descriptors += q->chain[head].descriptors;
}

unsigned fake_queue_used(const struct fake_queue *q)
{
	struct fake_count at = q->taken;
	uint32_t n = q->batch, len;
	uint16_t head = 0;

	do {
		for (uint32_t i = 0; i < n; i++)
			pass(q, &at, q->in_order ? q->order[at.chains % q->size] : head);
		n = look(q, at, &head, &len);
	} while (n);
	return at.chains - q->taken.chains;
}

bool fake_queue_done(const struct fake_queue *q)
{
	return fake_queue_used(q) == q->published.chains - q->taken.chains;
}

int fake_queue_take(struct fake_queue *q, uint32_t *len)
{
	uint32_t written = 0;
	uint16_t head = 0;

	if (!q->in_order && !look(q, q->taken, &head, &written))
		return FAKE_NOTHING;
	if (q->in_order) {
		if (!q->batch)
			q->batch = look(q, q->taken, &head, &q->batch_len);
		if (!q->batch)
			return FAKE_NOTHING;
		head = q->order[q->taken.chains % q->size];
		/* All but the last were used to their ends: nobody says so. */
		written = --q->batch ? q->chain[head].bytes : q->batch_len;
	}
	if (len)
		*len = written;
	if (q->chain[head].buf_bytes && q->chain[head].buf_bytes < q->buf_bytes)
		EXPECT_EQ(fake_queue_buf(q, head)[q->chain[head].buf_bytes], GUARD);
	pass(q, &q->taken, head);
	q->ops->give_back(q, head);
	q->nfree += q->chain[head].descriptors;
	q->chain[head].descriptors = 0;
	return head;
}

bool fake_queue_arm(struct fake_queue *q)
{
	uint32_t len;
	uint16_t head;

	q->ops->arm(q);
	rp_fence_full();
	return !q->batch && !look(q, q->taken, &head, &len);
}

void fake_queue_disarm(struct fake_queue *q)
{
	q->ops->disarm(q);
}

bool fake_queue_called(struct fake_queue *q, int timeout_ms)
{
	struct pollfd p = { .fd = q->call_fd, .events = POLLIN };
	uint64_t calls;

	return poll(&p, 1, timeout_ms) == 1 &&
	       read(q->call_fd, &calls, sizeof(calls)) == sizeof(calls);
}
