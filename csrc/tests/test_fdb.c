/* SPDX-License-Identifier: BSD-2-Clause */
/* The forwarding database on its own, with a clock of its own. */
#include <stdlib.h>

#include "check.h"
#include "fdb.h"

static struct rp_fdb_table table;
static struct rp_fdb f;

static void empty(uint32_t ageing_s)
{
	memset(&table, 0, sizeof(table));
	f = (struct rp_fdb){ .table = &table, .ageing_s = ageing_s };
}

/* A unicast address, as its six bytes are loaded: the first one is the lowest. */
static uint64_t mac(uint32_t host)
{
	return 0x02 | (uint64_t)host << 16;
}

TEST(an_address_is_found_where_it_was_heard)
{
	empty(0);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 0), RP_FDB_UNKNOWN);
	rp_fdb_learn(&f, mac(1), 3, 0);
	rp_fdb_learn(&f, mac(2), 0, 0);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 0), 3);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(2), 0), 0);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(3), 0), RP_FDB_UNKNOWN);
}

TEST(the_highest_port_number_is_kept)
{
	empty(0);
	rp_fdb_learn(&f, mac(1), RP_MAX_PORTS - 1, 0);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 0), RP_MAX_PORTS - 1);
}

TEST(an_address_that_moves_and_returns_is_followed)
{
	empty(300);
	rp_fdb_learn(&f, mac(1), 1, 10);
	rp_fdb_learn(&f, mac(1), 2, 10);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 10), 2);
	rp_fdb_learn(&f, mac(1), 1, 10);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 10), 1);
}

TEST(an_address_is_forgotten_after_the_ageing_time)
{
	empty(300);
	rp_fdb_learn(&f, mac(1), 1, 1000);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 1299), 1);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 1300), RP_FDB_UNKNOWN);
	rp_fdb_learn(&f, mac(1), 2, 1300);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 1301), 2);
}

TEST(hearing_an_address_keeps_it_young)
{
	empty(10);
	for (uint32_t now = 0; now < 100; now += 9)
		rp_fdb_learn(&f, mac(1), 1, now);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 108), 1);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 109), RP_FDB_UNKNOWN);
}

TEST(without_an_ageing_time_nothing_is_forgotten)
{
	empty(0);
	rp_fdb_learn(&f, mac(1), 1, 0);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), UINT32_MAX), 1);
}

TEST(a_clock_that_is_a_second_behind_does_not_age_anything)
{
	struct rp_fdb_row row;

	empty(300);
	rp_fdb_learn(&f, mac(1), 1, 1000);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 999), 1);
	EXPECT_EQ(rp_fdb_rows(&f, 999, &row, 1), 1);
	EXPECT_EQ(row.age_s, 0);
}

TEST(the_longest_ageing_times_are_not_negative)
{
	empty(UINT32_MAX);
	rp_fdb_learn(&f, mac(1), 1, 0);
	EXPECT_EQ(rp_fdb_lookup(&f, mac(1), 1), 1);
}

TEST(multicast_and_zero_are_not_addresses_of_anybody)
{
	struct rp_fdb_row row;

	empty(0);
	rp_fdb_learn(&f, UINT64_C(0xffffffffffff), 1, 0);
	rp_fdb_learn(&f, UINT64_C(0x01), 1, 0);
	rp_fdb_learn(&f, 0, 1, 0);
	EXPECT_EQ(rp_fdb_rows(&f, 0, &row, 1), 0);
	EXPECT_EQ(rp_fdb_lookup(&f, 0, 0), RP_FDB_UNKNOWN);
}

TEST(a_full_bucket_forgets_who_was_silent_for_longest)
{
	uint64_t same[RP_FDB_WAYS + 1];
	unsigned n = 0;

	/* Addresses of one bucket: those whose entry lands beside the first one's. */
	empty(0);
	rp_fdb_learn(&f, mac(0), 9, 0);
	for (uint32_t host = 1; n <= RP_FDB_WAYS; host++) {
		struct rp_fdb_entry(*bucket)[RP_FDB_WAYS] = NULL;

		rp_fdb_learn(&f, mac(host), 9, 0);
		for (unsigned b = 0; b < RP_FDB_BUCKETS && !bucket; b++) {
			if ((table.entry[b][0].key & RP_MAC_MASK) == mac(0))
				bucket = &table.entry[b];
		}
		EXPECT(bucket);
		if (((*bucket)[1].key & RP_MAC_MASK) == mac(host))
			same[n++] = mac(host);
		empty(0);
		rp_fdb_learn(&f, mac(0), 9, 0);
	}
	empty(0);
	for (unsigned i = 0; i < RP_FDB_WAYS; i++)
		rp_fdb_learn(&f, same[i], 1, 100 + i);
	rp_fdb_learn(&f, same[0], 1, 200);
	rp_fdb_learn(&f, same[RP_FDB_WAYS], 1, 201);
	EXPECT_EQ(rp_fdb_lookup(&f, same[0], 201), 1);
	EXPECT_EQ(rp_fdb_lookup(&f, same[1], 201), RP_FDB_UNKNOWN);
	EXPECT_EQ(rp_fdb_lookup(&f, same[RP_FDB_WAYS], 201), 1);
}

TEST(forgetting_a_port_leaves_the_others)
{
	struct rp_fdb_row rows[4];

	empty(300);
	rp_fdb_learn(&f, mac(1), 0, 5);
	rp_fdb_learn(&f, mac(2), 1, 6);
	rp_fdb_learn(&f, mac(3), 0, 7);
	rp_fdb_forget(&f, 0);
	EXPECT_EQ(rp_fdb_rows(&f, 16, rows, 4), 1);
	EXPECT_EQ(rows[0].port, 1);
	EXPECT_EQ(rows[0].age_s, 10);
	EXPECT_EQ(rows[0].mac[0], 2);
	EXPECT_EQ(rows[0].mac[2], 2);
	rp_fdb_clear(&f);
	EXPECT_EQ(rp_fdb_rows(&f, 16, rows, 4), 0);
}

TEST(many_addresses_fit_and_are_told_apart)
{
	struct rp_fdb_row *rows = calloc((size_t)RP_FDB_BUCKETS * RP_FDB_WAYS, sizeof(*rows));
	unsigned found = 0;

	EXPECT(rows);
	empty(0);
	for (uint32_t host = 0; host < 4096; host++)
		rp_fdb_learn(&f, mac(host), (uint16_t)(host % 100), 0);
	for (uint32_t host = 0; host < 4096; host++) {
		int port = rp_fdb_lookup(&f, mac(host), 0);

		EXPECT(port == RP_FDB_UNKNOWN || port == (int)(host % 100));
		found += port != RP_FDB_UNKNOWN;
	}
	EXPECT(found > 4000); /* a quarter of the places: few buckets overflow */
	EXPECT_EQ(rp_fdb_rows(&f, 0, rows, RP_FDB_BUCKETS * RP_FDB_WAYS), found);
	EXPECT_EQ(rp_fdb_rows(&f, 0, rows, 10), 10);
	free(rows);
}
