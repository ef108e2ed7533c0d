/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRONT_RINGS_H
#define RP_FRONT_RINGS_H

#include "call.h"
#include "port.h"

/**
 * rp_front_rings_new() - the endpoint of one netmap ring
 * @dir:	NETMAP_DIR_*
 * @i:		the ring's number
 * @in:		where it is in the port's region
 * @csb:	cursors and notifications go through the ring's CSB
 *
 * Return: the endpoint, live, or NULL when out of memory
 */
struct rp_endpoint *rp_front_rings_new(struct rp_port *p, int dir, uint32_t i,
				       const struct rp_region_ring *in, bool csb,
				       struct rp_ring_state *state);

/**
 * rp_front_rings_resume() - go on with a ring of an earlier run where its state says it was
 *
 * Before anybody moves frames, and when the endpoint has its counters: the batch that a tx ring
 * had in flight is lost, and counted there.
 */
void rp_front_rings_resume(struct rp_endpoint *ep);

/**
 * rp_front_rings_csb() - let the words of a ring with a CSB be elsewhere; nobody may use it now
 * @atok:	the user's half, NULL: in its region
 * @ktoa:	the backend's half, NULL: the same
 */
void rp_front_rings_csb(struct rp_endpoint *ep, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa);

enum rp_begin {
	RP_BEGIN_NEW, /* empty, at the first slot; the user is told in its half, too */
	RP_BEGIN_AT_HEAD, /* where the user is, which goes on with it: it has nothing but what it was shown */
	RP_BEGIN_AS_IT_IS /* where its state says: rp_front_rings_resume() was there */
};

/* rp_front_rings_begin() - fill in a CSB that was just put in place; nobody may use the ring now */
void rp_front_rings_begin(struct rp_endpoint *ep, enum rp_begin how);

/* rp_front_rings_restart() - begin anew with a ring that was made empty; nobody may use it now */
void rp_front_rings_restart(struct rp_endpoint *ep);

/* rp_front_rings_offsets() - let slots say where frames begin; nobody may use the ring now */
void rp_front_rings_offsets(struct rp_endpoint *ep, uint64_t mask, uint32_t max, uint32_t initial);

/* rp_front_rings_slot_bytes() - those that every slot has room for, whatever offset it says */
uint32_t rp_front_rings_slot_bytes(const struct rp_endpoint *ep);

/*
 * rp_front_rings_header() - the port's net_header changed; nobody may use the ring now
 *
 * Frames of this ring that wait for a receiver are dropped.
 */
void rp_front_rings_header(struct rp_endpoint *ep);

/**
 * rp_front_rings_call() - call the ring's user on an eventfd from now on
 *
 * Before anybody moves frames. Return: 0 or a negative errno with the reason in @err
 */
int rp_front_rings_call(struct rp_endpoint *ep, int fd, struct rp_err *err);

/**
 * rp_front_rings_set_call() - the same, while frames move
 * @old:	to be closed when nobody can be using it any more
 */
int rp_front_rings_set_call(struct rp_endpoint *ep, int fd, rp_call_t *old, struct rp_err *err);

#endif
