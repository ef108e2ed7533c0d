/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sender and a receiver, each on a core. The sender runs the switch: fill,
 * txsync. The receiver only looks: rxsync, check.
 *
 *      sender, tx_cpu                     receiver, rx_cpu
 *      fill a batch, txsync    frames     rxsync, check what is there
 *      ...                     ======>    ...
 *      time is up: sent = n     ---->     all n, or what is left of them: end
 */
#include <errno.h>

#include "path.h"

struct two_cores {
	rp_bench *bench;
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	rp_caller *tx_caller;
	rp_caller *rx_caller;
	uint64_t start_ns; /* these four are the sender's, valid once it is done */
	uint64_t sent;
	int tx_code;
	uint32_t done;
	int rx_code;
	uint32_t rx_gone; /* the receiver failed: stop sending */
};

/* Sync until the switch took all; a full receiver may hold some back. */
static int send_all(struct two_cores *t, const struct bench_ring *tx)
{
	uint32_t spins = 0;
	int ret;

	for (;;) {
		ret = rp_port_txsync(t->tx_caller, t->bench->tx_port, 0);
		if (ret < 0 || rp_bench_space(tx) == tx->slots - 1)
			return ret;
		if (rp_load_acquire(&t->rx_gone))
			return 0;
		rp_bench_wait(&spins);
	}
}

static void *sender(void *arg)
{
	struct two_cores *t = arg;
	const struct bench_ring tx = t->bench->tx;
	struct bench_stream s = rp_bench_stream(rp_bench_header, t->cfg->frame_bytes);
	struct bench_clock clock = rp_bench_clock(t->cfg);

	t->start_ns = clock.start_ns;
	while (!rp_bench_over(&clock, s.next) && t->tx_code >= 0 && !rp_load(&t->rx_gone)) {
		rp_bench_fill(tx, &s, t->cfg->batch);
		t->tx_code = send_all(t, &tx);
	}
	t->sent = s.next;
	rp_store_release(&t->done, 1);
	return NULL;
}

static void *receiver(void *arg)
{
	struct two_cores *t = arg;
	rp_bench *b = t->bench;
	const struct bench_ring rx = b->rx;
	struct bench_stream s = rp_bench_stream(rp_bench_header, t->cfg->frame_bytes);
	uint32_t spins = 0;

	for (;;) {
		uint32_t last = rp_load_acquire(&t->done); /* read before looking for frames */

		t->rx_code = rp_port_rxsync(t->rx_caller, b->rx_port, 0);
		if (t->rx_code < 0) {
			rp_store_release(&t->rx_gone, 1);
			return NULL;
		}
		if (rp_bench_drain(rx, &s))
			continue;
		if (last)
			break;
		rp_bench_wait(&spins);
	}
	*t->out = (struct rp_bench_result){ .frames = s.frames,
					    .ns = rp_bench_now() - t->start_ns,
					    .lost = t->sent - s.frames - s.bad,
					    .bad = s.bad };
	return NULL;
}

int rp_bench_port_two(rp_bench *bench, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err)
{
	struct two_cores t = { .bench = bench, .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, cfg->rx_cpu };
	int ret = rp_bench_check_config(bench, cfg, err), code;

	if (ret < 0)
		return ret;
	t.tx_caller = rp_caller_new(bench->dp, err);
	t.rx_caller = t.tx_caller ? rp_caller_new(bench->dp, err) : NULL;
	if (t.rx_caller)
		ret = rp_bench_threads(sender, receiver, cpu, &t, err);
	else
		ret = err ? -err->code : -ENOMEM;
	rp_caller_free(t.tx_caller);
	rp_caller_free(t.rx_caller);
	code = t.tx_code < 0 ? t.tx_code : t.rx_code;
	if (ret == 0 && code < 0)
		ret = rp_bench_fail(err, -code, "a sync failed: %s", strerror(-code));
	return ret;
}
