/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PORT_NULL_H
#define RP_PORT_NULL_H

#include "port.h"

/* A null port takes what is sent on it, and throws it away. Nothing ever arrives. */
extern const struct rp_port_ops rp_port_null;

#endif
