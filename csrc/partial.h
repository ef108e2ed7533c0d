/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PARTIAL_H
#define RP_PARTIAL_H
/*
 * DOC: Checksums that a sender began and nobody completed.
 *
 * Over a pair of virtual interfaces Linux sends TCP and UDP with the sum of the
 * pseudo header in the checksum's place, for hardware that is not there to
 * complete it. Where the frame's own description is lost on the way, as it is
 * with XDP, the frame alone still tells: the field is the pseudo header's sum.
 * A complete checksum is that only by chance, and then completing it once more
 * yields the same value. So to take the one for the other never does harm.
 */
#include <linux/virtio_net.h>
#include <stdint.h>

/**
 * rp_partial_find() - does a frame have a checksum that is to be completed?
 * @at:		its first @len bytes; what is looked for lies there or is not found
 *
 * IPv4 and IPv6, TCP and UDP, behind any VLAN tags; no fragments.
 * Return: a virtio-net header that says so, or one of zeros
 */
struct virtio_net_hdr rp_partial_find(const uint8_t *at, uint32_t len);

#endif
