/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CSB_MODE_H
#define RP_CSB_MODE_H
/*
 * DOC: CSB mode: cursors travel through two arrays in the program's memory.
 *
 * The program's TXSYNC, RXSYNC and poll() are refused then; a loop
 * (SYNC_KLOOP_START) syncs the rings. One entry a ring, TX rings first.
 */
#include "options.h"
#include "session.h"

/**
 * rp_csb_mode_check() - may the program have its CSB there?
 * @rings: entries; 0: not known yet
 *
 * Return: 0, EINVAL (not aligned), EFAULT (no such memory)
 */
int rp_csb_mode_check(const struct nmreq_opt_csb *csb, unsigned rings);

/* rp_csb_mode_enable() - go into CSB mode: the entries get what the rings say. 0 or an errno */
int rp_csb_mode_enable(struct rp_session *s, const struct nmreq_opt_csb *csb);

/* rp_csb_mode_request() - CSB_ENABLE: as above, unless a loop runs (EBUSY) */
int rp_csb_mode_request(struct rp_session *s, struct rp_options *options);

#endif
