// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * NS_INDIRECT: a slot whose frame lies in the program's own memory. The backend cannot
 * read that, so it is copied into the slot's buffer before the sync.
 */
#include <linux/uaccess.h>

#include "rp_netmap.h"

/* An address that is not there makes an empty slot. */
static void take(const struct rp_device *d, struct netmap_slot *s)
{
	u8 *buf = rp_buffer(d, rp_load(&s->buf_idx));
	const u16 len = rp_load(&s->len);
	const void __user *from = u64_to_user_ptr(rp_load(&s->ptr));

	rp_store(&s->flags, (u16)(rp_load(&s->flags) & ~NS_INDIRECT));
	if (!buf || len > d->view.bufs.objsize || copy_from_user(buf, from, len))
		rp_store(&s->len, 0);
}

void rp_indirect_take(const struct rp_ring *r, u32 from, u32 to)
{
	while (from != to) {
		struct netmap_slot *s = &r->at.ring->slot[from];

		if (unlikely(rp_load(&s->flags) & NS_INDIRECT))
			take(r->open->dev, s);
		from = rp_slot_add(from, 1, r->at.slots);
	}
}
