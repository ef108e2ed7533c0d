/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_ZCOPY_H
#define RP_ZCOPY_H
/*
 * DOC: Zero-copy monitors: who is done with slots shows them.
 *
 * A monitor has rings in the region of its parent, the monitored port. Slots of
 * a ring that both sides are done with are swapped into the monitor's ring: it
 * gets the frames, the ring the monitor's spare buffers.
 *
 *    rx ring   slots that its user gives back, by whoever syncs it
 *    tx ring   slots whose frames the backend has sent; of a pipe, none: its
 *              receiver has them
 *
 *    rx ring  | a | b | c |        swap        monitor  | x | y | z |
 *             released   head    <------>               hwtail
 *
 * Monitors of one port form a chain: what the user of the first one gives back
 * goes to the second one. The region's words are all that is needed, so the ends
 * of a pipe do it themselves; where it goes next says ring's rp_csb.monitor, and
 * what its frames are there rp_csb.mark. Several rings give to one monitor's,
 * under the lock word: it may stay locked for ever, by a process that was killed,
 * so nobody waits for it for long. What does not get through is counted in the
 * ring, as monitor.h says; so are the frames for which there is no room.
 */
#include "csb.h"

/* rp_csb.mark: NS_TXMON, and this: frames already say in which direction they went. */
enum { RP_ZCOPY_KEEP = 1 };

/* How often to try a lock. A holder that was preempted, or that lies, costs a monitor some frames. */
enum {
	RP_ZCOPY_TRIES = 2000,	    /* a process, on its own time: longer than giving takes */
	RP_ZCOPY_TRIES_BACKEND = 64 /* a worker, which others wait for: a microsecond or two */
};

/**
 * rp_zcopy_give() - show slots to the ring's first monitor
 * @from:	a ring that has one
 * @at:		first slot
 * @n:		slots; nobody else uses them now
 * @tries:	at the monitor's lock
 */
void rp_zcopy_give(const struct rp_csb_ring *from, uint32_t at, uint32_t n, unsigned tries);

/* rp_zcopy_done() - rp_zcopy_give(), if there is a monitor: by processes, who know it from the CSB */
static inline void rp_zcopy_done(const struct rp_csb_ring *from, uint32_t at, uint32_t n)
{
	if (__builtin_expect(rp_load(&from->csb->monitor) != RP_NO_CSB, 0))
		rp_zcopy_give(from, at, n, RP_ZCOPY_TRIES);
}

/**
 * rp_zcopy_take_lock() - become the only one that gives slots to a monitor's ring
 * Return: false if somebody had the lock all the time
 */
bool rp_zcopy_take_lock(struct rp_csb *csb, unsigned tries);

#endif
