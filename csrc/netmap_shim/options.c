/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <errno.h>
#include <stddef.h>

#include "usermem.h"

/* Bytes of an option, its header included; of types that nobody knows, the header. */
static uint64_t size_of(const struct nmreq_option *header)
{
	switch (header->nro_reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		return sizeof(struct nmreq_opt_extmem);
	case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
		return header->nro_size;
	case NETMAP_REQ_OPT_CSB:
		return sizeof(struct nmreq_opt_csb);
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return sizeof(struct nmreq_opt_sync_kloop_mode);
	case NETMAP_REQ_OPT_OFFSETS:
		return sizeof(struct nmreq_opt_offsets);
	default:
		return sizeof(*header);
	}
}

static int copy_one(struct rp_options *o, uint64_t address)
{
	struct nmreq_option header;
	struct rp_option *option = &o->at[o->n];
	uint64_t bytes;

	if (rp_copy_in(&header, address, sizeof(header)))
		return EFAULT;
	if (header.nro_reqtype == 0)
		return EINVAL;
	bytes = size_of(&header);
	if (bytes < sizeof(header))
		return EINVAL;
	if (o->n == RP_OPTIONS_MAX || bytes > RP_OPTIONS_BYTES - o->bytes)
		return EMSGSIZE;
	option->copy = (struct nmreq_option *)(void *)((char *)o->data + o->bytes);
	if (rp_copy_in(option->copy, address, bytes))
		return EFAULT;
	option->copy->nro_reqtype = header.nro_reqtype; /* whatever it says by now */
	option->copy->nro_next = header.nro_next;
	option->copy->nro_size = header.nro_size;
	option->copy->nro_status = EOPNOTSUPP;
	option->address = address;
	option->next = header.nro_next;
	option->bytes = (uint32_t)bytes;
	o->bytes += (uint32_t)(bytes + 7) & ~7u;
	o->n++;
	return 0;
}

int rp_options_copy(struct rp_options *o, uint64_t first)
{
	int error = 0;

	o->n = 0;
	o->bytes = 0;
	for (uint64_t at = first; at && !error; at = o->n ? o->at[o->n - 1].next : 0)
		error = copy_one(o, at);
	return error;
}

struct nmreq_option *rp_options_find(struct rp_options *o, uint32_t type, int *error)
{
	struct nmreq_option *found = NULL;

	for (unsigned i = 0; i < o->n; i++) {
		struct nmreq_option *option = o->at[i].copy;

		if (option->nro_reqtype != type)
			continue;
		if (found) {
			found->nro_status = option->nro_status = EINVAL;
			*error = EINVAL;
			return NULL;
		}
		found = option;
	}
	return found;
}

int rp_options_return(const struct rp_options *o, int error)
{
	for (unsigned i = 0; i < o->n; i++) {
		const struct rp_option *option = &o->at[i];
		size_t bytes = sizeof(*option->copy);

		if (!error && option->copy->nro_status == 0)
			bytes = option->bytes;
		/* Its nro_next is still the program's. */
		if (rp_copy_out(option->address, option->copy, bytes))
			return EFAULT;
	}
	return error;
}
