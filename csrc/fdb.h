/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FDB_H
#define RP_FDB_H
/*
 * DOC: The forwarding database: which port a MAC was last heard on.
 *
 *   hash of the MAC ---> bucket: 4 entries, one cache line
 *                        | MAC, port | seen | MAC, port | seen | ...
 *
 * MAC and port are one word, so a reader without a lock sees a whole entry.
 * Only a new MAC takes the lock; a move and a refresh are single stores. When
 * a bucket is full, the entry that was silent for longest makes room.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lock.h"
#include "state.h"

struct rp_fdb {
	struct rp_fdb_table *table;
	uint32_t ageing_s; /* 0: entries stay */
	struct rp_lock lock;
};

enum { RP_FDB_UNKNOWN = -1 };

#define RP_MAC_MASK	 UINT64_C(0xffffffffffff)
#define RP_MAC_MULTICAST UINT64_C(0x1) /* first bit on the wire: lowest of the first byte */

/**
 * rp_fdb_lookup() - the port of a MAC
 * @mac:	as six bytes lie in memory on a little-endian machine
 * @now_s:	CLOCK_MONOTONIC
 *
 * Return: the switch's port number, or RP_FDB_UNKNOWN
 */
int rp_fdb_lookup(const struct rp_fdb *f, uint64_t mac, uint32_t now_s);

/**
 * rp_fdb_learn() - a frame from @mac arrived on @port
 */
void rp_fdb_learn(struct rp_fdb *f, uint64_t mac, uint16_t port, uint32_t now_s);

/**
 * rp_fdb_forget() - drop all that was learnt on @port
 */
void rp_fdb_forget(struct rp_fdb *f, uint16_t port);
void rp_fdb_clear(struct rp_fdb *f);

/**
 * rp_fdb_rows() - the live entries; @rows[].port is the switch's port number
 * Return: how many were written, at most @max
 */
uint32_t rp_fdb_rows(const struct rp_fdb *f, uint32_t now_s, struct rp_fdb_row *rows, uint32_t max);

#endif
