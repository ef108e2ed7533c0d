/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BENCH_DRIVER_H
#define RP_BENCH_DRIVER_H
/*
 * DOC: The driver's side of a virtio-net device, as small as one can be.
 *
 * Entry i of a virtqueue always describes buffer i, which has a virtio-net
 * header and a frame in one piece; so the descriptors of a split queue are
 * written once, and those of a packed one as little as the format allows.
 * Everything moves in batches, nobody is kicked and nobody calls.
 *
 *   memory of a driver
 *   | tx: rings, buffers                   | rx: rings, buffers               |
 *
 * A driver that agreed to nothing else takes back entry by entry and checks
 * that each is the one that it expects; one that agreed to IN_ORDER looks at
 * the last entry of a batch of transmitted frames only.
 */
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "path.h"

enum {
	BENCH_NET_HEADER = sizeof(struct virtio_net_hdr_mrg_rxbuf),
	BENCH_FRAME_ROOM = 2048,
	/* A whole and odd number of cache lines, so that buffers do not share few sets of the cache. */
	BENCH_BUF_BYTES = (BENCH_NET_HEADER + BENCH_FRAME_ROOM + 63) / 64 * 64,
	BENCH_PACKED_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	BENCH_PACKED_BOTH = BENCH_PACKED_AVAIL | 1 << VRING_PACKED_DESC_F_USED
};

static_assert(BENCH_BUF_BYTES / 64 % 2 == 1, "an odd number of cache lines");

/* Both sides write length (4 bytes), id (2) and flags (2) of a packed descriptor together. */
struct bench_packed_desc {
	uint64_t addr;
	uint64_t end;
};

static_assert(sizeof(struct bench_packed_desc) == sizeof(struct vring_packed_desc), "packed");

struct bench_queue {
	union {
		struct vring_desc *desc;
		struct bench_packed_desc *ring;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	const struct vring_used *used;
	uint8_t *bufs;
	uint32_t size;	/* entries, and buffers */
	uint32_t len;	/* of each buffer, as the device is told */
	uint16_t flags; /* of each descriptor */
	uint16_t next;	/* entries made available so far, modulo 2^16 */
	uint16_t done;	/* entries taken back so far */
	bool packed;
	bool in_order;
};

struct bench_driver {
	rp_dataplane *dp;
	int port;
	uint8_t *memory;
	uint64_t bytes;
	struct bench_queue tx;
	struct bench_queue rx;
};

/**
 * bench_driver_open() - make a driver's memory and start both queues of a port
 * @port:	one with virtqueues
 * @features:	of virtio, beside those that the driver cannot do without
 * @size:	entries of each queue, a power of two
 *
 * All receive buffers are available then. Return: 0, or a negative errno with
 * the reason in @err
 */
int bench_driver_open(struct bench_driver *d, rp_dataplane *dp, int port, uint64_t features,
		      uint32_t size, struct rp_err *err);
/* bench_driver_close() - stop the queues and free the memory; one of zeros is closed */
void bench_driver_close(struct bench_driver *d);

static inline uint8_t *bench_queue_buf(const struct bench_queue *q, uint32_t at)
{
	return q->bufs + (uint64_t)at * BENCH_BUF_BYTES;
}

/* What the flags of the packed descriptor at @pos say while it is available, and when it was used. */
static inline uint16_t bench_packed_flags(const struct bench_queue *q, uint16_t pos, bool used)
{
	const uint16_t set = used ? BENCH_PACKED_BOTH : BENCH_PACKED_AVAIL;

	return pos & q->size ? BENCH_PACKED_BOTH ^ set : set;
}

/* The first one last: the device looks at that one. */
static inline void bench_offer_packed(struct bench_queue q, uint32_t n)
{
	const uint32_t mask = q.size - 1;

	while (n--) {
		const uint16_t pos = (uint16_t)(q.next + n);
		const uint64_t flags = q.flags | bench_packed_flags(&q, pos, false);
		const uint64_t word = flags << 48 | (uint64_t)(pos & mask) << 32 | q.len;

		if (n)
			rp_store(&q.ring[pos & mask].end, word);
		else
			rp_store_release(&q.ring[pos & mask].end, word);
	}
}

/* bench_offer() - make the next @n entries available, whose buffers are ready */
static inline void bench_offer(struct bench_queue *q, uint32_t n)
{
	if (q->packed)
		bench_offer_packed(*q, n);
	q->next = (uint16_t)(q->next + n);
	if (!q->packed)
		rp_store_release(&q->avail->idx, q->next);
}

/* bench_used() - is the packed entry at @pos used? What the device wrote there, into @len and @id */
static inline bool bench_used(const struct bench_queue *q, uint16_t pos, uint32_t *len,
			      uint32_t *id)
{
	uint64_t word;

	if (pos == q->next)
		return false;
	word = rp_load_acquire(&q->ring[pos & (q->size - 1)].end);
	*len = (uint32_t)word;
	*id = (uint16_t)(word >> 32);
	return (word >> 48 & BENCH_PACKED_BOTH) == bench_packed_flags(q, pos, true);
}

/* bench_reclaim() - take back what was transmitted. Return: entries that are not what they must be */
static inline uint32_t bench_reclaim(struct bench_queue *queue)
{
	const struct bench_queue q = *queue;
	const uint32_t mask = q.size - 1;
	uint32_t wrong = 0, len, id;
	uint16_t done = q.done;

	if (!q.packed) {
		const uint16_t to = rp_load_acquire(&q.used->idx);

		for (; !q.in_order && done != to; done++)
			wrong += q.used->ring[done & mask].id != (done & mask);
		done = to;
	}
	while (q.packed && bench_used(&q, done, &len, &id)) {
		wrong += q.in_order ? id > mask : id != (done & mask);
		done += q.in_order ? ((id - done) & mask) + 1 : 1;
	}
	queue->done = done;
	return wrong;
}

/* bench_send() - write @n frames into the next buffers, which are free, and make them available */
static inline void bench_send(struct bench_queue *queue, struct bench_stream *stream, uint32_t n)
{
	const struct bench_queue q = *queue;
	struct bench_stream s = *stream;

	for (uint32_t i = 0; i < n; i++)
		rp_bench_write(&s,
			       bench_queue_buf(&q, (q.next + i) & (q.size - 1)) + BENCH_NET_HEADER);
	*stream = s;
	bench_offer(queue, n);
}

static inline void bench_check(struct bench_stream *s, const struct bench_queue *q, uint32_t at,
			       uint32_t id, uint32_t len)
{
	const uint8_t *buf = bench_queue_buf(q, at);
	struct virtio_net_hdr_mrg_rxbuf header;

	memcpy(&header, buf, sizeof(header));
	if (id != at || header.num_buffers != 1)
		s->bad++;
	else
		rp_bench_check(s, buf + BENCH_NET_HEADER, len - BENCH_NET_HEADER);
}

/* bench_receive() - check what came and make its buffers available again. Return: how many frames */
static inline uint32_t bench_receive(struct bench_queue *queue, struct bench_stream *stream)
{
	const struct bench_queue q = *queue;
	const uint32_t mask = q.size - 1;
	struct bench_stream s = *stream;
	uint16_t done = q.done;
	uint32_t len, id;

	if (!q.packed) {
		const uint16_t to = rp_load_acquire(&q.used->idx);

		for (; done != to; done++) {
			const struct vring_used_elem e = q.used->ring[done & mask];

			bench_check(&s, &q, done & mask, e.id, e.len);
		}
	}
	for (; q.packed && bench_used(&q, done, &len, &id); done++)
		bench_check(&s, &q, done & mask, id, len);
	*stream = s;
	queue->done = done;
	bench_offer(queue, (uint16_t)(done - q.done));
	return (uint16_t)(done - q.done);
}

/* bench_set_length() - let all transmitted frames have @frame_bytes; none may be under way */
static inline void bench_set_length(struct bench_queue *q, uint32_t frame_bytes)
{
	q->len = BENCH_NET_HEADER + frame_bytes;
	for (uint32_t i = 0; !q->packed && i < q->size; i++)
		q->desc[i].len = q->len;
}

#endif
