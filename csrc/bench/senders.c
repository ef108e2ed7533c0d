/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Some senders and one receiver, each a thread. The senders run the switch, and
 * meet in the receiver's ring.
 *
 *      sender 0   fill a batch, txsync  \
 *      sender 1   fill a batch, txsync   >  rxsync, check what is there: receiver
 *      ...                              /
 *
 * A frame says who sent it, in its source address, so that each sender's order
 * is checked for itself.
 */
#include <errno.h>
#include <stdlib.h>

#include "path.h"

enum { SOURCE = 10 /* the byte of a frame that tells senders apart, and not from the receiver */ };

struct member {
	rp_bench *bench;
	rp_caller *caller;
	struct bench_stream out; /* what it sends */
	struct bench_stream in;	 /* what is received of it */
	struct meeting *meeting;
	int code;
};

struct meeting {
	const struct rp_bench_config *cfg;
	struct bench_ring rx;
	int rx_port;
	rp_caller *rx_caller;
	int rx_code;
	uint64_t start_ns;
	uint64_t ns;
	uint64_t strangers; /* frames of nobody who sends */
	uint32_t n;
	uint32_t done;	  /* senders that have ended */
	uint32_t rx_gone; /* the receiver failed: stop sending */
	struct member member[RP_BENCH_SENDERS];
};

/* Sync until the switch took all; a full receiver may hold some back. */
static int send_all(struct member *m, const struct bench_ring *tx)
{
	int ret;

	for (;;) {
		ret = rp_port_txsync(m->caller, m->bench->tx_port, 0);
		if (ret < 0 || rp_bench_space(tx) == tx->slots - 1)
			return ret;
		if (rp_load_acquire(&m->meeting->rx_gone))
			return 0;
		/* Another sender may have got what the receiver freed: let it go on. */
		sched_yield();
	}
}

static void *sender(void *arg)
{
	struct member *m = arg;
	struct meeting *all = m->meeting;
	const struct bench_ring tx = m->bench->tx;
	struct bench_clock clock = rp_bench_clock(all->cfg);

	while (!rp_bench_over(&clock, m->out.next) && m->code >= 0 && !rp_load(&all->rx_gone)) {
		rp_bench_fill(tx, &m->out, all->cfg->batch);
		m->code = send_all(m, &tx);
	}
	rp_add_fetch(&all->done, 1);
	return NULL;
}

/* Check and release the frames up to tail. Return: how many there were */
static uint32_t drain(struct meeting *all)
{
	const struct bench_ring *r = &all->rx;
	uint32_t n = rp_bench_space(r), head = r->ring->head;

	for (uint32_t i = 0; i < n; i++) {
		const struct netmap_slot *slot = &r->ring->slot[head];
		const uint8_t *frame = rp_bench_buf(r, slot->buf_idx);

		if (frame[SOURCE] < all->n)
			rp_bench_check(&all->member[frame[SOURCE]].in, frame, slot->len);
		else
			all->strangers++;
		head = rp_bench_next(r, head);
	}
	r->ring->cur = head;
	rp_store_release(&r->ring->head, head);
	return n;
}

static void *receiver(void *arg)
{
	struct meeting *all = arg;
	uint32_t spins = 0;

	all->start_ns = rp_bench_now();
	for (;;) {
		/* Read before looking for frames. */
		const bool last = rp_load_acquire(&all->done) == all->n;

		all->rx_code = rp_port_rxsync(all->rx_caller, all->rx_port, 0);
		if (all->rx_code < 0) {
			rp_store_release(&all->rx_gone, 1);
			return NULL;
		}
		if (drain(all))
			continue;
		if (last)
			break;
		rp_bench_wait(&spins);
	}
	all->ns = rp_bench_now() - all->start_ns;
	return NULL;
}

static int enter(struct meeting *all, rp_bench *const *benches, struct rp_err *err)
{
	uint8_t header[BENCH_HEADER];

	memcpy(header, rp_bench_header, sizeof(header));
	all->rx_caller = rp_caller_new(benches[0]->dp, err);
	if (!all->rx_caller)
		return err ? -err->code : -ENOMEM;
	for (uint32_t i = 0; i < all->n; i++) {
		struct member *m = &all->member[i];

		header[SOURCE] = (uint8_t)i;
		m->bench = benches[i];
		m->meeting = all;
		m->in = m->out = rp_bench_stream(header, all->cfg->frame_bytes);
		m->caller = rp_caller_new(benches[i]->dp, err);
		if (!m->caller)
			return err ? -err->code : -ENOMEM;
	}
	return 0;
}

static int run(struct meeting *all, struct rp_err *err)
{
	struct bench_thread thread[RP_BENCH_SENDERS + 1];

	thread[0] = (struct bench_thread){ receiver, all, all->cfg->rx_cpu };
	for (uint32_t i = 0; i < all->n; i++)
		thread[i + 1] = (struct bench_thread){ sender, &all->member[i], all->cfg->tx_cpu };
	return rp_bench_team(thread, all->n + 1, err);
}

static int add_up(const struct meeting *all, struct rp_bench_result *out, struct rp_err *err)
{
	int code = all->rx_code;

	*out = (struct rp_bench_result){ .ns = all->ns, .bad = all->strangers };
	for (uint32_t i = 0; i < all->n; i++) {
		const struct member *m = &all->member[i];

		code = m->code < 0 ? m->code : code;
		out->frames += m->in.frames;
		out->bad += m->in.bad;
		out->lost += m->out.next - m->in.frames - m->in.bad;
	}
	return code < 0 ? rp_bench_fail(err, -code, "a sync failed: %s", strerror(-code)) : 0;
}

int rp_bench_senders(rp_bench *const *benches, uint32_t n, const struct rp_bench_config *cfg,
		     struct rp_bench_result *out, struct rp_err *err)
{
	struct meeting *all;
	int ret = 0;

	if (n < 1 || n > RP_BENCH_SENDERS)
		return rp_bench_fail(err, EINVAL, "%u senders are not within 1 to %d", n,
				     RP_BENCH_SENDERS);
	for (uint32_t i = 0; ret == 0 && i < n; i++)
		ret = rp_bench_check_config(benches[i], cfg, err);
	if (ret < 0)
		return ret;
	all = calloc(1, sizeof(*all));
	if (!all)
		return rp_bench_fail(err, ENOMEM, "out of memory");
	all->cfg = cfg;
	all->n = n;
	all->rx = benches[0]->rx;
	all->rx_port = benches[0]->rx_port;
	ret = enter(all, benches, err);
	if (ret == 0)
		ret = run(all, err);
	if (ret == 0)
		ret = add_up(all, out, err);
	for (uint32_t i = 0; i < n; i++)
		rp_caller_free(all->member[i].caller);
	rp_caller_free(all->rx_caller);
	free(all);
	return ret;
}
