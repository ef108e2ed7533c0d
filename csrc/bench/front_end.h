/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BENCH_FRONT_END_H
#define RP_BENCH_FRONT_END_H
/*
 * DOC: A front end as a guest's driver is one: it exchanges cursors through CSBs,
 * tells the other side only if that asked, and waits in no sync.
 *
 *    the program       ring->head, ring->tail
 *    push(), pull()    tx and rx: what the driver does with them
 *    sleep_for()       poll(): arm, look again, wait for a call
 *
 * Its port has a CSB and a worker, or is an end of a pipe, whose slots it moves itself.
 */
#include <poll.h>
#include <unistd.h>

#include "client/client.h"
#include "end.h"
#include "path.h"

enum { FRONT_END_PATIENCE_MS = 10000 }; /* who was not called for so long is forgotten */

struct front_end {
	struct bench_end end;
	struct bench_ring tx;
	struct bench_ring rx;
	const struct client_ring *out;
	const struct client_ring *in;
	int out_bell; /* whom to tell: the worker's or the other end's eventfd */
	int in_bell;  /* of a pipe */
	uint32_t kicked_at;
	uint64_t kicks; /* of the worker, or of the other end of a pipe */
	uint64_t calls; /* by either */
};

/**
 * front_end_open() - open a port
 * @peer:	port at the other end of a pipe; -1: none
 *
 * Return: 0, or a negative errno with the reason in @err; close it either way
 */
int front_end_open(struct front_end *f, rp_dataplane *dp, int port, int peer, struct rp_err *err);
void front_end_close(struct front_end *f, rp_dataplane *dp);

/* front_end_sleep() - wait until @ring changes. Return: false when nobody called for long */
bool front_end_sleep(struct front_end *f, const struct client_ring *ring);

static inline void front_end_kick(struct front_end *f, int fd)
{
	const uint64_t one = 1;

	f->kicks++;
	if (write(fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: a kick is pending */
}

/* What the other end of a pipe waits for happened. */
static inline void front_end_call(struct front_end *f, const struct client_ring *r, int fd)
{
	rp_fence_full();
	if (rp_load(&r->peer.csb->atok.appl_need_kick))
		front_end_kick(f, fd);
}

/* front_end_push() - publish what the program filled, and show it the slots that are free now */
static inline void front_end_push(struct front_end *f)
{
	const struct client_ring *r = f->out;
	const uint32_t head = rp_load_acquire(&r->at.ring->head);

	if (r->peer.ring) {
		const struct rp_pipe pipe = { r->at, r->peer };

		if (rp_pipe_txsync(&pipe) > 0)
			front_end_call(f, r, f->out_bell);
		return;
	}
	if (head != rp_load(&r->at.csb->atok.head) && rp_csb_send(&r->at, head, &f->kicked_at))
		front_end_kick(f, f->out_bell);
	rp_store(&r->at.ring->tail, rp_load_acquire(&r->at.csb->ktoa.hwtail));
}

/* front_end_pull() - give back what the program took, and show it what came */
static inline void front_end_pull(struct front_end *f)
{
	const struct client_ring *r = f->in;
	const int given = rp_pipe_rxsync(&r->at, r->peer.ring ? &r->peer : NULL);

	if (given > 0 && r->peer.ring)
		front_end_call(f, r, f->in_bell);
}

#endif
