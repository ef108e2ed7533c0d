/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_WATCH_H
#define RP_WATCH_H
/*
 * DOC: Waiting for sessions: what poll(), select() and epoll_wait() have in common.
 *
 * As in netmap, asking is working: every poll() sends what is pending, unless
 * the port was opened with NO_TX_POLL, and brings what came.
 *
 *	look     synchronize, see what is ready
 *	arm      ask each ring that is not ready to call
 *	look     again: what came in between did not call
 *	sleep    on the rings' descriptors, and on those that are not netmap's
 */
#include <poll.h>
#include <stdbool.h>

#include "session.h"

/* A session that somebody waits for. */
struct rp_watch {
	struct rp_session *session;
	int fd; /* its connection */
	short events;
	short revents;
	bool bound;	   /* it was registered when the wait began */
	bool orphaned;	   /* the backend went, and its rings do without */
	nfds_t connection; /* where it is among the descriptors slept on */
};

/**
 * rp_watch_look() - netmap's poll
 *
 * Return: revents: of the @events those that hold, and POLLERR for a session
 * that is not registered, is in CSB mode, whose rings are used wrongly, or whose
 * port is broken
 */
short rp_watch_look(struct rp_session *s, int fd, short events);

/* rp_watch_fds() - how many descriptors rp_watch_arm() may need for @s */
unsigned rp_watch_fds(const struct rp_session *s);

/**
 * rp_watch_arm() - ask for a call when one of @events may hold
 * @fd: the connection, -1: nobody is at its other end any more
 * @fds: gets the descriptors to sleep on, rp_watch_fds() at most; the first is @fd
 *
 * Return: how many it got
 */
unsigned rp_watch_arm(struct rp_session *s, int fd, short events, struct pollfd *fds);

/**
 * rp_watch_hung_up() - the connection was seen to hang up: the backend is gone
 *
 * Return: POLLERR, or 0 when the rings of @s go on by themselves
 */
short rp_watch_hung_up(const struct rp_session *s);

/* rp_watch_disarm() - the end of rp_watch_arm(): no more calls, forget those that came */
void rp_watch_disarm(struct rp_session *s, short events);

/* rp_watch_naps() - tell whether a ring of @s cannot call: look again every millisecond */
bool rp_watch_naps(const struct rp_session *s, short events);

#endif
