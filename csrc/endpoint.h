/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_ENDPOINT_H
#define RP_ENDPOINT_H
/*
 * DOC: Where a batch comes from and where it goes to.
 *
 * A port has endpoints, one a ring and direction, and whoever moves frames
 * sees nothing but these verbs; netmap rings and virtqueues implement them.
 *
 *   tx endpoint, one thread          rx endpoint, many threads
 *   pull      take a batch           lease     reserve room, get pieces to fill
 *   complete  give it back           publish   the room is filled; in order
 *   pending   is there more?         notify    tell the front end, once a batch
 *   arm       ask for a kick
 *   disarm
 *
 *            pull            lease            publish
 *   sender  =====>  batch  ---------> copy ------------>  receiver
 *           <=====                                 notify
 *           complete
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_barrier.h"
#include "batch.h"
#include "lock.h"
#include "ringpass.h"
#include "state.h"

struct rp_guestmem;
struct rp_monitors;
struct rp_port;
struct rp_endpoint;

enum {
	/* A merged frame may need pieces of many small buffers, beside those of a full batch. */
	RP_LEASE_SEGS = 2 * RP_BATCH_SEGS
};

struct rp_slice {
	uint16_t frame; /* index in the batch */
	uint16_t seg;
	uint16_t nseg;
	uint16_t chains; /* virtqueues: that the pieces are of */
	uint32_t len;	 /* of the frame */
};

/* Why a lease ends where it ends. */
enum rp_lease_stop {
	RP_LEASE_ALL,	 /* every frame is dealt with, or the port broke */
	RP_LEASE_FULL,	 /* the ring is full */
	RP_LEASE_PIECES, /* seg[] is: go on with the next lease */
	RP_LEASE_OFFLOAD /* the receiver does not take the next frame as it is: see offload.h */
};

/* Room in a receiver's ring: slice[i] takes frame slice[i].frame of the batch. */
struct rp_lease {
	uint32_t ticket;
	uint32_t first; /* netmap rings: slot */
	uint16_t n;
	uint16_t nsegs;
	bool open; /* something was reserved: publish it */
	enum rp_lease_stop stopped;
	uint64_t bytes;
	const struct rp_guestmem *mem; /* virtqueues: the table that gave the pieces */
	struct rp_slice slice[RP_BATCH];
	struct rp_seg seg[RP_LEASE_SEGS];
};

/* What an rx ring could take now: a frame takes at most frame_slots of so many bytes. */
struct rp_room {
	uint32_t slots;
	uint32_t slot_bytes;
	uint32_t frame_slots;
};

/* What a monitor tells of the frames of a lease; see monitor.h. */
struct rp_mark {
	uint16_t flags;
	uint64_t now_ns;
	const uint32_t *cut; /* of each frame: its length, if only the beginning is here; or 0 */
};

struct rp_endpoint_ops {
	/**
	 * @pull: take up to RP_BATCH frames into ep->batch; malformed ones are
	 * refused and left out. Return: chains or slots taken, 0 when idle
	 */
	unsigned (*pull)(struct rp_endpoint *ep);
	/** @complete: give the batch back; the call for it may wait, see rp_endpoint_call() */
	void (*complete)(struct rp_endpoint *ep);
	bool (*pending)(struct rp_endpoint *ep);
	void (*arm)(struct rp_endpoint *ep);
	void (*disarm)(struct rp_endpoint *ep);
	/**
	 * @lease: reserve room for @order[0..n), frames of @b, in this order. @b
	 * is the batch of the sender @from, or was made of it in software. A
	 * frame that is too long for this receiver is counted at the sender and
	 * passed over. Return: how many of @order are dealt with; l->stopped says
	 * why the others are not
	 */
	unsigned (*lease)(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			  const struct rp_batch *b, const uint16_t *order, unsigned n);
	/** @room: netmap rings only: the others know what fits when they have leased it */
	void (*room)(struct rp_endpoint *ep, struct rp_room *room);
	/** @mark: netmap rings only: say in the slots of @l what a monitor knows of them */
	void (*mark)(struct rp_endpoint *ep, const struct rp_lease *l, const struct rp_mark *m);
	/** @lost: netmap rings only: tell the user how many frames a monitor left out so far */
	void (*lost)(struct rp_endpoint *ep, uint64_t frames);
	/** @publish: Return: true when the front end asked to be called */
	bool (*publish)(struct rp_endpoint *ep, struct rp_lease *l);
	void (*notify)(struct rp_endpoint *ep);
	/**
	 * @retry: the kernel's tx rings only: send what it did not take from the rx ring
	 * beside it. For when the frames of @ep wait for a receiver, and it is not pulled
	 */
	void (*retry)(struct rp_endpoint *ep);
	/** @broken: netmap rings only: let the user see that the port is, and wake it; or is no more */
	void (*broken)(struct rp_endpoint *ep, bool is);
	/** @sync: rx rings of netmap only: take back what the user released */
	int (*sync)(struct rp_endpoint *ep);
	void (*free)(struct rp_endpoint *ep);
};

/* A full receiver; see rp_endpoint_hold(). */
enum rp_congestion {
	RP_FLOWING,
	RP_HOLDING, /* senders wait, since full_since_ns */
	RP_DROPPING /* they waited long enough; until there is room again */
};

/* hold_ns of a port that never drops what it has no room for. */
#define RP_HOLD_FOREVER ((uint64_t)INT64_MAX)

struct rp_endpoint {
	const struct rp_endpoint_ops *ops;
	struct rp_port *port;
	struct rp_monitors *monitors; /* NULL: none; replaced, never changed */
	struct rp_ring_counters *count;
	struct rp_ring_state *state;
	struct rp_batch *batch; /* tx */
	uint32_t live;		/* frames may move; else skip it */
	bool enabled;		/* by the front end; live needs more than that */
	uint32_t record;	/* of count and state */
	uint16_t ring;
	uint16_t dir; /* NETMAP_DIR_* */
	/* Of tx endpoints; see rp_endpoint_call(): */
	uint32_t
		awaited; /* frames given back since the front end asked for a call; 0: it did not */
	uint32_t empty_polls; /* in a row, with a call awaited */
	/* Of rx endpoints, under lock; the lock's line is the senders' alone. */
	_Alignas(64) struct rp_lock lock;
	enum rp_congestion congestion;
	uint64_t full_since_ns;
};

static inline bool rp_endpoint_live(const struct rp_endpoint *ep)
{
	return rp_load_acquire(&ep->live);
}

/* Counters have one writer at a time and any number of readers: no atomic addition. */
static inline void rp_count(uint64_t *counter, uint64_t n)
{
	rp_store(counter, *counter + n);
}

static inline void rp_drop(struct rp_endpoint *ep, enum rp_drop reason, uint64_t n)
{
	rp_count(&ep->count->drops[reason], n);
}

/* rp_refuse() - a malformed frame: taken from the front end like all others, and dropped at once */
static inline void rp_refuse(struct rp_endpoint *ep, enum rp_drop reason)
{
	rp_count(&ep->count->frames, 1);
	rp_drop(ep, reason, 1);
}

/* rp_endpoint_count_pull() - count the frames of the batch that was just pulled */
void rp_endpoint_count_pull(struct rp_endpoint *ep);

/**
 * rp_endpoint_call() - tell a sender that its frames are gone, if it asked to be told
 *
 * A sender can go on until its ring is full, and a call interrupts it. So a call
 * is not made as soon as it is asked for, but for many frames at once: when half
 * the ring was given back (complete), when the ring stayed empty for some polls,
 * or when the worker goes to sleep.
 */
static inline void rp_endpoint_call(struct rp_endpoint *ep)
{
	ep->empty_polls = 0;
	if (!ep->awaited)
		return;
	ep->awaited = 0;
	rp_count(&ep->count->calls, 1);
	ep->ops->notify(ep);
}

/**
 * rp_endpoint_hold() - what to do with frames that a full receiver can't take
 * @ep:		rx endpoint
 * @now_ns:	CLOCK_MONOTONIC
 * @hold_ns:	how long an episode of congestion may hold senders back; 0: never
 *
 *              full                    hold_ns later
 *   FLOWING ----------> HOLDING ---------------------> DROPPING
 *      ^   hold, count     |  hold                        |  drop
 *      +-------------------+------------ room again ------+
 *
 * Return: true to hold them back, false to drop them
 */
bool rp_endpoint_hold(struct rp_endpoint *ep, uint64_t now_ns, uint64_t hold_ns);

/* rp_endpoint_room() - a lease succeeded: the congestion is over. Under ep->lock. */
static inline void rp_endpoint_room(struct rp_endpoint *ep)
{
	ep->congestion = RP_FLOWING;
}

#endif
