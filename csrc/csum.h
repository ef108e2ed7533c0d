/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CSUM_H
#define RP_CSUM_H
/*
 * DOC: The Internet checksum (RFC 1071): the ones' complement sum of 16-bit
 * words.
 *
 * Words are added as they lie in memory: whatever the order of their bytes,
 * the sum comes out in the same order. A sum is any number that is congruent
 * to it modulo 0xffff, until it is folded.
 */
#include <stdint.h>

/* rp_sum() - of @n bytes at any address; an odd last byte counts as if a zero followed */
uint64_t rp_sum(const uint8_t *data, uint32_t n);

/* rp_sum_fold() - a sum as 16 bits; 0 only if nothing but zeros was added */
static inline uint16_t rp_sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* rp_sum_odd() - the sum of bytes that follow an odd number of others */
static inline uint64_t rp_sum_odd(uint64_t sum)
{
	return __builtin_bswap16(rp_sum_fold(sum));
}

#endif
