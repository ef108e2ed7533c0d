/* SPDX-License-Identifier: BSD-2-Clause */
#include "csb_mode.h"

#include <assert.h>
#include <errno.h>

#include "kloop.h"
#include "rp_barrier.h"
#include "usermem.h"

static_assert(sizeof(struct nm_csb_atok) == 64 && sizeof(struct nm_csb_ktoa) == 64,
	      "an entry is a cache line");

/* Is there memory to read and write, all along? */
static int probe(uint64_t address, unsigned entries)
{
	char byte = 0;

	for (unsigned i = 0; i < entries; i++) {
		uint64_t at = address + i * (uint64_t)sizeof(struct nm_csb_atok);

		if (rp_copy_in(&byte, at, 1) || rp_copy_out(at, &byte, 1))
			return EFAULT;
	}
	return 0;
}

int rp_csb_mode_check(const struct nmreq_opt_csb *csb, unsigned rings)
{
	const uint64_t mask = sizeof(struct nm_csb_atok) - 1;
	const unsigned entries = rings ? rings : 1;

	if (!csb->csb_atok || !csb->csb_ktoa || (csb->csb_atok | csb->csb_ktoa) & mask)
		return EINVAL;
	return probe(csb->csb_atok, entries) || probe(csb->csb_ktoa, entries) ? EFAULT : 0;
}

int rp_csb_mode_enable(struct rp_session *s, const struct nmreq_opt_csb *csb)
{
	struct nm_csb_atok *atok = (void *)(uintptr_t)csb->csb_atok;
	struct nm_csb_ktoa *ktoa = (void *)(uintptr_t)csb->csb_ktoa;
	const unsigned rings = rp_session_rings(s);
	int error = rp_csb_mode_check(csb, rings);

	if (error)
		return error;
	for (unsigned i = 0; i < rings; i++) {
		const struct rp_cursors at = rp_session_cursors(s, i);

		rp_store(&atok[i].head, at.head);
		rp_store(&atok[i].cur, at.cur);
		rp_store(&atok[i].appl_need_kick, 1);
		rp_store(&atok[i].sync_flags, 1);
		rp_store(&ktoa[i].hwcur, at.hwcur);
		rp_store(&ktoa[i].hwtail, at.hwtail);
		rp_store(&ktoa[i].kern_need_kick, 1);
	}
	s->ktoa = ktoa;
	rp_store_release(&s->atok, atok);
	return 0;
}

int rp_csb_mode_request(struct rp_session *s, struct rp_options *options)
{
	int error = 0;
	struct nmreq_option *option = rp_options_find(options, NETMAP_REQ_OPT_CSB, &error);

	if (error || !option)
		return EINVAL;
	if (rp_kloop_runs(s))
		return EBUSY;
	error = rp_csb_mode_enable(s, (const struct nmreq_opt_csb *)(const void *)option);
	option->nro_status = (uint32_t)error;
	return error;
}
