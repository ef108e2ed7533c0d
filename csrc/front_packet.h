/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRONT_PACKET_H
#define RP_FRONT_PACKET_H

#include "kernel_ring.h"

/**
 * rp_front_packet_open() - a queue on a packet socket
 * @fd:		AF_PACKET, SOCK_RAW, bound to an interface, with PACKET_VNET_HDR
 *		and PACKET_AUXDATA; it is duplicated
 *
 * Return: the queue, or NULL with the reason in @err
 */
struct rp_kernel_queue *rp_front_packet_open(const struct rp_kernel_queue_config *cfg, int fd,
					     struct rp_err *err);

#endif
