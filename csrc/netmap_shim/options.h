/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_OPTIONS_H
#define RP_OPTIONS_H
/*
 * DOC: The options of a request: a list in the program's memory.
 *
 * Copied once, as all that a caller names by address; statuses and, on success,
 * bodies are written back at the end.
 */
#include <stdint.h>

#include "include/net/netmap.h"

enum { RP_OPTIONS_MAX = 130, RP_OPTIONS_BYTES = 4096 };

struct rp_option {
	uint64_t address; /* in the program */
	uint64_t next;	  /* as the program had it */
	uint32_t bytes;
	struct nmreq_option *copy; /* with what follows it */
};

struct rp_options {
	unsigned n;
	uint32_t bytes;
	struct rp_option at[RP_OPTIONS_MAX];
	uint64_t data[RP_OPTIONS_BYTES / sizeof(uint64_t)];
};

/**
 * rp_options_copy() - take the list that begins at @first
 *
 * All statuses become EOPNOTSUPP, until somebody recognises the option.
 *
 * Return: 0, EFAULT, EINVAL (type 0), EMSGSIZE (too long)
 */
int rp_options_copy(struct rp_options *o, uint64_t first);

/**
 * rp_options_find() - the option of a type
 *
 * Return: it, NULL if there is none; of two, both get the status EINVAL and
 * @error becomes EINVAL
 */
struct nmreq_option *rp_options_find(struct rp_options *o, uint32_t type, int *error);

/* rp_options_return() - write statuses back, and the bodies of what succeeded */
int rp_options_return(const struct rp_options *o, int error);

#endif
