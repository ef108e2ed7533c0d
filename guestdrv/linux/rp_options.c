// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "abi/rp_abi.h"
#include "rp_options.h"

#define EXTMEM_BYTES  96
#define OFFSETS_BYTES 56

/* Bytes of an option, its header included; of types that nobody knows, the header. */
static u64 size_of(const struct nmreq_option *header)
{
	switch (header->nro_reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		return EXTMEM_BYTES;
	case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
		return header->nro_size;
	case NETMAP_REQ_OPT_CSB:
		return sizeof(struct nmreq_opt_csb);
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return sizeof(struct nmreq_opt_sync_kloop_mode);
	case NETMAP_REQ_OPT_OFFSETS:
		return OFFSETS_BYTES;
	default:
		return sizeof(*header);
	}
}

static int copy_one(struct rp_options *o, u64 address)
{
	struct rp_option *option = &o->at[o->n];
	struct nmreq_option *copy;
	struct nmreq_option header;
	u64 bytes;

	if (copy_from_user(&header, u64_to_user_ptr(address), sizeof(header)))
		return -EFAULT;
	bytes = size_of(&header);
	if (header.nro_reqtype == 0 || bytes < sizeof(header))
		return -EINVAL;
	if (o->n == RP_OPTIONS_MAX || bytes > RP_OPTIONS_BYTES - o->bytes)
		return -EMSGSIZE;
	copy = (void *)((u8 *)o->data + o->bytes);
	*copy = header;
	copy->nro_status = EOPNOTSUPP;
	if (copy_from_user(copy + 1, u64_to_user_ptr(address) + sizeof(header),
			   bytes - sizeof(header)))
		return -EFAULT;
	*option = (struct rp_option){
		.address = u64_to_user_ptr(address),
		.next = header.nro_next,
		.bytes = bytes,
		.copy = copy,
	};
	o->bytes += round_up(bytes, sizeof(u64));
	o->n++;
	return 0;
}

int rp_options_copy(struct rp_options *o, u64 first)
{
	int err = 0;

	o->n = 0;
	o->bytes = 0;
	for (u64 at = first; at && !err; at = o->n ? o->at[o->n - 1].next : 0)
		err = copy_one(o, at);
	return err;
}

struct nmreq_option *rp_options_find(struct rp_options *o, u32 type, int *err)
{
	struct nmreq_option *found = NULL;

	for (u32 i = 0; i < o->n; i++) {
		struct nmreq_option *option = o->at[i].copy;

		if (option->nro_reqtype != type)
			continue;
		if (found) {
			found->nro_status = EINVAL;
			option->nro_status = EINVAL;
			*err = -EINVAL;
			return NULL;
		}
		found = option;
	}
	return found;
}

/* An address as the backend gets it: whether there is one, and how it is aligned. */
static u64 hidden(u64 address)
{
	const u64 line = sizeof(struct nm_csb_atok);

	return address % line + (address ? line : 0);
}

/* Others read what the host gets: it tells where nothing is in the program's memory. */
static void hide_addresses(struct nmreq_option *option)
{
	struct nmreq_opt_csb *csb = (void *)option;

	option->nro_next = option->nro_next != 0;
	if (option->nro_reqtype == NETMAP_REQ_OPT_CSB) {
		csb->csb_atok = hidden(csb->csb_atok);
		csb->csb_ktoa = hidden(csb->csb_ktoa);
	} else if (option->nro_reqtype == NETMAP_REQ_OPT_EXTMEM) {
		memset(option + 1, 0, EXTMEM_BYTES - sizeof(*option)); /* always refused */
	}
}

u32 rp_options_pack(const struct rp_options *o, u8 *to, u32 room)
{
	u32 at = 0;

	for (u32 i = 0; i < o->n; i++) {
		const struct rp_option *option = &o->at[i];
		const u32 head[2] = { option->bytes, 0 };

		if (room - at < sizeof(head) + option->bytes)
			return 0;
		memcpy(to + at, head, sizeof(head));
		memcpy(to + at + sizeof(head), option->copy, option->bytes);
		hide_addresses((void *)(to + at + sizeof(head)));
		at += sizeof(head) + option->bytes;
	}
	return at;
}

/* Of what this kernel acts on itself, the program's word counts: only statuses are the backend's. */
static void take_answer(struct nmreq_option *option, const u8 *from, u32 bytes)
{
	struct nmreq_option header;

	memcpy(&header, from, sizeof(header));
	option->nro_status = header.nro_status;
	if (option->nro_reqtype == NETMAP_REQ_OPT_OFFSETS)
		memcpy(option + 1, from + sizeof(header), bytes - sizeof(header));
}

void rp_options_unpack(struct rp_options *o, const u8 *from, u32 bytes)
{
	u32 at = 0;

	for (u32 i = 0; i < o->n; i++) {
		struct rp_option *option = &o->at[i];
		u32 head[2];

		if (bytes - at < sizeof(head))
			return;
		memcpy(head, from + at, sizeof(head));
		at += sizeof(head);
		/* Of an option that failed there is only the header, with its status. */
		if ((head[0] != option->bytes && head[0] != sizeof(*option->copy)) ||
		    bytes - at < head[0])
			return;
		take_answer(option->copy, from + at, head[0]);
		at += head[0];
	}
}

int rp_options_return(const struct rp_options *o, int err)
{
	for (u32 i = 0; i < o->n; i++) {
		const struct rp_option *option = &o->at[i];
		u32 bytes = sizeof(*option->copy);

		if (!err && option->copy->nro_status == 0)
			bytes = option->bytes;
		option->copy->nro_next = option->next;
		if (copy_to_user(option->address, option->copy, bytes))
			return -EFAULT;
	}
	return err;
}
