/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRAMES_H
#define RP_FRAMES_H
/*
 * DOC: Frames that tell where they come from and whether they are whole.
 *
 *   | to, 6 | from, 6 | 0x88b5 | sender, 2 | number, 4 | pattern of both ... |
 *
 * Hosts are numbers: host 5 has the MAC 02:00:00:00:00:05.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { FRAME_HEAD = 20, FRAME_ETH = 14, FRAME_MAX = 66000, HOST_BROADCAST = 0xffff };

static inline void frame_mac(uint8_t mac[6], unsigned host)
{
	if (host == HOST_BROADCAST)
		memset(mac, 0xff, 6);
	else
		memcpy(mac, (uint8_t[]){ 2, 0, 0, 0, (uint8_t)(host >> 8), (uint8_t)host }, 6);
}

static inline uint8_t frame_byte(unsigned from, uint32_t number, uint32_t at)
{
	return (uint8_t)(at * 7 + number * 31 + from * 101);
}

/* frame_make() - fill @len bytes, as many as there are; parts of the head may be cut off */
static inline void frame_make(uint8_t *frame, uint32_t len, unsigned to, unsigned from,
			      uint32_t number)
{
	uint8_t head[FRAME_HEAD] = {
		[12] = 0x88, [13] = 0xb5, [14] = (uint8_t)(from >> 8), [15] = (uint8_t)from
	};

	frame_mac(head, to);
	frame_mac(head + 6, from);
	memcpy(head + 16, &number, sizeof(number));
	for (uint32_t i = 0; i < len; i++)
		frame[i] = i < FRAME_HEAD ? head[i] : frame_byte(from, number, i);
}

static inline unsigned frame_from(const uint8_t *frame)
{
	return (unsigned)frame[14] << 8 | frame[15];
}

static inline uint32_t frame_number(const uint8_t *frame)
{
	uint32_t number;

	memcpy(&number, frame + 16, sizeof(number));
	return number;
}

/* frame_whole() - is every byte as its sender made it? */
static inline bool frame_whole(const uint8_t *frame, uint32_t len)
{
	unsigned from = frame_from(frame);
	uint32_t number = frame_number(frame);

	for (uint32_t i = FRAME_HEAD; i < len; i++) {
		if (frame[i] != frame_byte(from, number, i))
			return false;
	}
	return len >= FRAME_HEAD;
}

#endif
