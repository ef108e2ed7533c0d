/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a round trip takes at least, between two threads that spin and between
 * threads that sleep.
 *
 *    spin    near: ping = n                       far: pong = n          two cache lines,
 *            or more: words that the other one reads when it has seen the cursor, as a ring has
 *    sleep   near ---> far ---> near                                     two eventfds
 *            near ---> middle ---> far ---> middle ---> near             four
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "path.h"

enum { LOOK = 64, FDS = 4, WORDS = 1024 };

/* A word with a cache line for itself. */
struct line {
	alignas(64) uint32_t word;
};

/* What one thread tells the other: a cursor and, before it, words that go round as slots do. */
struct told {
	struct line cursor;
	struct line word[RP_BENCH_LINES][WORDS];
};

struct spin {
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	uint32_t lines;
	uint64_t bad;
	struct told ping;
	struct told pong;
	struct line stop;
};

static void say(struct told *t, uint32_t lines, uint32_t n)
{
	for (uint32_t i = 0; i < lines; i++)
		rp_store(&t->word[i][n % WORDS].word, n);
	rp_store_release(&t->cursor.word, n);
}

/* Return: words that are not what was told with @n */
static uint32_t hear(const struct told *t, uint32_t lines, uint32_t n)
{
	uint32_t bad = 0;

	for (uint32_t i = 0; i < lines; i++)
		bad += rp_load(&t->word[i][n % WORDS].word) != n;
	return bad;
}

static void *spin_near(void *arg)
{
	struct spin *s = arg;
	const uint64_t start = rp_bench_now();
	uint32_t n = 0, spins = 0, bad = 0;

	do {
		say(&s->ping, s->lines, ++n);
		while (rp_load_acquire(&s->pong.cursor.word) != n)
			rp_bench_wait(&spins);
		bad += hear(&s->pong, s->lines, n);
	} while (n % LOOK || rp_bench_now() - start < s->cfg->run_ns);
	*s->out = (struct rp_bench_result){ .frames = n, .ns = rp_bench_now() - start, .bad = bad };
	rp_store_release(&s->stop.word, 1);
	return NULL;
}

static void *spin_far(void *arg)
{
	struct spin *s = arg;
	uint32_t n = 0, spins = 0, bad = 0;

	while (!rp_load_acquire(&s->stop.word)) {
		const uint32_t ping = rp_load_acquire(&s->ping.cursor.word);

		if (ping != n) {
			bad += hear(&s->ping, s->lines, ping);
			say(&s->pong, s->lines, n = ping);
		} else {
			rp_bench_wait(&spins);
		}
	}
	s->bad = bad;
	return NULL;
}

int rp_bench_ping_pong(const struct rp_bench_config *cfg, uint32_t lines,
		       struct rp_bench_result *out, struct rp_err *err)
{
	const int32_t cpu[2] = { cfg->tx_cpu, cfg->rx_cpu };
	struct spin *s;
	int ret;

	if (lines > RP_BENCH_LINES)
		return rp_bench_fail(err, EINVAL, "%u cache lines beside the cursor are too many",
				     lines);
	s = aligned_alloc(64, sizeof(*s));
	if (!s)
		return rp_bench_fail(err, ENOMEM, "out of memory");
	memset(s, 0, sizeof(*s));
	s->cfg = cfg;
	s->out = out;
	s->lines = lines;
	ret = rp_bench_threads(spin_near, spin_far, cpu, s, err);
	if (ret == 0)
		out->bad += s->bad;
	free(s);
	return ret;
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
