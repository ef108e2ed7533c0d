/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sender, switch and receiver in one thread: the cost of a frame without that
 * of moving it between cores. Steady, so the figure to watch.
 */
#include <errno.h>

#include "path.h"

struct one_core {
	rp_bench *bench;
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	rp_caller *caller;
	int code; /* of a sync that failed: a negative errno */
};

/* What a monitor shows is not looked at: that is no part of what it costs others. */
static int empty_monitor(const struct one_core *o)
{
	struct netmap_ring *ring = o->bench->monitor.ring;
	int code = ring ? rp_port_rxsync(o->caller, o->bench->monitor_port, 0) : 0;

	if (ring) {
		ring->cur = ring->tail;
		rp_store_release(&ring->head, ring->tail);
	}
	return code;
}

static void *port_one(void *arg)
{
	struct one_core *o = arg;
	rp_bench *b = o->bench;
	const struct bench_ring tx = b->tx, rx = b->rx;
	struct bench_stream sent = rp_bench_stream(rp_bench_header, o->cfg->frame_bytes);
	struct bench_stream got = sent;
	struct bench_clock clock = rp_bench_clock(o->cfg);

	while (!rp_bench_over(&clock, sent.next)) {
		rp_bench_fill(tx, &sent, o->cfg->batch);
		o->code = rp_port_txsync(o->caller, b->tx_port, 0);
		if (o->code < 0)
			return NULL;
		o->code = rp_port_rxsync(o->caller, b->rx_port, 0);
		if (o->code < 0)
			return NULL;
		rp_bench_drain(rx, &got);
		o->code = empty_monitor(o);
		if (o->code < 0)
			return NULL;
	}
	/* What was taken out of the ring is given back here, for the next run. */
	o->code = rp_port_rxsync(o->caller, b->rx_port, 0);
	*o->out = (struct rp_bench_result){ .frames = got.frames,
					    .ns = rp_bench_now() - clock.start_ns,
					    .lost = sent.next - got.frames - got.bad,
					    .bad = got.bad };
	return NULL;
}

int rp_bench_port_one(rp_bench *bench, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err)
{
	struct one_core o = { .bench = bench, .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, -1 };
	int ret = rp_bench_check_config(bench, cfg, err);

	if (ret < 0)
		return ret;
	o.caller = rp_caller_new(bench->dp, err);
	if (!o.caller)
		return err ? -err->code : -ENOMEM;
	ret = rp_bench_threads(port_one, NULL, cpu, &o, err);
	rp_caller_free(o.caller);
	if (ret == 0 && o.code < 0)
		ret = rp_bench_fail(err, -o.code, "a sync failed: %s", strerror(-o.code));
	return ret;
}

/* The loop of a user's own program that moves frames from ring to ring, with a copy. */
static void *copy_one(void *arg)
{
	struct one_core *o = arg;
	const struct bench_ring tx = o->bench->tx, rx = o->bench->rx;
	uint32_t len = o->cfg->frame_bytes, from = 0, to = 0;
	struct bench_clock clock = rp_bench_clock(o->cfg);
	uint64_t frames = 0;

	while (!rp_bench_over(&clock, frames)) {
		for (uint32_t i = 0; i < o->cfg->batch; i++) {
			memcpy(rp_bench_buf(&rx, rx.ring->slot[to].buf_idx),
			       rp_bench_buf(&tx, tx.ring->slot[from].buf_idx), len);
			from = rp_bench_next(&tx, from);
			to = rp_bench_next(&rx, to);
		}
		frames += o->cfg->batch;
	}
	*o->out =
		(struct rp_bench_result){ .frames = frames, .ns = rp_bench_now() - clock.start_ns };
	return NULL;
}

int rp_bench_memcpy(rp_bench *bench, const struct rp_bench_config *cfg, struct rp_bench_result *out,
		    struct rp_err *err)
{
	struct one_core o = { .bench = bench, .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, -1 };
	int ret = rp_bench_check_config(bench, cfg, err);

	return ret < 0 ? ret : rp_bench_threads(copy_one, NULL, cpu, &o, err);
}
