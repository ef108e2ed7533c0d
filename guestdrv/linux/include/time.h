/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_SHIM_TIME_H
#define RP_SHIM_TIME_H
/* DOC: What csrc/zcopy.c asks for: the time of day, by the C library's name. */
#include <linux/ktime.h>
#include <linux/timekeeping.h>

#define timespec       timespec64
#define CLOCK_REALTIME 0

static inline int clock_gettime(int clock, struct timespec64 *now)
{
	(void)clock;
	ktime_get_real_ts64(now);
	return 0;
}

#endif
