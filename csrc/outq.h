/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_OUTQ_H
#define RP_OUTQ_H
/*
 * DOC: Frames on their way into the kernel.
 *
 * What goes out through a descriptor of the kernel (a TAP device, a packet
 * socket, an AF_XDP socket) waits in buffers of our own, in the order in which
 * room was leased. The cursors are those of the ring's state; they count slots
 * without end, and a slot's place is their remainder:
 *
 *    released          sent             published         reserved
 *       | the kernel has | may be sent      | being filled     | free
 *
 * A frame that is longer than a buffer takes several slots in a row. Whoever
 * published sends, one thread at a time: one that finds another one at it
 * leaves its frames to that one. That one sends for others some times only; then,
 * or when the kernel takes no more for a moment, the queue is stuck, and the
 * worker that waits for the descriptor's frames is woken to go on.
 */
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "endpoint.h"

struct rp_out_slot {
	uint32_t len;
	bool more;		    /* the frame goes on in the next slot */
	struct virtio_net_hdr vnet; /* of the frame, in its first slot */
};

struct rp_outq {
	uint8_t *bufs; /* slot i's is at i * buf_bytes */
	struct rp_out_slot *slot;
	uint32_t slots; /* a power of two */
	uint32_t buf_bytes;
	uint32_t frame_slots; /* that a frame may take */
	uint32_t sent;	      /* the sending thread's */
	uint32_t sending;     /* a thread is at it */
	uint32_t again;	      /* there is more to send since it looked */
	uint32_t stuck;	      /* something is left to send, and nobody is at it */
	int wake_fd;	      /* written when it gets stuck */
};

/**
 * rp_outq_init() - an empty queue; its ring state must be reset, too
 * @bufs:	@slots buffers of @buf_bytes
 *
 * Return: 0, or -ENOMEM, or -EMFILE; it must be freed in any case
 */
int rp_outq_init(struct rp_outq *q, uint8_t *bufs, uint32_t slots, uint32_t buf_bytes,
		 uint32_t frame_slots);
void rp_outq_free(struct rp_outq *q);

/* rp_outq_lease(), rp_outq_publish() - those of an rx endpoint; see rp_endpoint_ops */
unsigned rp_outq_lease(struct rp_outq *q, struct rp_endpoint *ep, struct rp_lease *l,
		       struct rp_endpoint *from, const struct rp_batch *b, const uint16_t *order,
		       unsigned n);
bool rp_outq_publish(struct rp_endpoint *ep, struct rp_lease *l);

/* rp_outq_stuck() - the thread that sends can't do all: let the worker try again */
void rp_outq_stuck(struct rp_outq *q);

/**
 * rp_outq_send() - send what was published, or let the thread that is at it do so
 * @send:	sends from q->sent on up to @to, moves it and, for what the kernel
 *		is done with, state->released; see rp_outq_stuck()
 */
void rp_outq_send(struct rp_outq *q, struct rp_endpoint *ep,
		  void (*send)(struct rp_endpoint *ep, uint32_t to));

/* rp_outq_at() - the place of a cursor */
static inline uint32_t rp_outq_at(const struct rp_outq *q, uint32_t cursor)
{
	return cursor & (q->slots - 1);
}

static inline uint8_t *rp_outq_buf(const struct rp_outq *q, uint32_t cursor)
{
	return q->bufs + (uint64_t)rp_outq_at(q, cursor) * q->buf_bytes;
}

/* rp_outq_frame() - Return: the slots of the frame that begins at @cursor */
static inline uint32_t rp_outq_frame(const struct rp_outq *q, uint32_t cursor)
{
	uint32_t n = 1;

	while (q->slot[rp_outq_at(q, cursor + n - 1)].more)
		n++;
	return n;
}

#endif
