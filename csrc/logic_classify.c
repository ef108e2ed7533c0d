/* SPDX-License-Identifier: BSD-2-Clause */
/* A batch, as a lookup is shown it, and what the lookup says, as runs. */
#include <string.h>

#include "caller.h"
#include "logic.h"
#include "port.h"

/* The first bytes of a frame whose first piece has fewer than a lookup may count on. */
static uint32_t gather(uint8_t *head, const struct rp_seg *s, uint32_t bytes)
{
	uint32_t got = 0;

	for (; got < bytes; s++) {
		const uint32_t left = bytes - got, n = s->len < left ? s->len : left;

		memcpy(head + got, s->addr, n);
		got += n;
	}
	return got;
}

static void show(struct rp_logic_scratch *scratch, const struct rp_endpoint *from, uint16_t nframes)
{
	const struct rp_batch *b = from->batch;

	for (uint16_t i = 0; i < nframes; i++) {
		const struct rp_frame *f = &b->frame[i];
		const struct rp_seg *s = &b->seg[f->seg];
		const uint32_t promised = f->len < RP_LOGIC_HEAD ? f->len : RP_LOGIC_HEAD;
		struct rp_logic_frame *shown = &scratch->frame[i];

		*shown = (struct rp_logic_frame){
			.data = s->addr,
			.here = s->len,
			.len = f->len,
			.source = from->port->sw_port,
			.ring = from->ring,
			.flags = b->held ? RP_LOGIC_AGAIN : 0,
		};
		if (__builtin_expect(s->len < promised, 0)) {
			shown->data = scratch->head[i];
			shown->here = gather(scratch->head[i], s, promised);
		}
		scratch->dest[i] = RP_LOGIC_DROP;
	}
}

enum { NOWHERE = UINT16_MAX };

/* What @dest of a lookup stands for, as runs say it: a port that there is, flooding, a set. */
static unsigned checked(unsigned dest, uint32_t nsets, const struct rp_members *members)
{
	if (dest < RP_MAX_PORTS)
		return members->by_number[dest] ? dest : NOWHERE;
	if (dest == RP_LOGIC_FLOOD)
		return RP_FLOOD;
	if (dest >= RP_LOGIC_SET && dest < RP_LOGIC_LEARN && dest - RP_LOGIC_SET < nsets)
		return RP_FIRST_SET + dest - RP_LOGIC_SET;
	return NOWHERE;
}

static uint16_t equal_neighbours(const uint16_t *dest, uint16_t n)
{
	uint16_t i = 1;

	while (i < n && dest[i] == dest[0])
		i++;
	return i;
}

const struct rp_members *rp_logic_classify(const struct rp_switch_logic *l, struct rp_switch *sw,
					   struct rp_caller *c, struct rp_endpoint *from,
					   uint16_t nframes)
{
	struct rp_logic_scratch *scratch = &c->logic;
	const uint16_t *dest = scratch->dest;
	struct rp_logic_batch b = {
		.frame = scratch->frame,
		.dest = scratch->dest,
		.n = nframes,
		.thread = c->thread,
		.now_s = c->now_s,
	};
	const struct rp_members *members;
	uint16_t n;

	show(scratch, from, nframes);
	l->ops->lookup(l->state, &b);
	/* After the lookup: a port that it was told of is there, or gone again. */
	members = rp_load_acquire(&sw->members);
	rp_forward_begin(&c->forward);
	c->forward.set = b.set;
	for (uint16_t i = 0; i < nframes; i += n) {
		const unsigned to = checked(dest[i], b.set ? b.nsets : 0, members);

		n = equal_neighbours(&dest[i], nframes - i);
		if (dest[i] == RP_LOGIC_LEARN)
			rp_bridge_classify(sw, c, from, members, i, i + n);
		else if (to == NOWHERE)
			rp_drop(from, RP_DROP_LOGIC, n);
		else
			rp_forward_add(&c->forward, i, n, to, to < RP_FLOOD ? to : RP_FLOOD);
	}
	return members;
}
