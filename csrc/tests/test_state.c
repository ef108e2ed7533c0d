/* SPDX-License-Identifier: BSD-2-Clause */
/* Leases, and what a full receiver does to its senders: the rules, without threads or clocks. */
#include "check.h"
#include "endpoint.h"
#include "state.h"

static struct rp_ring_state st;

TEST(a_single_lease_is_published_when_it_is_closed)
{
	rp_ring_state_reset(&st, 10, 10);
	EXPECT(rp_lease_close(&st, rp_lease_open(&st, 15)));
	EXPECT_EQ(st.published, 15);
	EXPECT_EQ(st.lease_head, st.lease_tail);
}

TEST(a_lease_that_is_filled_early_waits_for_the_older_one)
{
	uint32_t slow, fast;

	rp_ring_state_reset(&st, 0, 0);
	slow = rp_lease_open(&st, 3);
	fast = rp_lease_open(&st, 8);
	EXPECT(!rp_lease_close(&st, fast));
	EXPECT_EQ(st.published, 0);
	EXPECT(rp_lease_close(&st, slow));
	EXPECT_EQ(st.published, 8);
}

TEST(an_older_lease_does_not_publish_a_younger_one)
{
	uint32_t old, young;

	rp_ring_state_reset(&st, 0, 0);
	old = rp_lease_open(&st, 3);
	young = rp_lease_open(&st, 8);
	EXPECT(rp_lease_close(&st, old));
	EXPECT_EQ(st.published, 3);
	EXPECT(rp_lease_close(&st, young));
	EXPECT_EQ(st.published, 8);
}

TEST(any_number_of_fast_leases_may_wait_for_a_slow_one)
{
	const uint32_t many = 10 * RP_LEASES;
	uint32_t slow;

	rp_ring_state_reset(&st, 0, 0);
	slow = rp_lease_open(&st, 1);
	for (uint32_t end = 2; end < many; end++) {
		EXPECT(rp_lease_room(&st));
		EXPECT(!rp_lease_close(&st, rp_lease_open(&st, end)));
		EXPECT_EQ(st.published, 0);
	}
	EXPECT(rp_lease_close(&st, slow));
	EXPECT_EQ(st.published, many - 1);
}

/* Two that take turns behind a slow one: each opens before the other closes. */
TEST(leases_run_out_before_they_are_confused)
{
	uint32_t slow, last, end = 1;

	rp_ring_state_reset(&st, 0, 0);
	slow = rp_lease_open(&st, end);
	last = rp_lease_open(&st, ++end);
	while (rp_lease_room(&st)) {
		uint32_t now = rp_lease_open(&st, ++end);

		EXPECT(!rp_lease_close(&st, last));
		last = now;
	}
	EXPECT_EQ(end, RP_LEASES);
	EXPECT(rp_lease_close(&st, slow));
	EXPECT_EQ(st.published, end - 1);
	EXPECT(rp_lease_room(&st));
	EXPECT(rp_lease_close(&st, last));
	EXPECT_EQ(st.published, end);
}

TEST(tickets_wrap_around)
{
	rp_ring_state_reset(&st, 0, 0);
	st.lease_head = st.lease_tail = UINT32_MAX - 1;
	for (uint32_t end = 1; end < 5; end++) {
		uint32_t a = rp_lease_open(&st, 2 * end), b = rp_lease_open(&st, 2 * end + 1);

		EXPECT(!rp_lease_close(&st, b));
		EXPECT(rp_lease_close(&st, a));
		EXPECT_EQ(st.published, 2 * end + 1);
	}
}

static struct rp_ring_counters count;

static struct rp_endpoint receiver(void)
{
	count = (struct rp_ring_counters){ 0 };
	return (struct rp_endpoint){ .count = &count };
}

TEST(a_full_receiver_holds_its_senders_once_and_then_drops)
{
	struct rp_endpoint ep = receiver();

	EXPECT(rp_endpoint_hold(&ep, 1000, 50));
	EXPECT(rp_endpoint_hold(&ep, 1049, 50));
	EXPECT(!rp_endpoint_hold(&ep, 1050, 50));
	EXPECT(!rp_endpoint_hold(&ep, 1051, 50));
	EXPECT_EQ(count.holds, 1);
	rp_endpoint_room(&ep);
	EXPECT(rp_endpoint_hold(&ep, 2000, 50));
	EXPECT_EQ(count.holds, 2);
}

TEST(a_receiver_that_does_not_hold_drops_at_once)
{
	struct rp_endpoint ep = receiver();

	EXPECT(!rp_endpoint_hold(&ep, 1000, 0));
	EXPECT(!rp_endpoint_hold(&ep, 1000, 0));
	EXPECT_EQ(count.holds, 0);
}

TEST(a_sender_whose_clock_is_a_little_behind_does_not_end_the_hold)
{
	struct rp_endpoint ep = receiver();

	EXPECT(rp_endpoint_hold(&ep, 1000, 50));
	EXPECT(rp_endpoint_hold(&ep, 999, 50));
	EXPECT(rp_endpoint_hold(&ep, 1001, 50));
}

TEST(a_hold_that_is_switched_off_ends)
{
	struct rp_endpoint ep = receiver();

	EXPECT(rp_endpoint_hold(&ep, 1000, 50));
	EXPECT(!rp_endpoint_hold(&ep, 1001, 0));
}
