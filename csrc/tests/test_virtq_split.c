/* SPDX-License-Identifier: BSD-2-Clause */
/* What only a split virtqueue has: indexes of chains and of descriptors, which may lie. */
#include "check.h"
#include "one_queue.h"

enum { BASE = FAKE_RAM_BASE, NEXT = VRING_DESC_F_NEXT };

static struct one_queue o;

static void open_queue(void)
{
	one_queue_open(&o, fake_features(), false);
}

/* The chain at head 0 is made of these descriptors. */
static void offer(const struct vring_desc *desc, unsigned n)
{
	memcpy(o.driver.split.desc, desc, n * sizeof(*desc));
	o.driver.split.avail->ring[0] = 0;
	o.driver.split.avail->idx = 1;
}

/* They are the indirect table of head 0. */
static void offer_table(const struct vring_desc *desc, unsigned n)
{
	const struct vring_desc outer = {
		.addr = o.driver.table_addr,
		.len = n * (uint32_t)sizeof(*desc),
		.flags = VRING_DESC_F_INDIRECT,
	};

	memcpy(fake_ram_at(&o.ram, o.driver.table_addr), desc, n * sizeof(*desc));
	offer(&outer, 1);
}

TEST(a_chain_may_jump_about_in_the_table)
{
	static const struct vring_desc desc[] = {
		{ BASE, 12, NEXT, 2 },
		{ BASE + 300, 30, 0, 0 },
		{ BASE + 100, 1, NEXT, 1 },
	};

	open_queue();
	offer(desc, 3);
	EXPECT_EQ(one_queue_pop(&o), RP_POP_CHAIN);
	EXPECT_EQ(o.chain.nsegs, 3);
	EXPECT_EQ(o.seg[1].len, 1);
	EXPECT_EQ(o.seg[2].addr - o.seg[0].addr, 300);
	one_queue_close(&o);
}

TEST(an_index_beyond_the_size_ahead_breaks)
{
	open_queue();
	o.driver.split.avail->idx = ONE_SIZE + 1;
	one_queue_expect_broken(&o, "the avail index");
	one_queue_close(&o);
}

TEST(an_index_that_runs_backwards_breaks)
{
	open_queue();
	o.q.avail_idx = 1;
	o.driver.split.avail->idx = 0;
	EXPECT_EQ(rp_virtq_pop(&o.q, o.mem, 1, &o.chain, o.seg, ONE_PIECES), RP_POP_BROKEN);
	EXPECT_TEXT(o.q.broken, "backwards");
	one_queue_close(&o);
}

/* What lies there looks like a descriptor. */
TEST(a_head_beyond_the_table_breaks)
{
	static const uint16_t heads[] = { ONE_SIZE, ONE_SIZE + 100 };

	for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		open_queue();
		o.driver.split.desc[ONE_SIZE + 100] = (struct vring_desc){ BASE, 60, 0, 0 };
		o.driver.split.avail->ring[0] = heads[i];
		o.driver.split.avail->idx = 1;
		one_queue_expect_broken(&o, "beyond its table");
		one_queue_close(&o);
	}
}

TEST(a_next_descriptor_beyond_the_table_breaks)
{
	static const struct vring_desc desc = { BASE, 60, NEXT, ONE_SIZE + 100 };

	for (unsigned indirect = 0; indirect < 2; indirect++) {
		open_queue();
		o.driver.split.desc[ONE_SIZE + 100] = (struct vring_desc){ BASE, 60, 0, 0 };
		(indirect ? offer_table : offer)(&desc, 1);
		one_queue_expect_broken(&o, "beyond its table");
		one_queue_close(&o);
	}
}

static const struct {
	const char *why;
	bool indirect;
	unsigned n;
	struct vring_desc desc[2];
} bad[] = {
	{ "loop", false, 1, { { BASE, 1, NEXT, 0 } } },
	{ "loop", false, 2, { { BASE, 1, NEXT, 1 }, { BASE, 0, NEXT, 0 } } },
	{ "loop", true, 1, { { BASE, 1, NEXT, 0 } } },
	{ "loop", true, 2, { { BASE, 1, NEXT, 1 }, { BASE, 1, NEXT, 1 } } },
	{ "beyond its table", false, 1, { { BASE, 1, NEXT, ONE_SIZE } } },
	{ "beyond its table", false, 1, { { BASE, 1, NEXT, 65535 } } },
	{ "beyond its table", true, 1, { { BASE, 1, NEXT, 1 } } },
	{ "beyond its table", true, 2, { { BASE, 1, NEXT, 1 }, { BASE, 1, NEXT, 65535 } } },
};

TEST(a_next_index_that_lies_breaks_the_queue_with_the_rules_name)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_queue();
		(bad[i].indirect ? offer_table : offer)(bad[i].desc, bad[i].n);
		one_queue_expect_broken(&o, bad[i].why);
		one_queue_close(&o);
	}
}

TEST(a_call_is_due_when_the_used_index_passes_the_event)
{
	static const struct {
		uint16_t event, from, to;
		bool call;
	} cases[] = {
		{ 0, 0, 1, true },	{ 1, 0, 1, false },	   { 1, 0, 2, true },
		{ 1, 1, 2, true },	{ 1, 2, 3, false },	   { 5, 0, 5, false },
		{ 5, 0, 100, true },	{ 65535, 65535, 0, true }, { 65535, 65530, 3, true },
		{ 65535, 0, 1, false }, { 0, 65535, 0, false },	   { 0, 65535, 1, true },
		{ 7, 7, 7, false },
	};

	open_queue();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		o.driver.split.avail->ring[ONE_SIZE] = cases[i].event;
		EXPECT_EQ(rp_virtq_notify(&o.q, cases[i].from, cases[i].to), cases[i].call);
	}
	o.q.event_idx = false;
	EXPECT(rp_virtq_notify(&o.q, 0, 1));
	o.driver.split.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	EXPECT(!rp_virtq_notify(&o.q, 0, 1));
	one_queue_close(&o);
}

TEST(kicks_are_asked_for_in_the_way_that_was_agreed)
{
	const struct vring_used *used;

	open_queue();
	used = o.driver.split.used;
	rp_virtq_arm(&o.q, 77);
	EXPECT_EQ(used->ring[ONE_SIZE].id & 0xffff, 77);
	EXPECT_EQ(used->flags, 0);
	o.q.event_idx = false;
	rp_virtq_disarm(&o.q);
	EXPECT_EQ(used->flags, VRING_USED_F_NO_NOTIFY);
	rp_virtq_arm(&o.q, 78);
	EXPECT_EQ(used->flags, 0);
	one_queue_close(&o);
}
