/* SPDX-License-Identifier: BSD-2-Clause */
#include "packets.h"

#include <string.h>

#include "frames.h"

enum { TCP = 6, UDP = 17, NO_EXTENSION = 0xff };
enum { FIN = 0x01, PSH = 0x08, CWR = 0x80 };

static unsigned extensions(const struct packet *p)
{
	unsigned n = 0;

	while (p->ipv6 && n < 3 && p->extension[n] != NO_EXTENSION)
		n++;
	return n;
}

uint32_t packet_ip_at(const struct packet *p)
{
	return FRAME_ETH + 4 * p->vlans;
}

/* Extension header i has 8 * (i + 1) bytes. */
uint32_t packet_l4_at(const struct packet *p)
{
	uint32_t at = packet_ip_at(p) + (p->ipv6 ? 40 : 20 + p->ip_options);

	for (unsigned i = 0; i < extensions(p); i++)
		at += 8 * (i + 1);
	return at;
}

uint32_t packet_payload_at(const struct packet *p)
{
	return packet_l4_at(p) + (p->udp ? 8 : 20 + p->tcp_options);
}

static uint8_t *put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = bytes; i--; value >>= 8)
		at[i] = (uint8_t)value;
	return at + bytes;
}

static uint32_t sum(const uint8_t *at, uint32_t n)
{
	uint32_t s = 0;

	for (uint32_t i = 0; i < n; i++) {
		s += i % 2 ? at[i] : (uint32_t)at[i] << 8;
		s = (s & 0xffff) + (s >> 16);
	}
	return s;
}

static uint32_t add(uint32_t a, uint32_t b)
{
	return ((a + b) & 0xffff) + ((a + b) >> 16);
}

static void put_ipv4(uint8_t *ip, const struct packet *p, uint32_t len)
{
	const unsigned bytes = 20 + p->ip_options;

	memset(ip, 0, bytes);
	ip[0] = (uint8_t)(0x40 | bytes / 4);
	put(ip + 2, len, 2);
	put(ip + 4, p->id, 2);
	ip[6] = 0x40; /* do not fragment */
	ip[8] = 64;
	ip[9] = p->udp ? UDP : TCP;
	put(ip + 12, 0x0a000000 | p->from, 4);
	put(ip + 16, 0x0a000000 | p->to, 4);
	memset(ip + 20, 1, p->ip_options); /* no operation */
	put(ip + 10, ~sum(ip, bytes), 2);
}

static void put_ipv6(uint8_t *ip, const struct packet *p, uint32_t len)
{
	uint8_t *at = ip + 40, *next = ip + 6;

	memset(ip, 0, 40);
	ip[0] = 0x60;
	put(ip + 4, len - 40, 2);
	ip[7] = 64;
	put(ip + 8, 0xfd00, 2);
	put(ip + 22, p->from, 2);
	put(ip + 24, 0xfd00, 2);
	put(ip + 38, p->to, 2);
	for (unsigned i = 0; i < extensions(p); i++) {
		const size_t bytes = 8 * ((size_t)i + 1);

		*next = p->extension[i];
		next = at;
		memset(at, 0, bytes);
		at[1] = (uint8_t)i;
		if (p->extension[i] == 43) /* of a type that has no meaning, nowhere to go */
			at[2] = 253;
		else
			put(at + 2, 0x0104, 2); /* one pad option, and more of them behind it */
		at += bytes;
	}
	*next = p->udp ? UDP : TCP;
}

static uint32_t pseudo_sum(const uint8_t *ip, const struct packet *p, uint32_t len)
{
	uint32_t addresses = p->ipv6 ? sum(ip + 8, 32) : sum(ip + 12, 8);

	return add(addresses, add(p->udp ? UDP : TCP, add(len & 0xffff, len >> 16)));
}

uint32_t packet_make(uint8_t *frame, const struct packet *p, uint32_t first, bool complete)
{
	const uint32_t ip_at = packet_ip_at(p), l4_at = packet_l4_at(p), len = packet_len(p);
	uint8_t *at = frame, *ip = frame + ip_at, *l4 = frame + l4_at, *check;

	frame_mac(at, p->to);
	frame_mac(at + 6, p->from);
	at += 12;
	for (unsigned i = 0; i < p->vlans; i++) {
		at = put(at, i == 0 && p->vlans > 1 ? 0x88a8 : 0x8100, 2);
		at = put(at, 0x2000 + 100 * i + 7, 2);
	}
	put(at, p->ipv6 ? 0x86dd : 0x0800, 2);
	if (p->ipv6)
		put_ipv6(ip, p, len - ip_at);
	else
		put_ipv4(ip, p, len - ip_at);
	memset(l4, 0, packet_payload_at(p) - l4_at);
	put(l4, 40000, 2);
	put(l4 + 2, 5001, 2);
	if (p->udp) {
		put(l4 + 4, len - l4_at, 2);
		check = l4 + 6;
	} else {
		put(l4 + 4, p->seq, 4);
		put(l4 + 8, 0x01020304, 4);
		l4[12] = (uint8_t)((20 + p->tcp_options) / 4 << 4);
		l4[13] = p->tcp_flags;
		put(l4 + 14, 501, 2);
		memset(l4 + 20, 1, p->tcp_options); /* no operation */
		check = l4 + 16;
	}
	for (uint32_t i = 0; i < p->payload; i++)
		frame[packet_payload_at(p) + i] = (uint8_t)((first + i) * 7 + (first + i) / 251);
	put(check, pseudo_sum(ip, p, len - l4_at), 2);
	if (complete) {
		uint32_t c = ~sum(l4, len - l4_at) & 0xffff;

		put(check, p->udp && !c ? 0xffff : c, 2);
	}
	return len;
}

struct virtio_net_hdr packet_vnet(const struct packet *p, uint16_t gso_size)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = (uint16_t)packet_l4_at(p),
		.csum_offset = p->udp ? 6 : 16,
	};

	if (gso_size) {
		h.gso_type = p->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		h.gso_type |= p->tcp_flags & CWR ? VIRTIO_NET_HDR_GSO_ECN : 0;
		h.gso_size = gso_size;
		h.hdr_len = (uint16_t)packet_payload_at(p);
	}
	return h;
}

uint32_t packet_segments(const struct packet *p, uint32_t gso_size)
{
	return (p->payload + gso_size - 1) / gso_size;
}

uint32_t packet_segment(uint8_t *frame, const struct packet *p, uint32_t gso_size, uint32_t i,
			bool complete)
{
	const uint32_t first = i * gso_size;
	struct packet s = *p;

	s.payload = p->payload - first < gso_size ? p->payload - first : gso_size;
	s.id = (uint16_t)(p->id + i);
	s.seq = p->seq + first;
	if (i)
		s.tcp_flags &= (uint8_t)~CWR;
	if (first + s.payload < p->payload)
		s.tcp_flags &= (uint8_t) ~(FIN | PSH);
	return packet_make(frame, &s, first, complete);
}
