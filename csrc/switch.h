/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_SWITCH_H
#define RP_SWITCH_H
/*
 * DOC: A VALE switch: ports joined by a learning bridge, or by another logic.
 *
 * A batch goes through in two passes, so that the cost of a destination (a
 * lock, a notification) is paid once a batch:
 *
 *   pass 1, classify   learn the source, look up the destination, put the
 *                      frame on the destination's list
 *   pass 2, deliver    for each destination: lease room for the whole list,
 *                      copy without the lock, publish, notify once
 *
 *       frame  0 1 2 3 4 5          list of port 3: 0 -> 2 -> 5
 *       dest   3 7 3 F 7 3          list of port 7: 1 -> 4
 *                                   flood list:     3
 *
 * Neighbours of one flow are one run, handled at once. A flooded frame goes to
 * every other port, in its place among the frames that are for this port alone.
 * So is one that a logic (logic.h) sent to a set of ports, to each of these.
 */
#include <stdint.h>

#include "abi/rp_logic.h"
#include "fdb.h"
#include "ringpass.h"

struct rp_caller;
struct rp_endpoint;
struct rp_port;
struct rp_switch_logic;

/* Where a run goes, beside the numbers of ports. */
enum {
	RP_FLOOD = RP_MAX_PORTS,
	RP_FIRST_SET, /* + k: the logic's set k; all of them are on the flood list */
};

/* The ports of a switch; replaced as a whole, never changed. */
struct rp_members {
	uint32_t n;
	struct rp_port *list[RP_MAX_PORTS];
	struct rp_port *by_number[RP_MAX_PORTS]; /* NULL: no such port */
};

struct rp_switch {
	char name[64];
	struct rp_fdb fdb;
	struct rp_members *members;
	struct rp_switch_logic *logic; /* NULL: a learning bridge; replaced, too */
};

/* Neighbours in a batch that go the same way. */
struct rp_run {
	uint16_t first;
	uint16_t n;
	uint16_t dest; /* port number, RP_FLOOD, or RP_FIRST_SET + k */
	uint16_t next; /* run on the same list; RP_NO_RUN: none */
};

enum { RP_NO_RUN = 0xffff };

/* What classifying a batch yields, and what delivering it needs. */
struct rp_forward {
	struct rp_run run[RP_BATCH];
	uint16_t nruns;
	struct rp_dest {
		uint16_t head; /* runs */
		uint16_t tail;
		uint16_t n;	  /* frames; 0: head and tail mean nothing */
	} dest[RP_MAX_PORTS + 1]; /* the last one: flood */
	uint16_t touched[RP_BATCH];
	uint16_t ntouched;
	uint16_t in_order[RP_BATCH]; /* 0, 1, 2 ... */
	uint16_t order[RP_BATCH];
	uint8_t kept[RP_BATCH]; /* frames that are held back */
	uint16_t nkept;
	const struct rp_logic_set *set; /* that runs may go to */
	uint8_t reached[RP_BATCH]; /* runs for several ports that one was there for, at least */
};

void rp_forward_init(struct rp_forward *fw);

/* rp_forward_begin() - forget the runs of the batch before */
static inline void rp_forward_begin(struct rp_forward *fw)
{
	fw->nruns = fw->ntouched = 0;
}

/**
 * rp_forward_add() - the frames [@first, @first + @n) go to @dest; behind all others so far
 * @list:	@dest, if that is a port; else RP_FLOOD
 */
static inline void rp_forward_add(struct rp_forward *fw, uint16_t first, uint16_t n, unsigned dest,
				  unsigned list)
{
	struct rp_dest *d = &fw->dest[list];
	uint16_t at = fw->nruns++;

	fw->run[at] = (struct rp_run){ first, n, (uint16_t)dest, RP_NO_RUN };
	if (d->n == 0) {
		fw->touched[fw->ntouched++] = (uint16_t)list;
		d->head = at;
	} else {
		fw->run[d->tail].next = at;
	}
	d->tail = at;
	d->n += n;
}

/**
 * rp_bridge_classify() - let the learning bridge say where the frames [@i, @end) go
 *
 * It learns their sources.
 */
void rp_bridge_classify(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from,
			const struct rp_members *members, uint16_t i, uint16_t end);

/**
 * rp_switch_forward() - send the frames of @from's batch on their way
 *
 * Frames whose receiver is full and may hold senders back stay in the batch,
 * as frame[0..held); call it again later. All others are done when it returns.
 */
void rp_switch_forward(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from);

#endif
