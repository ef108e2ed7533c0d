/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CONTROL_H
#define RP_CONTROL_H
/*
 * DOC: The ioctls that ask for something: NIOCCTRL, and the older ones.
 *
 * All: @fd is the connection, @argument the program's address. They return 0 or
 * a positive errno.
 */
#include <stdint.h>

#include "session.h"

int rp_control(struct rp_session *s, int fd, uint64_t argument);
int rp_control_legacy(struct rp_session *s, int fd, unsigned long request, uint64_t argument);
int rp_control_config(struct rp_session *s, int fd, uint64_t argument);

#endif
