/* SPDX-License-Identifier: BSD-2-Clause */
#include "frame.h"

#include <string.h>

/* The payload is words of eight bytes, each the word before plus a large odd number. */
#define FIRST 0x9e3779b97f4a7c15ULL
#define STEP  0xc2b2ae3d27d4eb4fULL

static uint64_t first_word(uint64_t seq, bool varied)
{
	return varied ? FIRST ^ (seq * STEP) : FIRST;
}

static uint32_t word_bytes(uint32_t left)
{
	return left < sizeof(uint64_t) ? left : (uint32_t)sizeof(uint64_t);
}

void rp_frame_fill(struct rp_frame *frame, uint32_t length, uint64_t seq, bool varied)
{
	uint32_t left = length - (uint32_t)sizeof(*frame);
	uint8_t *at = frame->payload;
	uint64_t word = first_word(seq, varied);

	frame->seq = htobe64(seq);
	frame->length = htobe32(length);
	frame->varied = varied;
	frame->zero = 0;
	while (left > 0) {
		uint32_t n = word_bytes(left);

		memcpy(at, &word, n);
		word += STEP;
		at += n;
		left -= n;
	}
}

bool rp_frame_intact(const struct rp_frame *frame, uint32_t length)
{
	uint32_t left = length - (uint32_t)sizeof(*frame);
	const uint8_t *at = frame->payload;
	uint64_t word;

	if (be32toh(frame->length) != length || frame->varied > 1 || frame->zero != 0)
		return false;
	word = first_word(be64toh(frame->seq), frame->varied);
	while (left > 0) {
		uint32_t n = word_bytes(left);

		if (memcmp(at, &word, n) != 0)
			return false;
		word += STEP;
		at += n;
		left -= n;
	}
	return true;
}
