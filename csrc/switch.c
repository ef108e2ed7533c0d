/* SPDX-License-Identifier: BSD-2-Clause */
#include "switch.h"

#include <stdbool.h>
#include <string.h>

#include "caller.h"
#include "copy.h"
#include "port.h"

/* Both MACs of a frame, each in the low 48 bits. */
struct macs {
	uint64_t dst;
	uint64_t src;
};

static uint64_t load_mac(const uint8_t *at)
{
	uint32_t low;
	uint16_t high;

	memcpy(&low, at, sizeof(low));
	memcpy(&high, at + sizeof(low), sizeof(high));
	return low | (uint64_t)high << 32;
}

static struct macs frame_macs(const struct rp_batch *b, const struct rp_frame *f)
{
	const struct rp_seg *s = &b->seg[f->seg];
	uint8_t both[12];

	if (s->len >= sizeof(both))
		return (struct macs){ load_mac(s->addr), load_mac(s->addr + 6) };
	for (unsigned i = 0, at = 0; i < sizeof(both); i++, at++) {
		while (at >= s->len) {
			s++;
			at = 0;
		}
		both[i] = s->addr[at];
	}
	return (struct macs){ load_mac(both), load_mac(both + 6) };
}

static void add_to_list(struct rp_forward *fw, struct rp_batch *b, unsigned dest, uint16_t i)
{
	struct rp_dest *d = &fw->dest[dest];

	b->frame[i].dest = (uint16_t)dest;
	b->frame[i].next = RP_NO_FRAME;
	if (d->n++ == 0) {
		fw->touched[fw->ntouched++] = (uint16_t)dest;
		d->head = i;
	} else {
		b->frame[d->tail].next = i;
	}
	d->tail = i;
}

static void classify(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from,
		     const struct rp_members *members, uint16_t nframes)
{
	struct macs last = { .dst = UINT64_MAX, .src = UINT64_MAX };
	uint32_t now_s = (uint32_t)(c->now_ns / 1000000000);
	uint16_t self = from->port->sw_port;
	struct rp_batch *b = from->batch;
	unsigned dest = RP_FLOOD;

	c->forward.ntouched = 0;
	for (uint16_t i = 0; i < nframes; i++) {
		struct macs m = frame_macs(b, &b->frame[i]);

		if (m.src != last.src)
			rp_fdb_learn(&sw->fdb, m.src, self, now_s);
		if (m.dst != last.dst) {
			int port = m.dst & RP_MAC_MULTICAST ? RP_FDB_UNKNOWN :
							      rp_fdb_lookup(&sw->fdb, m.dst, now_s);

			dest = port < 0 || port >= RP_MAX_PORTS || !members->by_number[port] ?
				       RP_FLOOD :
				       (unsigned)port;
		}
		last = m;
		add_to_list(&c->forward, b, dest, i);
	}
}

/* The frames of a list, merged in their order with those of the flood list. */
static unsigned merge(struct rp_forward *fw, const struct rp_batch *b, const struct rp_dest *own,
		      const struct rp_dest *flood)
{
	uint16_t i = own->n ? own->head : RP_NO_FRAME;
	uint16_t j = flood->n ? flood->head : RP_NO_FRAME;
	unsigned n = 0;

	while (i != j) { /* until both are RP_NO_FRAME, which is above every index */
		uint16_t *first = i < j ? &i : &j;

		fw->order[n++] = *first;
		*first = b->frame[*first].next;
	}
	return n;
}

static void copy_slices(const struct rp_lease *l, struct rp_endpoint *from)
{
	const struct rp_batch *b = from->batch;
	uint64_t copied = 0;

	for (unsigned i = 0; i < l->n; i++) {
		const struct rp_slice *s = &l->slice[i];
		const struct rp_frame *f = &b->frame[s->frame];

		rp_copy_frame(&copied, &l->seg[s->seg], s->nseg, &b->seg[f->seg], f->nseg, f->len);
	}
	rp_count(&from->count->copied, copied);
}

/*
 * The receiver is full: if it wants senders held back, keep what only it gets;
 * a flooded frame that waited for one port would reach the others twice.
 */
static void congested(struct rp_caller *c, struct rp_endpoint *from, struct rp_endpoint *to,
		      const uint16_t *order, unsigned n)
{
	bool hold = rp_endpoint_hold(to, c->now_ns, to->port->hold_ns);
	const struct rp_batch *b = from->batch;
	unsigned drops = 0;

	for (unsigned i = 0; i < n; i++) {
		if (hold && b->frame[order[i]].dest != RP_FLOOD)
			c->forward.kept[order[i]] = 1;
		else
			drops++;
	}
	if (drops) {
		rp_lock_take(&to->lock);
		rp_drop(to, RP_DROP_FULL, drops);
		rp_lock_release(&to->lock);
	}
}

static void deliver(struct rp_caller *c, struct rp_endpoint *from, struct rp_port *port, unsigned n)
{
	struct rp_endpoint *to = rp_port_receiver(port, from->ring);
	const uint16_t *order = c->forward.order;
	struct rp_lease *l = &c->lease;
	bool call = false;

	if (!to) {
		rp_drop(from, rp_port_broken(port) ? RP_DROP_BROKEN : RP_DROP_DOWN, n);
		return;
	}
	while (n) {
		unsigned taken = to->ops->lease(to, l, from, order, n);

		if (l->open) {
			copy_slices(l, from);
			call |= to->ops->publish(to, l);
		}
		order += taken;
		n -= taken;
		if (n && !rp_endpoint_live(to)) {
			rp_drop(from, RP_DROP_BROKEN, n);
			break;
		}
		if (n && l->congested) {
			congested(c, from, to, order, n);
			break;
		}
	}
	if (call)
		to->ops->notify(to);
}

static void deliver_all(struct rp_caller *c, struct rp_endpoint *from,
			const struct rp_members *members)
{
	struct rp_forward *fw = &c->forward;
	struct rp_dest *flood = &fw->dest[RP_FLOOD];
	const struct rp_batch *b = from->batch;
	static const struct rp_dest none;

	if (flood->n) {
		for (uint32_t i = 0; i < members->n; i++) {
			struct rp_port *p = members->list[i];

			if (p != from->port)
				deliver(c, from, p, merge(fw, b, &fw->dest[p->sw_port], flood));
		}
		if (members->n < 2)
			rp_drop(from, RP_DROP_NOBODY, flood->n);
	}
	for (unsigned i = 0; i < fw->ntouched; i++) {
		struct rp_dest *d = &fw->dest[fw->touched[i]];

		if (fw->touched[i] == from->port->sw_port)
			rp_drop(from, RP_DROP_SELF, d->n);
		else if (!flood->n)
			deliver(c, from, members->by_number[fw->touched[i]],
				merge(fw, b, d, &none));
	}
	for (unsigned i = 0; i < fw->ntouched; i++)
		fw->dest[fw->touched[i]].n = 0;
}

/* Move the frames that were kept to the front, in order. */
static uint16_t keep(struct rp_forward *fw, struct rp_batch *b, uint16_t nframes)
{
	uint16_t n = 0;

	for (uint16_t i = 0; i < nframes; i++) {
		if (!fw->kept[i])
			continue;
		fw->kept[i] = 0;
		b->frame[n++] = b->frame[i];
	}
	return n;
}

void rp_switch_forward(struct rp_switch *sw, struct rp_caller *c, struct rp_endpoint *from)
{
	const struct rp_members *members = rp_load_acquire(&sw->members);
	struct rp_batch *b = from->batch;
	uint16_t n = b->held ? b->held : b->nframes;

	classify(sw, c, from, members, n);
	deliver_all(c, from, members);
	b->held = keep(&c->forward, b, n);
}
