/* SPDX-License-Identifier: BSD-2-Clause */
#include "wait.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "real.h"

enum { NS = 1000000000, NAP_NS = 1000000, FEW = 32 };

static struct timespec now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t;
}

struct rp_deadline rp_deadline_in(const struct timespec *timeout)
{
	struct rp_deadline d = { .never = !timeout };

	if (!timeout)
		return d;
	d.at = now();
	/* Years are as good as never, and cannot overflow. */
	d.at.tv_sec += timeout->tv_sec < INT32_MAX ? timeout->tv_sec : INT32_MAX;
	d.at.tv_nsec += timeout->tv_nsec;
	if (d.at.tv_nsec >= NS) {
		d.at.tv_nsec -= NS;
		d.at.tv_sec++;
	}
	return d;
}

struct timespec rp_deadline_left(const struct rp_deadline *d)
{
	struct timespec t = now(), left = { d->at.tv_sec - t.tv_sec, d->at.tv_nsec - t.tv_nsec };

	if (left.tv_nsec < 0) {
		left.tv_nsec += NS;
		left.tv_sec--;
	}
	if (left.tv_sec < 0)
		left = (struct timespec){ 0 };
	return left;
}

/* A session that another thread registers during the wait is not armed: nobody counted its rings. */
static short look_at(const struct rp_watch *w)
{
	return (short)(w->bound ? rp_watch_look(w->session, w->fd, w->events) : POLLERR);
}

static unsigned look(struct rp_watch *watch, unsigned n)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < n; i++) {
		watch[i].revents = look_at(&watch[i]);
		ready += watch[i].revents != 0;
	}
	return ready;
}

/* The descriptors to sleep on: the program's own, then those of the sessions. */
struct sleep {
	struct pollfd *fds;
	nfds_t n;
	bool naps;
	struct pollfd few[FEW];
};

static bool prepare(struct sleep *s, struct rp_watch *watch, unsigned nwatch,
		    const struct pollfd *fds, nfds_t nfds)
{
	nfds_t most = nfds;

	for (unsigned i = 0; i < nwatch; i++) {
		watch[i].bound = rp_session_bound(watch[i].session, watch[i].fd);
		most += rp_watch_fds(watch[i].session);
	}
	s->n = nfds;
	s->naps = false;
	s->fds = most <= FEW ? s->few : calloc(most, sizeof(*s->fds));
	if (!s->fds) {
		errno = ENOMEM;
		return false;
	}
	memcpy(s->fds, fds, nfds * sizeof(*fds));
	return true;
}

static void arm(struct sleep *s, struct rp_watch *watch, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct rp_watch *w = &watch[i];

		w->connection = s->n;
		s->n += rp_watch_arm(w->session, w->orphaned ? -1 : w->fd, w->events,
				     s->fds + s->n);
		s->naps |= rp_watch_naps(w->session, w->events);
	}
}

/*
 * A connection that hung up ends each sleep at once: its session has an error, unless something
 * is ready still, or is left alone. Return: how many have an error.
 */
static unsigned find_hung_up(const struct sleep *s, struct rp_watch *watch, unsigned n)
{
	unsigned errors = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rp_watch *w = &watch[i];

		if (w->revents || !(s->fds[w->connection].revents & (POLLHUP | POLLERR)))
			continue;
		w->revents = rp_watch_hung_up(w->session);
		w->orphaned = !w->revents;
		errors += w->revents != 0;
	}
	return errors;
}

static void disarm(const struct rp_watch *watch, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rp_watch_disarm(watch[i].session, watch[i].events);
}

/* How long to sleep: not at all, for a nap, until the deadline, or for ever (NULL). */
static const struct timespec *how_long(const struct rp_deadline *deadline, bool ready, bool naps,
				       struct timespec *space)
{
	const struct timespec nap = { 0, NAP_NS };

	if (ready) {
		*space = (struct timespec){ 0 };
		return space;
	}
	if (deadline->never && !naps)
		return NULL;
	*space = deadline->never ? nap : rp_deadline_left(deadline);
	if (naps && (space->tv_sec || space->tv_nsec > NAP_NS))
		*space = nap;
	return space;
}

static int over(const struct rp_deadline *deadline)
{
	struct timespec left;

	if (deadline->never)
		return 0;
	left = rp_deadline_left(deadline);
	return left.tv_sec == 0 && left.tv_nsec == 0;
}

/* One round: look, and sleep if there is nothing. Return: as rp_wait(), 0 also if nothing came yet. */
static int round_of(struct sleep *s, struct rp_watch *watch, unsigned nwatch, nfds_t nfds,
		    const struct rp_deadline *deadline, const sigset_t *mask)
{
	unsigned ready = look(watch, nwatch);
	bool armed = !ready && !over(deadline);
	struct timespec space;
	int others;

	if (ready && nfds == 0)
		return (int)ready;
	s->n = nfds;
	if (armed) {
		arm(s, watch, nwatch);
		ready = look(watch, nwatch);
	}
	others = rp_real()->ppoll(s->fds, s->n, how_long(deadline, ready, s->naps, &space), mask);
	if (armed) {
		int saved = errno;

		disarm(watch, nwatch);
		errno = saved;
	}
	if (others < 0)
		return -1;
	if (others && !ready && armed)
		ready = look(watch, nwatch);
	if (others && armed)
		ready += find_hung_up(s, watch, nwatch);
	for (nfds_t i = 0; i < nfds; i++)
		ready += s->fds[i].revents != 0;
	return (int)ready;
}

int rp_wait(struct rp_watch *watch, unsigned nwatch, struct pollfd *fds, nfds_t nfds,
	    const struct rp_deadline *deadline, const sigset_t *mask)
{
	struct sleep s;
	int ready;

	if (!prepare(&s, watch, nwatch, fds, nfds))
		return -1;
	do {
		ready = round_of(&s, watch, nwatch, nfds, deadline, mask);
	} while (ready == 0 && !over(deadline));
	for (nfds_t i = 0; i < nfds; i++)
		fds[i].revents = s.fds[i].revents;
	if (s.fds != s.few)
		free(s.fds);
	return ready;
}
