/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_SHIM_STDINT_H
#define RP_SHIM_STDINT_H
/* DOC: The C library's header for sources that the kernel and programs share. */
#include <linux/limits.h>
#include <linux/types.h>

#define UINT16_MAX  U16_MAX
#define UINT32_MAX  U32_MAX
#define UINT64_C(c) c##ULL

#endif
