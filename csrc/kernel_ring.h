/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_KERNEL_RING_H
#define RP_KERNEL_RING_H
/*
 * DOC: Endpoints on descriptors of the kernel.
 *
 * A port whose front end is the kernel's has as many queues as rings, and a
 * queue is one descriptor that frames are read from and written to:
 *
 *     interface of the host             port
 *       what it received  --- read --->   tx ring k
 *       what it sends     <-- write ---   rx ring k
 *
 * What the descriptor is makes the difference: an AF_XDP socket (front_xdp), a
 * packet socket (front_packet) or a TAP device (front_tap). A ring without a
 * queue is stopped.
 */
#include "endpoint.h"
#include "outq.h"
#include "port.h"

struct rp_kernel_queue {
	const struct rp_endpoint_ops *ops; /* of both endpoints */
	void (*free)(struct rp_kernel_queue *q);
	int fd; /* its own; readable when there are frames */
	unsigned users;
	struct rp_outq out;
};

struct rp_kernel_ring {
	struct rp_endpoint ep;
	struct rp_kernel_queue *queue; /* shared by rings of one number; NULL: stopped */
	int worker;		       /* tx: that serves it; -1: none */
};

/* What all kinds of queues are made of. */
struct rp_kernel_queue_config {
	uint32_t slots;	      /* in each direction, a power of two */
	uint32_t frame_bytes; /* the longest frame that is sent */
};

static inline struct rp_kernel_ring *rp_kernel_ring(struct rp_endpoint *ep)
{
	return (struct rp_kernel_ring *)ep; /* ep is its first member */
}

/**
 * rp_kernel_ring_new() - the endpoint of one ring, stopped
 * @dir:	NETMAP_DIR_*
 *
 * Return: the endpoint, or NULL when out of memory
 */
struct rp_endpoint *rp_kernel_ring_new(struct rp_port *p, int dir, uint32_t i,
				       struct rp_ring_state *state);

/* rp_kernel_ring_start() - give a stopped ring its queue; it is not made live */
void rp_kernel_ring_start(struct rp_endpoint *ep, struct rp_kernel_queue *q);

/**
 * rp_kernel_ring_stop() - forget the queue; no thread may still use it
 *
 * Frames that were held back or not yet sent are dropped as reset.
 */
void rp_kernel_ring_stop(struct rp_endpoint *ep);

/* What the verbs of these endpoints have in common: rings of any kind of queue. */
unsigned rp_kernel_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			 const struct rp_batch *b, const uint16_t *order, unsigned n);
void rp_kernel_nothing(struct rp_endpoint *ep);
void rp_kernel_free(struct rp_endpoint *ep);

/*
 * rp_kernel_retry() - of a tx ring: send what the kernel did not take from the rx ring beside it
 *
 * At each pull, and while what was pulled waits for its receiver: there is no other pull till then.
 */
void rp_kernel_retry(struct rp_endpoint *ep);

/* rp_kernel_lost() - count, on an rx ring, a frame that the kernel did not take */
void rp_kernel_lost(struct rp_endpoint *ep, enum rp_drop why);

/* rp_kernel_readable() - does a queue's descriptor have frames? Costs a system call. */
bool rp_kernel_readable(const struct rp_kernel_queue *q);

#endif
