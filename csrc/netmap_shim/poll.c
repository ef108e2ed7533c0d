/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: poll() and ppoll().
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "interpose.h"
#include "object.h"
#include "real.h"
#include "wait.h"

enum { FEW = 32 };

static bool has_session(const struct pollfd *fds, nfds_t n)
{
	if (!rp_fd_any())
		return false;
	for (nfds_t i = 0; i < n; i++) {
		struct rp_session *s = (struct rp_session *)rp_fd_get(fds[i].fd, RP_OBJECT_SESSION);

		if (s) {
			rp_session_put(s);
			return true;
		}
	}
	return false;
}

/* Sessions go to @watch, the others to @others, at the same places. */
static void part(const struct pollfd *fds, nfds_t n, struct rp_watch *watch, unsigned *nwatch,
		 struct pollfd *others)
{
	*nwatch = 0;
	for (nfds_t i = 0; i < n; i++) {
		struct rp_object *o = rp_fd_get(fds[i].fd, RP_OBJECT_SESSION);

		others[i] = fds[i];
		others[i].revents = 0;
		if (!o)
			continue;
		others[i].fd = -1 - (int)*nwatch; /* which watch it became */
		watch[(*nwatch)++] = (struct rp_watch){ .session = (struct rp_session *)o,
							.fd = fds[i].fd,
							.events = fds[i].events };
	}
}

static void join(struct pollfd *fds, nfds_t n, const struct rp_watch *watch,
		 const struct pollfd *others)
{
	unsigned next = 0;

	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].fd >= 0 && others[i].fd < 0)
			fds[i].revents = watch[next++].revents;
		else
			fds[i].revents = others[i].revents;
	}
}

int rp_ppoll(struct pollfd *fds, nfds_t n, const struct rp_deadline *deadline, const sigset_t *mask)
{
	struct rp_watch few_watches[FEW], *watch = few_watches;
	struct pollfd few_others[FEW], *others = few_others;
	unsigned nwatch;
	int ready, saved;

	if (n > FEW) {
		watch = calloc(n, sizeof(*watch));
		others = calloc(n, sizeof(*others));
		if (!watch || !others) {
			free(watch);
			free(others);
			errno = ENOMEM;
			return -1;
		}
	}
	part(fds, n, watch, &nwatch, others);
	ready = rp_wait(watch, nwatch, others, n, deadline, mask);
	if (ready >= 0)
		join(fds, n, watch, others);
	saved = errno;
	for (unsigned i = 0; i < nwatch; i++)
		rp_session_put(watch[i].session);
	if (n > FEW) {
		free(watch);
		free(others);
	}
	errno = saved;
	return ready;
}

RP_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		    const sigset_t *mask)
{
	struct rp_deadline deadline;

	if (!has_session(fds, n))
		return rp_real()->ppoll(fds, n, timeout, mask);
	deadline = rp_deadline_in(timeout);
	return rp_ppoll(fds, n, &deadline, mask);
}

RP_EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000L };

	return ppoll(fds, n, timeout < 0 ? NULL : &ts, NULL);
}

/* What programs call that were compiled with bounds checks. */
RP_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t bytes)
{
	if (bytes / sizeof(*fds) < n)
		abort();
	return poll(fds, n, timeout);
}

RP_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
			  const sigset_t *mask, size_t bytes)
{
	if (bytes / sizeof(*fds) < n)
		abort();
	return ppoll(fds, n, timeout, mask);
}
