/* SPDX-License-Identifier: BSD-2-Clause */
#include "copy.h"

/* Apart from its callers' loops, whose registers it would take. */
void rp_copy_pieces(const struct rp_seg *to, const struct rp_seg *from, uint32_t len)
{
	uint32_t to_at = 0, from_at = 0;

	while (len) {
		uint32_t n = to->len - to_at < from->len - from_at ? to->len - to_at :
								     from->len - from_at;

		if (n > len)
			n = len;
		memmove(to->addr + to_at, from->addr + from_at, n);
		len -= n;
		to_at += n;
		from_at += n;
		if (to_at == to->len) {
			to++;
			to_at = 0;
		}
		if (from_at == from->len) {
			from++;
			from_at = 0;
		}
	}
}
