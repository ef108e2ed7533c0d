/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRONT_XDP_H
#define RP_FRONT_XDP_H

#include "kernel_ring.h"

/* What an AF_XDP socket is bound to. */
struct rp_xdp_binding {
	uint32_t ifindex;
	uint32_t queue;
	bool zero_copy; /* with it or not at all; else the kernel copies */
	bool software;	/* no wire behind it: checksums may be incomplete, see partial.h */
};

/**
 * rp_front_xdp_open() - a queue on an AF_XDP socket of its own
 *
 * It gets frames only when an XDP program redirects them to its descriptor.
 * Return: the queue, or NULL with the reason in @err
 */
struct rp_kernel_queue *rp_front_xdp_open(const struct rp_kernel_queue_config *cfg,
					  const struct rp_xdp_binding *binding, struct rp_err *err);

/* A descriptor as the kernel wrote it, and what it may say. Exported for the tests. */
struct rp_xdp_chunks {
	uint64_t bytes; /* of the memory that it may lie in, from its start */
	uint32_t chunk_bytes;
	uint8_t *lent; /* of each chunk: the kernel has it */
};

/**
 * rp_xdp_take() - take back a chunk that the kernel filled
 * @addr, @len:	of the descriptor
 *
 * Return: the chunk's number, or -1: no chunk of ours, beyond its end, or not lent
 */
int32_t rp_xdp_take(struct rp_xdp_chunks *c, uint64_t addr, uint32_t len);

#endif
