/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two front ends as guests are, and what is between them: a switch with its worker,
 * or a pipe.
 *
 *    one     fill, push | the worker's step | pull, check     in one thread
 *    two     fill, push, sleep  ...  pull, check, sleep       a thread each, the worker its own
 *    rtt     one frame there and back, spinning or sleeping:
 *
 *            push ---> worker ---> pull                       both front ends are one thread's
 *            push ---> worker ---> far end ---> worker ---> pull         RP_BENCH_THROUGH
 *            push ---> far end ---> pull                      of a pipe
 *            push ---> relay ---> far end ---> relay ---> pull   of one that sleeps, likewise
 *
 * Frames of a pipe are slots, as in pipe.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "front_end.h"
#include "slots.h"

struct rp_bench_passthrough {
	rp_dataplane *dp;
	int port; /* of the near end */
	bool pipe;
	struct front_end near;
	struct front_end far;
	int relay[2][2]; /* of either end, from its rings to the other end's: tx, rx; -1: none */
	int bell[2][2];	 /* what they are rung by */
};

/* One end of a stream. */
struct flow {
	struct front_end *at;
	bool slots;
	struct bench_stream frames;
	struct bench_slots bare;
};

static struct flow flow(const rp_bench_passthrough *p, struct front_end *at, bool out, bool to_far,
			uint32_t frame_bytes)
{
	uint8_t header[BENCH_HEADER];

	memcpy(header, rp_bench_header, sizeof(header));
	if (!to_far) {
		memcpy(header, rp_bench_header + 6, 6);
		memcpy(header + 6, rp_bench_header, 6);
	}
	return (struct flow){ at, p->pipe, rp_bench_stream(header, frame_bytes),
			      bench_slots(out ? at->tx.ring : at->rx.ring, frame_bytes) };
}

/* Fill @n slots, which are free, and publish them. */
static inline void send(struct flow *f, uint32_t n)
{
	if (f->slots) {
		bench_slots_fill(&f->bare, n);
		bench_slots_done(&f->bare, f->at->tx.ring);
	} else {
		rp_bench_fill(f->at->tx, &f->frames, n);
	}
	front_end_push(f->at);
}

/* Look for frames, check them and release their slots. Return: how many */
static inline uint32_t receive(struct flow *f)
{
	uint32_t n;

	front_end_pull(f->at);
	if (!f->slots)
		return rp_bench_drain(f->at->rx, &f->frames);
	n = rp_bench_space(&f->at->rx);
	bench_slots_check(&f->bare, n);
	bench_slots_done(&f->bare, f->at->rx.ring);
	return n;
}

static uint64_t sent_by(const struct flow *f)
{
	return f->slots ? f->bare.next : f->frames.next;
}

/* Frames that came, whatever they are. */
static uint64_t come_to(const struct flow *f)
{
	return f->slots ? f->bare.next : f->frames.frames + f->frames.bad;
}

static uint64_t bad_of(const struct flow *f)
{
	return f->slots ? f->bare.bad : f->frames.bad;
}

static struct rp_bench_result result(const struct flow *out, const struct flow *in, uint64_t ns)
{
	return (struct rp_bench_result){ .frames = come_to(in) - bad_of(in),
					 .ns = ns,
					 .lost = sent_by(out) - come_to(in),
					 .bad = bad_of(in) };
}

struct run {
	rp_bench_passthrough *pt;
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	rp_caller *caller;
	uint32_t how;
	int code;
	struct flow there; /* what the near end sends, */
	struct flow back;  /* and what the first one to see it again receives */
	uint64_t start_ns;
	/* Not in a line that the flows are in: who waits looks here again and again. */
	alignas(64) uint32_t done; /* the sender has sent all */
	uint32_t forgotten;	   /* somebody slept and was not called */
};

static void *one(void *arg)
{
	struct run *r = arg;
	struct bench_clock clock = rp_bench_clock(r->cfg);

	while (!rp_bench_over(&clock, sent_by(&r->there)) && r->code >= 0) {
		send(&r->there, r->cfg->batch);
		if (!r->pt->pipe)
			r->code = rp_port_txsync(r->caller, r->pt->port, 0);
		receive(&r->back);
	}
	*r->out = result(&r->there, &r->back, rp_bench_now() - clock.start_ns);
	return NULL;
}

/* As many slots as are free, a batch at most; sleep until there is one. */
static uint32_t free_slots(struct run *r, struct front_end *f)
{
	uint32_t n;

	while (!(n = rp_bench_space(&f->tx))) {
		front_end_push(f);
		if (!rp_bench_space(&f->tx) && !front_end_sleep(f, f->out)) {
			r->forgotten = 1;
			return 0;
		}
	}
	return n < r->cfg->batch ? n : r->cfg->batch;
}

static void *sender(void *arg)
{
	struct run *r = arg;
	struct bench_clock clock = rp_bench_clock(r->cfg);
	uint32_t n;

	r->start_ns = clock.start_ns;
	while (!rp_bench_over(&clock, sent_by(&r->there)) && (n = free_slots(r, r->there.at)) > 0)
		send(&r->there, n);
	rp_store_release(&r->done, 1);
	client_wake(r->back.at->in->call_fd);
	return NULL;
}

static void *receiver(void *arg)
{
	struct run *r = arg;
	struct front_end *at = r->back.at;

	while (!rp_load_acquire(&r->done) || come_to(&r->back) < sent_by(&r->there)) {
		if (!receive(&r->back) && !front_end_sleep(at, at->in)) {
			r->forgotten = 1;
			break;
		}
	}
	*r->out = result(&r->there, &r->back, rp_bench_now() - r->start_ns);
	return NULL;
}

/* Wait for a frame. Return: false when there will be none */
static bool await(struct run *r, struct flow *in, uint32_t *spins)
{
	while (!receive(in)) {
		if (rp_load_acquire(&r->done))
			return false;
		if (!(r->how & RP_BENCH_SLEEP)) {
			rp_bench_wait(spins);
		} else if (!front_end_sleep(in->at, in->at->in)) {
			r->forgotten = 1;
			return false;
		}
	}
	return true;
}

static void *near_end(void *arg)
{
	enum { LOOK = 64 };
	const uint32_t look = ((struct run *)arg)->how & RP_BENCH_SLEEP ? 1 : LOOK;
	struct run *r = arg;
	uint32_t spins = 0;
	uint64_t n = 0;

	r->start_ns = rp_bench_now();
	do
		send(&r->there, 1);
	while (await(r, &r->back, &spins) &&
	       (++n % look || rp_bench_now() - r->start_ns < r->cfg->run_ns));
	*r->out = result(&r->there, &r->back, rp_bench_now() - r->start_ns);
	rp_store_release(&r->done, 1);
	client_wake(r->pt->far.in->call_fd);
	return NULL;
}

/* What comes to the far end goes back. */
static void *far_end(void *arg)
{
	struct run *r = arg;
	rp_bench_passthrough *p = r->pt;
	struct flow in = flow(p, &p->far, false, true, r->cfg->frame_bytes);
	struct flow out = flow(p, &p->far, true, false, r->cfg->frame_bytes);
	uint32_t spins = 0;

	while (await(r, &in, &spins))
		send(&out, 1);
	return NULL;
}

/* Forget what an earlier run left. */
static void empty(struct front_end *f)
{
	front_end_pull(f);
	f->rx.ring->cur = rp_load(&f->rx.ring->tail);
	rp_store_release(&f->rx.ring->head, f->rx.ring->cur);
	front_end_pull(f);
	front_end_push(f);
	f->kicks = f->calls = 0;
}

static int begin(struct run *r, struct rp_err *err)
{
	const struct rp_bench_config *cfg = r->cfg;
	rp_bench_passthrough *p = r->pt;

	if (cfg->frame_bytes < BENCH_FRAME_MIN || cfg->frame_bytes > p->near.tx.buf_bytes ||
	    cfg->batch < 1 || cfg->batch > p->near.tx.slots / 2)
		return rp_bench_fail(err, EINVAL, "%u frames of %u bytes do not fit the rings",
				     cfg->batch, cfg->frame_bytes);
	empty(&p->near);
	empty(&p->far);
	r->there = flow(p, &p->near, true, true, cfg->frame_bytes);
	r->back = flow(p, &p->far, false, true, cfg->frame_bytes);
	return 0;
}

static int end(const struct run *r, int ret, struct rp_err *err)
{
	const rp_bench_passthrough *p = r->pt;

	if (ret < 0)
		return ret;
	if (r->code < 0)
		return rp_bench_fail(err, -r->code, "a sync failed: %s", strerror(-r->code));
	if (r->forgotten)
		return rp_bench_fail(err, ETIMEDOUT, "somebody slept for %d s and was not called",
				     FRONT_END_PATIENCE_MS / 1000);
	r->out->kicks = p->near.kicks + p->far.kicks;
	r->out->calls = p->near.calls + p->far.calls;
	return 0;
}

int rp_bench_passthrough_one(rp_bench_passthrough *p, const struct rp_bench_config *cfg,
			     struct rp_bench_result *out, struct rp_err *err)
{
	struct run r = { .pt = p, .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, -1 };
	int ret = begin(&r, err);

	if (ret < 0)
		return ret;
	/* A worker that is awake asks for no kicks. */
	rp_store(&p->near.out->at.csb->ktoa.kern_need_kick, 0);
	r.caller = rp_caller_new(p->dp, err);
	if (!r.caller)
		return err ? -err->code : -ENOMEM;
	ret = rp_bench_threads(one, NULL, cpu, &r, err);
	rp_caller_free(r.caller);
	return end(&r, ret, err);
}

int rp_bench_passthrough_two(rp_bench_passthrough *p, const struct rp_bench_config *cfg,
			     struct rp_bench_result *out, struct rp_err *err)
{
	struct run r = { .pt = p, .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, cfg->rx_cpu };
	int ret = begin(&r, err);

	if (ret == 0)
		ret = rp_bench_threads(sender, receiver, cpu, &r, err);
	return end(&r, ret, err);
}

int rp_bench_passthrough_rtt(rp_bench_passthrough *p, uint32_t how,
			     const struct rp_bench_config *cfg, struct rp_bench_result *out,
			     struct rp_err *err)
{
	struct run r = { .pt = p, .cfg = cfg, .out = out, .how = how };
	const bool reflects = p->pipe || how & RP_BENCH_THROUGH;
	const int32_t cpu[2] = { cfg->tx_cpu, cfg->rx_cpu };
	int ret = begin(&r, err);

	if (reflects)
		r.back = flow(p, &p->near, false, false, cfg->frame_bytes);
	if (ret == 0)
		ret = rp_bench_threads(near_end, reflects ? far_end : NULL, cpu, &r, err);
	return end(&r, ret, err);
}

/* Let the far end say one word, so that the switch knows where its address is. */
static int announce(rp_bench_passthrough *p, int port, bool step, struct rp_err *err)
{
	struct flow word = flow(p, &p->far, true, false, BENCH_FRAME_MIN);
	struct flow heard = flow(p, &p->near, false, false, BENCH_FRAME_MIN);
	rp_caller *caller = rp_caller_new(p->dp, err);
	const uint64_t start = rp_bench_now();

	if (!caller)
		return err ? -err->code : -ENOMEM;
	send(&word, 1);
	if (step)
		rp_port_txsync(caller, port, 0);
	rp_caller_free(caller);
	while (!receive(&heard)) {
		if (rp_bench_now() - start > FRONT_END_PATIENCE_MS * UINT64_C(1000000))
			return rp_bench_fail(err, ETIMEDOUT, "port %d was not heard", port);
		sched_yield();
	}
	return 0;
}

/* Let @f ring a bell of its own where it rang the other end's; see relay.h. */
static int put_between(rp_bench_passthrough *p, int end, int ring, int *fd, struct rp_err *err)
{
	const int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	p->bell[end][ring] = bell;
	if (bell < 0)
		return rp_bench_fail(err, errno, "no eventfd: %s", strerror(errno));
	p->relay[end][ring] = rp_relay_add(p->dp, bell, *fd, err);
	*fd = bell;
	return p->relay[end][ring] < 0 ? p->relay[end][ring] : 0;
}

static int put_relays(rp_bench_passthrough *p, struct rp_err *err)
{
	struct front_end *f[] = { &p->near, &p->far };
	int ret = 0;

	for (int i = 0; ret == 0 && i < 2; i++) {
		ret = put_between(p, i, 0, &f[i]->out_bell, err);
		if (ret == 0)
			ret = put_between(p, i, 1, &f[i]->in_bell, err);
	}
	return ret;
}

rp_bench_passthrough *rp_bench_passthrough_new(rp_dataplane *dp, int near, int far, uint32_t kind,
					       struct rp_err *err)
{
	const bool pipe = kind == RP_BENCH_PIPE || kind == RP_BENCH_RELAYED;
	rp_bench_passthrough *p = calloc(1, sizeof(*p));
	int ret;

	if (!p) {
		rp_bench_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	*p = (rp_bench_passthrough){
		.dp = dp, .port = near, .pipe = pipe, .near.end.binding = -1, .far.end.binding = -1
	};
	memset(p->relay, -1, sizeof(p->relay));
	memset(p->bell, -1, sizeof(p->bell));
	ret = front_end_open(&p->near, dp, near, pipe ? far : -1, err);
	if (ret == 0)
		ret = front_end_open(&p->far, dp, far, pipe ? near : -1, err);
	if (ret == 0 && kind == RP_BENCH_RELAYED)
		ret = put_relays(p, err);
	if (ret == 0 && !pipe)
		ret = announce(p, far, kind == RP_BENCH_STEPS, err);
	if (ret == 0)
		return p;
	rp_bench_passthrough_free(p);
	return NULL;
}

void rp_bench_passthrough_free(rp_bench_passthrough *p)
{
	if (!p)
		return;
	for (int i = 0; i < 4; i++) {
		if (p->relay[i / 2][i % 2] >= 0)
			rp_relay_del(p->dp, p->relay[i / 2][i % 2], NULL);
		if (p->bell[i / 2][i % 2] >= 0)
			close(p->bell[i / 2][i % 2]);
	}
	front_end_close(&p->near, p->dp);
	front_end_close(&p->far, p->dp);
	free(p);
}
