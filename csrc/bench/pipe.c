/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pipe, and what it is measured by. Frames are slots here.
 *
 *    pipe    fill slots, txsync | rxsync, check slots       as programs do it, csrc/client
 *    slots   fill, swap, check: two arrays                  the least for one core
 *    ring    fill and publish | check and release           the least for two: one array
 *    asking  fill, publish, fence, asleep? | the same       the least of those that may sleep
 *
 * With two cores the halves run in two processes, as users of a pipe do.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "end.h"
#include "path.h"
#include "slots.h"

enum { TX = BENCH_TX, RX = BENCH_RX };

struct rp_bench_pipe {
	rp_dataplane *dp;
	uint32_t slots;
	struct bench_end from;
	struct bench_end to;
};

void rp_bench_pipe_free(rp_bench_pipe *p)
{
	if (!p)
		return;
	bench_end_close(&p->from, p->dp);
	bench_end_close(&p->to, p->dp);
	free(p);
}

rp_bench_pipe *rp_bench_pipe_new(rp_dataplane *dp, int from, int to, struct rp_err *err)
{
	rp_bench_pipe *p = calloc(1, sizeof(*p));

	if (!p) {
		rp_bench_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	*p = (rp_bench_pipe){ .dp = dp, .from.binding = -1, .to.binding = -1 };
	if (bench_end_open(&p->from, dp, from, to, err) < 0 ||
	    bench_end_open(&p->to, dp, to, from, err) < 0) {
		rp_bench_pipe_free(p);
		return NULL;
	}
	p->slots = p->from.ring[TX]->num_slots;
	return p;
}

static uint32_t space(const struct netmap_ring *ring)
{
	const uint32_t head = ring->head, tail = ring->tail;

	return tail >= head ? tail - head : tail + ring->num_slots - head;
}

static void send_batch(struct bench_end *from, struct bench_slots *h, uint32_t n)
{
	bench_slots_fill(h, n);
	bench_slots_done(h, from->ring[TX]);
	rp_client_sync(from->client, TX);
}

/* Take what came. Return: how many frames */
static uint32_t receive(struct bench_end *to, struct bench_slots *h)
{
	uint32_t n;

	rp_client_sync(to->client, RX);
	n = space(to->ring[RX]);
	if (!n)
		return 0;
	bench_slots_check(h, n);
	bench_slots_done(h, to->ring[RX]);
	return n;
}

struct run {
	rp_bench_pipe *pipe;
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
};

static struct rp_bench_result result(const struct bench_slots *sent, const struct bench_slots *got,
				     uint64_t ns)
{
	return (struct rp_bench_result){ .frames = got->next - got->bad,
					 .ns = ns,
					 .lost = sent->next - got->next,
					 .bad = got->bad };
}

static void *pipe_one(void *arg)
{
	const struct run *r = arg;
	rp_bench_pipe *p = r->pipe;
	struct bench_slots sent = bench_slots(p->from.ring[TX], r->cfg->frame_bytes);
	struct bench_slots got = bench_slots(p->to.ring[RX], r->cfg->frame_bytes);
	struct bench_clock clock = rp_bench_clock(r->cfg);

	while (!rp_bench_over(&clock, sent.next)) {
		send_batch(&p->from, &sent, r->cfg->batch);
		receive(&p->to, &got);
	}
	*r->out = result(&sent, &got, rp_bench_now() - clock.start_ns);
	rp_client_sync(p->to.client, RX);
	rp_client_sync(p->from.client, TX);
	return NULL;
}

static void *slots_one(void *arg)
{
	const struct run *r = arg;
	const uint32_t slots = r->pipe->slots;
	struct netmap_slot *a = calloc(2 * (size_t)slots, sizeof(*a)), *b = a + slots;
	struct bench_slots sent = { a, slots, 0, r->cfg->frame_bytes, 0, 0 }, got = sent;
	struct bench_clock clock = rp_bench_clock(r->cfg);

	got.slot = b;
	while (a && !rp_bench_over(&clock, sent.next)) {
		uint32_t at = sent.at;

		bench_slots_fill(&sent, r->cfg->batch);
		for (uint32_t n = r->cfg->batch; n; n--) {
			const struct netmap_slot held = b[at];

			b[at] = a[at];
			a[at] = held;
			at = at + 1 == slots ? 0 : at + 1;
		}
		bench_slots_check(&got, r->cfg->batch);
	}
	*r->out = result(&sent, &got, rp_bench_now() - clock.start_ns);
	free(a);
	return NULL;
}

/* What the two processes of a run share, beside the pipe. */
struct shared {
	alignas(64) uint32_t head; /* of the bare ring, free-running */
	alignas(64) uint32_t tail; /* the receiver's, as the next one: a CSB has both in one line */
	uint32_t asleep;
	alignas(64) uint32_t ready;
	uint32_t done;
	uint64_t start_ns;
	uint64_t sent;
	alignas(64) struct netmap_slot slot[RP_MAX_SLOTS];
};

static void pipe_sender(rp_bench_pipe *p, const struct rp_bench_config *cfg, struct shared *s)
{
	struct bench_slots h = bench_slots(p->from.ring[TX], cfg->frame_bytes);
	struct bench_clock clock = rp_bench_clock(cfg);
	uint32_t spins = 0;

	s->start_ns = clock.start_ns;
	while (!rp_bench_over(&clock, h.next)) {
		while (space(p->from.ring[TX]) < cfg->batch) {
			rp_client_sync(p->from.client, TX);
			rp_bench_wait(&spins);
		}
		send_batch(&p->from, &h, cfg->batch);
	}
	s->sent = h.next;
}

static struct bench_slots pipe_receiver(rp_bench_pipe *p, const struct rp_bench_config *cfg,
					struct shared *s)
{
	struct bench_slots h = bench_slots(p->to.ring[RX], cfg->frame_bytes);
	uint32_t spins = 0;

	for (;;) {
		const uint32_t last = rp_load_acquire(&s->done);

		if (receive(&p->to, &h))
			continue;
		if (last)
			break;
		rp_bench_wait(&spins);
	}
	rp_client_sync(p->to.client, RX);
	return h;
}

/* @asks: after each batch, whether the receiver sleeps, as who may have to wake it must. */
static inline void ring_send(rp_bench_pipe *p, const struct rp_bench_config *cfg, struct shared *s,
			     bool asks)
{
	struct bench_slots h = { s->slot, p->slots, 0, cfg->frame_bytes, 0, 0 };
	struct bench_clock clock = rp_bench_clock(cfg);
	uint32_t spins = 0;

	s->start_ns = clock.start_ns;
	while (!rp_bench_over(&clock, h.next)) {
		while ((uint32_t)h.next - rp_load_acquire(&s->tail) + cfg->batch > p->slots)
			rp_bench_wait(&spins);
		bench_slots_fill(&h, cfg->batch);
		rp_store_release(&s->head, (uint32_t)h.next);
		if (asks) {
			rp_fence_full();
			if (rp_load(&s->asleep))
				break; /* it never does */
		}
	}
	s->sent = h.next;
}

static void ring_sender(rp_bench_pipe *p, const struct rp_bench_config *cfg, struct shared *s)
{
	ring_send(p, cfg, s, false);
}

static void asking_ring_sender(rp_bench_pipe *p, const struct rp_bench_config *cfg,
			       struct shared *s)
{
	ring_send(p, cfg, s, true);
}

static struct bench_slots ring_receiver(rp_bench_pipe *p, const struct rp_bench_config *cfg,
					struct shared *s)
{
	struct bench_slots h = { s->slot, p->slots, 0, cfg->frame_bytes, 0, 0 };
	uint32_t spins = 0;

	for (;;) {
		const uint32_t last = rp_load_acquire(&s->done);
		const uint32_t n = rp_load_acquire(&s->head) - (uint32_t)h.next;

		if (n) {
			bench_slots_check(&h, n);
			rp_store_release(&s->tail, (uint32_t)h.next);
			continue;
		}
		if (last)
			return h;
		rp_bench_wait(&spins);
	}
}

typedef void sender(rp_bench_pipe *p, const struct rp_bench_config *cfg, struct shared *s);
typedef struct bench_slots receiver(rp_bench_pipe *p, const struct rp_bench_config *cfg,
				    struct shared *s);

static int pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

/* The child sends: it does nothing but that, and ends without cleaning up what is its parent's. */
static int in_two_processes(sender *send, receiver *take, const struct run *r, struct shared *s,
			    struct rp_err *err)
{
	cpu_set_t before;
	struct bench_slots got;
	uint32_t spins = 0;
	pid_t child;

	if (sched_getaffinity(0, sizeof(before), &before) < 0 || pin(r->cfg->rx_cpu) < 0)
		return rp_bench_fail(err, errno, "cannot run on CPU %d: %s", r->cfg->rx_cpu,
				     strerror(errno));
	child = fork();
	if (child == 0) {
		const int failed = pin(r->cfg->tx_cpu);

		rp_store_release(&s->ready, 1);
		if (!failed)
			send(r->pipe, r->cfg, s);
		rp_store_release(&s->done, 1);
		_exit(failed);
	}
	if (child > 0) {
		while (!rp_load_acquire(&s->ready))
			rp_bench_wait(&spins);
		got = take(r->pipe, r->cfg, s);
		*r->out = (struct rp_bench_result){ .frames = got.next - got.bad,
						    .ns = rp_bench_now() - s->start_ns,
						    .lost = s->sent - got.next,
						    .bad = got.bad };
		waitpid(child, NULL, 0);
	}
	sched_setaffinity(0, sizeof(before), &before);
	return child < 0 ?
		       rp_bench_fail(err, errno, "cannot start a process: %s", strerror(errno)) :
		       0;
}

static int run_two(sender *send, receiver *take, const struct run *r, struct rp_err *err)
{
	struct shared *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (s == MAP_FAILED)
		return rp_bench_fail(err, ENOMEM, "out of memory");
	ret = in_two_processes(send, take, r, s, err);
	munmap(s, sizeof(*s));
	/* What the child wrote into the ring is there; its sender's cursors are, too. */
	rp_client_sync(r->pipe->from.client, TX);
	return ret;
}

static int check_config(const rp_bench_pipe *p, const struct rp_bench_config *cfg,
			struct rp_err *err)
{
	if (cfg->batch == 0 || cfg->batch > p->slots / 2 || cfg->frame_bytes > UINT16_MAX)
		return rp_bench_fail(
			err, EINVAL,
			"batches of %u frames of %u bytes do not fit rings of %u slots", cfg->batch,
			cfg->frame_bytes, p->slots);
	return 0;
}

static int run_one(void *(*loop)(void *), rp_bench_pipe *p, const struct rp_bench_config *cfg,
		   struct rp_bench_result *out, struct rp_err *err)
{
	struct run r = { p, cfg, out };
	const int32_t cpu[2] = { cfg->tx_cpu, -1 };
	int ret = check_config(p, cfg, err);

	return ret < 0 ? ret : rp_bench_threads(loop, NULL, cpu, &r, err);
}

int rp_bench_pipe_one(rp_bench_pipe *p, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err)
{
	return run_one(pipe_one, p, cfg, out, err);
}

int rp_bench_slots(rp_bench_pipe *p, const struct rp_bench_config *cfg, struct rp_bench_result *out,
		   struct rp_err *err)
{
	return run_one(slots_one, p, cfg, out, err);
}

int rp_bench_pipe_two(rp_bench_pipe *p, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err)
{
	const struct run r = { p, cfg, out };
	int ret = check_config(p, cfg, err);

	return ret < 0 ? ret : run_two(pipe_sender, pipe_receiver, &r, err);
}

int rp_bench_ring(rp_bench_pipe *p, const struct rp_bench_config *cfg, struct rp_bench_result *out,
		  struct rp_err *err)
{
	const struct run r = { p, cfg, out };
	int ret = check_config(p, cfg, err);

	return ret < 0 ? ret : run_two(ring_sender, ring_receiver, &r, err);
}

int rp_bench_asking_ring(rp_bench_pipe *p, const struct rp_bench_config *cfg,
			 struct rp_bench_result *out, struct rp_err *err)
{
	const struct run r = { p, cfg, out };
	int ret = check_config(p, cfg, err);

	return ret < 0 ? ret : run_two(asking_ring_sender, ring_receiver, &r, err);
}
