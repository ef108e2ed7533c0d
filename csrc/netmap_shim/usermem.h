/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_USERMEM_H
#define RP_USERMEM_H
/*
 * DOC: Memory that the program says is there.
 *
 * A kernel answers a bad pointer with EFAULT. So do we: the kernel copies for
 * us, and tells.
 */
#include <stddef.h>
#include <stdint.h>

/* rp_copy_in() - copy @bytes from the program's address @from; Return: 0, EFAULT */
int rp_copy_in(void *to, uint64_t from, size_t bytes);

/* rp_copy_out() - copy @bytes to the program's address @to; Return: 0, EFAULT */
int rp_copy_out(uint64_t to, const void *from, size_t bytes);

#endif
