/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: ports whose front end is the kernel's: NICs, host stacks, interfaces of the host. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane.h"
#include "front_packet.h"
#include "front_tap.h"
#include "front_xdp.h"
#include "vnet.h"

enum { SLOTS_MIN = 64 };

static struct rp_port *find_kernel(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p = rp_find_port(dp, port, err);

	if (p && !p->kernel) {
		rp_fail(err, EINVAL, "port %.63s is none of the kernel's", p->name);
		return NULL;
	}
	return p;
}

static struct rp_worker *worker_of(const rp_dataplane *dp, struct rp_endpoint *ep)
{
	const int worker = rp_kernel_ring(ep)->worker;

	return worker < 0 ? NULL : dp->worker[worker];
}

/* A ring moves frames when it has a queue, is enabled, and its port is not broken. */
static void update_live(rp_dataplane *dp, struct rp_endpoint *ep)
{
	bool live = rp_kernel_ring(ep)->queue && ep->enabled && !rp_port_broken(ep->port);
	struct rp_worker *w = worker_of(dp, ep);

	rp_store_release(&ep->live, live);
	/* It may be breaking just now: either we see that, or it sees the ring live and stops it. */
	rp_fence_full();
	if (rp_load(&ep->port->breaking))
		rp_store_release(&ep->live, 0);
	if (live && w)
		rp_worker_wake(w); /* frames may have come before */
}

void rp_kernel_update(rp_dataplane *dp, struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx; i++) {
		update_live(dp, p->rx[i]);
		update_live(dp, p->tx[i]);
	}
}

/* Let a worker wait for frames of a queue, and for the queue's getting stuck. */
static int watch(struct rp_worker *w, const struct rp_kernel_queue *q, uint32_t record,
		 struct rp_err *err)
{
	int ret = rp_worker_watch(w, q->fd, record, err);

	if (ret == 0) {
		ret = rp_worker_watch(w, q->out.wake_fd, record, err);
		if (ret < 0)
			rp_worker_unwatch(w, q->fd);
	}
	return ret;
}

static void unwatch(struct rp_worker *w, const struct rp_kernel_queue *q)
{
	rp_worker_unwatch(w, q->fd);
	rp_worker_unwatch(w, q->out.wake_fd);
}

static void stop_pair(rp_dataplane *dp, struct rp_port *p, uint32_t i)
{
	struct rp_kernel_queue *q = rp_kernel_ring(p->tx[i])->queue;
	struct rp_worker *w = worker_of(dp, p->tx[i]);

	if (!q)
		return;
	rp_store_release(&p->tx[i]->live, 0);
	rp_store_release(&p->rx[i]->live, 0);
	if (w)
		unwatch(w, q);
	rp_quiet_wait(&dp->quiet);
	rp_kernel_ring_stop(p->tx[i]);
	rp_kernel_ring_stop(p->rx[i]);
}

void rp_kernel_stop_rings(rp_dataplane *dp, struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx; i++)
		stop_pair(dp, p, i);
}

static struct rp_kernel_queue *open_queue(const struct rp_kernel_config *cfg, uint32_t i,
					  struct rp_err *err)
{
	const struct rp_kernel_queue_config queue = { .slots = cfg->slots,
						      .frame_bytes = cfg->frame_bytes };
	const struct rp_xdp_binding binding = { .ifindex = cfg->ifindex,
						.queue = i,
						.zero_copy = cfg->mode == RP_KERNEL_XDP_ZEROCOPY,
						.software = cfg->software };

	switch (cfg->mode) {
	case RP_KERNEL_XDP_COPY:
	case RP_KERNEL_XDP_ZEROCOPY:
		return rp_front_xdp_open(&queue, &binding, err);
	case RP_KERNEL_PACKET:
		return rp_front_packet_open(&queue, cfg->fd[i], err);
	default:
		return rp_front_tap_open(&queue, cfg->fd[i], err);
	}
}

static int start_pair(rp_dataplane *dp, struct rp_port *p, uint32_t i,
		      const struct rp_kernel_config *cfg, struct rp_err *err)
{
	struct rp_worker *w = worker_of(dp, p->tx[i]);
	struct rp_kernel_queue *q = open_queue(cfg, i, err);
	int ret = 0;

	if (!q)
		return err ? -err->code : -EINVAL;
	if (w)
		ret = watch(w, q, p->tx[i]->record, err);
	if (ret < 0) {
		q->free(q);
		return ret;
	}
	rp_kernel_ring_start(p->tx[i], q);
	rp_kernel_ring_start(p->rx[i], q);
	return 0;
}

static int check(const struct rp_kernel_config *cfg, struct rp_err *err)
{
	if (cfg->mode < RP_KERNEL_XDP_COPY || cfg->mode > RP_KERNEL_TAP)
		return rp_fail(err, EINVAL, "there is no way %d to the kernel", cfg->mode);
	if (cfg->slots < SLOTS_MIN || cfg->slots > RP_MAX_SLOTS || (cfg->slots & (cfg->slots - 1)))
		return rp_fail(err, EINVAL, "%u slots; a power of two from %d to %d is allowed",
			       cfg->slots, SLOTS_MIN, RP_MAX_SLOTS);
	return 0;
}

static int start(rp_dataplane *dp, struct rp_port *p, const struct rp_kernel_config *cfg,
		 struct rp_err *err)
{
	const bool xdp = cfg->mode == RP_KERNEL_XDP_COPY || cfg->mode == RP_KERNEL_XDP_ZEROCOPY;
	int ret = 0;

	if (rp_kernel_ring(p->tx[0])->queue)
		return rp_fail(err, EBUSY, "port %.63s runs already", p->name);
	/* XDP knows of no offload, but tells of checksums that nobody completed; see partial.h. */
	rp_store(&p->features, xdp ? RP_FEATURE(VIRTIO_NET_F_CSUM) : RP_VNET_FEATURES);
	for (uint32_t i = 0; ret == 0 && i < p->ntx; i++)
		ret = start_pair(dp, p, i, cfg, err);
	if (ret < 0)
		rp_kernel_stop_rings(dp, p);
	return ret;
}

int rp_kernel_start(rp_dataplane *dp, int port, const struct rp_kernel_config *cfg,
		    struct rp_err *err)
{
	struct rp_port *p;
	int ret = check(cfg, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&dp->lock);
	p = find_kernel(dp, port, err);
	ret = p ? start(dp, p, cfg, err) : -EINVAL;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_kernel_stop(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p;

	pthread_mutex_lock(&dp->lock);
	p = find_kernel(dp, port, err);
	if (p)
		rp_kernel_stop_rings(dp, p);
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -EINVAL;
}

int rp_kernel_enable(rp_dataplane *dp, int port, int on, struct rp_err *err)
{
	struct rp_port *p;

	pthread_mutex_lock(&dp->lock);
	p = find_kernel(dp, port, err);
	for (uint32_t i = 0; p && i < p->ntx; i++)
		p->tx[i]->enabled = p->rx[i]->enabled = on;
	if (p)
		rp_kernel_update(dp, p);
	pthread_mutex_unlock(&dp->lock);
	return p ? 0 : -EINVAL;
}

int rp_kernel_fd(rp_dataplane *dp, int port, uint32_t ring, struct rp_err *err)
{
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = find_kernel(dp, port, err);
	if (!p)
		ret = -EINVAL;
	else if (ring >= p->ntx || !rp_kernel_ring(p->tx[ring])->queue)
		ret = rp_fail(err, EINVAL, "ring %u of port %.63s has no descriptor", ring,
			      p->name);
	else
		ret = rp_kernel_ring(p->tx[ring])->queue->fd;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static int serve(rp_dataplane *dp, struct rp_endpoint *ep, int worker, struct rp_err *err)
{
	struct rp_kernel_queue *q = rp_kernel_ring(ep)->queue;
	struct rp_worker *from = worker_of(dp, ep), *to = rp_find_worker(dp, worker, err);
	int ret;

	if (!to)
		return -ENOENT;
	if (from == to)
		return 0;
	ret = q ? watch(to, q, ep->record, err) : 0;
	if (ret == 0) {
		ret = rp_duty_move(dp, ep, from, to, err);
		if (q)
			unwatch(ret == 0 ? from : to, q);
	}
	if (ret == 0)
		rp_kernel_ring(ep)->worker = worker;
	return ret;
}

int rp_kernel_serve(rp_dataplane *dp, int port, uint32_t ring, int worker, struct rp_err *err)
{
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = find_kernel(dp, port, err);
	if (!p)
		ret = -EINVAL;
	else if (ring >= p->ntx || p->worker < 0)
		ret = rp_fail(err, EINVAL,
			      ring >= p->ntx ? "port %.63s has no ring %u" :
					       "port %.63s has no worker for ring %u",
			      p->name, ring);
	else
		ret = serve(dp, p->tx[ring], worker, err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_kernel_go_home(rp_dataplane *dp, struct rp_port *p, struct rp_err *err)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && p->worker >= 0 && i < p->ntx; i++)
		ret = serve(dp, p->tx[i], p->worker, err);
	return ret;
}
