/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_IDLE_H
#define RP_IDLE_H
/*
 * DOC: What a worker does when there is nothing to do.
 *
 * To sleep and be woken costs tens of microseconds, most of them not ours: the
 * sender pays for the kick. To spin costs a core. The adaptive policy learns
 * how long the gaps between frames have been: where they are short it spins
 * for about twice that long, where they are long it sleeps at once.
 *
 *            no work                     the budget is spent
 *   WORKING ---------> spin, look again ---------------------> sleep
 *      ^                      |                                   |
 *      +---- work: learn from the gap ---------- kick ------------+
 *
 * A sender that waits for each of its frames to be taken sleeps when the worker does:
 * then both wait for each other's waking, and the gaps are long because of that alone.
 * So where gaps are not very long the worker spins through one of them once in a while,
 * the more rarely the more often that was in vain.
 */
#include <stdbool.h>
#include <stdint.h>

#include "ringpass.h"

struct rp_idle {
	enum rp_policy policy;
	uint64_t sleep_ns;    /* of RP_POLICY_SLEEP */
	uint64_t since_ns;    /* when work ran out; 0: there is work */
	uint64_t mean_gap_ns; /* of recent gaps, exponentially weighted */
	uint32_t slept;	      /* gaps since the last one that was spun through on trial */
	uint32_t try_after;   /* so many */
	bool trial;
};

enum rp_idle_step {
	RP_IDLE_SPIN,
	RP_IDLE_NAP,  /* for sleep_ns, without asking for kicks */
	RP_IDLE_SLEEP /* until a kick */
};

void rp_idle_init(struct rp_idle *idle, const struct rp_worker_config *cfg);

/* rp_idle_work() - there was work at @now_ns */
void rp_idle_work(struct rp_idle *idle, uint64_t now_ns);

/* rp_idle_none() - there was none; what next? */
enum rp_idle_step rp_idle_none(struct rp_idle *idle, uint64_t now_ns);

#endif
