/* SPDX-License-Identifier: BSD-2-Clause */
#include "port.h"

#include <unistd.h>

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
		rp_store_release(&p->tx[i]->live, 0);
	for (i = 0; i < p->nrx; i++)
		rp_store_release(&p->rx[i]->live, 0);
	rp_store_release(&p->state, RP_PORT_BROKEN);
	if (write(p->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: the event is pending anyway */
}
