/* SPDX-License-Identifier: BSD-2-Clause */
#include "partial.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "csum.h"

enum {
	ADDRESSES = 12,
	VLAN_TAG = 4,
	IPV4_MIN = 20,
	IPV6_HEADER = 40,
	TCP_SUM = 16, /* where the checksum is in the header */
	UDP_SUM = 6
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* Where a transport header is, and the sum of its pseudo header. */
struct transport {
	uint32_t at;
	uint8_t protocol;
	uint64_t pseudo;
};

static uint64_t pseudo_sum(const uint8_t *addresses, uint32_t bytes, uint32_t payload,
			   uint8_t protocol)
{
	const uint8_t rest[] = { (uint8_t)(payload >> 8), (uint8_t)payload, 0, protocol };

	return rp_sum(addresses, bytes) + rp_sum(rest, sizeof(rest));
}

static bool read_ipv4(const uint8_t *ip, uint32_t at, uint32_t len, struct transport *t)
{
	enum { FRAGMENT = 0x3fff, PROTOCOL = 9, ADDRESS = 12 };
	const uint32_t header = (ip[0] & 15) * 4u;
	const uint16_t total = get16(ip + 2);

	if (len < IPV4_MIN || header < IPV4_MIN || total < header || (get16(ip + 6) & FRAGMENT))
		return false;
	*t = (struct transport){ at + header, ip[PROTOCOL],
				 pseudo_sum(ip + ADDRESS, 8, total - header, ip[PROTOCOL]) };
	return true;
}

static bool read_ipv6(const uint8_t *ip, uint32_t at, uint32_t len, struct transport *t)
{
	enum { NEXT = 6, ADDRESS = 8 };

	if (len < IPV6_HEADER)
		return false;
	*t = (struct transport){ at + IPV6_HEADER, ip[NEXT],
				 pseudo_sum(ip + ADDRESS, 32, get16(ip + 4), ip[NEXT]) };
	return true;
}

static bool is_vlan(uint16_t type)
{
	return type == 0x8100 || type == 0x88a8;
}

/* Find the transport header of a frame. */
static bool read_headers(const uint8_t *frame, uint32_t len, struct transport *t)
{
	uint32_t at = ADDRESSES;

	while (at + 2 + VLAN_TAG <= len && is_vlan(get16(frame + at)))
		at += VLAN_TAG;
	if (at + 2 + IPV4_MIN > len)
		return false;
	switch (get16(frame + at)) {
	case 0x0800:
		return read_ipv4(frame + at + 2, at + 2, len - at - 2, t);
	case 0x86dd:
		return read_ipv6(frame + at + 2, at + 2, len - at - 2, t);
	default:
		return false;
	}
}

struct virtio_net_hdr rp_partial_find(const uint8_t *at, uint32_t len)
{
	struct virtio_net_hdr none = { 0 };
	uint16_t offset, sum;
	struct transport t;

	if (!read_headers(at, len, &t) || (t.protocol != IPPROTO_TCP && t.protocol != IPPROTO_UDP))
		return none;
	offset = t.protocol == IPPROTO_TCP ? TCP_SUM : UDP_SUM;
	if (t.at + offset + sizeof(sum) > len)
		return none;
	memcpy(&sum, at + t.at + offset, sizeof(sum));
	if (sum != rp_sum_fold(t.pseudo))
		return none;
	return (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					.csum_start = (uint16_t)t.at,
					.csum_offset = offset };
}
