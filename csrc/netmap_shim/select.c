/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: select() and pselect(): as poll(), with sets of bits.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include "interpose.h"
#include "object.h"
#include "real.h"
#include "wait.h"

/* What the kernel's select() takes for readable, writable and exceptional. */
enum {
	READABLE = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
	WRITABLE = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
	URGENT = POLLPRI
};

static bool in(int fd, const fd_set *set)
{
	return set && FD_ISSET(fd, set);
}

static bool has_session(int n, const fd_set *r, const fd_set *w, const fd_set *e)
{
	if (!rp_fd_any())
		return false;
	for (int fd = 0; fd < n && fd < FD_SETSIZE; fd++) {
		struct rp_object *o;

		if (!in(fd, r) && !in(fd, w) && !in(fd, e))
			continue;
		o = rp_fd_get(fd, RP_OBJECT_SESSION);
		if (o) {
			rp_object_put(o);
			return true;
		}
	}
	return false;
}

static nfds_t list(struct pollfd *fds, int n, const fd_set *r, const fd_set *w, const fd_set *e)
{
	nfds_t count = 0;

	for (int fd = 0; fd < n && fd < FD_SETSIZE; fd++) {
		short events = (short)((in(fd, r) ? POLLIN : 0) | (in(fd, w) ? POLLOUT : 0) |
				       (in(fd, e) ? POLLPRI : 0));

		if (events)
			fds[count++] = (struct pollfd){ .fd = fd, .events = events };
	}
	return count;
}

static bool has_bad(const struct pollfd *fds, nfds_t n)
{
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].revents & POLLNVAL)
			return true;
	}
	return false;
}

/* Leave in the sets what is ready. Return: how many bits. */
static int mark(const struct pollfd *fds, nfds_t n, fd_set *r, fd_set *w, fd_set *e)
{
	fd_set *set[] = { r, w, e };
	const short asked[] = { POLLIN, POLLOUT, POLLPRI };
	const short ready[] = { READABLE, WRITABLE, URGENT };
	int bits = 0;

	for (nfds_t i = 0; i < n; i++) {
		for (unsigned j = 0; j < 3; j++) {
			if (!set[j] || !(fds[i].events & asked[j]))
				continue;
			if (fds[i].revents & ready[j])
				bits++;
			else
				FD_CLR(fds[i].fd, set[j]);
		}
	}
	return bits;
}

static int wait_for(int n, fd_set *r, fd_set *w, fd_set *e, const struct rp_deadline *deadline,
		    const sigset_t *mask)
{
	struct pollfd *fds = calloc(FD_SETSIZE, sizeof(*fds));
	nfds_t count;
	int ready, saved;

	if (!fds) {
		errno = ENOMEM;
		return -1;
	}
	count = list(fds, n, r, w, e);
	ready = rp_ppoll(fds, count, deadline, mask);
	if (ready >= 0 && has_bad(fds, count)) {
		errno = EBADF;
		ready = -1;
	}
	if (ready >= 0)
		ready = mark(fds, count, r, w, e);
	saved = errno;
	free(fds);
	errno = saved;
	return ready;
}

RP_EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
		      const sigset_t *mask)
{
	struct rp_deadline deadline;

	if (!has_session(n, r, w, e))
		return rp_real()->pselect(n, r, w, e, timeout, mask);
	deadline = rp_deadline_in(timeout);
	return wait_for(n, r, w, e, &deadline, mask);
}

/* Linux tells in @timeout how much of it is left, and programs rely on it. */
RP_EXPORT int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	struct rp_deadline deadline;
	struct timespec ts = { 0 }, left;
	int ready;

	if (!has_session(n, r, w, e))
		return rp_real()->select(n, r, w, e, timeout);
	if (timeout)
		ts = (struct timespec){ timeout->tv_sec, timeout->tv_usec * 1000 };
	deadline = rp_deadline_in(timeout ? &ts : NULL);
	ready = wait_for(n, r, w, e, &deadline, NULL);
	if (timeout) {
		left = rp_deadline_left(&deadline);
		*timeout = (struct timeval){ left.tv_sec, left.tv_nsec / 1000 };
	}
	return ready;
}
