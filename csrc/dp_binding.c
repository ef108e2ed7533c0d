/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: bindings, the netmap_if and the extra buffers of one open of a port. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane.h"
#include "front_rings.h"

struct rp_binding {
	struct rp_region *region;
	struct rp_port *port;
	struct rp_port *host; /* NULL: none */
	uint32_t nifp;
	struct rp_bind_config cfg;
};

static bool in_range(uint32_t first, uint32_t n, uint32_t have)
{
	return n <= have && first <= have - n;
}

static int check(const struct rp_bind_config *cfg, const struct rp_port *p,
		 const struct rp_port *host, struct rp_err *err)
{
	const uint32_t host_tx = host ? host->ntx : 0, host_rx = host ? host->nrx : 0;

	if (!in_range(cfg->tx_first, cfg->tx_n, p->ntx) ||
	    !in_range(cfg->rx_first, cfg->rx_n, p->nrx) ||
	    !in_range(cfg->host_tx_first, cfg->host_tx_n, host_tx) ||
	    !in_range(cfg->host_rx_first, cfg->host_rx_n, host_rx))
		return rp_fail(err, EINVAL,
			       "port %.63s has %u tx and %u rx rings, and %u and %u host rings",
			       p->name, p->ntx, p->nrx, host_tx, host_rx);
	if (host && host->region != p->region)
		return rp_fail(err, EINVAL, "the host rings of %.63s are in another region",
			       p->name);
	return 0;
}

/* Write where rings [@first, @first + @n) are; return the place behind those of the port. */
static int64_t *name_rings(const struct rp_region *r, const struct netmap_if *nifp, int64_t *ofs,
			   const struct rp_port *p, int dir, uint32_t first, uint32_t n)
{
	if (!p)
		return ofs + 1; /* every port has a place for a host ring */
	for (uint32_t i = first; i < first + n; i++)
		ofs[i] =
			(uint8_t *)rp_region_ring_at(r, p->own[dir][i].obj) - (const uint8_t *)nifp;
	return ofs + (dir == NETMAP_DIR_TX ? p->ntx : p->nrx);
}

void rp_write_if(uint32_t at, const struct rp_bind_config *cfg, const struct rp_port *p,
		 const struct rp_port *host)
{
	const struct rp_region *r = p->region;
	struct netmap_if *nifp = rp_region_if_at(r, at);
	const size_t len = strnlen(p->name, sizeof(nifp->ni_name) - 1);
	int64_t *ofs = nifp->ring_ofs;

	memcpy(nifp->ni_name, p->name, len);
	nifp->ni_version = NETMAP_API;
	nifp->ni_flags = r->common ? 0 : NI_PRIV_MEM;
	nifp->ni_tx_rings = p->ntx;
	nifp->ni_rx_rings = p->nrx;
	nifp->ni_host_tx_rings = host ? host->ntx : 1;
	nifp->ni_host_rx_rings = host ? host->nrx : 1;
	ofs = name_rings(r, nifp, ofs, p, NETMAP_DIR_TX, cfg->tx_first, cfg->tx_n);
	ofs = name_rings(r, nifp, ofs, host, NETMAP_DIR_TX, cfg->host_tx_first, cfg->host_tx_n);
	ofs = name_rings(r, nifp, ofs, p, NETMAP_DIR_RX, cfg->rx_first, cfg->rx_n);
	name_rings(r, nifp, ofs, host, NETMAP_DIR_RX, cfg->host_rx_first, cfg->host_rx_n);
}

/* Rings that are live only while they are open; rp_ring_in_use() says why. */
static bool comes_and_goes(const struct rp_port *p)
{
	return p->csb && !p->ops->links;
}

static struct rp_endpoint *endpoint(const struct rp_port *p, int dir, uint32_t i)
{
	return dir == NETMAP_DIR_TX ? p->tx[i] : p->rx[i];
}

static void hold_rings(struct rp_port *p, int dir, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++) {
		struct rp_endpoint *ep = endpoint(p, dir, i);

		if (p->bound[dir][i]++ || !comes_and_goes(p) || p->region->resuming)
			continue;
		rp_store_release(&ep->live, 1);
		/* Pairs with rp_port_break(): whoever breaks the port now stops the ring, or is seen. */
		rp_fence_full();
		if (!rp_load_acquire(&p->breaking))
			continue;
		rp_store_release(&ep->live, 0);
		if (ep->ops->broken)
			ep->ops->broken(ep, true);
	}
}

/* Nobody has the ring open any more, and no thread uses it: what is left in it is lost. */
static bool empty(struct rp_port *p, int dir, uint32_t i)
{
	struct rp_endpoint *ep = endpoint(p, dir, i);
	struct rp_err err;
	bool whole;

	if (ep->batch && ep->batch->held) {
		rp_drop(ep, RP_DROP_RESET, ep->batch->held);
		ep->batch->held = 0;
	}
	whole = rp_region_reset_ring(p->region, &p->own[dir][i], &err) == 0;
	if (!whole)
		rp_port_break(p, err.text);
	rp_front_rings_restart(ep);
	return whole;
}

/* Return: true when rings stopped, so that threads may still use them for a moment */
static bool let_go(struct rp_port *p, int dir, uint32_t first, uint32_t n)
{
	bool stopped = false;

	for (uint32_t i = first; i < first + n; i++) {
		if (--p->bound[dir][i] == 0 && comes_and_goes(p)) {
			rp_store_release(&endpoint(p, dir, i)->live, 0);
			stopped = true;
		}
	}
	return stopped;
}

/* Return: false when a ring of them got no buffers, and the port is broken */
static bool empty_rings(struct rp_port *p, int dir, uint32_t first, uint32_t n)
{
	bool whole = true;

	for (uint32_t i = first; i < first + n; i++) {
		if (p->bound[dir][i] == 0 && comes_and_goes(p))
			whole &= empty(p, dir, i);
	}
	return whole;
}

static void hold_all(const struct rp_binding *b)
{
	const struct rp_bind_config *cfg = &b->cfg;

	hold_rings(b->port, NETMAP_DIR_TX, cfg->tx_first, cfg->tx_n);
	hold_rings(b->port, NETMAP_DIR_RX, cfg->rx_first, cfg->rx_n);
	if (!b->host)
		return;
	hold_rings(b->host, NETMAP_DIR_TX, cfg->host_tx_first, cfg->host_tx_n);
	hold_rings(b->host, NETMAP_DIR_RX, cfg->host_rx_first, cfg->host_rx_n);
}

bool rp_is_open(const struct rp_port *p)
{
	for (uint32_t i = 0; i < RP_PORT_RINGS; i++) {
		if (p->bound[NETMAP_DIR_TX][i] || p->bound[NETMAP_DIR_RX][i])
			return true;
	}
	return false;
}

/* After the last open a broken port is as good as new. */
static void mend(rp_dataplane *dp, struct rp_port *p)
{
	if (comes_and_goes(p) && !rp_is_open(p))
		rp_mend_port(dp, p);
}

/* Make those rings of a port empty that nobody has open now, and the port whole. */
static void renew(rp_dataplane *dp, struct rp_port *p, uint32_t tx_first, uint32_t tx_n,
		  uint32_t rx_first, uint32_t rx_n)
{
	bool whole;

	rp_zcopy_pause(dp, p);
	whole = empty_rings(p, NETMAP_DIR_TX, tx_first, tx_n);
	whole &= empty_rings(p, NETMAP_DIR_RX, rx_first, rx_n);
	rp_zcopy_resume(dp, p);
	if (whole)
		mend(dp, p);
}

static void leave(rp_dataplane *dp, struct rp_port *p, uint32_t tx_first, uint32_t tx_n,
		  uint32_t rx_first, uint32_t rx_n)
{
	if (!rp_is_open(p))
		rp_leave_csb(p);
	renew(dp, p, tx_first, tx_n, rx_first, rx_n);
}

static void let_all_go(rp_dataplane *dp, const struct rp_binding *b)
{
	const struct rp_bind_config *cfg = &b->cfg;
	bool stopped = let_go(b->port, NETMAP_DIR_TX, cfg->tx_first, cfg->tx_n);

	stopped |= let_go(b->port, NETMAP_DIR_RX, cfg->rx_first, cfg->rx_n);
	if (b->host) {
		stopped |= let_go(b->host, NETMAP_DIR_TX, cfg->host_tx_first, cfg->host_tx_n);
		stopped |= let_go(b->host, NETMAP_DIR_RX, cfg->host_rx_first, cfg->host_rx_n);
	}
	if (!stopped)
		return;
	rp_quiet_wait(&dp->quiet);
	leave(dp, b->port, cfg->tx_first, cfg->tx_n, cfg->rx_first, cfg->rx_n);
	if (b->host)
		leave(dp, b->host, cfg->host_tx_first, cfg->host_tx_n, cfg->host_rx_first,
		      cfg->host_rx_n);
}

/* The last open of a region has gone: buffers that no ring has are free. */
static void sweep(rp_dataplane *dp, struct rp_region *r)
{
	struct rp_region_keep keep;

	if (!rp_region_keep_begin(&keep, r))
		return;
	for (int id = 0; id < RP_MAX_PORTS; id++) {
		const struct rp_port *p = dp->port[id];

		for (uint32_t i = 0; p && p->region == r && i < RP_PORT_RINGS; i++) {
			rp_region_keep_ring(&keep, &p->own[NETMAP_DIR_TX][i]);
			rp_region_keep_ring(&keep, &p->own[NETMAP_DIR_RX][i]);
		}
	}
	rp_region_keep_end(&keep);
}

void rp_settle_region(rp_dataplane *dp, struct rp_region *r)
{
	rp_region_drop_old(r);
	for (int id = 0; id < RP_MAX_PORTS; id++) {
		struct rp_port *p = dp->port[id];

		if (p && p->region == r)
			renew(dp, p, 0, p->ntx, 0, p->nrx);
	}
	if (r->opens == 0)
		sweep(dp, r);
}

void rp_let_rings_move(rp_dataplane *dp, int dir)
{
	for (int id = 0; id < RP_MAX_PORTS; id++) {
		struct rp_port *p = dp->port[id];

		for (uint32_t i = 0; p && p->csb && i < RP_PORT_RINGS; i++) {
			if (i < (dir == NETMAP_DIR_TX ? p->ntx : p->nrx) &&
			    !rp_load_acquire(&p->breaking))
				rp_store_release(&endpoint(p, dir, i)->live,
						 rp_ring_in_use(p, dir, i));
		}
		if (p && p->csb && p->worker >= 0)
			rp_worker_wake(dp->worker[p->worker]);
	}
}

static int add(rp_dataplane *dp, const struct rp_bind_config *cfg, struct rp_bind_info *out,
	       struct rp_err *err)
{
	struct rp_port *p = rp_find_rings(dp, cfg->port, err), *host = NULL;
	struct rp_binding *b;
	int id = 0, nifp, ret;

	if (!p || (cfg->host_port >= 0 && !(host = rp_find_rings(dp, cfg->host_port, err))))
		return -err->code;
	ret = check(cfg, p, host, err);
	if (ret < 0)
		return ret;
	while (id < RP_MAX_BINDINGS && dp->binding[id])
		id++;
	if (id == RP_MAX_BINDINGS)
		return rp_fail(err, ENOSPC, "ports are open %d times already", RP_MAX_BINDINGS);
	nifp = cfg->nifp_offset ? rp_region_take_up_if(p->region, cfg->nifp_offset, err) :
				  rp_region_add_if(p->region, NULL, err);
	if (nifp < 0)
		return nifp;
	b = malloc(sizeof(*b));
	if (!b) {
		rp_region_del_if(p->region, (uint32_t)nifp);
		return rp_fail(err, ENOMEM, "out of memory");
	}
	*b = (struct rp_binding){ p->region, p, host, (uint32_t)nifp, *cfg };
	rp_write_if(b->nifp, cfg, p, host);
	*out = (struct rp_bind_info){ .nifp_offset = rp_region_if_offset(p->region, b->nifp),
				      .extra_bufs = cfg->extra_bufs,
				      .region = p->region->id };
	if (!cfg->nifp_offset)
		rp_region_if_at(p->region, b->nifp)->ni_bufs_head =
			rp_region_add_extra(p->region, cfg->extra_bufs, &out->extra_bufs);
	rp_use_region(p->region);
	p->region->opens++;
	hold_all(b);
	dp->binding[id] = b;
	return id;
}

static void drop(rp_dataplane *dp, int binding)
{
	struct rp_binding *b = dp->binding[binding];

	dp->binding[binding] = NULL;
	let_all_go(dp, b);
	rp_vnet_leave(dp, b->port);
	rp_region_del_extra(b->region, rp_load(&rp_region_if_at(b->region, b->nifp)->ni_bufs_head));
	rp_region_del_if(b->region, b->nifp);
	/* What others have of a region that is taken up is known when all of them are there. */
	if (--b->region->opens == 0 && !b->region->resuming)
		sweep(dp, b->region);
	rp_leave_region(dp, b->region);
	free(b);
}

void rp_fill_region(rp_dataplane *dp, struct rp_port *p)
{
	const struct rp_bind_config all = { .tx_n = p->ntx, .rx_n = p->nrx };

	rp_write_if(p->nifp, &all, p, NULL);
	renew(dp, p, 0, p->ntx, 0, p->nrx);
}

int rp_port_renew(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	if (p && comes_and_goes(p))
		renew(dp, p, 0, p->ntx, 0, p->nrx);
	else if (p && p->swaps && p->peer && !rp_is_open(p) && !rp_is_open(p->peer))
		rp_renew_pipe(dp, p);
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -err->code;
}

int rp_binding_add(rp_dataplane *dp, const struct rp_bind_config *cfg, struct rp_bind_info *out,
		   struct rp_err *err)
{
	int ret;

	pthread_mutex_lock(&dp->lock);
	ret = add(dp, cfg, out, err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_binding_del(rp_dataplane *dp, int binding, struct rp_err *err)
{
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	if (binding >= 0 && binding < RP_MAX_BINDINGS && dp->binding[binding])
		drop(dp, binding);
	else
		ret = rp_fail(err, ENOENT, "there is no binding %d", binding);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

void rp_drop_bindings(rp_dataplane *dp, const struct rp_port *p)
{
	for (int i = 0; i < RP_MAX_BINDINGS; i++) {
		if (dp->binding[i] && (dp->binding[i]->port == p || dp->binding[i]->host == p))
			drop(dp, i);
	}
}
