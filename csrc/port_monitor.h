/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PORT_MONITOR_H
#define RP_PORT_MONITOR_H

#include "port.h"

/* A monitor receives what passes another port, its parent, and sends nothing. See monitor.h. */
extern const struct rp_port_ops rp_port_monitor;

#endif
