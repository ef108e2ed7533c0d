/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sender's and a receiver's process, and the backend between them, which is
 * the process that calls: its worker runs the switch.
 *
 *    sender             backend's worker             receiver
 *    fill, txsync ----> pull, switch, publish -----> rxsync, check; sleeps when
 *           kick, if the worker sleeps   call, if it sleeps   there is nothing
 *
 * Both are forked for each run, and share with their parent only what the rings
 * are in and the record below.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "end.h"
#include "path.h"

enum { NAP_MS = 1 };

struct rp_bench_processes {
	rp_dataplane *dp;
	struct bench_end from;
	struct bench_end to;
	struct bench_ring tx;
	struct bench_ring rx;
	struct meeting_point *shared;
};

/* What the three processes share. */
struct meeting_point {
	uint32_t ready; /* the receiver looks */
	uint32_t done;	/* the sender has sent all */
	uint64_t start_ns;
	uint64_t sent;
	struct rp_bench_result result;
};

static struct bench_ring ring_of(const struct bench_end *e, int side)
{
	struct netmap_ring *ring = e->ring[side];

	return (struct bench_ring){ .ring = ring,
				    .bufs = (uint8_t *)ring + ring->buf_ofs,
				    .buf_bytes = ring->nr_buf_size,
				    .slots = ring->num_slots };
}

/* Sync until @space slots are free: a full receiver holds its senders back, but not forever. */
static void make_space(const struct bench_end *e, const struct bench_ring *tx, uint32_t space)
{
	while (rp_bench_space(tx) < space) {
		rp_client_sync(e->client, BENCH_TX);
		if (rp_bench_space(tx) < space)
			sched_yield();
	}
}

static void run_sender(rp_bench_processes *p, const struct rp_bench_config *cfg)
{
	struct bench_stream s = rp_bench_stream(rp_bench_header, cfg->frame_bytes);
	struct meeting_point *shared = p->shared;
	struct bench_clock clock;

	while (!rp_load_acquire(&shared->ready))
		sched_yield();
	clock = rp_bench_clock(cfg);
	shared->start_ns = clock.start_ns;
	while (!rp_bench_over(&clock, s.next)) {
		make_space(&p->from, &p->tx, cfg->batch);
		rp_bench_fill(p->tx, &s, cfg->batch);
		rp_client_sync(p->from.client, BENCH_TX);
	}
	make_space(&p->from, &p->tx, p->tx.slots - 1);
	shared->sent = s.next;
	rp_store_release(&shared->done, 1);
}

/* Sleep until the ring changes, or for a moment: whether the sender is done is not told. */
static void wait_for_frames(const rp_bench_processes *p)
{
	struct pollfd call = { .fd = rp_client_call_fd(p->to.client, BENCH_RX), .events = POLLIN };

	rp_client_arm(p->to.client, BENCH_RX);
	rp_client_sync(p->to.client, BENCH_RX);
	if (!rp_bench_space(&p->rx))
		poll(&call, 1, NAP_MS);
	rp_client_disarm(p->to.client, BENCH_RX);
}

static void run_receiver(rp_bench_processes *p, const struct rp_bench_config *cfg)
{
	struct bench_stream s = rp_bench_stream(rp_bench_header, cfg->frame_bytes);
	struct meeting_point *shared = p->shared;
	uint64_t ns = 0;

	rp_store_release(&shared->ready, 1);
	for (;;) {
		const bool last = rp_load_acquire(&shared->done); /* before looking for frames */

		rp_client_sync(p->to.client, BENCH_RX);
		if (rp_bench_drain(p->rx, &s)) {
			ns = rp_bench_now();
			continue;
		}
		if (last)
			break;
		wait_for_frames(p);
	}
	rp_client_sync(p->to.client, BENCH_RX);
	shared->result = (struct rp_bench_result){ .frames = s.frames,
						   .ns = ns - shared->start_ns,
						   .lost = shared->sent - s.frames - s.bad,
						   .bad = s.bad };
}

static void pin(int32_t cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	if (cpu >= 0)
		CPU_SET((unsigned)cpu, &one);
	if (cpu >= 0 && sched_setaffinity(0, sizeof(one), &one) < 0)
		_exit(EXIT_FAILURE);
}

/* A child does nothing but @loop, and cleans up nothing: all of it is its parent's, too. */
static pid_t start(void (*loop)(rp_bench_processes *p, const struct rp_bench_config *cfg),
		   rp_bench_processes *p, const struct rp_bench_config *cfg, int32_t cpu)
{
	const pid_t child = fork();

	if (child == 0) {
		pin(cpu);
		loop(p, cfg);
		_exit(EXIT_SUCCESS);
	}
	return child;
}

static int wait_for(pid_t child, const char *who, struct rp_err *err)
{
	int status;

	if (waitpid(child, &status, 0) < 0)
		return rp_bench_fail(err, errno, "cannot wait for the %s: %s", who,
				     strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
		return rp_bench_fail(err, EIO, "the %s ended with status %#x", who,
				     (unsigned)status);
	return 0;
}

int rp_bench_processes_run(rp_bench_processes *p, const struct rp_bench_config *cfg,
			   struct rp_bench_result *out, struct rp_err *err)
{
	pid_t receiver, sender;
	int ret;

	if (cfg->frame_bytes < BENCH_FRAME_MIN || cfg->frame_bytes > p->tx.buf_bytes ||
	    cfg->batch < 1 || cfg->batch > p->tx.slots / 2)
		return rp_bench_fail(err, EINVAL, "%u frames of %u bytes do not fit the rings",
				     cfg->batch, cfg->frame_bytes);
	*p->shared = (struct meeting_point){ 0 };
	receiver = start(run_receiver, p, cfg, cfg->rx_cpu);
	sender = receiver < 0 ? -1 : start(run_sender, p, cfg, cfg->tx_cpu);
	if (sender < 0)
		ret = rp_bench_fail(err, errno, "cannot start a process: %s", strerror(errno));
	else
		ret = wait_for(sender, "sender", err);
	rp_store_release(&p->shared->done, 1); /* also if the sender could not say so */
	if (receiver > 0) {
		const int received = wait_for(receiver, "receiver", ret < 0 ? NULL : err);

		ret = ret < 0 ? ret : received;
	}
	*out = p->shared->result;
	return ret;
}

/* Let the receiver say one word, so that the switch knows where its address is. */
static void announce(const rp_bench_processes *p)
{
	const struct bench_ring tx = ring_of(&p->to, BENCH_TX);
	uint8_t header[BENCH_HEADER];
	struct bench_stream s;

	memcpy(header, rp_bench_header, sizeof(header));
	memcpy(header, rp_bench_header + 6, 6);
	memcpy(header + 6, rp_bench_header, 6);
	s = rp_bench_stream(header, BENCH_FRAME_MIN);
	rp_bench_fill(tx, &s, 1);
	make_space(&p->to, &tx, tx.slots - 1);
}

rp_bench_processes *rp_bench_processes_new(rp_dataplane *dp, int from, int to, struct rp_err *err)
{
	rp_bench_processes *p = calloc(1, sizeof(*p));

	if (!p) {
		rp_bench_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	*p = (rp_bench_processes){ .dp = dp, .from.binding = -1, .to.binding = -1 };
	p->shared = mmap(NULL, sizeof(*p->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->shared == MAP_FAILED) {
		rp_bench_fail(err, ENOMEM, "out of memory");
	} else if (bench_end_open(&p->from, dp, from, -1, err) == 0 &&
		   bench_end_open(&p->to, dp, to, -1, err) == 0) {
		p->tx = ring_of(&p->from, BENCH_TX);
		p->rx = ring_of(&p->to, BENCH_RX);
		announce(p);
		return p;
	}
	rp_bench_processes_free(p);
	return NULL;
}

void rp_bench_processes_free(rp_bench_processes *p)
{
	if (!p)
		return;
	bench_end_close(&p->from, p->dp);
	bench_end_close(&p->to, p->dp);
	if (p->shared != MAP_FAILED)
		munmap(p->shared, sizeof(*p->shared));
	free(p);
}
