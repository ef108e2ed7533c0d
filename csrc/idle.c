/* SPDX-License-Identifier: BSD-2-Clause */
#include "idle.h"

enum {
	SPIN_MAX_NS = 50000, /* about what a sleep and a wake-up cost */
	GAP_MAX_NS = 200000, /* longer gaps are all alike: not worth spinning for */
	GAP_WEIGHT = 8,
	TRIAL_GAP_NS = 150000, /* what two wake-ups of each side take, at most */
	TRY_AFTER = 4,
	TRY_AFTER_MAX = 64
};

void rp_idle_init(struct rp_idle *idle, const struct rp_worker_config *cfg)
{
	*idle = (struct rp_idle){
		.policy = (enum rp_policy)cfg->policy,
		.sleep_ns = cfg->sleep_us * UINT64_C(1000),
		.mean_gap_ns = GAP_MAX_NS,
		.try_after = TRY_AFTER,
	};
}

static uint64_t budget_ns(const struct rp_idle *idle)
{
	if (idle->trial)
		return SPIN_MAX_NS;
	return idle->mean_gap_ns * 2 <= SPIN_MAX_NS ? idle->mean_gap_ns * 2 : 0;
}

/* Work ran out. Is it time to try what happens if the worker does not sleep? */
static bool begin_trial(struct rp_idle *idle)
{
	if (budget_ns(idle) || idle->mean_gap_ns > TRIAL_GAP_NS)
		idle->slept = 0;
	else if (++idle->slept > idle->try_after)
		return true;
	return false;
}

static void end_trial(struct rp_idle *idle, uint64_t gap)
{
	const bool success = gap <= SPIN_MAX_NS;

	idle->trial = false;
	idle->slept = 0;
	if (success) {
		/* The sender was still to wake up this time; it will be awake the next time. */
		idle->mean_gap_ns = 0;
		idle->try_after = TRY_AFTER;
	} else if (idle->try_after < TRY_AFTER_MAX) {
		idle->try_after *= 2;
	}
}

void rp_idle_work(struct rp_idle *idle, uint64_t now_ns)
{
	uint64_t gap;

	if (!idle->since_ns)
		return;
	gap = now_ns - idle->since_ns;
	if (gap > GAP_MAX_NS)
		gap = GAP_MAX_NS;
	idle->mean_gap_ns = (idle->mean_gap_ns * (GAP_WEIGHT - 1) + gap) / GAP_WEIGHT;
	idle->since_ns = 0;
	if (idle->trial)
		end_trial(idle, gap);
}

enum rp_idle_step rp_idle_none(struct rp_idle *idle, uint64_t now_ns)
{
	if (!idle->since_ns) {
		idle->since_ns = now_ns;
		idle->trial = begin_trial(idle);
	}
	switch (idle->policy) {
	case RP_POLICY_BUSY:
		return RP_IDLE_SPIN;
	case RP_POLICY_SLEEP:
		return RP_IDLE_NAP;
	case RP_POLICY_NOTIFY:
		return RP_IDLE_SLEEP;
	case RP_POLICY_ADAPTIVE:
		break;
	}
	return now_ns - idle->since_ns < budget_ns(idle) ? RP_IDLE_SPIN : RP_IDLE_SLEEP;
}
