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
#include "logic.h"
#include "monitor.h"
#include "offload.h"
#include "quiet.h"
#include "switch.h"

struct rp_caller {
	struct rp_dataplane *dp;
	struct rp_quiet_thread *quiet;
	uint32_t now_s; /* CLOCK_MONOTONIC; for ageing, so a coarse clock will do */
	struct rp_forward forward;
	struct rp_lease lease;
	struct rp_offload offload;
	struct rp_monitor_scratch monitor;
	struct rp_logic_scratch logic;
	uint32_t thread; /* its number: of all callers at one time, no other's */
};

/* Costs a quarter of a frame's way through the switch: not for every batch. */
static inline uint64_t rp_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline uint32_t rp_now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)t.tv_sec;
}

#endif
