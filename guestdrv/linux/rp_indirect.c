// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * NS_INDIRECT: a slot whose frame lies in the program's own memory. The backend cannot
 * read that, so it is copied into the slot's buffer before the sync.
 *
 * Syncs run in whoever calls, or only waits with epoll: a process that was handed the file
 * does not lend its memory to the one that fills the slots.
 */
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "rp_netmap.h"

/* An address that is not there, or another process's, makes an empty slot. */
static void take(const struct rp_device *d, struct netmap_slot *s, bool ours)
{
	u8 *buf = rp_buffer(d, rp_load(&s->buf_idx));
	const u16 len = rp_load(&s->len);
	const void __user *from = u64_to_user_ptr(rp_load(&s->ptr));

	rp_store(&s->flags, (u16)(rp_load(&s->flags) & ~NS_INDIRECT));
	if (!ours || !buf || len > d->view.bufs.objsize || copy_from_user(buf, from, len))
		rp_store(&s->len, 0);
}

void rp_indirect_take(const struct rp_ring *r, u32 from, u32 to)
{
	const struct rp_file *f = r->owner;

	while (from != to) {
		struct netmap_slot *s = &r->at.ring->slot[from];

		if (unlikely(rp_load(&s->flags) & NS_INDIRECT))
			take(r->open->dev, s, f->mm == current->mm);
		from = rp_slot_add(from, 1, r->at.slots);
	}
}
