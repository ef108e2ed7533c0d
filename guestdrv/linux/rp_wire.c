// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "rp_wire.h"

#include <linux/slab.h>

enum { REQ_REGISTER = 1, REG_ALL_NIC = 1 };

#define REG_ACCEPT_VNET_HDR 0x8000

/* netmap's nmreq_header, the sizes of what follows, and nmreq_register. */
struct register_request {
	u16 version;
	u16 type;
	u32 reserved;
	char name[64];
	u64 options;
	u64 body; /* not 0: there is one */
	u32 body_bytes;
	u32 options_bytes;

	u64 offset;
	u64 memsize;
	u32 tx_slots;
	u32 rx_slots;
	u16 tx_rings;
	u16 rx_rings;
	u16 host_tx_rings;
	u16 host_rx_rings;
	u16 mem_id;
	u16 ringid;
	u32 mode;
	u32 extra_bufs;
	u32 pad;
	u64 flags;
};

static_assert(offsetof(struct register_request, offset) == 96, "header and sizes");
static_assert(sizeof(struct register_request) == 96 + 56, "and the body");

int rp_wire_register(struct rp_open *o)
{
	struct register_request *r = kzalloc(sizeof(*r), GFP_KERNEL);
	int ret;

	if (!r)
		return -ENOMEM;
	r->version = NETMAP_API;
	r->type = REQ_REGISTER;
	strscpy(r->name, "p", sizeof(r->name)); /* the guest's port, whatever it is called */
	r->body = 1;
	r->body_bytes = sizeof(*r) - offsetof(struct register_request, offset);
	r->mode = REG_ALL_NIC;
	r->flags = REG_ACCEPT_VNET_HDR;
	ret = rp_open_call(o, RP_NM_CTRL, r, sizeof(*r), r, sizeof(*r), NULL);
	kfree(r);
	if (!ret && !o->nrings)
		ret = -EPROTO; /* done, it says, and shows no rings */
	return ret;
}
