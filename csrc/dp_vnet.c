/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: virtio-net headers in netmap rings. */
#include <errno.h>

#include "dataplane.h"
#include "front_rings.h"
#include "kring.h"
#include "vnet.h"

uint64_t rp_vnet_offered(void)
{
	return RP_VNET_FEATURES;
}

static struct rp_endpoint *ring(const struct rp_port *p, uint32_t i)
{
	return i < p->ntx ? p->tx[i] : p->rx[i - p->ntx];
}

/* The other end of a pipe whose ends move its slots themselves. */
static struct rp_port *other_end(const struct rp_port *p)
{
	return p->swaps ? p->peer : NULL;
}

/* Do all slots have room for the header, and for the least that may follow it? */
static bool has_room(const struct rp_port *p, uint32_t header)
{
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		if (rp_front_rings_slot_bytes(ring(p, i)) < header + RP_ETH_MIN)
			return false;
	}
	return true;
}

/* What the other end of a pipe gets as it was sent must be what its user agreed to. */
static int check_pipe(const struct rp_port *p, const struct rp_port *other, uint32_t header,
		      uint64_t features, struct rp_err *err)
{
	if (!rp_is_open(other))
		return 0;
	if (other->net_header != header)
		return rp_fail(err, EBUSY,
			       "%.63s, the other end of the pipe, is open with virtio-net headers "
			       "of %u bytes, not %u: both ends must have the same",
			       other->name, other->net_header, header);
	if (!rp_vnet_suits(features, other->features) || !rp_vnet_suits(other->features, features))
		return rp_fail(err, EBUSY,
			       "%.63s, the other end of the pipe, agreed on offloads 0x%llx, which "
			       "do not suit 0x%llx of %.63s: nobody on the way makes up for it",
			       other->name, (unsigned long long)other->features,
			       (unsigned long long)features, p->name);
	return 0;
}

static int check(const struct rp_port *p, uint32_t header, uint64_t features, struct rp_err *err)
{
	const struct rp_port *other = other_end(p);

	if (header != 0 && header != sizeof(struct virtio_net_hdr) &&
	    header != sizeof(struct virtio_net_hdr_mrg_rxbuf))
		return rp_fail(err, EINVAL, "a virtio-net header of %u bytes; it has 10 or 12",
			       header);
	if (features & ~(header ? RP_VNET_FEATURES : 0))
		return rp_fail(err, EINVAL,
			       "offloads 0x%llx; with a header of %u bytes 0x%llx is offered",
			       (unsigned long long)features, header,
			       (unsigned long long)(header ? RP_VNET_FEATURES : 0));
	if (p->ops->receives_only)
		return rp_fail(err, EINVAL,
			       "%.63s is a monitor: it shows frames without virtio-net header",
			       p->name);
	if (header && p->shown)
		return rp_fail(err, EBUSY,
			       "%.63s has a zero-copy monitor, which would show the headers: let "
			       "the monitor copy",
			       p->name);
	if (!has_room(p, header) || (other && !has_room(other, header)))
		return rp_fail(err, EINVAL,
			       "the buffers of %.63s have no room for a header of %u bytes",
			       p->name, header);
	return other ? check_pipe(p, other, header, features, err) : 0;
}

/* Bits that go beyond what rings can hold are left out: software cuts those segments. */
static uint64_t possible(const struct rp_port *p, uint32_t header, uint64_t features)
{
	for (uint32_t i = 0; i < p->nrx && !p->swaps; i++) {
		const uint32_t slots = rp_min(NETMAP_MAX_FRAGS, p->own[NETMAP_DIR_RX][i].slots - 1);

		if ((uint64_t)slots * rp_front_rings_slot_bytes(p->rx[i]) < header + RP_FRAME_MAX)
			features &= ~RP_VNET_LARGE_RECEIVE;
	}
	return features;
}

/* No frame may be on its way while its header comes or goes. */
static void stop(rp_dataplane *dp, const struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++)
		rp_store_release(&ring(p, i)->live, 0);
	rp_quiet_wait(&dp->quiet);
}

static void go_on(rp_dataplane *dp, const struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		struct rp_endpoint *ep = ring(p, i);

		rp_store_release(&ep->live, rp_ring_in_use(p, ep->dir, ep->ring));
		/* Pairs with rp_port_break(): whoever breaks the port now stops the ring, or is seen. */
		rp_fence_full();
		if (rp_load_acquire(&p->breaking))
			rp_store_release(&ep->live, 0);
	}
	if (p->worker >= 0)
		rp_worker_wake(dp->worker[p->worker]); /* kicks that came meanwhile found nothing */
}

static void set(rp_dataplane *dp, struct rp_port *p, uint32_t header, uint64_t features,
		bool leaves)
{
	p->net_header_leaves = leaves;
	if (p->net_header == header && p->features == features)
		return;
	stop(dp, p);
	p->net_header = header;
	rp_store(&p->features, features);
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++)
		rp_front_rings_header(ring(p, i));
	go_on(dp, p);
}

static int agree(rp_dataplane *dp, struct rp_port *p, uint32_t header, uint64_t features,
		 struct rp_err *err)
{
	struct rp_port *other = other_end(p);
	int ret = check(p, header, features, err);

	if (ret < 0)
		return ret;
	features = possible(p, header, features);
	set(dp, p, header, features, header && rp_is_open(p));
	if (other && !rp_is_open(other))
		set(dp, other, header, rp_vnet_turned(features), p->net_header_leaves);
	return 0;
}

int rp_port_vnet(rp_dataplane *dp, int port, uint32_t header_bytes, uint64_t features,
		 struct rp_err *err)
{
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	ret = p ? agree(dp, p, header_bytes, features, err) : -err->code;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

void rp_vnet_leave(rp_dataplane *dp, struct rp_port *p)
{
	struct rp_port *other = other_end(p);

	if (!p->net_header_leaves || rp_is_open(p) || (other && rp_is_open(other)))
		return;
	set(dp, p, 0, 0, false);
	if (other)
		set(dp, other, 0, 0, false);
}
