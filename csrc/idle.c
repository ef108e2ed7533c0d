/* SPDX-License-Identifier: BSD-2-Clause */
#include "idle.h"

enum {
	SPIN_MAX_NS = 50000, /* about what a sleep and a wake-up cost */
	GAP_MAX_NS = 200000, /* longer gaps are all alike: not worth spinning for */
	GAP_WEIGHT = 8
};

void rp_idle_init(struct rp_idle *idle, const struct rp_worker_config *cfg)
{
	*idle = (struct rp_idle){
		.policy = (enum rp_policy)cfg->policy,
		.sleep_ns = cfg->sleep_us * UINT64_C(1000),
		.mean_gap_ns = GAP_MAX_NS,
	};
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
}

static uint64_t budget_ns(const struct rp_idle *idle)
{
	return idle->mean_gap_ns * 2 <= SPIN_MAX_NS ? idle->mean_gap_ns * 2 : 0;
}

enum rp_idle_step rp_idle_none(struct rp_idle *idle, uint64_t now_ns)
{
	if (!idle->since_ns)
		idle->since_ns = now_ns;
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
