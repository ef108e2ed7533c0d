// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * CSB mode: cursors travel through two arrays in the program's memory, one entry a ring,
 * TX rings first. They are read and written as all of its memory is, in its own context.
 */
#include <linux/uaccess.h>

#include "rp_netmap.h"
#include "rp_nmreq.h"

static_assert(sizeof(struct nm_csb_atok) == 64 && sizeof(struct nm_csb_ktoa) == 64,
	      "an entry is a cache line");

/* Is there memory to read and write, all along? */
static int probe(u64 address, u32 entries)
{
	for (u32 i = 0; i < entries; i++) {
		u8 __user *at = u64_to_user_ptr(address + i * sizeof(struct nm_csb_atok));
		u8 byte;

		if (get_user(byte, at) || put_user(byte, at))
			return -EFAULT;
	}
	return 0;
}

int rp_csb_check(const struct nmreq_opt_csb *csb, u32 rings)
{
	const u64 mask = sizeof(struct nm_csb_atok) - 1;
	const u32 entries = max(rings, 1u);

	if (!csb->csb_atok || !csb->csb_ktoa || (csb->csb_atok | csb->csb_ktoa) & mask)
		return -EINVAL;
	return probe(csb->csb_atok, entries) || probe(csb->csb_ktoa, entries) ? -EFAULT : 0;
}

static int begin(const struct rp_seat *s, struct nm_csb_atok __user *atok,
		 struct nm_csb_ktoa __user *ktoa)
{
	const struct rp_cursors at = rp_seat_cursors(s);

	return put_user(at.head, &atok->head) || put_user(at.cur, &atok->cur) ||
			       put_user(1, &atok->appl_need_kick) ||
			       put_user(1, &atok->sync_flags) || put_user(at.hwcur, &ktoa->hwcur) ||
			       put_user(at.hwtail, &ktoa->hwtail) ||
			       put_user(1, &ktoa->kern_need_kick) ?
		       -EFAULT :
		       0;
}

int rp_csb_enable(struct rp_file *f, const struct nmreq_opt_csb *csb)
{
	struct nm_csb_atok __user *atok = u64_to_user_ptr(csb->csb_atok);
	struct nm_csb_ktoa __user *ktoa = u64_to_user_ptr(csb->csb_ktoa);
	int err = rp_csb_check(csb, f->nseats);

	for (u32 i = 0; i < f->nseats && !err; i++)
		err = begin(&f->seat[i], atok + i, ktoa + i);
	if (err)
		return err;
	WRITE_ONCE(f->ktoa, ktoa);
	WRITE_ONCE(f->atok, atok);
	return 0;
}
