/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PASSING_H
#define RP_PASSING_H

/* rp_passing_inherited() - find the sessions that this process was started with */
void rp_passing_inherited(void);

#endif
