/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: where a port's netmap rings are, and what joins two of them. */
#include <errno.h>
#include <unistd.h>

#include "dataplane.h"
#include "front_rings.h"

int rp_port_region(rp_dataplane *dp, int port, struct rp_region_info *out, struct rp_err *err)
{
	struct rp_port *p;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	if (!p)
		ret = -err->code;
	else
		*out = (struct rp_region_info){
			.fd = p->region->fd,
			.buf_bytes = p->region->bufs.objsize,
			.bytes = p->region->bytes,
			.nifp_offset = rp_region_if_offset(p->region, p->nifp),
			.bufs_offset = p->region->bufs.offset,
		};
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

struct rp_port *rp_find_rings(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p = rp_find_port(dp, port, err);

	if (!p || p->region)
		return p;
	rp_fail(err, EINVAL, "port %.63s has no region: its rings are not netmap's", p->name);
	return NULL;
}

static struct rp_ring_info describe(const struct rp_port *p, int dir, uint32_t i)
{
	const struct rp_region_ring *ring = &p->own[dir][i];
	const struct netmap_ring *at = rp_region_ring_at(p->region, ring->obj);
	const struct rp_port *peer = p->swaps ? p->peer : NULL;

	return (struct rp_ring_info){
		.ring_offset = (uint64_t)((const uint8_t *)at - p->region->base),
		.csb = ring->csb,
		.peer_csb = peer ? peer->own[!dir][i].csb : RP_NO_CSB,
		.slots = ring->slots,
		.kick_fd = dir == NETMAP_DIR_TX ? p->kick_fd[i] : -1,
		.call_fd = p->call_fd[dir][i],
	};
}

static int check_offsets(const struct rp_port *p, uint64_t mask, uint64_t max, uint64_t initial,
			 struct rp_err *err)
{
	const uint64_t least = p->net_header ? p->net_header + RP_ETH_MIN : 1;

	if (max >= p->region->bufs.objsize || max + least > p->region->bufs.objsize || max > mask ||
	    initial > max)
		return rp_fail(err, EINVAL,
			       "offsets up to %llu, at first %llu: they must fit their bits, and "
			       "buffers of %u bytes",
			       (unsigned long long)max, (unsigned long long)initial,
			       p->region->bufs.objsize);
	if (p->swaps)
		return 0; /* the slots carry them along */
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		const int dir = i < p->ntx ? NETMAP_DIR_TX : NETMAP_DIR_RX;

		if (p->bound[dir][i < p->ntx ? i : i - p->ntx])
			return rp_fail(err, EBUSY, "port %.63s is open, with other offsets",
				       p->name);
	}
	return 0;
}

int rp_port_offsets(rp_dataplane *dp, int port, uint32_t bits, uint64_t max, uint64_t initial,
		    struct rp_err *err)
{
	const uint64_t mask = bits == 0 || bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	ret = p ? check_offsets(p, mask, max, initial, err) : -err->code;
	if (ret == 0) {
		rp_quiet_wait(&dp->quiet);
		for (uint32_t i = 0; i < p->ntx; i++)
			rp_front_rings_offsets(p->tx[i], mask, (uint32_t)max, (uint32_t)initial);
		for (uint32_t i = 0; i < p->nrx; i++)
			rp_front_rings_offsets(p->rx[i], mask, (uint32_t)max, (uint32_t)initial);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_port_rings(rp_dataplane *dp, int port, struct rp_port_rings *out, struct rp_err *err)
{
	struct rp_port *p;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	if (p) {
		*out = (struct rp_port_rings){ .region = p->region->id,
					       .tx_rings = p->ntx,
					       .rx_rings = p->nrx };
		for (uint32_t i = 0; i < p->ntx; i++)
			out->tx[i] = describe(p, NETMAP_DIR_TX, i);
		for (uint32_t i = 0; i < p->nrx; i++)
			out->rx[i] = describe(p, NETMAP_DIR_RX, i);
	} else {
		ret = -err->code;
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

/* Do the rings of @a and @b fit each other, slot by slot? */
static bool alike(const struct rp_port *a, const struct rp_port *b)
{
	if (a->ntx != b->nrx || a->nrx != b->ntx)
		return false;
	for (uint32_t i = 0; i < a->ntx; i++)
		if (a->own[NETMAP_DIR_TX][i].slots != b->own[NETMAP_DIR_RX][i].slots)
			return false;
	for (uint32_t i = 0; i < a->nrx; i++)
		if (a->own[NETMAP_DIR_RX][i].slots != b->own[NETMAP_DIR_TX][i].slots)
			return false;
	return true;
}

static int check(const struct rp_port *a, const struct rp_port *b, struct rp_err *err)
{
	if (a == b || !a->ops->links || !b->ops->links)
		return rp_fail(err, EINVAL, "%.63s and %.63s are not two ports of kind link",
			       a->name, b->name);
	if (a->peer || b->peer)
		return rp_fail(err, EBUSY, "%.63s is linked already", a->peer ? a->name : b->name);
	if (!a->region || a->region != b->region)
		return 0;
	if (!a->csb || !b->csb || a->worker >= 0 || b->worker >= 0)
		return rp_fail(err, EINVAL,
			       "%.63s and %.63s have one region: they need CSBs and no worker",
			       a->name, b->name);
	return alike(a, b) ? 0 :
			     rp_fail(err, EINVAL,
				     "%.63s and %.63s differ in rings or slots: one's tx must "
				     "be the other's rx",
				     a->name, b->name);
}

static void set_peer(const struct rp_region *r, const struct rp_region_ring *ring, uint32_t peer)
{
	rp_store(&rp_region_csb_at(r, ring->csb)->peer, peer);
}

/* What @from sends, @to receives, in buffers that the two rings share: @from's. */
static void join_rings(const struct rp_port *from, const struct rp_port *to)
{
	for (uint32_t i = 0; i < from->ntx; i++) {
		const struct rp_region_ring *tx = &from->own[NETMAP_DIR_TX][i];
		const struct rp_region_ring *rx = &to->own[NETMAP_DIR_RX][i];

		rp_region_lend(from->region, rx, tx);
		set_peer(from->region, tx, rx->csb);
		set_peer(from->region, rx, tx->csb);
	}
}

static void part_rings(const struct rp_port *from, const struct rp_port *to)
{
	for (uint32_t i = 0; i < from->ntx; i++) {
		const struct rp_region_ring *rx = &to->own[NETMAP_DIR_RX][i];

		rp_region_lend(from->region, rx, NULL);
		set_peer(from->region, rx, RP_NO_CSB);
		set_peer(from->region, &from->own[NETMAP_DIR_TX][i], RP_NO_CSB);
	}
}

static void reset_rings(struct rp_port *p, int dir, uint32_t n)
{
	struct rp_err err;

	for (uint32_t i = 0; i < n; i++)
		if (rp_region_reset_ring(p->region, &p->own[dir][i], &err) < 0)
			rp_port_break(p, err.text);
}

void rp_renew_pipe(rp_dataplane *dp, struct rp_port *p)
{
	struct rp_port *const end[] = { p, p->peer };

	part_rings(end[0], end[1]);
	part_rings(end[1], end[0]);
	for (int i = 0; i < 2; i++) {
		reset_rings(end[i], NETMAP_DIR_TX, end[i]->ntx);
		reset_rings(end[i], NETMAP_DIR_RX, end[i]->nrx);
	}
	join_rings(end[0], end[1]);
	join_rings(end[1], end[0]);
	rp_zcopy_join(dp, end[0]);
	rp_zcopy_join(dp, end[1]);
}

int rp_port_link(rp_dataplane *dp, int a_id, int b_id, struct rp_err *err)
{
	struct rp_port *a, *b;
	int ret = -ENOENT;

	pthread_mutex_lock(&dp->lock);
	a = rp_find_port(dp, a_id, err);
	b = rp_find_port(dp, b_id, err);
	if (a && b)
		ret = check(a, b, err);
	if (ret == 0) {
		a->swaps = b->swaps = a->region && a->region == b->region;
		if (a->swaps) {
			join_rings(a, b);
			join_rings(b, a);
		}
		rp_store_release(&a->peer, b);
		rp_store_release(&b->peer, a);
		if (a->swaps)
			rp_zcopy_join(dp, a);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

void rp_unlink_port(rp_dataplane *dp, struct rp_port *p)
{
	struct rp_port *peer = p->peer;

	if (!peer)
		return;
	rp_store_release(&p->peer, NULL);
	rp_store_release(&peer->peer, NULL);
	if (peer->swaps) {
		part_rings(peer, p);
		part_rings(p, peer);
		rp_zcopy_join(dp, peer);
		rp_zcopy_join(dp, p);
	}
}
