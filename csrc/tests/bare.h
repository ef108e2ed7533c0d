/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BARE_H
#define RP_BARE_H
/*
 * DOC: A switch and ports without the facade: no worker, no lock, no clock.
 * Who calls moves the frames, so that a fuzzer can do a million things a
 * second, and do them again in the same way.
 */
#include "caller.h"
#include "port.h"
#include "switch.h"

enum {
	BARE_PORTS = 3,
	BARE_BOUND = 1 << 30, /* more frames than any test moves */
	BARE_R0 = 0x0000,
	BARE_R0_BYTES = 0x1000,
	BARE_R1 = 0x1000,
	BARE_R1_BYTES = 0x0800,
	BARE_R2 = 0x4000,
	BARE_R2_BYTES = 3001
};

struct bare {
	struct rp_switch sw;
	struct rp_members members;
	struct rp_fdb_table *table;
	struct rp_caller *caller;
	unsigned n;
	struct rp_port port[BARE_PORTS];
	struct rp_ring_state state[2 * BARE_PORTS];
	struct rp_ring_counters count[2 * BARE_PORTS];
};

void bare_open(struct bare *b);
void bare_close(struct bare *b);

/* bare_add() - one more port, with rings in @region, or virtqueues when NULL */
struct rp_port *bare_add(struct bare *b, struct rp_region *region, uint32_t slots);

/**
 * bare_memory() - a guest's memory in which one byte too far is seen
 *
 * Two regions that are neighbours for the guest only, and one behind a hole,
 * of an odd size. Each ends before a page that may not be touched, and begins
 * behind bytes that are poisoned. User addresses are guest addresses.
 */
struct rp_guestmem *bare_memory(void);
void bare_memory_free(struct rp_guestmem *mem);

/* bare_reset() - forget MACs, counters and broken ports */
void bare_reset(struct bare *b);

/* bare_txsync() - one batch of a port, unless its ring is not live */
unsigned bare_txsync(struct bare *b, struct rp_port *p);

/**
 * bare_check() - what holds between syncs, whatever the peers wrote
 *
 * No lease is open, a broken port has a reason and no live ring, and every
 * frame taken was delivered, dropped, or is held. Aborts when it does not hold.
 */
void bare_check(const struct bare *b);

#endif
