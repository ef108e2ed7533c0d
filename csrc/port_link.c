/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_link.h"

#include "caller.h"
#include "deliver.h"
#include "monitor.h"
#include "pipe.h"

/* Both rings lie in one region: move slots. */
static unsigned swap(struct rp_endpoint *ep)
{
	struct rp_port *p = ep->port;
	struct rp_pipe pipe;
	int moved;

	if (!rp_pipe_open(&pipe, &p->region->view, p->own[NETMAP_DIR_TX][ep->ring].csb))
		return 0;
	moved = rp_pipe_txsync(&pipe);
	if (moved < 0)
		rp_port_break(p, "a pipe's ring has a head outside the slots that its user owns");
	return moved > 0 ? (unsigned)moved : 0;
}

/* The other end went while its ring was full: these frames were for nobody else. */
static void lose(struct rp_endpoint *ep)
{
	rp_drop(ep, RP_DROP_RESET, ep->batch->held);
	ep->batch->held = 0;
	ep->ops->complete(ep);
}

static unsigned link_txsync(struct rp_caller *c, struct rp_endpoint *ep)
{
	struct rp_port *peer = rp_load_acquire(&ep->port->peer);
	struct rp_batch *b = ep->batch;
	unsigned before = b->held;
	struct rp_endpoint *to;

	if (!peer) {
		if (before)
			lose(ep);
		return before;
	}
	if (ep->port->swaps)
		return swap(ep);
	if (!before) {
		before = rp_endpoint_pull(c, ep);
		if (!before)
			return 0;
	}
	to = rp_port_receiver(peer, ep->ring);
	if (rp_port_stale(ep)) {
		rp_drop(ep, RP_DROP_RESET, b->held);
		b->held = 0;
	} else if (b->nframes && to) {
		rp_deliver_all(c, ep, to);
	} else if (b->nframes) {
		rp_unreachable(ep, peer, b->held ? b->held : b->nframes);
		b->held = 0;
	}
	if (!b->held)
		ep->ops->complete(ep);
	return before - b->held;
}

const struct rp_port_ops rp_link_port = {
	.name = "link",
	.links = true,
	.txsync = link_txsync,
};
