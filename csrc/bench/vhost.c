/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two drivers with their virtqueues, and the switch between their ports, all
 * in one thread: send a batch, txsync, receive it.
 */
#include <errno.h>
#include <stdlib.h>

#include "driver.h"

struct rp_bench_vhost {
	rp_dataplane *dp;
	struct bench_driver sender;
	struct bench_driver receiver;
};

struct run {
	struct rp_bench_vhost *bench;
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	rp_caller *caller;
	int code; /* of a txsync that failed: a negative errno */
};

/* Let the receiver say one word, so that the switch knows where its address is. */
static int announce(struct rp_bench_vhost *b, struct rp_err *err)
{
	rp_caller *caller = rp_caller_new(b->dp, err);
	uint8_t header[BENCH_HEADER];
	struct bench_stream s;
	int ret;

	if (!caller)
		return err ? -err->code : -ENOMEM;
	memcpy(header, rp_bench_header + 6, 6);
	memcpy(header + 6, rp_bench_header, 6);
	memcpy(header + 12, rp_bench_header + 12, 2);
	s = rp_bench_stream(header, BENCH_FRAME_MIN);
	bench_set_length(&b->receiver.tx, BENCH_FRAME_MIN);
	bench_send(&b->receiver.tx, &s, 1);
	ret = rp_port_txsync(caller, b->receiver.port, 0);
	rp_caller_free(caller);
	if (ret < 0)
		return rp_bench_fail(err, -ret, "port %d cannot send: %s", b->receiver.port,
				     strerror(-ret));
	bench_receive(&b->sender.rx, &s);
	return 0;
}

rp_bench_vhost *rp_bench_vhost_new(rp_dataplane *dp, int tx_port, int rx_port, uint64_t features,
				   uint32_t size, struct rp_err *err)
{
	rp_bench_vhost *b = calloc(1, sizeof(*b));

	if (!b) {
		rp_bench_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	b->dp = dp;
	if (bench_driver_open(&b->sender, dp, tx_port, features, size, err) < 0 ||
	    bench_driver_open(&b->receiver, dp, rx_port, features, size, err) < 0 ||
	    announce(b, err) < 0) {
		rp_bench_vhost_free(b);
		return NULL;
	}
	return b;
}

void rp_bench_vhost_free(rp_bench_vhost *bench)
{
	if (!bench)
		return;
	bench_driver_close(&bench->sender);
	bench_driver_close(&bench->receiver);
	free(bench);
}

static void *vhost_one(void *arg)
{
	struct run *r = arg;
	struct bench_driver *sender = &r->bench->sender, *receiver = &r->bench->receiver;
	struct bench_stream sent = rp_bench_stream(rp_bench_header, r->cfg->frame_bytes);
	struct bench_stream got = sent;
	struct bench_clock clock = rp_bench_clock(r->cfg);

	bench_set_length(&sender->tx, r->cfg->frame_bytes);
	while (!rp_bench_over(&clock, sent.next)) {
		bench_send(&sender->tx, &sent, r->cfg->batch);
		r->code = rp_port_txsync(r->caller, sender->port, 0);
		if (r->code < 0)
			return NULL;
		got.bad += bench_reclaim(&sender->tx);
		bench_receive(&receiver->rx, &got);
	}
	*r->out = (struct rp_bench_result){ .frames = got.frames,
					    .ns = rp_bench_now() - clock.start_ns,
					    .lost = sent.next - got.frames - got.bad,
					    .bad = got.bad };
	return NULL;
}

int rp_bench_vhost_one(rp_bench_vhost *bench, const struct rp_bench_config *cfg,
		       struct rp_bench_result *out, struct rp_err *err)
{
	struct run r = { .bench = bench, .cfg = cfg, .out = out };
	const int32_t cpu[2] = { cfg->tx_cpu, -1 };
	int ret;

	if (cfg->frame_bytes < BENCH_FRAME_MIN || cfg->frame_bytes > BENCH_FRAME_ROOM)
		return rp_bench_fail(err, EINVAL, "a frame of %u bytes is not within %d to %d",
				     cfg->frame_bytes, (int)BENCH_FRAME_MIN, (int)BENCH_FRAME_ROOM);
	if (cfg->batch < 1 || cfg->batch > bench->sender.tx.size)
		return rp_bench_fail(err, EINVAL, "a batch of %u frames is not within 1 to %u",
				     cfg->batch, bench->sender.tx.size);
	r.caller = rp_caller_new(bench->dp, err);
	if (!r.caller)
		return err ? -err->code : -ENOMEM;
	ret = rp_bench_threads(vhost_one, NULL, cpu, &r, err);
	rp_caller_free(r.caller);
	if (ret == 0 && r.code < 0)
		ret = rp_bench_fail(err, -r.code, "a txsync failed: %s", strerror(-r.code));
	return ret;
}
