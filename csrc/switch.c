/* SPDX-License-Identifier: BSD-2-Clause */
#include "switch.h"

#include <stdbool.h>
#include <string.h>

#include "caller.h"
#include "deliver.h"
#include "logic.h"
#include "port.h"

/*
 * The two addresses that a frame begins with, as they lie in memory:
 *
 *    first:  dst dst dst dst dst dst src src     last:  src src src src
 */
struct flow {
	uint64_t first;
	uint32_t last;
};

enum { ADDRESSES = 12 };

static inline struct flow load_flow(const uint8_t *at)
{
	struct flow f;

	memcpy(&f.first, at, sizeof(f.first));
	memcpy(&f.last, at + sizeof(f.first), sizeof(f.last));
	return f;
}

static uint64_t flow_dst(struct flow f)
{
	return f.first & RP_MAC_MASK;
}

static uint64_t flow_src(struct flow f)
{
	return f.first >> 48 | (uint64_t)f.last << 16;
}

/* A frame whose first piece does not even hold both addresses. */
static struct flow gather_flow(const struct rp_seg *s)
{
	uint8_t both[ADDRESSES] = { 0 };

	for (unsigned i = 0, at = 0; i < sizeof(both); i++, at++) {
		while (at >= s->len) {
			s++;
			at = 0;
		}
		both[i] = s->addr[at];
	}
	return load_flow(both);
}

static inline struct flow frame_flow(const struct rp_batch *b, const struct rp_frame *f)
{
	const struct rp_seg *s = &b->seg[f->seg];

	return __builtin_expect(s->len < ADDRESSES, 0) ? gather_flow(s) : load_flow(s->addr);
}

void rp_forward_init(struct rp_forward *fw)
{
	for (unsigned i = 0; i < RP_BATCH; i++)
		fw->in_order[i] = (uint16_t)i;
}

static unsigned lookup(const struct rp_switch *sw, const struct rp_members *members, uint64_t mac,
		       uint32_t now_s)
{
	int port = RP_FDB_UNKNOWN;

	if (!(mac & RP_MAC_MULTICAST))
		port = rp_fdb_lookup(&sw->fdb, mac, now_s);
	return port >= 0 && port < RP_MAX_PORTS && members->by_number[port] ? (unsigned)port :
									      RP_FLOOD;
}

static inline void classify(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from,
			    const struct rp_members *members, uint16_t i, uint16_t end)
{
	uint32_t now_s = c->now_s;
	const struct rp_batch *b = from->batch;
	struct rp_forward *fw = &c->forward;

	while (i < end) {
		struct flow flow = frame_flow(b, &b->frame[i]), next;
		uint16_t first = i;
		unsigned dest;

		do {
			if (++i == end)
				break;
			next = frame_flow(b, &b->frame[i]);
		} while (next.first == flow.first && next.last == flow.last);
		rp_fdb_learn(&sw->fdb, flow_src(flow), from->port->sw_port, now_s);
		dest = lookup(sw, members, flow_dst(flow), now_s);
		rp_forward_add(fw, first, i - first, dest, dest);
	}
}

void rp_bridge_classify(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from,
			const struct rp_members *members, uint16_t i, uint16_t end)
{
	classify(sw, c, from, members, i, end);
}

static const uint16_t *unicast_order(struct rp_forward *fw, const struct rp_dest *d)
{
	unsigned n = 0;

	if (d->head == d->tail)
		return &fw->in_order[fw->run[d->head].first];
	for (uint16_t r = d->head; r != RP_NO_RUN; r = fw->run[r].next) {
		for (uint16_t i = 0; i < fw->run[r].n; i++)
			fw->order[n++] = fw->run[r].first + i;
	}
	return fw->order;
}

static bool goes_to(const struct rp_forward *fw, const struct rp_run *run, uint16_t port)
{
	if (run->dest <= RP_FLOOD)
		return run->dest == port || run->dest == RP_FLOOD;
	return rp_load(&fw->set[run->dest - RP_FIRST_SET].bit[port / 64]) >> port % 64 & 1;
}

/* The frames for one port and those for several with it, in the order of the batch. */
static unsigned flooded_order(struct rp_forward *fw, uint16_t port)
{
	unsigned n = 0;

	for (uint16_t r = 0; r < fw->nruns; r++) {
		if (!goes_to(fw, &fw->run[r], port))
			continue;
		fw->reached[r] = 1;
		for (uint16_t i = 0; i < fw->run[r].n; i++)
			fw->order[n++] = fw->run[r].first + i;
	}
	return n;
}

/* Frames for several ports, none of which was there. */
static unsigned unreached(const struct rp_forward *fw)
{
	unsigned n = 0;

	for (uint16_t r = 0; r < fw->nruns; r++) {
		if (fw->run[r].dest >= RP_FLOOD && !fw->reached[r])
			n += fw->run[r].n;
	}
	return n;
}

/* To every other port: what is for several, and what is for that port alone. */
static void deliver_flood(struct rp_caller *c, struct rp_endpoint *from,
			  const struct rp_members *members)
{
	struct rp_forward *fw = &c->forward;

	memset(fw->reached, 0, fw->nruns);
	for (uint32_t i = 0; i < members->n; i++) {
		struct rp_port *p = members->list[i];
		struct rp_endpoint *to = rp_port_receiver(p, from->ring);

		if (p == from->port)
			continue;
		if (to)
			rp_deliver(c, from, to, fw->order, flooded_order(fw, p->sw_port));
		else
			rp_unreachable(from, p, fw->dest[p->sw_port].n);
	}
	rp_drop(from, RP_DROP_NOBODY, unreached(fw));
}

static void deliver_unicast(struct rp_caller *c, struct rp_endpoint *from, struct rp_port *p,
			    const struct rp_dest *d)
{
	struct rp_endpoint *to = rp_port_receiver(p, from->ring);

	if (to)
		rp_deliver(c, from, to, unicast_order(&c->forward, d), d->n);
	else
		rp_unreachable(from, p, d->n);
}

static void deliver_all(struct rp_caller *c, struct rp_endpoint *from,
			const struct rp_members *members)
{
	uint16_t self = from->port->sw_port;
	struct rp_forward *fw = &c->forward;
	bool flood = fw->dest[RP_FLOOD].n > 0;

	if (flood)
		deliver_flood(c, from, members);
	for (unsigned i = 0; i < fw->ntouched; i++) {
		uint16_t dest = fw->touched[i];
		struct rp_dest *d = &fw->dest[dest];

		if (dest == self)
			rp_drop(from, RP_DROP_SELF, d->n);
		else if (!flood)
			deliver_unicast(c, from, members->by_number[dest], d);
		d->n = 0;
	}
}

void rp_switch_forward(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from)
{
	const struct rp_switch_logic *logic = rp_load_acquire(&sw->logic);
	const struct rp_members *members;
	struct rp_batch *b = from->batch;
	uint16_t n = b->held ? b->held : b->nframes;

	if (!b->held)
		b->stuck_since_ns = 0;
	if (logic) {
		members = rp_logic_classify(logic, sw, c, from, n);
	} else {
		members = rp_load_acquire(&sw->members);
		rp_forward_begin(&c->forward);
		classify(sw, c, from, members, 0, n);
	}
	deliver_all(c, from, members);
	b->held = rp_deliver_kept(&c->forward, b, n);
	if (b->held < n)
		b->stuck_since_ns = 0;
}
