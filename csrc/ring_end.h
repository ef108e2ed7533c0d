/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_RING_END_H
#define RP_RING_END_H
/* One netmap ring, as the files of its front end know it. */
#include "call.h"
#include "endpoint.h"
#include "kring.h"
#include "port.h"

struct front_ring {
	struct rp_endpoint ep;
	struct rp_kring k;
	struct nm_csb_atok *atok; /* its CSB, in its region or elsewhere; NULL: none */
	struct nm_csb_ktoa *ktoa;
	struct rp_csb_ring place; /* as its region has it */
	rp_call_t call;
	uint32_t released; /* rx, under the lock: state->released, as last read */
};

/* Take frames from a ring, and reserve room in one; see struct rp_endpoint_ops. */
unsigned rp_rings_pull(struct rp_endpoint *ep);
unsigned rp_rings_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			const struct rp_batch *b, const uint16_t *order, unsigned n);
/* The same, where a virtio-net header is before each frame. */
unsigned rp_headed_pull(struct rp_endpoint *ep);
unsigned rp_headed_lease(struct rp_endpoint *ep, struct rp_lease *l, struct rp_endpoint *from,
			 const struct rp_batch *b, const uint16_t *order, unsigned n);

/* What breaks a port. */
#define RP_RINGS_OFFSET	 "a slot's offset is larger than its user agreed to"
#define RP_RINGS_OUTSIDE "an rx ring's head is outside the slots that its user owns"

static inline struct front_ring *of(struct rp_endpoint *ep)
{
	return (struct front_ring *)ep; /* ep is its first member */
}

/* Bytes that every slot has room for, whatever offset its user chose. */
static inline uint32_t slot_bytes(const struct rp_kring *k)
{
	return k->buf_bytes - k->max_offset;
}

/* What the user gave back. With a CSB nobody syncs for it: look there. */
static inline uint32_t released(struct front_ring *r)
{
	struct rp_ring_state *st = r->ep.state;
	uint32_t head;

	if (!r->ktoa)
		return rp_load_acquire(&st->released);
	if (rp_kring_head(&r->k, st->released, st->published, &head))
		st->released = head;
	else
		rp_port_break(r->ep.port, RP_RINGS_OUTSIDE);
	return st->released;
}

/* Free slots from @pos on. Only for want of @want is the receiver's cache line fetched. */
static inline uint32_t room_at(struct front_ring *r, uint32_t pos, uint32_t want)
{
	uint32_t room = r->k.slots - 1 - rp_kring_distance(&r->k, r->released, pos);

	if (room < want) {
		r->released = released(r);
		room = r->k.slots - 1 - rp_kring_distance(&r->k, r->released, pos);
	}
	return room;
}

#endif
