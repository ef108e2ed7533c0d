/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_WAIT_H
#define RP_WAIT_H
/*
 * DOC: Sleeping until a session or another descriptor is ready.
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "watch.h"

/* When to stop waiting. */
struct rp_deadline {
	bool never;
	struct timespec at; /* CLOCK_MONOTONIC */
};

/* rp_deadline_in() - @timeout from now; NULL: never */
struct rp_deadline rp_deadline_in(const struct timespec *timeout);

/* rp_deadline_left() - the time that is left, not below zero */
struct timespec rp_deadline_left(const struct rp_deadline *d);

/**
 * rp_wait() - as ppoll(), where some descriptors are sessions
 * @watch:	the sessions; get their revents
 * @fds:	the others; @fds[i].fd < 0 is passed over
 *
 * Return: how many sessions and descriptors are ready, 0 at the deadline, or -1
 * with errno
 */
int rp_wait(struct rp_watch *watch, unsigned nwatch, struct pollfd *fds, nfds_t nfds,
	    const struct rp_deadline *deadline, const sigset_t *mask);

#endif
