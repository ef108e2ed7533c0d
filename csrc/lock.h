/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_LOCK_H
#define RP_LOCK_H
/*
 * A lock for a few dozen instructions: reserving and publishing on a ring.
 * The holder may be preempted where cores are few, so waiters soon yield.
 */
#include <sched.h>
#include <stdint.h>

#include "abi/rp_barrier.h"

struct rp_lock {
	uint32_t held;
};

enum { RP_LOCK_SPINS = 200 };

static inline void rp_lock_take(struct rp_lock *l)
{
	unsigned spins = 0;

	while (!rp_claim(&l->held)) {
		while (rp_load(&l->held)) {
			if (++spins % RP_LOCK_SPINS)
				rp_cpu_relax();
			else
				sched_yield();
		}
	}
}

static inline void rp_lock_release(struct rp_lock *l)
{
	rp_store_release(&l->held, 0);
}

#endif
