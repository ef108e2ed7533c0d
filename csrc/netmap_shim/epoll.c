/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: epoll: sessions are members of sets that the kernel does not know of.
 *
 * A set gets an object when the first session is added to it, with what the
 * program said of each session. Waiting asks the kernel for the other members,
 * and the sessions by themselves. Level-triggered members are looked at in each
 * wait; edge-triggered ones are told again when they were not ready in between,
 * or when a ring moved.
 */
#include "epoll.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "interpose.h"
#include "object.h"
#include "real.h"
#include "wait.h"

enum { MOST = 64 }; /* sessions in a set */

struct member {
	int fd;
	struct epoll_event event;
	bool spent;	/* EPOLLONESHOT: told, until EPOLL_CTL_MOD */
	bool was_ready; /* EPOLLET: told, and still ready since */
	uint64_t mark;	/* EPOLLET: where the rings were then */
};

struct set {
	struct rp_object object;
	pthread_mutex_t lock;
	unsigned n;
	bool sessions_first; /* who goes first when there is room for few events: takes turns */
	struct member member[MOST];
};

static pthread_mutex_t sets_lock = PTHREAD_MUTEX_INITIALIZER;

static void release(struct rp_object *o)
{
	((struct set *)o)->n = 0;
}

static struct set *set_of(int fd)
{
	return (struct set *)rp_fd_get(fd, RP_OBJECT_SET);
}

/* The set's object, made when there is none. */
static struct set *make_set(int fd)
{
	struct set *set;

	pthread_mutex_lock(&sets_lock);
	set = set_of(fd);
	if (!set) {
		set = (struct set *)rp_object_new(RP_OBJECT_SET, sizeof(*set), release);
		if (set) {
			pthread_mutex_init(&set->lock, NULL);
			if (rp_fd_set(fd, &set->object)) {
				rp_object_put(&set->object);
				set = NULL;
			}
		}
	}
	pthread_mutex_unlock(&sets_lock);
	return set;
}

static struct member *find(struct set *set, int fd)
{
	for (unsigned i = 0; i < set->n; i++) {
		if (set->member[i].fd == fd)
			return &set->member[i];
	}
	return NULL;
}

static int change(struct set *set, int op, int fd, const struct epoll_event *event)
{
	struct member *m = find(set, fd);

	switch (op) {
	case EPOLL_CTL_ADD:
		if (m)
			return EEXIST;
		if (set->n == MOST)
			return ENOSPC;
		set->member[set->n++] = (struct member){ .fd = fd, .event = *event };
		return 0;
	case EPOLL_CTL_MOD:
		if (!m)
			return ENOENT;
		*m = (struct member){ .fd = fd, .event = *event };
		return 0;
	case EPOLL_CTL_DEL:
		if (!m)
			return ENOENT;
		*m = set->member[--set->n];
		return 0;
	default:
		return EINVAL;
	}
}

/* Only an epoll descriptor can miss @fd, a session, among its members; waiting would take events. */
static bool is_epoll(int epfd, int fd)
{
	struct epoll_event none = { 0 };

	return rp_real()->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &none) == 0 || errno == ENOENT;
}

RP_EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct rp_session *s =
		rp_fd_any() ? (struct rp_session *)rp_fd_get(fd, RP_OBJECT_SESSION) : NULL;
	struct set *set;
	int error;

	if (!s)
		return rp_real()->epoll_ctl(epfd, op, fd, event);
	rp_session_put(s);
	if (!event && op != EPOLL_CTL_DEL) {
		errno = EFAULT;
		return -1;
	}
	if (!is_epoll(epfd, fd)) /* errno says why: EBADF, EINVAL */
		return -1;
	set = make_set(epfd);
	if (!set) {
		errno = ENOMEM;
		return -1;
	}
	pthread_mutex_lock(&set->lock);
	error = change(set, op, fd, event);
	pthread_mutex_unlock(&set->lock);
	rp_object_put(&set->object);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

static void unlock(struct rp_object *o)
{
	pthread_mutex_init(&((struct set *)o)->lock, NULL);
}

void rp_epoll_forked(void)
{
	pthread_mutex_init(&sets_lock, NULL);
	rp_object_each(RP_OBJECT_SET, unlock);
}

void rp_epoll_forget(int fd)
{
	for (int i = 0; i < RP_FDS; i = rp_fd_next_set(i + 1)) {
		struct set *set = set_of(i);
		struct member *m;

		if (!set)
			continue;
		pthread_mutex_lock(&set->lock);
		m = find(set, fd);
		if (m)
			*m = set->member[--set->n];
		pthread_mutex_unlock(&set->lock);
		rp_object_put(&set->object);
	}
}

/* The members that may be told now; gets references. Return: how many */
static unsigned list(struct set *set, struct rp_watch *watch)
{
	unsigned n = 0;

	pthread_mutex_lock(&set->lock);
	for (unsigned i = 0; i < set->n; i++) {
		const struct member *m = &set->member[i];
		struct rp_object *o = m->spent ? NULL : rp_fd_get(m->fd, RP_OBJECT_SESSION);

		if (o)
			watch[n++] = (struct rp_watch){ .session = (struct rp_session *)o,
							.fd = m->fd,
							.events = (short)m->event.events };
	}
	pthread_mutex_unlock(&set->lock);
	return n;
}

static void unlist(struct rp_watch *watch, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rp_session_put(watch[i].session);
}

/* Should the program be told of a ready member? Remembers that it was. */
static bool tell(struct member *m, const struct rp_watch *w)
{
	uint64_t mark;

	if (m->event.events & EPOLLET) {
		mark = rp_session_mark(w->session) ^ (w->revents & POLLERR ? UINT64_MAX : 0);
		if (m->was_ready && m->mark == mark)
			return false;
		m->was_ready = true;
		m->mark = mark;
	}
	m->spent = m->event.events & EPOLLONESHOT;
	return true;
}

/* Turn what is ready into events. Return: how many */
static int collect(struct set *set, const struct rp_watch *watch, unsigned n,
		   struct epoll_event *events, int max)
{
	int told = 0;

	pthread_mutex_lock(&set->lock);
	for (unsigned i = 0; i < n && told < max; i++) {
		struct member *m = find(set, watch[i].fd);

		if (!m || m->spent)
			continue;
		if (!watch[i].revents)
			m->was_ready = false;
		else if (tell(m, &watch[i]))
			events[told++] =
				(struct epoll_event){ (uint32_t)watch[i].revents, m->event.data };
	}
	pthread_mutex_unlock(&set->lock);
	return told;
}

static int kernel_events(int epfd, struct epoll_event *events, int max)
{
	return max > 0 ? rp_real()->epoll_pwait(epfd, events, max, 0, NULL) : 0;
}

/* One round: sleep until something is ready, then take it. */
static int round_of(struct set *set, int epfd, struct epoll_event *events, int max,
		    const struct rp_deadline *deadline, const sigset_t *mask)
{
	struct rp_watch watch[MOST];
	struct pollfd others = { .fd = epfd, .events = POLLIN };
	unsigned n = list(set, watch);
	int ready = rp_wait(watch, n, &others, 1, deadline, mask), first, second = 0;

	if (ready <= 0) {
		unlist(watch, n);
		return ready;
	}
	set->sessions_first = !set->sessions_first;
	if (set->sessions_first) {
		first = collect(set, watch, n, events, max);
		second = kernel_events(epfd, events + first, max - first);
	} else {
		first = kernel_events(epfd, events, max);
		if (first >= 0)
			second = collect(set, watch, n, events + first, max - first);
	}
	unlist(watch, n);
	if (first < 0 || (second < 0 && first == 0))
		return -1;
	return first + (second < 0 ? 0 : second);
}

static bool over(const struct rp_deadline *deadline)
{
	struct timespec left;

	if (deadline->never)
		return false;
	left = rp_deadline_left(deadline);
	return left.tv_sec == 0 && left.tv_nsec == 0;
}

/* Edge-triggered members that were told already keep rp_wait() from sleeping: wait for a change. */
static void nap(void)
{
	const struct timespec ms = { 0, 1000000 };

	rp_real()->ppoll(NULL, 0, &ms, NULL);
}

static int wait_for(struct set *set, int epfd, struct epoll_event *events, int max,
		    const struct timespec *timeout, const sigset_t *mask)
{
	struct rp_deadline deadline = rp_deadline_in(timeout);
	int n;

	if (max <= 0) {
		errno = EINVAL;
		return -1;
	}
	while ((n = round_of(set, epfd, events, max, &deadline, mask)) == 0 && !over(&deadline))
		nap();
	return n;
}

RP_EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
			   const struct timespec *timeout, const sigset_t *mask)
{
	struct set *set = rp_fd_any() ? set_of(epfd) : NULL;
	int n;

	if (!set)
		return rp_real()->epoll_pwait2(epfd, events, max, timeout, mask);
	n = wait_for(set, epfd, events, max, timeout, mask);
	rp_object_put(&set->object);
	return n;
}

RP_EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
			  const sigset_t *mask)
{
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000L };
	struct set *set = rp_fd_any() ? set_of(epfd) : NULL;
	int n;

	if (!set)
		return rp_real()->epoll_pwait(epfd, events, max, timeout, mask);
	n = wait_for(set, epfd, events, max, timeout < 0 ? NULL : &ts, mask);
	rp_object_put(&set->object);
	return n;
}

RP_EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	return epoll_pwait(epfd, events, max, timeout, NULL);
}
