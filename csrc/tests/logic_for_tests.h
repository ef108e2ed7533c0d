/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_LOGIC_FOR_TESTS_H
#define RP_LOGIC_FOR_TESTS_H
/*
 * A logic, built as a user's own, that does what a test wants. Its text is the
 * address of a struct of the test, in hexadecimal: both are in one process.
 */
#include "abi/rp_logic.h"

struct wanted {
	uint16_t dest;	   /* for all frames */
	uint16_t nothing;  /* 1: write no dest at all */
	uint16_t scribble; /* 1: write what a batch must not have, too */
	struct rp_logic_set set;
	uint32_t nsets;

	/* What it saw. */
	uint32_t inits;
	uint32_t exits;
	uint32_t lookups;
	uint32_t frames;
	uint32_t again;
	uint32_t short_heads; /* fewer bytes than promised */
	uint32_t sum;	      /* of all bytes at all frames' beginnings */
	uint32_t up[64];      /* by port number: 1: there */
	char name[64][64];
};

#endif
