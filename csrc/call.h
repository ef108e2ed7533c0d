/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CALL_H
#define RP_CALL_H
/*
 * DOC: Calling a front end without ever waiting for it.
 *
 * A call is an eventfd, or a socket of User-mode Linux. Its open file is shared
 * with the front end, which may fill the eventfd's counter and clear O_NONBLOCK
 * at any moment: a plain write() would then hold a worker for ever, and with it
 * every port that it serves. So the kernel is asked for something that is done
 * at once (is a descriptor of ours readable? it always is) and to signal the
 * eventfd when it is: that never waits, the counter just stays full.
 */
#include <stdint.h>

#include "ringpass.h"

/* A descriptor of ours to call on, with its kind; RP_CALL_NONE: nobody wants to be called. */
typedef uint32_t rp_call_t;

#define RP_CALL_NONE UINT32_MAX

/**
 * rp_call_open() - keep a duplicate of a call descriptor
 * @fd:		-1: never call
 *
 * Return: 0 or a negative errno with the reason in @err
 */
int rp_call_open(rp_call_t *call, int fd, struct rp_err *err);
void rp_call_close(rp_call_t call);

/* rp_call_make() - for any thread; a call that can't be made is pending already, or nobody's */
void rp_call_make(rp_call_t call);

#endif
