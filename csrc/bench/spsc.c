/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reference for two cores: the least that a copying ring can do. Its slots
 * and indexes are its own; its buffers are those of the rings under test.
 *
 *      producer                              consumer
 *      write frames into the tx buffers      load head
 *      memcpy each to its rx buffer          check the frames up to it
 *      set their slots, publish head         publish tail
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>

#include "path.h"

struct spsc_slot {
	uint32_t buf_idx;
	uint32_t len;
	uint64_t pad;
};

/* Indexes run freely, and are taken modulo the number of slots, a power of two. */
struct spsc {
	alignas(64) uint32_t head;   /* the producer's */
	alignas(64) uint32_t tail;   /* the consumer's */
	alignas(64) rp_bench *bench; /* read only from here on, but for the results */
	const struct rp_bench_config *cfg;
	struct rp_bench_result *out;
	uint32_t mask;
	struct spsc_slot *slot;
	alignas(64) uint64_t start_ns; /* the producer's, valid once it is done */
	uint64_t sent;
	uint32_t done;
};

static void wait_for_room(struct spsc *q, uint32_t head)
{
	uint32_t spins = 0;

	while (head - rp_load_acquire(&q->tail) + q->cfg->batch > q->mask + 1)
		rp_bench_wait(&spins);
}

static void *producer(void *arg)
{
	struct spsc *q = arg;
	const struct bench_ring tx = q->bench->tx, rx = q->bench->rx;
	struct bench_stream s = rp_bench_stream(rp_bench_header, q->cfg->frame_bytes);
	struct bench_clock clock = rp_bench_clock(q->cfg);
	uint32_t head = 0;

	q->start_ns = clock.start_ns;
	while (!rp_bench_over(&clock, s.next)) {
		wait_for_room(q, head);
		for (uint32_t i = 0; i < q->cfg->batch; i++, head++) {
			struct spsc_slot *slot = &q->slot[head & q->mask];
			uint8_t *own = rp_bench_buf(&tx, tx.ring->slot[head & q->mask].buf_idx);

			rp_bench_write(&s, own);
			memcpy(rp_bench_buf(&rx, slot->buf_idx), own, s.len);
			slot->len = s.len;
		}
		rp_store_release(&q->head, head);
	}
	q->sent = s.next;
	rp_store_release(&q->done, 1);
	return NULL;
}

static void *consumer(void *arg)
{
	struct spsc *q = arg;
	const struct bench_ring rx = q->bench->rx;
	struct bench_stream s = rp_bench_stream(rp_bench_header, q->cfg->frame_bytes);
	uint32_t tail = 0, spins = 0;

	for (;;) {
		uint32_t last = rp_load_acquire(&q->done); /* read before looking for frames */
		uint32_t head = rp_load_acquire(&q->head);

		if (head == tail) {
			if (last)
				break;
			rp_bench_wait(&spins);
			continue;
		}
		for (; tail != head; tail++) {
			const struct spsc_slot *slot = &q->slot[tail & q->mask];

			rp_bench_check(&s, rp_bench_buf(&rx, slot->buf_idx), slot->len);
		}
		rp_store_release(&q->tail, tail);
	}
	*q->out = (struct rp_bench_result){ .frames = s.frames,
					    .ns = rp_bench_now() - q->start_ns,
					    .lost = q->sent - s.frames - s.bad,
					    .bad = s.bad };
	return NULL;
}

int rp_bench_spsc(rp_bench *bench, const struct rp_bench_config *cfg, struct rp_bench_result *out,
		  struct rp_err *err)
{
	const struct bench_ring *rx = &bench->rx;
	struct spsc q = { .bench = bench, .cfg = cfg, .out = out, .mask = rx->slots - 1 };
	const int32_t cpu[2] = { cfg->tx_cpu, cfg->rx_cpu };
	int ret = rp_bench_check_config(bench, cfg, err);

	if (ret < 0)
		return ret;
	if (rx->slots & q.mask || rx->slots != bench->tx.slots)
		return rp_bench_fail(err, EINVAL, "the rings need one size, a power of two");
	q.slot = aligned_alloc(64, rx->slots * sizeof(*q.slot));
	if (!q.slot)
		return rp_bench_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < rx->slots; i++)
		q.slot[i] = (struct spsc_slot){ .buf_idx = rx->ring->slot[i].buf_idx };
	ret = rp_bench_threads(producer, consumer, cpu, &q, err);
	free(q.slot);
	return ret;
}
