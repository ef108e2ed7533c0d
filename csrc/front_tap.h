/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRONT_TAP_H
#define RP_FRONT_TAP_H

#include "kernel_ring.h"

/**
 * rp_front_tap_open() - a queue of a TAP device
 * @fd:		attached to the device, with IFF_NO_PI and IFF_VNET_HDR (its
 *		header has 10 bytes), O_NONBLOCK; it is duplicated
 *
 * Return: the queue, or NULL with the reason in @err
 */
struct rp_kernel_queue *rp_front_tap_open(const struct rp_kernel_queue_config *cfg, int fd,
					  struct rp_err *err);

#endif
