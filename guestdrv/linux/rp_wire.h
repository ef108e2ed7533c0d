/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_WIRE_H
#define RP_WIRE_H
/* Requests of netmap's that the driver itself makes, as they travel: see abi/rp_attach.h. */
#include "rp_device.h"

/**
 * rp_wire_register() - register all rings of the port on an open
 *
 * Return: 0, and o->ring has them, or a negative errno. May sleep
 */
int rp_wire_register(struct rp_open *o);

#endif
