/* SPDX-License-Identifier: BSD-2-Clause */
/* What a worker does when there is nothing to do, with made-up clocks. */
#include <stdbool.h>

#include "check.h"
#include "idle.h"

#define US UINT64_C(1000)
#define MS (1000 * US)

static struct rp_idle idle;
static uint64_t now;

static void start(int policy)
{
	const struct rp_worker_config cfg = { .policy = policy, .sleep_us = 70 };

	now = 1000 * MS;
	rp_idle_init(&idle, &cfg);
}

/* Frames come every @gap_ns, @n times. Return: how often the worker would have slept. */
static unsigned frames_every(uint64_t gap_ns, unsigned n)
{
	unsigned sleeps = 0;

	for (unsigned i = 0; i < n; i++) {
		const uint64_t next = now + gap_ns;
		enum rp_idle_step step = RP_IDLE_SPIN;

		rp_idle_work(&idle, now);
		while (now < next && step == RP_IDLE_SPIN) {
			step = rp_idle_none(&idle, now);
			now += 100;
		}
		sleeps += step == RP_IDLE_SLEEP;
		now = next;
	}
	rp_idle_work(&idle, now);
	return sleeps;
}

TEST(fixed_policies_do_the_same_whatever_happens)
{
	static const struct {
		int policy;
		enum rp_idle_step step;
	} cases[] = {
		{ RP_POLICY_BUSY, RP_IDLE_SPIN },
		{ RP_POLICY_SLEEP, RP_IDLE_NAP },
		{ RP_POLICY_NOTIFY, RP_IDLE_SLEEP },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start(cases[i].policy);
		EXPECT_EQ(rp_idle_none(&idle, now), cases[i].step);
		frames_every(US, 100);
		EXPECT_EQ(rp_idle_none(&idle, now), cases[i].step);
		EXPECT_EQ(rp_idle_none(&idle, now + 1000 * MS), cases[i].step);
	}
	start(RP_POLICY_SLEEP);
	EXPECT_EQ(idle.sleep_ns, 70 * US);
}

TEST(an_adaptive_worker_sleeps_until_it_has_learnt_better)
{
	start(RP_POLICY_ADAPTIVE);
	EXPECT_EQ(rp_idle_none(&idle, now), RP_IDLE_SLEEP);
}

struct gap_case {
	uint64_t gap_ns;
	bool sleeps;
};

static const struct gap_case gaps[] = {
	{ 200, false },	   { US, false },      { 5 * US, false }, { 20 * US, false },
	{ 60 * US, true }, { 150 * US, true }, { 1 * MS, true },  { 500 * MS, true },
};

TEST(an_adaptive_worker_spins_through_short_gaps_and_sleeps_through_long_ones)
{
	for (unsigned i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		unsigned sleeps;

		start(RP_POLICY_ADAPTIVE);
		frames_every(gaps[i].gap_ns, 100); /* learn */
		sleeps = frames_every(gaps[i].gap_ns, 100);
		EXPECT_EQ(sleeps, gaps[i].sleeps ? 100 : 0);
	}
}

/*
 * A sender waits for each frame to be taken: it sends the next one 1 us later if the worker
 * was awake. If not it sleeps, too, and needs a wake-up; a worker that sleeps then needs one more.
 */
static unsigned frames_of_a_waiting_sender(unsigned n)
{
	const uint64_t wake_up = 25 * US;
	unsigned sleeps = 0;
	bool asleep = false;

	for (unsigned i = 0; i < n; i++) {
		const uint64_t sends = now + (asleep ? wake_up : US);

		for (asleep = false; now < sends && !asleep; now += 100)
			asleep = rp_idle_none(&idle, now) == RP_IDLE_SLEEP;
		now = asleep ? sends + wake_up : sends;
		rp_idle_work(&idle, now);
		sleeps += asleep;
	}
	return sleeps;
}

TEST(an_adaptive_worker_does_not_sleep_because_it_did)
{
	start(RP_POLICY_ADAPTIVE);
	frames_of_a_waiting_sender(100); /* learn */
	EXPECT_EQ(frames_of_a_waiting_sender(1000), 0);
	frames_every(50 * MS, 10); /* a pause */
	frames_of_a_waiting_sender(100);
	EXPECT_EQ(frames_of_a_waiting_sender(1000), 0);
}

TEST(what_is_tried_in_vain_costs_little)
{
	uint64_t spun = 0, began;

	start(RP_POLICY_ADAPTIVE);
	frames_every(70 * US, 1000);
	began = now;
	for (unsigned i = 0; i < 1000; i++) {
		const uint64_t next = now + 70 * US;

		rp_idle_work(&idle, now);
		for (; rp_idle_none(&idle, now) == RP_IDLE_SPIN; now += 100)
			spun += 100;
		now = next;
	}
	EXPECT(spun <= (now - began) / 50);
}

TEST(an_adaptive_worker_sleeps_when_traffic_stops)
{
	uint64_t stopped;

	start(RP_POLICY_ADAPTIVE);
	frames_every(10 * US, 100);
	stopped = now;
	while (rp_idle_none(&idle, now) == RP_IDLE_SPIN)
		now += 100;
	EXPECT(now - stopped >= 10 * US);
	EXPECT(now - stopped <= 50 * US); /* no more than what the sleep would have cost */
}

TEST(a_single_pause_does_not_change_its_mind)
{
	start(RP_POLICY_ADAPTIVE);
	frames_every(US, 100);
	frames_every(50 * MS, 1);
	frames_every(US, 20);
	EXPECT_EQ(frames_every(US, 20), 0);
}

TEST(a_few_long_gaps_do)
{
	start(RP_POLICY_ADAPTIVE);
	frames_every(US, 100);
	frames_every(100 * US, 20);
	EXPECT_EQ(frames_every(100 * US, 20), 20);
}
