/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_monitor.h"

/* A guest can't know that it has a monitor: its driver must get its buffers back. */
static unsigned monitor_txsync(struct rp_caller *c, struct rp_endpoint *ep)
{
	unsigned taken = ep->ops->pull(ep);

	(void)c;
	if (!taken)
		return 0;
	rp_endpoint_count_pull(ep);
	rp_drop(ep, RP_DROP_DISCARD, ep->batch->nframes);
	ep->ops->complete(ep);
	return taken;
}

const struct rp_port_ops rp_port_monitor = {
	.name = "monitor",
	.txsync = monitor_txsync,
	.receives_only = true,
};
