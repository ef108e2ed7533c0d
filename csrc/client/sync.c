/* SPDX-License-Identifier: BSD-2-Clause */
/* The two syncs of a ring, with the backend or with the other end of a pipe. */
#include <errno.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum {
	SPINS = 200,	    /* a worker that is awake is done within a few microseconds */
	NAP_MS = 1,	    /* between looks at a backend that was slow to answer */
	MOST_NAPS = 20,	    /* without progress: the port holds frames back; the program goes on */
	NR_TIMESTAMP = 0x2, /* netmap_ring.flags */
};

/*
 * An eventfd's open file is shared with the other side, which may fill its counter or
 * clear O_NONBLOCK: nothing here may count on either.
 */
void client_wake(int fd)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	const uint64_t one = 1;

	if (fd >= 0 && poll(&room, 1, 0) == 1 && write(fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: a wake-up is pending */
}

static void drain(int fd)
{
	uint64_t n;
	const struct iovec to = { &n, sizeof(n) };

	if (fd >= 0 && preadv2(fd, &to, 1, -1, RWF_NOWAIT) < 0)
		return; /* another thread was faster */
}

/* Several threads may wait for one ring. Who stops lets the others look: it may have taken their call. */
static void arm(struct client_ring *r)
{
	rp_add_fetch(&r->armed, 1);
	rp_store(&r->at.csb->atok.appl_need_kick, 1);
	rp_fence_full();
}

static void disarm(struct client_ring *r)
{
	if (rp_add_fetch(&r->armed, -1) == 0) {
		rp_store(&r->at.csb->atok.appl_need_kick, 0);
		rp_fence_full();
		if (rp_load(&r->armed) == 0)
			return;
		rp_store(&r->at.csb->atok.appl_need_kick, 1);
	}
	client_wake(r->call_fd);
}

/* Words of ours moved: wake whoever waits for them. Pairs with the fence of arm. */
static void call_peer(const struct client_ring *r)
{
	rp_fence_full();
	if (!rp_load(&r->peer.csb->atok.appl_need_kick))
		return;
	rp_store(&r->at.csb->calls, r->at.csb->calls + 1);
	client_wake(r->peer_call_fd);
}

static int pipe_txsync(const struct client_ring *r)
{
	const struct rp_pipe pipe = { r->at, r->peer };
	int moved = rp_pipe_txsync(&pipe);

	if (moved > 0)
		call_peer(r);
	return moved < 0 ? -EINVAL : 0;
}

static bool done(const struct client_ring *r, uint32_t head)
{
	return rp_load_acquire(&r->at.csb->ktoa.hwcur) == head;
}

/* Wait until the backend took all slots before @head, or makes no progress any more. */
static void wait_until_taken(struct client_ring *r, uint32_t head)
{
	struct pollfd call = { .fd = r->call_fd, .events = POLLIN };
	uint32_t seen = rp_load(&r->at.csb->ktoa.hwcur), now;
	unsigned naps = 0;

	for (unsigned i = 0; i < SPINS; i++) {
		if (done(r, head))
			return;
		rp_cpu_relax();
	}
	arm(r);
	while (!done(r, head) && naps < MOST_NAPS) {
		if (poll(&call, 1, NAP_MS) > 0)
			drain(r->call_fd);
		now = rp_load(&r->at.csb->ktoa.hwcur);
		naps = now == seen ? naps + 1 : 0;
		seen = now;
	}
	disarm(r);
}

static int backend_txsync(const struct rp_client *c, struct client_ring *r)
{
	struct nm_csb_atok *mine = &r->at.csb->atok;
	const struct nm_csb_ktoa *its = &r->at.csb->ktoa;
	uint32_t head = rp_load_acquire(&r->at.ring->head), sent = rp_load(&mine->head);
	uint32_t tail = rp_load_acquire(&its->hwtail);

	if (sent >= r->at.slots || tail >= r->at.slots ||
	    !rp_slot_within(head, sent, tail, r->at.slots))
		return -EINVAL;
	if (head != sent) {
		client_take_indirect(c, r, sent, head);
		if (rp_csb_send(&r->at, head, &r->kicked_at))
			client_wake(r->kick_fd);
	}
	if (!done(r, head))
		wait_until_taken(r, head);
	tail = rp_load_acquire(&its->hwtail);
	if (tail < r->at.slots)
		rp_store(&r->at.ring->tail, tail);
	return 0;
}

/* netmap writes the time of each sync; programs that want it exact say so. */
static void stamp(struct netmap_ring *ring)
{
	struct timespec now;

	clock_gettime(rp_load(&ring->flags) & NR_TIMESTAMP ? CLOCK_REALTIME : CLOCK_REALTIME_COARSE,
		      &now);
	ring->ts_sec = now.tv_sec;
	ring->ts_usec = now.tv_nsec / 1000;
}

static int rxsync(const struct client_ring *r)
{
	uint32_t tail = rp_load(&r->at.ring->tail);
	int given = rp_pipe_rxsync(&r->at, r->peer.ring ? &r->peer : NULL);

	if (given < 0)
		return -EINVAL;
	if (given > 0 && r->peer.ring)
		call_peer(r);
	if (rp_load(&r->at.ring->tail) != tail)
		stamp(r->at.ring);
	return 0;
}

static bool broken(const struct client_ring *r)
{
	return __builtin_expect(rp_load_acquire(&r->at.csb->ktoa.broken), 0);
}

static bool unsent(const struct client_ring *r)
{
	return rp_load(&r->at.ring->head) != rp_load(&r->at.csb->atok.head);
}

/* Of a port that broke, what had come before is there to be read. */
static int receive(const struct client_ring *r)
{
	const bool last = broken(r);
	const int ret = rxsync(r);

	return last && rp_load(&r->at.ring->cur) == rp_load(&r->at.ring->tail) ? -EIO : ret;
}

int rp_client_sync(rp_client *c, uint32_t ring)
{
	struct client_ring *r = &c->ring[ring];

	if (r->dir == NETMAP_DIR_RX)
		return receive(r);
	if (broken(r) || (r->flags & RP_NM_MONITOR_RING && unsent(r)))
		return -EIO;
	return r->peer.ring ? pipe_txsync(r) : backend_txsync(c, r);
}

void rp_client_arm(rp_client *c, uint32_t ring)
{
	drain(c->ring[ring].call_fd);
	arm(&c->ring[ring]);
}

void rp_client_disarm(rp_client *c, uint32_t ring)
{
	disarm(&c->ring[ring]);
}
