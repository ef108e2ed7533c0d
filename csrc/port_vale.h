/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PORT_VALE_H
#define RP_PORT_VALE_H

#include "port.h"

/* What is sent on a VALE port goes through its switch. */
extern const struct rp_port_ops rp_port_vale;

#endif
