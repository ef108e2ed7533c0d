/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_OPTIONS_H
#define RP_OPTIONS_H
/*
 * DOC: The options of a request: a list in the program's memory.
 *
 * Copied once; statuses and, on success, bodies are written back at the end.
 */
#include "rp_nmreq.h"

#define RP_OPTIONS_MAX	 64
#define RP_OPTIONS_BYTES 2048

struct rp_option {
	void __user *address;
	u64 next; /* as the program had it */
	u32 bytes;
	struct nmreq_option *copy; /* with what follows it */
};

struct rp_options {
	u32 n;
	u32 bytes; /* in @data */
	struct rp_option at[RP_OPTIONS_MAX];
	u64 data[RP_OPTIONS_BYTES / sizeof(u64)];
};

/**
 * rp_options_copy() - take the list that begins at @first
 *
 * All statuses become EOPNOTSUPP, until somebody recognises the option.
 *
 * Return: 0, -EFAULT, -EINVAL (type 0), -EMSGSIZE (too long)
 */
int rp_options_copy(struct rp_options *o, u64 first);

/**
 * rp_options_find() - the option of a type
 *
 * Return: it, NULL if there is none; of two, both get the status EINVAL and
 * @err becomes -EINVAL
 */
struct nmreq_option *rp_options_find(struct rp_options *o, u32 type, int *err);

/**
 * rp_options_pack() - each option behind its size, as rp_attach.h wants it, without addresses
 *
 * Return: bytes; 0: no room
 */
u32 rp_options_pack(const struct rp_options *o, u8 *to, u32 room);

/* rp_options_unpack() - what the backend made of them: statuses, and the bodies that have outputs */
void rp_options_unpack(struct rp_options *o, const u8 *from, u32 bytes);

/* rp_options_return() - write statuses back, and the bodies of what succeeded; return: @err or -EFAULT */
int rp_options_return(const struct rp_options *o, int err);

#endif
