/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_SHIM_STRING_H
#define RP_SHIM_STRING_H
#include <linux/string.h>

#endif
