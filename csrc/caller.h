/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CALLER_H
#define RP_CALLER_H
/*
 * A thread that moves frames, a worker or an embedded caller: its place among
 * the quiet threads, its clock, and the scratch memory that forwarding needs.
 */
#include <stdint.h>
#include <time.h>

#include "endpoint.h"
#include "quiet.h"
#include "switch.h"

struct rp_caller {
	struct rp_dataplane *dp;
	struct rp_quiet_thread *quiet;
	uint64_t now_ns; /* CLOCK_MONOTONIC, as of the last rp_caller_clock() */
	struct rp_forward forward;
	struct rp_lease lease;
};

static inline uint64_t rp_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline void rp_caller_clock(struct rp_caller *c)
{
	c->now_ns = rp_now_ns();
}

#endif
