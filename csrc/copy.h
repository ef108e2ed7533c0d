/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_COPY_H
#define RP_COPY_H
/*
 * The only place that copies payload, and it counts every byte: copied bytes
 * divided by delivered bytes tells how often a frame was copied on its way.
 *
 * Who owns both sides of a copy, rings of one region, may let them overlap: memmove()
 * then has no more to say than that the frame is spoilt, and costs no more.
 */
#include <stdint.h>
#include <string.h>

#include "batch.h"

/* Small frames: a call to memmove() costs more than the moves, which may overlap. */
static inline void rp_copy_bytes(uint8_t *to, const uint8_t *from, uint32_t n)
{
	uint8_t head[32], tail[32]; /* registers */

	if (n - 32 <= 32) { /* 32 to 64 bytes */
		memcpy(head, from, 32);
		memcpy(tail, from + n - 32, 32);
		memcpy(to, head, 32);
		memcpy(to + n - 32, tail, 32);
	} else {
		memmove(to, from, n);
	}
}

/* rp_copy_pieces() - piece by piece; @len bytes fit both lists, by whoever built them */
void rp_copy_pieces(const struct rp_seg *to, const struct rp_seg *from, uint32_t len);

/**
 * rp_copy_frame() - copy one frame
 * @copied:	counter to add @len to
 * @to:		@nto pieces with room for @len bytes in all
 * @from:	@nfrom pieces that hold @len bytes in all
 */
static inline void rp_copy_frame(uint64_t *copied, const struct rp_seg *to, unsigned nto,
				 const struct rp_seg *from, unsigned nfrom, uint32_t len)
{
	*copied += len;
	if (nto == 1 && nfrom == 1)
		rp_copy_bytes(to->addr, from->addr, len);
	else
		rp_copy_pieces(to, from, len);
}

#endif
