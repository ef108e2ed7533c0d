/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bridge between two rings, and what surrounds it: who fills the one and who
 * empties the other. All are processes' rings, whose syncs are csrc/client.
 */
#include <errno.h>

#include "client/rp_client.h"
#include "path.h"

static struct bench_ring ring_of(const struct rp_bench_place *at)
{
	uint8_t *base = rp_client_base(at->client);
	struct netmap_ring *ring = (void *)(base + rp_client_ring_offset(at->client, at->ring));

	return (struct bench_ring){ .ring = ring,
				    .bufs = (uint8_t *)ring + ring->buf_ofs,
				    .buf_bytes = ring->nr_buf_size,
				    .slots = ring->num_slots };
}

static void advance(struct netmap_ring *ring, uint32_t head)
{
	ring->cur = head;
	rp_store_release(&ring->head, head);
}

int rp_bench_feed(const struct rp_bench_place *at, uint32_t n, uint32_t frame_bytes, uint64_t first)
{
	struct bench_stream s = rp_bench_stream(rp_bench_header, frame_bytes);
	const struct bench_ring r = ring_of(at);

	if (n > rp_bench_space(&r))
		return -ENOBUFS;
	s.next = first;
	rp_bench_fill(r, &s, n);
	return rp_client_sync(at->client, at->ring);
}

int rp_bench_take(const struct rp_bench_place *at, uint32_t n, uint32_t frame_bytes, uint64_t first)
{
	struct bench_stream s = rp_bench_stream(rp_bench_header, frame_bytes);
	const struct bench_ring r = ring_of(at);
	int ret = rp_client_sync(at->client, at->ring);

	if (ret < 0)
		return ret;
	s.next = first;
	if (rp_bench_drain(r, &s) != n || s.bad || s.lost)
		return -EBADMSG;
	return rp_client_sync(at->client, at->ring);
}

/* Hand @n frames from slot @rx on to the slots from @tx on, and buffers back. */
static void swap(const struct bench_ring *in, uint32_t *rx, const struct bench_ring *out,
		 uint32_t *tx, uint32_t n)
{
	for (; n; n--) {
		struct netmap_slot *r = &in->ring->slot[*rx], *t = &out->ring->slot[*tx];
		const uint32_t buf_idx = t->buf_idx;

		t->buf_idx = r->buf_idx;
		t->len = r->len;
		t->flags = (r->flags & NS_MOREFRAG) | NS_BUF_CHANGED;
		r->buf_idx = buf_idx;
		r->flags = NS_BUF_CHANGED;
		*rx = rp_bench_next(in, *rx);
		*tx = rp_bench_next(out, *tx);
	}
}

void rp_bench_swap(const struct rp_bench_place *from, const struct rp_bench_place *to, uint32_t n)
{
	const struct bench_ring in = ring_of(from), out = ring_of(to);
	uint32_t rx = 0, tx = 0;

	swap(&in, &rx, &out, &tx, n);
}

int rp_bench_relay(const struct rp_bench_place *from, const struct rp_bench_place *to, uint32_t n)
{
	const struct bench_ring in = ring_of(from), out = ring_of(to);
	uint32_t rx, tx;
	int ret = rp_client_sync(from->client, from->ring);

	if (ret < 0)
		return ret;
	if (n > rp_bench_space(&in))
		n = rp_bench_space(&in);
	if (n > rp_bench_space(&out))
		n = rp_bench_space(&out);
	rx = in.ring->head;
	tx = out.ring->head;
	swap(&in, &rx, &out, &tx, n);
	advance(in.ring, rx);
	advance(out.ring, tx);
	ret = rp_client_sync(to->client, to->ring);
	return ret < 0 ? ret : (int)n;
}
