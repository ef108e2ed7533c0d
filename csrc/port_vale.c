/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_vale.h"

#include "caller.h"
#include "monitor.h"
#include "switch.h"

static unsigned vale_txsync(struct rp_caller *c, struct rp_endpoint *ep)
{
	struct rp_batch *b = ep->batch;
	unsigned before = b->held;

	if (!before) {
		before = rp_endpoint_pull(c, ep);
		if (!before)
			return 0;
	}
	if (rp_port_stale(ep)) {
		rp_drop(ep, RP_DROP_RESET, b->held);
		b->held = 0;
	} else if (b->nframes) {
		rp_switch_forward(ep->port->sw, c, ep);
	}
	if (!b->held)
		ep->ops->complete(ep);
	return before - b->held;
}

const struct rp_port_ops rp_port_vale = {
	.name = "vale",
	.txsync = vale_txsync,
};
