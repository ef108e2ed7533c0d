/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_QUIET_H
#define RP_QUIET_H
/*
 * DOC: Taking things away from threads that never lock.
 *
 * Workers read pointers (memory tables, ports, rings) without a lock. Whoever
 * takes one away first makes it unreachable, then waits until every thread
 * has passed a quiet point, a moment at which it holds none; then it frees.
 *
 *      remover                          thread
 *      p = NULL                         for (;;) {
 *      rp_quiet_wait():                         rp_quiet_point()  seen = now
 *        now++; fence                           ... uses p ...
 *        until every seen is 0 or now   }
 *      free(old p)                      rp_quiet_leave()          seen = 0
 *
 * A thread that sleeps has left, so nobody waits for it.
 */
#include <stdint.h>

#include "abi/rp_barrier.h"
#include "ringpass.h"

struct rp_quiet_thread {
	_Alignas(64) uint64_t seen; /* 0: outside, holds nothing */
	uint32_t used;
};

struct rp_quiet {
	uint64_t now; /* from 1 */
	struct rp_quiet_thread thread[RP_MAX_THREADS];
};

void rp_quiet_init(struct rp_quiet *q);

/**
 * rp_quiet_join() - a slot for one more thread
 * Return: the slot, outside; NULL when RP_MAX_THREADS are taken
 */
struct rp_quiet_thread *rp_quiet_join(struct rp_quiet *q);
void rp_quiet_part(struct rp_quiet_thread *t);

/**
 * rp_quiet_wait() - wait until nobody can still hold what was unreachable before
 *
 * Not to be called by a thread that is inside.
 */
void rp_quiet_wait(struct rp_quiet *q);

static inline void rp_quiet_enter(const struct rp_quiet *q, struct rp_quiet_thread *t)
{
	rp_store(&t->seen, rp_load(&q->now));
	/* Pairs with rp_quiet_wait(): be seen inside before anything is read. */
	rp_fence_full();
}

static inline void rp_quiet_point(const struct rp_quiet *q, struct rp_quiet_thread *t)
{
	/* Acquire: who has seen the new time also sees what was taken away before it. */
	rp_store_release(&t->seen, rp_load_acquire(&q->now));
}

static inline void rp_quiet_leave(struct rp_quiet_thread *t)
{
	rp_store_release(&t->seen, 0);
}

#endif
