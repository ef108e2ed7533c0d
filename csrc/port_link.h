/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PORT_LINK_H
#define RP_PORT_LINK_H

#include "port.h"

/*
 * One end of a link: what is sent here, the other end receives, and a full
 * receiver holds its sender back for as long as it takes. A pipe is a link, and
 * so are a NIC and the rings that a program opens for it.
 */
extern const struct rp_port_ops rp_link_port;

#endif
