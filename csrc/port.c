/* SPDX-License-Identifier: BSD-2-Clause */
#include "port.h"

#include <unistd.h>

#include "vnet.h"

/* The first byte comes last: who reads a reason reads all of it. */
static void stop(struct rp_endpoint *ep, const char *reason)
{
	rp_store_release(&ep->live, 0);
	for (size_t i = 1; reason[0] && reason[i]; i++)
		ep->count->broken[i] = reason[i];
	rp_store_release(&ep->count->broken[0], reason[0]);
}

void rp_port_show(struct rp_port *p, bool broken)
{
	for (size_t i = 0; i < p->ntx + p->nrx; i++) {
		struct rp_endpoint *ep = i < p->ntx ? p->tx[i] : p->rx[i - p->ntx];

		if (ep->ops->broken)
			ep->ops->broken(ep, broken);
	}
}

void rp_port_break(struct rp_port *p, const char *reason)
{
	const uint64_t one = 1;
	size_t i;

	if (!rp_claim(&p->breaking))
		return;
	for (i = 0; i < sizeof(p->reason) - 1 && reason[i]; i++)
		p->reason[i] = reason[i];
	p->reason[i] = '\0';
	for (i = 0; i < p->ntx; i++)
		stop(p->tx[i], p->reason);
	for (i = 0; i < p->nrx; i++)
		stop(p->rx[i], p->reason);
	rp_store_release(&p->state, RP_PORT_BROKEN);
	rp_port_show(p, true);
	if (write(p->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: the event is pending anyway */
}

enum rp_fit rp_port_fit(const struct rp_port *p, const struct rp_frame *f)
{
	enum { TCP_MIN = 20 };
	const struct virtio_net_hdr *h = &f->vnet;
	uint32_t len = f->len;

	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		uint32_t segment = (uint32_t)h->csum_start + TCP_MIN + h->gso_size;

		len = segment < len ? segment : len;
	}
	if (len > rp_load(&p->longest))
		return RP_FIT_TOO_LONG;
	/* Whose first segments were delivered never goes as a whole. */
	return f->segment || !rp_vnet_agrees(h, p->features) ? RP_FIT_OFFLOAD : RP_FIT_AS_IT_IS;
}
