/* SPDX-License-Identifier: BSD-2-Clause */
#include "watch.h"

#include <errno.h>

#include "rings.h"
#include "rp_barrier.h"

enum {
	TX_EVENTS = POLLOUT | POLLWRNORM,
	RX_EVENTS = POLLIN | POLLRDNORM,
};

/* The events of a ring's direction. */
static short events_of(const struct rp_session *s, unsigned ring)
{
	return (short)(rp_ring_is_tx(s, ring) ? TX_EVENTS : RX_EVENTS);
}

static bool usable(const struct rp_session *s)
{
	return rp_load_acquire(&s->bound) && !rp_load(&s->atok);
}

/* One ring's part of @events. */
static short look_at(struct rp_session *s, int fd, unsigned ring, short events)
{
	const short wanted = (short)(events & events_of(s, ring));
	int error;

	if (!wanted && !rp_ring_pending(s, ring))
		return 0;
	if (rp_ring_is_tx(s, ring) && s->ring[ring].flags & RP_NM_MONITOR_RING)
		return POLLERR;
	error = rp_ring_sync(s, ring);
	if (error == EIO)
		rp_session_broken(s, fd);
	if (error)
		return POLLERR;
	return (short)(rp_ring_ready(s, ring) ? wanted : 0);
}

short rp_watch_look(struct rp_session *s, int fd, short events)
{
	const bool push = !(s->reg_flags & RP_REG_NO_TX_POLL) || events & TX_EVENTS;
	short revents = 0;

	if (!rp_session_bound(s, fd) || !usable(s))
		return POLLERR;
	for (unsigned i = push ? 0 : s->ntx; i < s->nrings; i++) {
		if (i >= s->ntx && !(events & RX_EVENTS))
			break;
		revents = (short)(revents | look_at(s, fd, i, events));
	}
	return revents;
}

unsigned rp_watch_fds(const struct rp_session *s)
{
	return 1 + (rp_load_acquire(&s->bound) ? s->nrings : 0);
}

unsigned rp_watch_arm(struct rp_session *s, int fd, short events, struct pollfd *fds)
{
	unsigned n = 0;

	fds[n++] = (struct pollfd){ .fd = fd }; /* hangs up when the backend goes */
	for (unsigned i = 0; usable(s) && i < s->nrings; i++) {
		int call = events & events_of(s, i) ? rp_session_arm(s, i) : -1;

		if (call >= 0)
			fds[n++] = (struct pollfd){ .fd = call, .events = POLLIN };
	}
	return n;
}

short rp_watch_hung_up(const struct rp_session *s)
{
	return s->alone ? 0 : POLLERR;
}

void rp_watch_disarm(struct rp_session *s, short events)
{
	for (unsigned i = 0; usable(s) && i < s->nrings; i++) {
		if (events & events_of(s, i))
			rp_session_disarm(s, i);
	}
}

bool rp_watch_naps(const struct rp_session *s, short events)
{
	for (unsigned i = 0; usable(s) && i < s->nrings; i++) {
		if (events & events_of(s, i) && rp_client_call_fd(s->client, s->ring[i].number) < 0)
			return true;
	}
	return false;
}
