/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_null.h"

#include "monitor.h"

static unsigned null_txsync(struct rp_caller *c, struct rp_endpoint *ep)
{
	unsigned taken = rp_endpoint_pull(c, ep);

	if (!taken)
		return 0;
	rp_drop(ep, RP_DROP_DISCARD, ep->batch->nframes);
	ep->ops->complete(ep);
	return taken;
}

const struct rp_port_ops rp_port_null = {
	.name = "null",
	.txsync = null_txsync,
};
