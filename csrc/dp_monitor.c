/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: monitors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane.h"

enum { BOTH = RP_MONITOR_TX | RP_MONITOR_RX, RINGS = 2 * RP_PORT_RINGS };

/* Rings of a port, and what their monitors are to be. */
struct change {
	uint32_t n;
	struct rp_endpoint *ep[RINGS];
	struct rp_monitors *list[RINGS];
};

/* @old without @monitor, or with it, if @in: its ring @ring. Empty: NULL. Return: 0, or -ENOMEM */
static int make_list(const struct rp_monitors *old, struct rp_port *monitor, bool in, uint32_t ring,
		     struct rp_monitors **list)
{
	const uint32_t most = (old ? old->n : 0) + 1;
	struct rp_monitors *now = calloc(1, sizeof(*now) + most * sizeof(now->ring[0]));

	if (!now)
		return -ENOMEM;
	for (uint32_t i = 0; old && i < old->n; i++) {
		if (old->ring[i]->port != monitor)
			now->ring[now->n++] = old->ring[i];
	}
	if (in)
		now->ring[now->n++] = monitor->rx[ring % monitor->nrx];
	if (!now->n) {
		free(now);
		now = NULL;
	}
	*list = now;
	return 0;
}

static int add_ring(struct change *c, struct rp_endpoint *ep, struct rp_port *monitor, bool in)
{
	int ret = make_list(ep->monitors, monitor, in, ep->ring, &c->list[c->n]);

	if (ret == 0)
		c->ep[c->n++] = ep;
	return ret;
}

static void free_lists(struct change *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		free(c->list[i]);
}

/* From now on the rings have the lists made for them. */
static void commit(rp_dataplane *dp, struct change *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		struct rp_monitors *old = c->ep[i]->monitors;

		rp_store_release(&c->ep[i]->monitors, c->list[i]);
		c->list[i] = old;
	}
	rp_quiet_wait(&dp->quiet);
	free_lists(c);
}

/* Let @monitor be among the monitors of those rings of its parent that @flags name, or of none. */
static int set_flags(rp_dataplane *dp, struct rp_port *monitor, uint32_t flags, struct rp_err *err)
{
	struct rp_port *parent = monitor->parent;
	struct change c = { 0 };
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < parent->ntx; i++)
		ret = add_ring(&c, parent->tx[i], monitor, flags & RP_MONITOR_TX);
	for (uint32_t i = 0; ret == 0 && i < parent->nrx; i++)
		ret = add_ring(&c, parent->rx[i], monitor, flags & RP_MONITOR_RX);
	if (ret < 0) {
		free_lists(&c);
		return rp_fail(err, ENOMEM, "out of memory");
	}
	commit(dp, &c);
	return 0;
}

static int check_zcopy(const struct rp_port *monitor, const struct rp_port *parent,
		       struct rp_err *err)
{
	if (!monitor->region || monitor->region != parent->region)
		return rp_fail(
			err, EINVAL,
			"%.63s and %.63s have no region in common, so they can't swap buffers: "
			"let the monitor copy",
			monitor->name, parent->name);
	if (parent->net_header)
		return rp_fail(err, EINVAL,
			       "frames of %.63s have virtio-net headers, which a zero-copy monitor "
			       "would show: let it copy",
			       parent->name);
	if (!monitor->csb)
		return rp_fail(err, EINVAL, "zero-copy monitor %.63s needs CSBs", monitor->name);
	return 0;
}

static int check(const struct rp_port *monitor, const struct rp_port *parent, uint32_t flags,
		 struct rp_err *err)
{
	if (!monitor->ops->receives_only)
		return rp_fail(err, EINVAL, "port %.63s is no monitor", monitor->name);
	if (monitor->parent)
		return rp_fail(err, EBUSY, "%.63s monitors port %.63s already", monitor->name,
			       monitor->parent->name);
	if (parent->ops->receives_only)
		return rp_fail(err, EINVAL,
			       "port %.63s is a monitor itself: attach %.63s to what it monitors",
			       parent->name, monitor->name);
	if (!flags || (flags & ~(BOTH | RP_MONITOR_ZCOPY)))
		return rp_fail(
			err, EINVAL,
			"monitor flags 0x%x: %d for what is sent, %d for what is received, %d "
			"for both without a copy",
			flags, RP_MONITOR_TX, RP_MONITOR_RX, RP_MONITOR_ZCOPY);
	if (flags & RP_MONITOR_ZCOPY)
		return check_zcopy(monitor, parent, err);
	return parent->swaps ? rp_fail(err, EINVAL,
				       "the ends of pipe %.63s move its frames themselves: only a "
				       "zero-copy monitor sees them",
				       parent->name) :
			       0;
}

static int attach(rp_dataplane *dp, struct rp_port *m, struct rp_port *parent, uint32_t flags,
		  struct rp_err *err)
{
	int ret = 0;

	m->parent = parent;
	m->zcopy = flags & RP_MONITOR_ZCOPY;
	if (m->zcopy) {
		rp_zcopy_unseal(m);
		rp_zcopy_join(dp, parent);
	} else {
		ret = set_flags(dp, m, flags, err);
	}
	if (ret < 0)
		m->parent = NULL;
	return ret;
}

int rp_monitor_attach(rp_dataplane *dp, int monitor, int parent, uint32_t flags, struct rp_err *err)
{
	struct rp_port *m, *p;
	int ret = -ENOENT;

	pthread_mutex_lock(&dp->lock);
	m = rp_find_port(dp, monitor, err);
	p = m ? rp_find_port(dp, parent, err) : NULL;
	if (p)
		ret = check(m, p, flags, err);
	if (ret == 0)
		ret = attach(dp, m, p, flags, err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static void detach_zcopy(rp_dataplane *dp, struct rp_port *m)
{
	struct rp_port *parent = m->parent;

	m->parent = NULL;
	rp_zcopy_join(dp, parent);
	rp_zcopy_seal(m);
}

static int detach(rp_dataplane *dp, struct rp_port *m, struct rp_err *err)
{
	int ret = m->zcopy ? 0 : set_flags(dp, m, 0, err);

	if (ret == 0 && m->zcopy)
		detach_zcopy(dp, m);
	if (ret == 0)
		m->parent = NULL;
	return ret;
}

int rp_monitor_detach(rp_dataplane *dp, int monitor, struct rp_err *err)
{
	struct rp_port *m;
	int ret = -ENOENT;

	pthread_mutex_lock(&dp->lock);
	m = rp_find_port(dp, monitor, err);
	if (m)
		ret = m->parent ? detach(dp, m, err) :
				  rp_fail(err, EINVAL, "port %.63s monitors nothing", m->name);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

/* Its own monitors: what they show is gone, and they say so. */
static void orphan(rp_dataplane *dp, struct rp_port *parent)
{
	char reason[sizeof(parent->reason)];
	struct change c = { 0 };

	for (uint32_t i = 0; i < parent->ntx + parent->nrx; i++) {
		struct rp_endpoint *ep =
			i < parent->ntx ? parent->tx[i] : parent->rx[i - parent->ntx];

		if (ep->monitors)
			c.ep[c.n++] = ep;
	}
	if (c.n)
		commit(dp, &c);
	snprintf(reason, sizeof(reason), "port %.63s, which it monitored, is gone", parent->name);
	for (int i = 0; i < RP_MAX_PORTS; i++) {
		struct rp_port *m = dp->port[i];

		if (m && m->parent == parent) {
			if (m->zcopy)
				detach_zcopy(dp, m);
			m->parent = NULL;
			rp_port_break(m, reason);
		}
	}
}

int rp_monitor_part(rp_dataplane *dp, struct rp_port *p, struct rp_err *err)
{
	int ret = p->parent ? detach(dp, p, err) : 0;

	if (ret == 0)
		orphan(dp, p);
	return ret;
}
