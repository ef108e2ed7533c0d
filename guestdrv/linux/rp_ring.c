// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The syncs of a ring, with the backend or with the other end of a pipe. */
#include <linux/ktime.h>

#include "pipe.h"
#include "rp_device.h"

/* Words of ours moved: wake whoever waits for them at the pipe's other end. */
static void call_peer(const struct rp_ring *r)
{
	rp_fence_full();
	if (!rp_load(&r->peer.csb->atok.appl_need_kick))
		return;
	rp_store(&r->at.csb->calls, r->at.csb->calls + 1);
	rp_doorbell(r->open->dev, r->peer_call);
}

static int pipe_txsync(const struct rp_ring *r)
{
	const struct rp_pipe pipe = { r->at, r->peer };
	const int moved = rp_pipe_txsync(&pipe);

	if (moved > 0)
		call_peer(r);
	return moved < 0 ? -EINVAL : 0;
}

static int backend_txsync(struct rp_ring *r)
{
	const struct nm_csb_atok *mine = &r->at.csb->atok;
	const struct nm_csb_ktoa *its = &r->at.csb->ktoa;
	const u32 slots = r->at.slots, head = rp_load_acquire(&r->at.ring->head);
	const u32 sent = rp_load(&mine->head);
	u32 tail = rp_load_acquire(&its->hwtail);

	if (sent >= slots || tail >= slots || !rp_slot_within(head, sent, tail, slots))
		return -EINVAL;
	if (head != sent) {
		if (rp_csb_send(&r->at, head, &r->kicked_at))
			rp_doorbell(r->open->dev, r->kick);
		tail = rp_load_acquire(&its->hwtail);
	}
	if (tail < slots)
		rp_store(&r->at.ring->tail, tail);
	return 0;
}

/* netmap writes the time of a sync at which something came. */
static void stamp(struct netmap_ring *ring)
{
	struct timespec64 now;

	ktime_get_coarse_real_ts64(&now);
	rp_store(&ring->ts_sec, now.tv_sec);
	rp_store(&ring->ts_usec, now.tv_nsec / NSEC_PER_USEC);
}

static int rxsync(const struct rp_ring *r)
{
	const u32 tail = rp_load(&r->at.ring->tail);
	const int given = rp_pipe_rxsync(&r->at, r->peer.ring ? &r->peer : NULL);

	if (given < 0)
		return -EINVAL;
	if (given > 0 && r->peer.ring)
		call_peer(r);
	if (rp_load(&r->at.ring->tail) != tail)
		stamp(r->at.ring);
	return 0;
}

int rp_ring_sync(struct rp_ring *r)
{
	if (READ_ONCE(r->open->dead))
		return -ENXIO;
	if (r->dir == NETMAP_DIR_RX)
		return rxsync(r);
	return r->peer.ring ? pipe_txsync(r) : backend_txsync(r);
}

bool rp_ring_tail(const struct rp_ring *r, u32 *tail)
{
	u32 at;

	if (r->dir == NETMAP_DIR_TX && r->peer.ring) {
		at = rp_load_acquire(&r->peer.csb->atok.head);
		*tail = rp_slot_prev(at, r->at.slots);
	} else {
		*tail = at = rp_load_acquire(&r->at.csb->ktoa.hwtail);
	}
	return at < r->at.slots;
}

bool rp_ring_sent(const struct rp_ring *r)
{
	return rp_load_acquire(&r->at.csb->ktoa.hwcur) == rp_load(&r->at.ring->head);
}

bool rp_ring_pending(const struct rp_ring *r)
{
	u32 tail;

	return rp_ring_tail(r, &tail) && tail != rp_load(&r->at.ring->tail);
}
