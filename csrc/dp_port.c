/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: ports. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane.h"
#include "front_rings.h"
#include "front_vhost.h"
#include "kernel_ring.h"
#include "port_link.h"
#include "port_monitor.h"
#include "port_null.h"
#include "port_vale.h"

static const struct rp_port_ops *const kinds[] = {
	[RP_KIND_VALE] = &rp_port_vale,
	[RP_KIND_NULL] = &rp_port_null,
	[RP_KIND_LINK] = &rp_link_port,
	[RP_KIND_MONITOR] = &rp_port_monitor,
};

struct rp_port *rp_find_port(rp_dataplane *dp, int port, struct rp_err *err)
{
	if (port >= 0 && port < RP_MAX_PORTS && dp->port[port])
		return dp->port[port];
	rp_fail(err, ENOENT, "there is no port %d", port);
	return NULL;
}

static int check_mtu(uint32_t mtu, struct rp_err *err)
{
	return mtu > UINT16_MAX ? rp_fail(err, EINVAL, "an MTU of %u; no packet is longer than %d",
					  mtu, UINT16_MAX) :
				  0;
}

static int check(const struct rp_port_config *cfg, struct rp_err *err)
{
	if (!memchr(cfg->name, '\0', sizeof(cfg->name)))
		return rp_fail(err, EINVAL, "a port's name has at most %zu bytes",
			       sizeof(cfg->name) - 1);
	if (cfg->kind < RP_KIND_VALE || cfg->kind > RP_KIND_MONITOR || !kinds[cfg->kind])
		return rp_fail(err, EINVAL, "there is no port kind %d", cfg->kind);
	if (cfg->front_end < RP_FRONT_RINGS || cfg->front_end > RP_FRONT_KERNEL)
		return rp_fail(err, EINVAL, "there is no front end %d", cfg->front_end);
	if (cfg->tx_rings == 0 || cfg->tx_rings > RP_PORT_RINGS || cfg->rx_rings == 0 ||
	    cfg->rx_rings > RP_PORT_RINGS)
		return rp_fail(err, EINVAL, "%u tx and %u rx rings; 1 to %d of each are allowed",
			       cfg->tx_rings, cfg->rx_rings, RP_PORT_RINGS);
	if (cfg->front_end != RP_FRONT_RINGS && cfg->tx_rings != cfg->rx_rings)
		return rp_fail(err, EINVAL, "%s come in pairs, not %u and %u",
			       cfg->front_end == RP_FRONT_VHOST ? "virtqueues" : "queues",
			       cfg->tx_rings, cfg->rx_rings);
	if (cfg->full != RP_FULL_HOLD && cfg->full != RP_FULL_DROP)
		return rp_fail(err, EINVAL, "there is no policy %d for full receivers", cfg->full);
	return check_mtu(cfg->mtu, err);
}

/* A record in the counters and a ring state beside it, both for one ring. */
static int find_record(const rp_dataplane *dp)
{
	for (int i = 0; i < RP_COUNTERS_RINGS; i++) {
		if (!dp->counters->rings[i].active)
			return i;
	}
	return -1;
}

static struct rp_endpoint *make_endpoint(rp_dataplane *dp, struct rp_port *p, int front_end,
					 int dir, uint32_t i, int record)
{
	struct rp_ring_state *state = &dp->state->ring[record];

	switch (front_end) {
	case RP_FRONT_RINGS:
		return rp_front_rings_new(p, dir, i, &p->own[dir][i], p->csb,
					  rp_region_state(p->region, p->own[dir][i].obj));
	case RP_FRONT_VHOST:
		return rp_front_vhost_new(p, dir, i, state);
	default:
		return rp_kernel_ring_new(p, dir, i, state);
	}
}

/* How the two sides of a ring with a CSB wake each other. */
static int open_bells(struct rp_port *p, struct rp_endpoint *ep, struct rp_err *err)
{
	int *kick = ep->dir == NETMAP_DIR_TX ? &p->kick_fd[ep->ring] : NULL;
	int *call = &p->call_fd[ep->dir][ep->ring];

	*call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kick)
		*kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*call < 0 || (kick && *kick < 0))
		return rp_fail(err, errno, "cannot make an eventfd: %s", strerror(errno));
	return rp_front_rings_call(ep, *call, err);
}

static int add_endpoint(rp_dataplane *dp, struct rp_port *p, int front_end, int dir, uint32_t i,
			struct rp_err *err)
{
	int record = find_record(dp);
	struct rp_ring_counters *count;
	struct rp_endpoint *ep;

	if (record < 0)
		return rp_fail(err, ENOSPC, "all of the %d ring records are taken",
			       RP_COUNTERS_RINGS);
	ep = make_endpoint(dp, p, front_end, dir, i, record);
	if (!ep)
		return rp_fail(err, ENOMEM, "out of memory");
	count = &dp->counters->rings[record];
	*count = (struct rp_ring_counters){ .dir = (uint16_t)dir, .ring = (uint16_t)i };
	memcpy(count->port, p->name, sizeof(count->port));
	rp_store_release(&count->active, 1);
	ep->count = count;
	ep->record = (uint32_t)record;
	if (p->region && p->own[dir][i].resumed)
		rp_front_rings_resume(ep);
	if (dir == NETMAP_DIR_TX)
		p->tx[p->ntx++] = ep;
	else
		p->rx[p->nrx++] = ep;
	return p->csb ? open_bells(p, ep, err) : 0;
}

static void close_bell(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void free_rings(rp_dataplane *dp, struct rp_port *p)
{
	for (uint32_t i = 0; i < RP_PORT_RINGS; i++) {
		close_bell(p->kick_fd[i]);
		for (int dir = 0; dir < 2; dir++) {
			close_bell(p->call_fd[dir][i]);
			if (p->own[dir][i].slots)
				rp_region_del_ring(p->region, &p->own[dir][i]);
		}
	}
	if (p->has_nifp)
		rp_region_del_if(p->region, p->nifp);
	rp_leave_region(dp, p->region);
}

static void free_port(rp_dataplane *dp, struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		struct rp_endpoint *ep = i < p->ntx ? p->tx[i] : p->rx[i - p->ntx];

		rp_store_release(&dp->counters->rings[ep->record].active, 0);
		ep->ops->free(ep);
	}
	rp_guestmem_free(p->mem);
	rp_dirty_free(p->log);
	if (p->region)
		free_rings(dp, p);
	free(p);
}

static int add_rings(struct rp_port *p, int dir, uint32_t n, uint32_t slots, struct rp_err *err)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < n; i++) {
		ret = rp_region_add_ring(p->region, p->name, dir, i, slots, &p->own[dir][i], err);
		if (ret < 0)
			p->own[dir][i].slots = 0;
	}
	return ret;
}

/* The port's own region: room for its rings, and for what may be added to it. */
static struct rp_region_config private_region(const struct rp_port_config *cfg)
{
	enum { MORE_BUFS = 16384, MORE_RINGS = 64 };
	const uint32_t bufs = cfg->tx_rings * cfg->tx_slots + cfg->rx_rings * cfg->rx_slots;
	struct rp_region_config region = {
		.buf_bytes = cfg->buf_bytes,
		.slots_max = cfg->tx_slots > cfg->rx_slots ? cfg->tx_slots : cfg->rx_slots,
		.ring_max = cfg->tx_rings + cfg->rx_rings + MORE_RINGS,
		.buf_max = bufs + (cfg->region_bufs ? cfg->region_bufs : MORE_BUFS),
	};

	memcpy(region.name, cfg->name, sizeof(region.name));
	return region;
}

/* A netmap_if with all rings, as the callers that embed the backend use it. */
static int add_own_if(struct rp_port *p, struct rp_err *err)
{
	const struct rp_bind_config all = { .tx_n = p->ntx, .rx_n = p->nrx };
	int nifp = rp_region_add_if(p->region, p->name, err);

	if (nifp < 0)
		return nifp;
	p->nifp = (uint32_t)nifp;
	p->has_nifp = true;
	rp_write_if(p->nifp, &all, p, NULL);
	return 0;
}

static int take_rings(rp_dataplane *dp, struct rp_port *p, const struct rp_port_config *cfg,
		      struct rp_err *err)
{
	const struct rp_region_config private = private_region(cfg);
	struct rp_region *region = cfg->region ? rp_find_region(dp, cfg->region, err) :
						 rp_make_region(dp, &private, err);
	int ret;

	if (!region)
		return err ? -err->code : -EINVAL;
	rp_use_region(region);
	p->region = region;
	p->csb = cfg->csb;
	ret = add_rings(p, NETMAP_DIR_TX, cfg->tx_rings, cfg->tx_slots, err);
	if (ret == 0)
		ret = add_rings(p, NETMAP_DIR_RX, cfg->rx_rings, cfg->rx_slots, err);
	return ret;
}

static int add_endpoints(rp_dataplane *dp, struct rp_port *p, const struct rp_port_config *cfg,
			 struct rp_err *err)
{
	int ret = 0;

	if (cfg->front_end == RP_FRONT_RINGS)
		ret = take_rings(dp, p, cfg, err);
	for (uint32_t i = 0; ret == 0 && i < cfg->tx_rings; i++)
		ret = add_endpoint(dp, p, cfg->front_end, NETMAP_DIR_TX, i, err);
	for (uint32_t i = 0; ret == 0 && i < cfg->rx_rings; i++)
		ret = add_endpoint(dp, p, cfg->front_end, NETMAP_DIR_RX, i, err);
	return ret == 0 && p->region ? add_own_if(p, err) : ret;
}

/* Make the port known to its switch and its worker, and to callers. */
static int connect_port(rp_dataplane *dp, struct rp_port *p, const struct rp_port_config *cfg,
			struct rp_err *err)
{
	struct rp_switch *sw = NULL;
	struct rp_worker *w = NULL;
	int ret;

	if (cfg->kind == RP_KIND_VALE && !(sw = rp_find_switch(dp, cfg->sw, err)))
		return -ENOENT;
	if (cfg->worker >= 0 && !(w = rp_find_worker(dp, cfg->worker, err)))
		return -ENOENT;
	ret = sw ? rp_switch_join(dp, sw, p, err) : 0;
	if (ret == 0 && w) {
		ret = rp_duty_add(dp, w, p, err);
		if (ret < 0 && sw)
			rp_switch_part(dp, sw, p, NULL);
	}
	return ret;
}

/* The sender at the other end of a link always waits: where else should its frames go? */
static uint64_t hold_ns(const struct rp_port *p, int full, uint32_t hold_us)
{
	if (p->ops->links)
		return RP_HOLD_FOREVER;
	return full == RP_FULL_HOLD ? hold_us * UINT64_C(1000) : 0;
}

int rp_port_add(rp_dataplane *dp, const struct rp_port_config *cfg, struct rp_err *err)
{
	struct rp_port *p;
	int id = 0, ret;

	ret = check(cfg, err);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&dp->lock);
	while (id < RP_MAX_PORTS && dp->port[id])
		id++;
	p = calloc(1, sizeof(*p));
	if (id == RP_MAX_PORTS || !p) {
		free(p);
		pthread_mutex_unlock(&dp->lock);
		return id == RP_MAX_PORTS ?
			       rp_fail(err, ENOSPC, "there are %d ports already", RP_MAX_PORTS) :
			       rp_fail(err, ENOMEM, "out of memory");
	}
	memcpy(p->name, cfg->name, sizeof(p->name));
	p->id = id;
	p->ops = kinds[cfg->kind];
	p->worker = cfg->worker;
	p->kernel = cfg->front_end == RP_FRONT_KERNEL;
	p->hold_ns = hold_ns(p, cfg->full, cfg->hold_us);
	p->longest = rp_port_longest(cfg->mtu);
	p->event_fd = dp->event_fd;
	memset(p->kick_fd, -1, sizeof(p->kick_fd));
	memset(p->call_fd, -1, sizeof(p->call_fd));
	ret = add_endpoints(dp, p, cfg, err);
	if (ret == 0)
		ret = connect_port(dp, p, cfg, err);
	if (ret == 0)
		rp_store_release(&dp->port[id], p);
	else
		free_port(dp, p);
	pthread_mutex_unlock(&dp->lock);
	return ret < 0 ? ret : id;
}

int rp_port_set_full(rp_dataplane *dp, int port, int full, uint32_t hold_us, struct rp_err *err)
{
	struct rp_port *p;

	if (full != RP_FULL_HOLD && full != RP_FULL_DROP)
		return rp_fail(err, EINVAL, "there is no policy %d for full receivers", full);
	pthread_mutex_lock(&dp->lock);
	p = rp_find_port(dp, port, err);
	if (p)
		rp_store(&p->hold_ns, hold_ns(p, full, hold_us));
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -ENOENT;
}

int rp_port_set_mtu(rp_dataplane *dp, int port, uint32_t mtu, struct rp_err *err)
{
	struct rp_port *p;

	if (check_mtu(mtu, err) < 0)
		return -EINVAL;
	pthread_mutex_lock(&dp->lock);
	p = rp_find_port(dp, port, err);
	if (p)
		rp_store(&p->longest, rp_port_longest(mtu));
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -ENOENT;
}

static int stop_kernel(rp_dataplane *dp, struct rp_port *p, struct rp_err *err)
{
	rp_kernel_stop_rings(dp, p);
	return rp_kernel_go_home(dp, p, err);
}

int rp_port_del(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_port(dp, port, err);
	if (!p) {
		pthread_mutex_unlock(&dp->lock);
		return -ENOENT;
	}
	rp_store_release(&dp->port[port], NULL);
	if (p->kernel)
		ret = stop_kernel(dp, p, err);
	else if (!p->region)
		rp_vhost_stop_rings(dp, p);
	if (ret == 0)
		ret = rp_monitor_part(dp, p, err);
	if (ret == 0 && p->worker >= 0)
		ret = rp_duty_del(dp, dp->worker[p->worker], p, err);
	if (ret == 0 && p->sw)
		ret = rp_switch_part(dp, p->sw, p, err);
	if (ret == 0) {
		rp_unlink_port(dp, p);
		rp_drop_bindings(dp, p);
		rp_quiet_wait(&dp->quiet);
		free_port(dp, p);
	} else {
		rp_store_release(&dp->port[port], p);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static uint32_t live_mask(struct rp_endpoint *const *ep, uint32_t n)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < n; i++)
		mask |= rp_endpoint_live(ep[i]) ? 1u << i : 0;
	return mask;
}

int rp_port_status(rp_dataplane *dp, int port, struct rp_port_status *out, struct rp_err *err)
{
	struct rp_port *p;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_port(dp, port, err);
	if (p) {
		*out = (struct rp_port_status){
			.state = (int32_t)rp_load_acquire(&p->state),
			.tx_rings = p->ntx,
			.rx_rings = p->nrx,
			.tx_live = live_mask(p->tx, p->ntx),
			.rx_live = live_mask(p->rx, p->nrx),
			.net_header = p->net_header,
			.features = rp_load(&p->features),
		};
		if (out->state == RP_PORT_BROKEN)
			memcpy(out->reason, p->reason, sizeof(out->reason));
		for (uint32_t i = 0; i < p->ntx; i++)
			out->tx_record[i] = p->tx[i]->record;
		for (uint32_t i = 0; i < p->nrx; i++)
			out->rx_record[i] = p->rx[i]->record;
	}
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -ENOENT;
}

static void repair(rp_dataplane *dp, struct rp_port *p)
{
	if (p->region) {
		for (uint32_t i = 0; i < p->ntx; i++)
			rp_store_release(&p->tx[i]->live, rp_ring_in_use(p, NETMAP_DIR_TX, i));
		for (uint32_t i = 0; i < p->nrx; i++)
			rp_store_release(&p->rx[i]->live, rp_ring_in_use(p, NETMAP_DIR_RX, i));
	} else if (p->kernel) {
		rp_kernel_update(dp, p);
	} else {
		/* The front end describes its memory and log, and starts its rings again. */
		rp_vhost_stop_rings(dp, p);
		rp_guestmem_free(p->mem);
		rp_dirty_free(p->log);
		p->mem = NULL;
		p->log = NULL;
	}
}

static void clear_reason(struct rp_port *p)
{
	memset(p->reason, 0, sizeof(p->reason));
	for (uint32_t i = 0; i < p->ntx; i++)
		memset(p->tx[i]->count->broken, 0, sizeof(p->tx[i]->count->broken));
	for (uint32_t i = 0; i < p->nrx; i++)
		memset(p->rx[i]->count->broken, 0, sizeof(p->rx[i]->count->broken));
}

void rp_mend_port(rp_dataplane *dp, struct rp_port *p)
{
	if (!rp_port_broken(p))
		return;
	rp_quiet_wait(&dp->quiet);
	clear_reason(p);
	rp_port_show(p, false);
	rp_store_release(&p->state, RP_PORT_UP);
	rp_store_release(&p->breaking, 0);
	repair(dp, p);
}

int rp_port_repair(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_port(dp, port, err);
	if (p)
		rp_mend_port(dp, p);
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -ENOENT;
}
