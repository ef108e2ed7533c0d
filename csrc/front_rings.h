/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRONT_RINGS_H
#define RP_FRONT_RINGS_H

#include "port.h"

/**
 * rp_front_rings_new() - the endpoint of one netmap ring
 * @dir:	NETMAP_DIR_*
 * @i:		the ring's number
 *
 * Return: the endpoint, live, or NULL when out of memory
 */
struct rp_endpoint *rp_front_rings_new(struct rp_port *p, int dir, uint32_t i,
				       struct rp_ring_state *state);

#endif
