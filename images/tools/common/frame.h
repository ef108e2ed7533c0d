/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FRAME_H
#define RP_FRAME_H
/*
 * DOC: The frames that rp-flood sends and rp-sink knows.
 *
 *   0  destination, source   6 + 6
 *  12  ethertype             0x88b5: IEEE 802, local experiments
 *  14  sequence number       64 bits, counts from 0 in each stream
 *  22  length                32 bits, of the whole frame
 *  26  stream                16 bits, chosen by the sender's user
 *  28  varied                8 bits, see below
 *  29  zero                  8 bits
 *  30  payload
 *
 * Numbers are big-endian. Byte i of the payload depends on i and, if `varied`
 * is 1, on the sequence number, so that a frame put together from pieces of
 * two others is found out. Frames that do not vary are filled in once, not
 * for each sending: that is what a flood wants.
 */
#include <endian.h>
#include <net/ethernet.h>
#include <stdbool.h>
#include <stdint.h>

#define RP_ETHERTYPE 0x88b5
#define RP_STREAMS   16

struct rp_frame {
	uint8_t dst[ETH_ALEN];
	uint8_t src[ETH_ALEN];
	uint16_t ethertype;
	uint64_t seq;
	uint32_t length;
	uint16_t stream;
	uint8_t varied;
	uint8_t zero;
	uint8_t payload[];
} __attribute__((packed));

_Static_assert(sizeof(struct rp_frame) == 30, "the header is what the picture above says");

/**
 * rp_frame_fill() - write length, kind and payload of a frame
 * @frame: where; its addresses, stream and ethertype are left alone
 * @length: bytes of the whole frame, at least the header
 * @seq: sequence number
 * @varied: whether the payload depends on the sequence number
 */
void rp_frame_fill(struct rp_frame *frame, uint32_t length, uint64_t seq, bool varied);

/**
 * rp_frame_intact() - does a frame say and hold what it was sent with?
 * @frame: a received frame of our ethertype
 * @length: bytes that were received, at least the header
 */
bool rp_frame_intact(const struct rp_frame *frame, uint32_t length);

#endif
