/* SPDX-License-Identifier: BSD-2-Clause */
#include "csb.h"

static bool inside(const struct rp_pool_info *p, uint64_t bytes, uint32_t least)
{
	return p->objsize >= least && p->objsize % 64 == 0 && p->offset % 64 == 0 &&
	       p->offset <= bytes && p->objtotal <= (bytes - p->offset) / p->objsize;
}

bool rp_view_open(struct rp_view *v, void *base, uint64_t bytes)
{
	const struct rp_directory *d = base;

	if (bytes < RP_DIRECTORY_BYTES || rp_load(&d->magic) != RP_DIRECTORY_MAGIC ||
	    rp_load(&d->version) != RP_DIRECTORY_VERSION)
		return false;
	*v = (struct rp_view){ base, bytes, d->csb_pool, d->ring_pool, d->buf_pool };
	return v->csbs.objsize == sizeof(struct rp_csb) &&
	       inside(&v->csbs, bytes, sizeof(struct rp_csb)) &&
	       inside(&v->rings, bytes, sizeof(struct netmap_ring)) && inside(&v->bufs, bytes, 64);
}

bool rp_csb_ring_open(struct rp_csb_ring *r, const struct rp_view *v, uint32_t csb)
{
	uint64_t at, most;

	if (csb >= v->csbs.objtotal)
		return false;
	r->view = v;
	r->csb = (struct rp_csb *)(void *)(v->base + v->csbs.offset) + csb;
	at = rp_load(&r->csb->ring_offset) - v->rings.offset;
	if (at % v->rings.objsize || at / v->rings.objsize >= v->rings.objtotal)
		return false;
	r->ring = (struct netmap_ring *)(void *)(v->base + v->rings.offset + at);
	r->slots = rp_load(&r->ring->num_slots);
	most = (v->rings.objsize - sizeof(struct netmap_ring)) / sizeof(struct netmap_slot);
	return r->slots >= 2 && r->slots <= most;
}
