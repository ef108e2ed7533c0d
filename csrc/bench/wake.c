/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a round trip takes at least, between two threads that spin and between
 * threads that sleep.
 *
 *    spin    near: ping = n                       far: pong = n          two cache lines
 *    sleep   near ---> far ---> near                                     two eventfds
 *            near ---> middle ---> far ---> middle ---> near             four
 */
#include <errno.h>
#include <stdalign.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "path.h"

enum { LOOK = 64, FDS = 4 };

struct spin {
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	alignas(64) uint32_t ping;
	alignas(64) uint32_t pong;
	alignas(64) uint32_t stop;
};

static void *spin_near(void *arg)
{
	struct spin *s = arg;
	const uint64_t start = rp_bench_now();
	uint32_t n = 0, spins = 0;

	do {
		rp_store_release(&s->ping, ++n);
		while (rp_load_acquire(&s->pong) != n)
			rp_bench_wait(&spins);
	} while (n % LOOK || rp_bench_now() - start < s->cfg->run_ns);
	*s->out = (struct rp_bench_result){ .frames = n, .ns = rp_bench_now() - start };
	rp_store_release(&s->stop, 1);
	return NULL;
}

static void *spin_far(void *arg)
{
	struct spin *s = arg;
	uint32_t n = 0, spins = 0;

	while (!rp_load_acquire(&s->stop)) {
		const uint32_t ping = rp_load_acquire(&s->ping);

		if (ping != n)
			rp_store_release(&s->pong, n = ping);
		else
			rp_bench_wait(&spins);
	}
	return NULL;
}

int rp_bench_ping_pong(const struct rp_bench_config *cfg, struct rp_bench_result *out,
		       struct rp_err *err)
{
	struct spin s = { .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, cfg->rx_cpu };

	return rp_bench_threads(spin_near, spin_far, cpu, &s, err);
}

struct sleep {
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	int fd[FDS];
	int last; /* the one that wakes `near`; 1: there is no `middle` */
	uint32_t stop;
};

/* Wake who reads @to, and wait for @from. Both block. */
static void pass(const struct sleep *s, int to, int from)
{
	uint64_t n = 1;

	if (write(s->fd[to], &n, sizeof(n)) < 0 || read(s->fd[from], &n, sizeof(n)) < 0)
		return; /* neither can happen to an eventfd of ours */
}

static void *sleep_near(void *arg)
{
	struct sleep *s = arg;
	const uint64_t start = rp_bench_now();
	uint64_t n = 0, now;

	do {
		pass(s, 0, s->last);
		n++;
		now = rp_bench_now();
	} while (now - start < s->cfg->run_ns);
	*s->out = (struct rp_bench_result){ .frames = n, .ns = now - start };
	rp_store_release(&s->stop, 1);
	pass(s, 0, s->last);
	return NULL;
}

static void *sleep_middle(void *arg)
{
	struct sleep *s = arg;
	uint64_t n;

	if (read(s->fd[0], &n, sizeof(n)) < 0)
		return NULL;
	while (!rp_load_acquire(&s->stop)) {
		pass(s, 1, 2);
		pass(s, 3, 0);
	}
	pass(s, 1, 2);
	n = 1;
	return write(s->fd[3], &n, sizeof(n)) < 0 ? arg : NULL;
}

static void *sleep_far(void *arg)
{
	struct sleep *s = arg;
	const int to = s->last == 1 ? 1 : 2, from = to - 1;
	uint64_t n;

	if (read(s->fd[from], &n, sizeof(n)) < 0)
		return NULL;
	while (!rp_load_acquire(&s->stop))
		pass(s, to, from);
	n = 1;
	return write(s->fd[to], &n, sizeof(n)) < 0 ? arg : NULL;
}

int rp_bench_wake_ups(const struct rp_bench_config *cfg, uint32_t middle,
		      struct rp_bench_result *out, struct rp_err *err)
{
	struct sleep s = { .cfg = cfg, .out = out, .last = middle ? 3 : 1 };
	const struct bench_thread threads[] = { { sleep_near, &s, cfg->tx_cpu },
						{ sleep_far, &s,
						  middle ? cfg->tx_cpu : cfg->rx_cpu },
						{ sleep_middle, &s, cfg->rx_cpu } };
	int ret = 0;

	for (int i = 0; i < FDS; i++) {
		s.fd[i] = eventfd(0, EFD_CLOEXEC);
		if (s.fd[i] < 0)
			ret = rp_bench_fail(err, errno, "no eventfd: %s", strerror(errno));
	}
	if (ret == 0)
		ret = rp_bench_team(threads, middle ? 3 : 2, err);
	for (int i = 0; i < FDS; i++)
		if (s.fd[i] >= 0)
			close(s.fd[i]);
	return ret;
}
