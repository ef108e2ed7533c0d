/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool.h"

enum { WORD_BITS = 64 };

void rp_pool_open(struct rp_pool *p, uint64_t *taken)
{
	p->taken = taken;
	p->used = p->next = 0;
	for (uint32_t i = 0; i < rp_pool_words(p->total); i++)
		p->used += (uint32_t)__builtin_popcountll(taken[i]);
}

bool rp_pool_taken(const struct rp_pool *p, uint32_t i)
{
	return p->taken[i / WORD_BITS] >> i % WORD_BITS & 1;
}

/* Look at a word at a time. Return: the first free object from @i on; total or more: none */
static uint32_t first_free(const struct rp_pool *p, uint32_t i)
{
	uint32_t at = i / WORD_BITS;
	uint64_t free = ~p->taken[at] & UINT64_MAX << i % WORD_BITS;

	while (!free && ++at < rp_pool_words(p->total))
		free = ~p->taken[at];
	return free ? at * WORD_BITS + (uint32_t)__builtin_ctzll(free) : p->total;
}

int64_t rp_pool_take(struct rp_pool *p)
{
	uint32_t i;

	if (p->used == p->total)
		return RP_POOL_NONE;
	i = first_free(p, p->next);
	if (i >= p->total)
		i = first_free(p, 0);
	p->taken[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
	p->used++;
	p->next = i + 1 == p->total ? 0 : i + 1;
	return i;
}

void rp_pool_mark(struct rp_pool *p, uint32_t i)
{
	if (i >= p->total || rp_pool_taken(p, i))
		return;
	p->taken[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
	p->used++;
}

bool rp_pool_give(struct rp_pool *p, uint32_t i)
{
	if (i >= p->total || !rp_pool_taken(p, i))
		return false;
	p->taken[i / WORD_BITS] &= ~(UINT64_C(1) << i % WORD_BITS);
	p->used--;
	return true;
}
