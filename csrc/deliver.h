/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_DELIVER_H
#define RP_DELIVER_H
/*
 * DOC: The second pass: frames of a batch into one receiver's ring. Lease room for
 * all of them, copy without the lock, publish, notify once.
 */
#include "endpoint.h"
#include "switch.h"

/**
 * rp_deliver() - give @order[0..n), frames of @from's batch, to @to
 *
 * What a full receiver may hold back is marked in c->forward.kept; all others
 * are delivered, or dropped and counted.
 */
void rp_deliver(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		const uint16_t *order, unsigned n);

/* rp_deliver_kept() - move the marked ones of @nframes to the front, in order. Return: how many */
uint16_t rp_deliver_kept(struct rp_forward *fw, struct rp_batch *b, uint16_t nframes);

/* rp_unreachable() - @n frames were for a port whose rings are stopped: dropped at the sender */
void rp_unreachable(struct rp_endpoint *from, const struct rp_port *to, unsigned n);

/**
 * rp_deliver_all() - give all frames of @from's batch to @to, as a link does
 *
 * What the receiver holds back stays in the batch, as frame[0..held).
 */
void rp_deliver_all(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to);

#endif
