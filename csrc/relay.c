/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "call.h"
#include "err.h"

enum { EVENTS = 64 };

#define STOP UINT64_MAX

struct relay {
	int from; /* -1: free */
	uint32_t generation;
	rp_call_t to;
};

struct rp_relays {
	pthread_mutex_t lock; /* of the table; the thread holds it while it passes on */
	pthread_t thread;
	int epoll_fd;
	int stop_fd;
	struct relay relay[RP_MAX_RELAYS];
};

/* An event that was fetched may be of a relay that has gone, or of its successor's predecessor. */
static uint64_t name_of(const struct rp_relays *r, int relay)
{
	return (uint64_t)r->relay[relay].generation << 32 | (uint32_t)relay;
}

static void pass_on(struct rp_relays *r, uint64_t name)
{
	const struct relay *relay = &r->relay[(uint32_t)name];

	if (relay->from >= 0 && relay->generation == name >> 32)
		rp_call_make(relay->to);
}

static void *run(void *arg)
{
	struct rp_relays *r = arg;
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(r->epoll_fd, events, EVENTS, -1);

		pthread_mutex_lock(&r->lock);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == STOP) {
				pthread_mutex_unlock(&r->lock);
				return NULL;
			}
			pass_on(r, events[i].data.u64);
		}
		pthread_mutex_unlock(&r->lock);
	}
}

static int start(struct rp_relays *r, struct rp_err *err)
{
	struct epoll_event stop = { .events = EPOLLIN, .data.u64 = STOP };
	sigset_t all, before;
	int ret;

	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->epoll_fd < 0 || r->stop_fd < 0 ||
	    epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->stop_fd, &stop) < 0)
		return rp_fail(err, errno, "cannot make a relay's descriptors: %s",
			       strerror(errno));
	sigfillset(&all); /* signals are for the control plane's threads */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&r->thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret ? rp_fail(err, ret, "cannot start the relays: %s", strerror(ret)) : 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void discard(struct rp_relays *r)
{
	close_fd(r->epoll_fd);
	close_fd(r->stop_fd);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct rp_relays *rp_relays_new(struct rp_err *err)
{
	struct rp_relays *r = calloc(1, sizeof(*r));

	if (!r) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	r->epoll_fd = r->stop_fd = -1;
	pthread_mutex_init(&r->lock, NULL);
	for (int i = 0; i < RP_MAX_RELAYS; i++)
		r->relay[i].from = -1;
	if (start(r, err) == 0)
		return r;
	discard(r);
	return NULL;
}

void rp_relays_free(struct rp_relays *r)
{
	const uint64_t one = 1;

	if (!r)
		return;
	if (write(r->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(r->thread, NULL);
	for (int i = 0; i < RP_MAX_RELAYS; i++)
		rp_relays_del(r, i);
	discard(r);
}

static int add(struct rp_relays *r, int from_fd, int to_fd, struct rp_err *err)
{
	/* Edge-triggered: every signal is an event, and nobody has to read the counter. */
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	struct relay *relay;
	int id = 0, ret;

	while (id < RP_MAX_RELAYS && r->relay[id].from >= 0)
		id++;
	if (id == RP_MAX_RELAYS)
		return rp_fail(err, ENOSPC, "there are %d relays already", RP_MAX_RELAYS);
	relay = &r->relay[id];
	ret = rp_call_open(&relay->to, to_fd, err);
	if (ret < 0)
		return ret;
	relay->from = fcntl(from_fd, F_DUPFD_CLOEXEC, 0);
	e.data.u64 = name_of(r, id);
	if (relay->from >= 0 && epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, relay->from, &e) == 0)
		return id;
	ret = rp_fail(err, errno, "cannot pass on what comes on descriptor %d: %s", from_fd,
		      strerror(errno));
	rp_call_close(relay->to);
	close_fd(relay->from);
	relay->from = -1;
	return ret;
}

int rp_relays_add(struct rp_relays *r, int from_fd, int to_fd, struct rp_err *err)
{
	int ret;

	pthread_mutex_lock(&r->lock);
	ret = add(r, from_fd, to_fd, err);
	pthread_mutex_unlock(&r->lock);
	return ret;
}

bool rp_relays_del(struct rp_relays *r, int relay)
{
	struct relay *gone = relay >= 0 && relay < RP_MAX_RELAYS ? &r->relay[relay] : NULL;
	bool there;

	pthread_mutex_lock(&r->lock);
	there = gone && gone->from >= 0;
	if (there) {
		epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, gone->from, NULL);
		close(gone->from);
		rp_call_close(gone->to);
		gone->from = -1;
		gone->generation++;
	}
	pthread_mutex_unlock(&r->lock);
	return there;
}
