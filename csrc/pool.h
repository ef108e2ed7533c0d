/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_POOL_H
#define RP_POOL_H
/*
 * DOC: Objects of one size inside a region: which of them are taken.
 *
 * The objects lie in memory that peers write; the backend's own note of them, a
 * bit an object, does not: whoever opens a pool says where it is.
 */
#include <stdbool.h>
#include <stdint.h>

#include "ringpass.h"

struct rp_pool {
	const char *name;    /* for errors */
	const char *setting; /* that makes it larger */
	uint64_t offset;     /* of object 0, from the region's start */
	uint32_t objsize;
	uint32_t total;
	uint32_t used;
	uint32_t next;	 /* where to look first */
	uint64_t *taken; /* a bit an object */
};

enum { RP_POOL_NONE = -1 };

/* rp_pool_words() - words that note which of @total objects are taken */
static inline uint32_t rp_pool_words(uint32_t total)
{
	return (total + 63) / 64;
}

/**
 * rp_pool_open() - begin to take objects
 * @p:		its offset, objsize and total are set
 * @taken:	rp_pool_words() words that outlive the pool, zero or as an earlier one left them
 */
void rp_pool_open(struct rp_pool *p, uint64_t *taken);

/* rp_pool_take() - Return: the number of an object, RP_POOL_NONE when all are taken */
int64_t rp_pool_take(struct rp_pool *p);

/* rp_pool_give() - Return: false when there is no such object, or it is not taken */
bool rp_pool_give(struct rp_pool *p, uint32_t i);

/* rp_pool_taken() - of an object below total */
bool rp_pool_taken(const struct rp_pool *p, uint32_t i);

/* rp_pool_mark() - take this very object, if there is one of this number */
void rp_pool_mark(struct rp_pool *p, uint32_t i);

static inline struct rp_pool_info rp_pool_describe(const struct rp_pool *p)
{
	return (struct rp_pool_info){ p->offset, p->total, p->objsize };
}

/* rp_pool_left() - objects that are not taken */
static inline uint32_t rp_pool_left(const struct rp_pool *p)
{
	return p->total - p->used;
}

#endif
