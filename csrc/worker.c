/* SPDX-License-Identifier: BSD-2-Clause */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "port.h"

enum {
	EVENTS = 64,
	CALL_AFTER_POLLS = 64, /* a few microseconds, while nothing else is to be done */
	HELD_NAP_NS = 20000,   /* a receiver that was full is looked at so often, at first */
	HELD_NAP_MAX_NS = 1000000,
	HELD_NAPS = 100,	/* naps are this part of the time that it has been full */
	POLLED_NAP_NS = 100000, /* a ring without kicks is looked at so often */
	TIMER_SLACK_NS = 1000,
	WAKE_RECORD = UINT32_MAX
};

static unsigned sync_one(struct rp_worker *w, struct rp_endpoint *ep)
{
	unsigned n = ep->port->ops->txsync(w->caller, ep);

	if (n)
		ep->empty_polls = 0;
	else if (ep->awaited && ++ep->empty_polls == CALL_AFTER_POLLS)
		rp_endpoint_call(ep);
	return n;
}

/*
 * Senders that wait for one receiver take turns: of those that look at it, the
 * first one gets most of what it frees.
 */
static unsigned sync_all(struct rp_worker *w, const struct rp_duty *duty, bool *held)
{
	uint32_t at = w->first < duty->n ? w->first : 0;
	unsigned moved = 0;

	*held = false;
	for (uint32_t i = 0; i < duty->n; i++) {
		struct rp_endpoint *ep = duty->ep[at];

		if (++at == duty->n)
			at = 0;
		if (rp_endpoint_live(ep)) {
			const bool waited = ep->batch->held > 0;
			unsigned n = sync_one(w, ep);

			if (n && waited)
				w->first = at;
			moved += n;
			*held |= ep->batch->held > 0;
		}
	}
	return moved;
}

/* Nobody looks at the rings for a while: make the calls that are awaited. */
static void call_all(const struct rp_duty *duty)
{
	for (uint32_t i = 0; i < duty->n; i++) {
		if (rp_endpoint_live(duty->ep[i]))
			rp_endpoint_call(duty->ep[i]);
	}
}

static void disarm(const struct rp_duty *duty)
{
	for (uint32_t i = 0; i < duty->n; i++) {
		if (rp_endpoint_live(duty->ep[i]))
			duty->ep[i]->ops->disarm(duty->ep[i]);
	}
}

/* Arm, fence, recheck. Return: true when there is nothing to do, and kicks will come. */
static bool arm(const struct rp_duty *duty)
{
	for (uint32_t i = 0; i < duty->n; i++) {
		if (rp_endpoint_live(duty->ep[i]))
			duty->ep[i]->ops->arm(duty->ep[i]);
	}
	rp_fence_full();
	for (uint32_t i = 0; i < duty->n; i++) {
		const struct rp_endpoint *ep = duty->ep[i];

		/* A ring that waits for a full receiver has more to send, and must wait. */
		if (rp_endpoint_live(ep) && !ep->batch->held && ep->ops->pending(duty->ep[i]))
			return false;
	}
	return true;
}

static void count_sleeps(const struct rp_duty *duty)
{
	for (uint32_t i = 0; i < duty->n; i++) {
		if (rp_endpoint_live(duty->ep[i]))
			rp_count(&duty->ep[i]->count->sleeps, 1);
	}
}

/* Sleep until a kick, or for @ns at most; UINT64_MAX: no limit. */
static void wait_for_kicks(struct rp_worker *w, uint64_t ns)
{
	struct timespec limit = { .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
	struct epoll_event events[EVENTS];
	uint64_t drained;
	int n;

	call_all(rp_load_acquire(&w->duty));
	rp_quiet_leave(w->caller->quiet);
	n = epoll_pwait2(w->epoll_fd, events, EVENTS, ns == UINT64_MAX ? NULL : &limit, NULL);
	rp_quiet_enter(w->quiet, w->caller->quiet);
	for (int i = 0; i < n; i++) {
		uint32_t record = events[i].data.u32;

		if (record != WAKE_RECORD)
			rp_count(&w->counters->rings[record].kicks, 1);
		else if (read(w->wake_fd, &drained, sizeof(drained)) < 0)
			continue; /* somebody else's wake-up was drained with the last one */
	}
	if (n > 0)
		rp_count(&w->count->wakes, 1);
}

/* Sleep until a kick, or for @ns at most. */
static void sleep_until_kick(struct rp_worker *w, uint64_t ns)
{
	const struct rp_duty *duty = rp_load_acquire(&w->duty);

	if (arm(duty)) {
		rp_count(&w->count->sleeps, 1);
		count_sleeps(duty);
		wait_for_kicks(w, ns);
		duty = rp_load_acquire(&w->duty);
	}
	disarm(duty);
}

/*
 * How long the worker may sleep without a kick. A receiver that has been full for long
 * is looked at less often: it may be a pipe that nobody reads.
 */
static uint64_t longest_sleep(const struct rp_worker *w, bool held, uint64_t idle_ns)
{
	uint64_t nap = idle_ns / HELD_NAPS;

	if (held)
		return nap < HELD_NAP_NS     ? HELD_NAP_NS :
		       nap > HELD_NAP_MAX_NS ? HELD_NAP_MAX_NS :
					       nap;
	return rp_load(&w->polled) ? POLLED_NAP_NS : UINT64_MAX;
}

/* Take up a changed configuration. Return: its generation. */
static uint32_t configure(struct rp_worker *w, struct rp_idle *idle)
{
	struct rp_worker_config cfg;
	cpu_set_t cpus;
	uint32_t gen;

	rp_lock_take(&w->cfg_lock);
	cfg = w->cfg;
	gen = w->cfg_gen;
	rp_lock_release(&w->cfg_lock);
	rp_idle_init(idle, &cfg);
	CPU_ZERO(&cpus);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (cfg.cpu < 0 || i == cfg.cpu)
			CPU_SET(i, &cpus);
	}
	/* The facade checked that the processor exists; it may have gone offline: run anywhere. */
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	w->count->policy = (uint32_t)cfg.policy;
	w->count->cpu = cfg.cpu;
	return gen;
}

static void *run(void *arg)
{
	struct rp_worker *w = arg;
	struct rp_caller *c = w->caller;
	struct rp_idle idle;
	uint32_t gen = configure(w, &idle);

	w->count->tid = (int32_t)syscall(SYS_gettid);
	rp_store_release(&w->count->active, 1);
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	rp_quiet_enter(w->quiet, c->quiet);
	while (!rp_load(&w->stop)) {
		uint64_t now_ns;
		bool held;

		rp_quiet_point(w->quiet, c->quiet);
		if (rp_load_acquire(&w->cfg_gen) != gen)
			gen = configure(w, &idle);
		now_ns = rp_now_ns();
		c->now_s = (uint32_t)(now_ns / 1000000000);
		rp_count(&w->count->loops, 1);
		if (sync_all(w, rp_load_acquire(&w->duty), &held)) {
			rp_count(&w->count->busy, 1);
			rp_idle_work(&idle, now_ns);
			continue;
		}
		switch (rp_idle_none(&idle, now_ns)) {
		case RP_IDLE_SPIN:
			rp_cpu_relax();
			break;
		case RP_IDLE_NAP:
			wait_for_kicks(w, idle.sleep_ns);
			break;
		case RP_IDLE_SLEEP:
			sleep_until_kick(w, longest_sleep(w, held, now_ns - idle.since_ns));
			break;
		}
	}
	rp_quiet_leave(c->quiet);
	rp_store_release(&w->count->active, 0);
	return NULL;
}

int rp_worker_watch(struct rp_worker *w, int fd, uint32_t record, struct rp_err *err)
{
	/* Edge-triggered: every kick is an event, and nobody has to read the counter. */
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u32 = record };

	if (fd < 0) {
		rp_add_fetch(&w->polled, 1);
		return 0;
	}
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
		return rp_fail(err, errno, "cannot wait for kicks on descriptor %d: %s", fd,
			       strerror(errno));
	return 0;
}

void rp_worker_unwatch(struct rp_worker *w, int fd)
{
	if (fd < 0)
		rp_add_fetch(&w->polled, -1);
	else
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void rp_worker_wake(struct rp_worker *w)
{
	const uint64_t one = 1;

	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: a wake-up is pending */
}

void rp_worker_configure(struct rp_worker *w, const struct rp_worker_config *cfg)
{
	rp_lock_take(&w->cfg_lock);
	w->cfg = *cfg;
	rp_store_release(&w->cfg_gen, w->cfg_gen + 1);
	rp_lock_release(&w->cfg_lock);
	rp_worker_wake(w);
}

int rp_worker_start(struct rp_worker *w, struct rp_err *err)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = WAKE_RECORD };
	sigset_t all, before;
	int ret;

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll_fd < 0 || w->wake_fd < 0 ||
	    epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &e) < 0) {
		ret = rp_fail(err, errno, "cannot make a worker's descriptors: %s",
			      strerror(errno));
		goto fail;
	}
	/* Signals are for the control plane's threads, but for those that a thread itself causes. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret) {
		ret = rp_fail(err, ret, "cannot start a worker: %s", strerror(ret));
		goto fail;
	}
	return 0;
fail:
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	return ret;
}

void rp_worker_stop(struct rp_worker *w)
{
	rp_store_release(&w->stop, 1);
	rp_worker_wake(w);
	pthread_join(w->thread, NULL);
	close(w->epoll_fd);
	close(w->wake_fd);
}
