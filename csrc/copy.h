/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_COPY_H
#define RP_COPY_H
/*
 * The only place that copies payload, and it counts every byte: copied bytes
 * divided by delivered bytes tells how often a frame was copied on its way.
 */
#include <stdint.h>
#include <string.h>

#include "batch.h"

/* Small frames: a call to memcpy() costs more than the moves, which may overlap. */
static inline void rp_copy_bytes(uint8_t *restrict to, const uint8_t *restrict from, uint32_t n)
{
	if (n - 32 <= 32) { /* 32 to 64 bytes */
		memcpy(to, from, 32);
		memcpy(to + n - 32, from + n - 32, 32);
	} else {
		memcpy(to, from, n);
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
