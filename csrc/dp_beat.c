/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: signs of life, and what processes counted that sync pipes by themselves. */
#include "dataplane.h"

#include "caller.h"

/*
 * Both ends count in their CSBs: the sender's side what moved, each side whom it
 * called. The region is theirs, and so are the numbers; nothing is done by them.
 */
static void take_counts(const struct rp_port *from, const struct rp_port *to)
{
	for (uint32_t i = 0; i < from->ntx; i++) {
		const struct rp_csb *t =
			rp_region_csb_at(from->region, from->own[NETMAP_DIR_TX][i].csb);
		const struct rp_csb *r =
			rp_region_csb_at(to->region, to->own[NETMAP_DIR_RX][i].csb);
		struct rp_ring_counters *sent = from->tx[i]->count;
		struct rp_ring_counters *received = to->rx[i]->count;

		rp_store(&sent->frames, rp_load(&t->frames));
		rp_store(&sent->bytes, rp_load(&t->bytes));
		rp_store(&sent->batches, rp_load(&t->batches));
		rp_store(&sent->kicks, rp_load(&t->calls));
		rp_store(&sent->calls, rp_load(&r->calls));
		rp_store(&received->frames, sent->frames);
		rp_store(&received->bytes, sent->bytes);
		rp_store(&received->batches, sent->batches);
		rp_store(&received->kicks, sent->calls);
		rp_store(&received->calls, sent->kicks);
	}
}

/* Who gives slots to a zero-copy monitor counts there what it showed, and what it could not. */
static void take_shown(const struct rp_port *m)
{
	for (uint32_t i = 0; i < m->nrx; i++) {
		const struct rp_region_ring *ring = &m->own[NETMAP_DIR_RX][i];
		const struct rp_csb *csb = rp_region_csb_at(m->region, ring->csb);
		const void *lost = rp_region_ring_at(m->region, ring->obj)->sem;
		struct rp_ring_counters *shown = m->rx[i]->count;

		rp_store(&shown->frames, rp_load(&csb->frames));
		rp_store(&shown->bytes, rp_load(&csb->bytes));
		rp_store(&shown->batches, rp_load(&csb->batches));
		rp_store(&shown->drops[RP_DROP_FULL], rp_load((const uint64_t *)lost));
	}
}

void rp_dataplane_beat(rp_dataplane *dp)
{
	pthread_mutex_lock(&dp->lock);
	for (int i = 0; i < RP_MAX_PORTS; i++) {
		const struct rp_port *p = dp->port[i];

		if (p && p->peer && p->swaps)
			take_counts(p, p->peer);
		if (p && p->zcopy)
			take_shown(p);
	}
	pthread_mutex_unlock(&dp->lock);
	rp_store(&dp->counters->alive_ns, rp_now_ns());
}
