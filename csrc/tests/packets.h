/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PACKETS_H
#define RP_PACKETS_H
/*
 * DOC: TCP and UDP packets with all headers that an offload must see through,
 * and their checksums, computed in the plainest way: two bytes at a time.
 *
 *   | Ethernet, VLAN tags | IPv4, options or IPv6, extensions | TCP, options or UDP | payload |
 *
 * Hosts are those of frames.h. Byte i of a payload depends on i alone.
 */
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

enum { PACKET_VLANS = 3, PACKET_MAX = 66000 };

struct packet {
	unsigned from, to; /* hosts */
	unsigned vlans;	   /* tags; the first of two is a service tag */
	bool ipv6;
	unsigned ip_options;  /* IPv4: bytes */
	uint8_t extension[3]; /* IPv6: header numbers, 0xff ends them: hop-by-hop is 0 */
	bool udp;
	unsigned tcp_options; /* bytes */
	uint8_t tcp_flags;
	uint16_t id;
	uint32_t seq;
	uint32_t payload; /* bytes */
};

/* What a driver sends: IPv4 and TCP with the usual 12 bytes of options. */
#define PACKET_TCP4                                                                    \
	{                                                                              \
		.from = 1, .to = 2, .tcp_options = 12, .tcp_flags = 0x18, .id = 65534, \
		.seq = 0xfffff000, .extension = { 0xff, 0xff, 0xff },                  \
	}

uint32_t packet_ip_at(const struct packet *p);
uint32_t packet_l4_at(const struct packet *p);
uint32_t packet_payload_at(const struct packet *p);
static inline uint32_t packet_len(const struct packet *p)
{
	return packet_payload_at(p) + p->payload;
}

/**
 * packet_make() - write the packet
 * @first:	of the whole payload, the byte that this packet's begins with
 * @complete:	the checksum; else the sum of the pseudo-header
 *
 * Return: its length
 */
uint32_t packet_make(uint8_t *frame, const struct packet *p, uint32_t first, bool complete);

/* packet_vnet() - the header that asks to complete its checksum; with @gso_size, to cut it first */
struct virtio_net_hdr packet_vnet(const struct packet *p, uint16_t gso_size);

/* packet_segments() - how many it is cut into */
uint32_t packet_segments(const struct packet *p, uint32_t gso_size);

/* packet_segment() - write segment @i of the packet, as whoever receives it must see it */
uint32_t packet_segment(uint8_t *frame, const struct packet *p, uint32_t gso_size, uint32_t i,
			bool complete);

#endif
