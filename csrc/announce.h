/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_ANNOUNCE_H
#define RP_ANNOUNCE_H

#include <stdint.h>

struct rp_caller;
struct rp_port;

/**
 * rp_announce() - make the stations of a switch look for @mac behind @p
 * @c:		inside, with its clock set
 * @p:		a port of a switch
 *
 * The switch learns the address there, and every other port gets a reverse ARP
 * request in its name, so that switches behind them learn it, too: what QEMU
 * sends for a guest that has just arrived.
 * Return: 0, or -ENOMEM
 */
int rp_announce(struct rp_caller *c, struct rp_port *p, const uint8_t mac[6]);

#endif
