/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_SIGBUS_H
#define RP_SIGBUS_H
/*
 * DOC: Memory that its owner takes away while we read it.
 *
 * A front end may truncate the file behind a mapping; touching it then raises
 * SIGBUS in whichever worker was unlucky. The handler puts anonymous pages
 * over the whole mapping, so that the interrupted access, and every lease that
 * is under way, completes on zeros; it tells the owner, who stops using the
 * mapping. Faults elsewhere go to whoever handled them before.
 */
#include <stddef.h>

#include "ringpass.h"

/**
 * rp_sigbus_install() - handle SIGBUS from now on; once is enough
 */
int rp_sigbus_install(struct rp_err *err);

/**
 * rp_sigbus_guard() - protect one mapping
 * @base:	start, page aligned
 * @bytes:	its size
 * @lost:	called from the signal handler, so only with what is safe there
 * @owner:	argument of @lost
 *
 * Return: a slot for rp_sigbus_unguard(), or -ENOSPC
 */
int rp_sigbus_guard(void *base, size_t bytes, void (*lost)(void *owner), void *owner);
void rp_sigbus_unguard(int slot);

#endif
