/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_SHIM_STDBOOL_H
#define RP_SHIM_STDBOOL_H
#include <linux/types.h>

#endif
