/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: the words in a region that say which ring shows its slots to which monitor. */
#include <time.h>

#include "caller.h"
#include "dataplane.h"
#include "zcopy.h"

/* How long the control plane waits for locks that anybody who maps the region may hold. */
enum { SEAL_NS = 10000000, SEAL_PAUSE_NS = 50000, SEAL_AGAIN_NS = 1000000000 };

/* The zero-copy monitors of a port, and of the other end of its pipe: one chain. */
struct chain {
	uint32_t n;
	struct rp_port *monitor[RP_MAX_PORTS];
};

static struct rp_port *other_end(const struct rp_port *p)
{
	return p->swaps ? p->peer : NULL;
}

static void find_chain(const rp_dataplane *dp, const struct rp_port *parent, struct chain *c)
{
	const struct rp_port *peer = other_end(parent);

	c->n = 0;
	for (int i = 0; i < RP_MAX_PORTS; i++) {
		struct rp_port *m = dp->port[i];

		if (m && m->zcopy && m->parent && (m->parent == parent || m->parent == peer))
			c->monitor[c->n++] = m;
	}
}

/* Ring @k of @p shows its slots to @to, as @mark says. */
static void point(const struct rp_port *p, int dir, uint32_t k, const struct rp_port *to,
		  uint32_t mark)
{
	struct rp_csb *csb = rp_region_csb_at(p->region, p->own[dir][k].csb);

	rp_store(&csb->mark, mark);
	rp_store_release(&csb->monitor, to ? to->own[NETMAP_DIR_RX][k % to->nrx].csb : RP_NO_CSB);
}

/* What one end of a pipe sends the other one gets: it is marked by whose monitor it is. */
static void point_parent(struct rp_port *p, const struct rp_port *first)
{
	const bool own = first && first->parent == p;

	for (uint32_t k = 0; k < p->nrx; k++)
		point(p, NETMAP_DIR_RX, k, first, own ? 0 : NS_TXMON);
	for (uint32_t k = 0; k < p->ntx; k++)
		point(p, NETMAP_DIR_TX, k, other_end(p) ? NULL : first, NS_TXMON);
	rp_store(&p->shown, first != NULL);
}

static void point_monitor(struct rp_port *m, const struct rp_port *next)
{
	const uint32_t flip = next && next->parent != m->parent ? NS_TXMON : 0;

	for (uint32_t k = 0; k < m->nrx; k++)
		point(m, NETMAP_DIR_RX, k, next, RP_ZCOPY_KEEP | flip);
	rp_store(&m->shown, next != NULL);
}

void rp_zcopy_join(rp_dataplane *dp, struct rp_port *parent)
{
	struct chain c;
	struct rp_port *peer = other_end(parent);

	if (!parent->region)
		return;
	find_chain(dp, parent, &c);
	/* From the end: nobody ever points at a monitor that does not know where it shows its own. */
	for (uint32_t i = c.n; i; i--)
		point_monitor(c.monitor[i - 1], i < c.n ? c.monitor[i] : NULL);
	point_parent(parent, c.n ? c.monitor[0] : NULL);
	if (peer)
		point_parent(peer, c.n ? c.monitor[0] : NULL);
}

/*
 * How long to wait for the locks of all rings together. Whoever holds them on purpose, in one ring
 * after another, makes us wait as long once a second, not at each.
 */
static uint64_t seal_patience(struct rp_region *r, uint64_t now_ns)
{
	if (now_ns - r->sealing_since_ns > SEAL_AGAIN_NS) {
		r->sealing_since_ns = now_ns;
		r->seal_ns = 0;
	}
	return r->seal_ns < SEAL_NS ? SEAL_NS - r->seal_ns : 0;
}

void rp_zcopy_seal(const struct rp_port *m)
{
	const struct timespec pause = { .tv_nsec = SEAL_PAUSE_NS };
	const uint64_t now_ns = rp_now_ns(), end_ns = now_ns + seal_patience(m->region, now_ns);

	/* Pairs with the fence in rp_zcopy_give(). Its processes may be stopped, or dead: not for long. */
	rp_fence_full();
	for (uint32_t k = 0; k < m->nrx; k++) {
		struct rp_csb *csb = rp_region_csb_at(m->region, m->own[NETMAP_DIR_RX][k].csb);

		while (!rp_zcopy_take_lock(csb, 1) && rp_now_ns() < end_ns)
			nanosleep(&pause, NULL);
	}
	m->region->seal_ns += rp_now_ns() - now_ns;
}

void rp_zcopy_unseal(const struct rp_port *m)
{
	for (uint32_t k = 0; k < m->nrx; k++)
		rp_store_release(&rp_region_csb_at(m->region, m->own[NETMAP_DIR_RX][k].csb)->lock,
				 0);
}

static bool shows(const struct rp_port *p)
{
	return p->zcopy && p->parent;
}

void rp_zcopy_pause(rp_dataplane *dp, struct rp_port *p)
{
	if (!shows(p))
		return;
	p->zcopy = false;
	rp_zcopy_join(dp, p->parent);
	rp_zcopy_seal(p);
	p->zcopy = true;
}

void rp_zcopy_resume(rp_dataplane *dp, struct rp_port *p)
{
	if (shows(p))
		rp_zcopy_unseal(p);
	rp_zcopy_join(dp, shows(p) ? p->parent : p);
}
