/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_KLOOP_H
#define RP_KLOOP_H
/*
 * DOC: The sync loop: it syncs rings in CSB mode in the thread that starts it.
 *
 * Sleeping between two rounds, or, when the program gave event descriptors for
 * all rings, until it is kicked. The direct modes, in which netmap works in the
 * context of the kick, are the latter: our rings have no cheaper context.
 */
#include "session.h"

struct nmreq_sync_kloop_start;
struct rp_options;

/**
 * rp_kloop_start() - run the loop until rp_kloop_stop()
 *
 * Return: 0 when it was stopped, before or after; EBUSY while another one runs,
 * EINVAL without a CSB or with options that do not fit, EBADF for a descriptor
 * that is not open
 */
int rp_kloop_start(struct rp_session *s, const struct nmreq_sync_kloop_start *request,
		   struct rp_options *options);

/**
 * rp_kloop_stop() - stop the loop and wait until it ended
 *
 * If none runs, the next one ends at once: a start that was on its way.
 */
int rp_kloop_stop(struct rp_session *s);

/* rp_kloop_free() - the session ends */
void rp_kloop_free(struct rp_session *s);

/* rp_kloop_runs() - tell whether there is a loop */
bool rp_kloop_runs(const struct rp_session *s);

#endif
