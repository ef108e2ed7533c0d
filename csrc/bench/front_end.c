/* SPDX-License-Identifier: BSD-2-Clause */
#include "front_end.h"

static struct bench_ring ring_of(const struct bench_end *e, int side)
{
	struct netmap_ring *ring = e->ring[side];

	return (struct bench_ring){ .ring = ring,
				    .bufs = (uint8_t *)ring + ring->buf_ofs,
				    .buf_bytes = ring->nr_buf_size,
				    .slots = ring->num_slots };
}

int front_end_open(struct front_end *f, rp_dataplane *dp, int port, int peer, struct rp_err *err)
{
	int ret;

	*f = (struct front_end){ .end.binding = -1, .kicked_at = RP_NOT_KICKED };
	ret = bench_end_open(&f->end, dp, port, peer, err);
	if (ret < 0)
		return ret;
	f->tx = ring_of(&f->end, BENCH_TX);
	f->rx = ring_of(&f->end, BENCH_RX);
	f->out = &f->end.client->ring[BENCH_TX];
	f->in = &f->end.client->ring[BENCH_RX];
	f->out_bell = peer < 0 ? f->out->kick_fd : f->out->peer_call_fd;
	f->in_bell = f->in->peer_call_fd;
	return 0;
}

void front_end_close(struct front_end *f, rp_dataplane *dp)
{
	bench_end_close(&f->end, dp);
}

static void look(struct front_end *f, const struct client_ring *ring)
{
	if (ring == f->out)
		front_end_push(f);
	else
		front_end_pull(f);
}

bool front_end_sleep(struct front_end *f, const struct client_ring *ring)
{
	struct pollfd call = { .fd = ring->call_fd, .events = POLLIN };
	const uint32_t tail = rp_load(&ring->at.ring->tail);
	uint64_t calls;
	int n = 1;

	rp_store(&ring->at.csb->atok.appl_need_kick, 1);
	rp_fence_full();
	look(f, ring);
	if (rp_load(&ring->at.ring->tail) == tail)
		n = poll(&call, 1, FRONT_END_PATIENCE_MS);
	rp_store(&ring->at.csb->atok.appl_need_kick, 0);
	if (call.revents && read(call.fd, &calls, sizeof(calls)) == sizeof(calls))
		f->calls += calls;
	return n > 0;
}
