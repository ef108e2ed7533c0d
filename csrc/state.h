/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_STATE_H
#define RP_STATE_H
/*
 * DOC: State: progress that outlives the process.
 *
 * It lies in memfds that only the backend (and whoever keeps descriptors for it)
 * maps, so what it says is believed: that of netmap rings in their region's book
 * (book.h), all else in the state memfd. Every ring, netmap's or a virtqueue, is described
 * by three cursors that run in the same direction:
 *
 *    released        published        reserved
 *        |  the peer's   |  being copied  |  free: may be leased
 *        |  to read      |  into, leased  |
 *
 *                netmap rx ring    rx virtqueue          tx ring
 *    reserved    hwlease           next avail entry      next slot, avail entry
 *    published   hwtail            used index            hwcur, used index
 *    released    hwcur             (the avail index)     -
 *
 * Several senders copy into one ring at a time, each into its own lease. A
 * lease that finishes early waits for the older ones, so that frames are
 * published in the order in which room was reserved for them:
 *
 *    lease[]   | done | open | done |      head = the oldest open lease
 *                 ^ head        ^ tail     published = end of the last done before head
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_barrier.h"
#include "ringpass.h"

enum {
	RP_STATE_VERSION = 2,
	RP_LEASES = RP_MAX_THREADS, /* of a ring, that are open or wait for an older one */
	RP_FDB_BUCKETS = 4096,
	RP_FDB_WAYS = 4
};

#define RP_STATE_MAGIC UINT64_C(0x6574617473707201) /* "\1rpstate" */

struct rp_lease_slot {
	uint32_t end; /* cursor behind the lease */
	uint32_t done;
};

/*
 * A cache line for each group of words that is written together: a receiver
 * that polls published must not slow down the sender's other writes.
 */
struct rp_ring_state {
	/* Written by the side that moves frames, under the ring's lock if they are many. */
	_Alignas(64) uint32_t reserved;
	uint32_t signalled; /* virtqueue: used index at the last decision to call */
	uint32_t lease_head;
	uint32_t lease_tail;
	uint32_t pulled; /* netmap tx ring: end of the batch in flight, whose frames may be out */
	_Alignas(64) uint32_t published;
	/* Written by the side that syncs for the receiver. */
	_Alignas(64) uint32_t released;
	uint32_t shown; /* published, as the user was last told */
	_Alignas(64) struct rp_lease_slot lease[RP_LEASES];
};

/* One MAC: the address in the low 48 bits, the switch's port number above. 0: free. */
struct rp_fdb_entry {
	uint64_t key;
	uint32_t seen_s; /* CLOCK_MONOTONIC */
	uint32_t pad;
};

struct rp_fdb_table {
	_Alignas(64) struct rp_fdb_entry entry[RP_FDB_BUCKETS][RP_FDB_WAYS];
};

struct rp_state {
	uint64_t magic;
	uint32_t version;
	uint32_t bytes;
	struct rp_ring_state ring[RP_COUNTERS_RINGS];
	struct rp_fdb_table fdb[RP_MAX_SWITCHES];
};

/**
 * rp_state_map() - size and map the state memfd
 * @fd:		a memfd, empty or of an earlier run
 *
 * Return: the mapping, or NULL with the reason in @err
 */
struct rp_state *rp_state_map(int fd, struct rp_err *err);
void rp_state_unmap(struct rp_state *s);

/**
 * rp_lease_room() - is there a place for one more lease?
 *
 * While a sender is slow, those behind it open and close leases that wait for
 * it; there may be any number of them. Under the ring's lock.
 */
static inline bool rp_lease_room(const struct rp_ring_state *s)
{
	return s->lease_tail - s->lease_head < RP_LEASES;
}

/**
 * rp_lease_open() - note that [.., @end) was reserved
 *
 * Under the ring's lock, in the order of reservation, and only if there is
 * room. The newest lease, if it has been filled and waits, becomes longer: one
 * slow sender does not use up the places of a fast one.
 * Return: the ticket for rp_lease_close()
 */
static inline uint32_t rp_lease_open(struct rp_ring_state *s, uint32_t end)
{
	if (s->lease_head == s->lease_tail || !s->lease[(s->lease_tail - 1) % RP_LEASES].done)
		s->lease_tail++;
	s->lease[(s->lease_tail - 1) % RP_LEASES] = (struct rp_lease_slot){ .end = end };
	return s->lease_tail - 1;
}

/**
 * rp_lease_close() - a lease has been filled
 *
 * Under the ring's lock.
 * Return: true when it was the oldest; published has moved then
 */
static inline bool rp_lease_close(struct rp_ring_state *s, uint32_t ticket)
{
	s->lease[ticket % RP_LEASES].done = 1;
	if (ticket != s->lease_head)
		return false;
	while (s->lease_head != s->lease_tail && s->lease[s->lease_head % RP_LEASES].done) {
		rp_store_release(&s->published, s->lease[s->lease_head % RP_LEASES].end);
		s->lease_head++;
	}
	return true;
}

static inline void rp_ring_state_reset(struct rp_ring_state *s, uint32_t reserved,
				       uint32_t published)
{
	s->reserved = reserved;
	s->published = published;
	s->pulled = published;
	s->signalled = published;
	s->released = published;
	s->shown = published;
	s->lease_head = s->lease_tail = 0;
}

#endif
