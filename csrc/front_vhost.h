/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRONT_VHOST_H
#define RP_FRONT_VHOST_H

#include "call.h"
#include "port.h"

/* Every virtio feature that these endpoints serve. */
uint64_t rp_front_vhost_features(void);

/**
 * rp_front_vhost_new() - the endpoint of one virtqueue, stopped
 * @dir:	NETMAP_DIR_TX: the guest transmits on it
 *
 * Return: the endpoint, or NULL when out of memory
 */
struct rp_endpoint *rp_front_vhost_new(struct rp_port *p, int dir, uint32_t i,
				       struct rp_ring_state *state);

/**
 * rp_front_vhost_start() - give a stopped endpoint its virtqueue
 *
 * The port's features and memory table must be there. The endpoint keeps
 * duplicates of both descriptors. It is not made live.
 * Return: 0 or a negative errno with the reason in @err
 */
int rp_front_vhost_start(struct rp_endpoint *ep, const struct rp_vring_config *cfg,
			 struct rp_err *err);

/**
 * rp_front_vhost_remap() - the port's memory table is about to become @mem
 *
 * Return: 0 when the virtqueue lies where it lay; 1 when it is elsewhere now,
 * or gone: the endpoint must not be live then, and may be again only if
 * rp_front_vhost_move() succeeds
 */
int rp_front_vhost_remap(struct rp_endpoint *ep, const struct rp_guestmem *mem);
int rp_front_vhost_move(struct rp_endpoint *ep, const struct rp_guestmem *mem, struct rp_err *err);

/**
 * rp_front_vhost_stop() - forget the virtqueue; no thread may still use it
 *
 * Frames that were held back are dropped, and their chains given back.
 */
void rp_front_vhost_stop(struct rp_endpoint *ep);

/* rp_front_vhost_base() - where a stopped virtqueue goes on: what GET_VRING_BASE answers */
uint32_t rp_front_vhost_base(const struct rp_endpoint *ep);

bool rp_front_vhost_started(const struct rp_endpoint *ep);
int rp_front_vhost_kick_fd(const struct rp_endpoint *ep); /* -1: the ring is polled */

/**
 * rp_front_vhost_set_call() - another call descriptor for a started virtqueue
 * @fd:		-1: never call; it is duplicated
 * @old:	the one before, to be closed when no thread can still use it
 *
 * Return: 0 or a negative errno with the reason in @err
 */
int rp_front_vhost_set_call(struct rp_endpoint *ep, int fd, rp_call_t *old, struct rp_err *err);

#endif
