/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NS_INDIRECT: a slot whose data lies in the program's own memory. The backend
 * cannot read that, so it is copied into the slot's buffer before the sync.
 */
#include <sys/uio.h>
#include <unistd.h>

#include "client.h"

/* As the kernel would: an address that is not there makes an empty slot, not a crash. */
static void take(const struct rp_client *c, struct netmap_slot *s)
{
	const uint32_t buf = rp_load(&s->buf_idx);
	const uint16_t len = rp_load(&s->len);
	const struct iovec to = {
		c->view.base + c->view.bufs.offset + (uint64_t)buf * c->view.bufs.objsize, len
	};
	const struct iovec from = { (void *)(uintptr_t)rp_load(&s->ptr), len };

	rp_store(&s->flags, (uint16_t)(rp_load(&s->flags) & ~NS_INDIRECT));
	if (buf >= c->view.bufs.objtotal || len > c->view.bufs.objsize ||
	    process_vm_readv(getpid(), &to, 1, &from, 1, 0) != len)
		rp_store(&s->len, 0);
}

void client_take_indirect(const struct rp_client *c, const struct client_ring *r, uint32_t from,
			  uint32_t to)
{
	while (from != to) {
		struct netmap_slot *s = &r->at.ring->slot[from];

		if (s->flags & NS_INDIRECT)
			take(c, s);
		from = rp_slot_add(from, 1, r->at.slots);
	}
}
