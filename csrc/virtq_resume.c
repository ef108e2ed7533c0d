/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Where a virtqueue goes on whose front end does not know.
 *
 * A front end that lost its backend without GET_VRING_BASE says what it knew
 * last: QEMU of a packed ring, and DPDK's virtio-user of a split one, that it
 * is new. But the memory of the queue tells. In a split ring it is the used
 * index. In a packed one, from the lap that each descriptor's avail flag names:
 *
 *      this lap                                          the lap before
 *    | used | used | its chain's rest | available ... | whatever ...
 *             last ^                  ^ resume        ^ next of the driver
 *
 * Only the backend of before knew how long the last chain was. It left where
 * that ends in the device area if it is not last + 1; base may say it, too.
 * Either is believed if it can be so. A driver that uses buffers in order may
 * get one entry for many chains, and its ring does not tell; DPDK's, the only
 * one there is, resets a packed ring when it reconnects.
 */
#include "virtq.h"

static const struct vring_packed_desc *at(const struct rp_virtq *q, uint16_t pos)
{
	return &q->ring[pos & (q->size - 1)];
}

static uint16_t flags(const struct rp_virtq *q, uint16_t pos)
{
	return rp_load(&at(q, pos)->flags);
}

/* The driver has never written a descriptor. */
static bool is_new(const struct rp_virtq *q)
{
	for (uint16_t i = 0; i < q->size; i++)
		if (flags(q, i) || rp_load(&at(q, i)->addr))
			return false;
	return true;
}

/* The driver's next position: behind the descriptors of this lap. */
static uint16_t find_next(const struct rp_virtq *q)
{
	const bool lap = flags(q, 0) & RP_PACKED_AVAIL;
	uint16_t i = 1;

	while (i < q->size && lap == !!(flags(q, i) & RP_PACKED_AVAIL))
		i++;
	return (uint16_t)(i + (lap ? 0 : q->size));
}

/* Is what lies from @pos to before @end the rest of the chain that was used last? */
static bool is_rest(const struct rp_virtq *q, uint16_t pos, uint16_t end, bool last_is_there)
{
	const uint16_t last_id = rp_load(&at(q, (uint16_t)(pos - 1))->id);

	for (; (uint16_t)(pos + 1) != end; pos++)
		if (!(flags(q, pos) & VRING_DESC_F_NEXT))
			return false;
	return !(flags(q, pos) & VRING_DESC_F_NEXT) &&
	       (!last_is_there || rp_load(&at(q, pos)->id) == last_id);
}

/*
 * Used entries become visible by the flags of the first one, which are written
 * last. A backend that was killed before that left a gap, where the driver waits:
 *
 *    | used | used | first | used | used | available ... |
 *                  ^ driver              ^ pos
 *
 * Its id and length are there. What else looks available behind @pos is the
 * rest of a chain that was used, which nobody looks at; the driver may make a
 * descriptor of the next lap of it just now, and then it stays as it is.
 */
static void finish_flush(struct rp_virtq *q, uint16_t pos, uint32_t available)
{
	for (uint32_t i = available; i < q->size; i++) {
		struct vring_packed_desc *d = &q->ring[--pos & (q->size - 1)];
		const uint16_t seen = rp_load(&d->flags);

		if ((seen & RP_PACKED_FLAGS) == rp_packed_available(q, pos))
			rp_replace(&d->flags, seen,
				   rp_packed_used(q, pos) | (seen & VRING_DESC_F_WRITE));
	}
}

uint16_t rp_virtq_resume_packed(struct rp_virtq *q, uint16_t base)
{
	const uint16_t left = rp_load(&q->device->off_wrap);
	const uint16_t known = rp_virtq_position(q, left);
	const bool guess = base == 0; /* what is said of a new ring */
	uint16_t said[] = { guess ? known : base, guess ? base : known };
	uint32_t n = 0; /* available at the end */
	uint16_t pos;

	if (q->in_order || is_new(q))
		return base;
	for (pos = find_next(q); n < q->size; n++, pos--)
		if ((flags(q, (uint16_t)(pos - 1)) & RP_PACKED_FLAGS) !=
		    rp_packed_available(q, (uint16_t)(pos - 1)))
			break;
	finish_flush(q, pos, n);
	if (left == 0 && n == q->size)
		said[0] = said[1] = base; /* more likely that nobody has written it */
	for (unsigned i = 0; i < 2; i++) {
		const uint16_t rest = (uint16_t)(said[i] - pos) & (uint16_t)(2 * q->size - 1);
		const uint16_t end = (uint16_t)(pos + rest);

		if (rest == 0 || (rest <= n && is_rest(q, pos, end, n < q->size)))
			return end;
	}
	return pos;
}
