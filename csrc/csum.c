/* SPDX-License-Identifier: BSD-2-Clause */
#include "csum.h"

#include <string.h>

/* The compiler makes vectors of it. 2^64 is far away for any frame, so no carry is lost. */
static inline __attribute__((always_inline)) uint64_t sum_words(const uint8_t *data, uint32_t n)
{
	const uint32_t words = n / 4;
	uint64_t sum = 0;
	uint32_t last = 0;

	for (uint32_t i = 0; i < words; i++) {
		uint32_t word;

		memcpy(&word, data + 4ul * i, sizeof(word));
		sum += word;
	}
	memcpy(&last, data + 4ul * words, n % 4);
	return sum + last;
}

#ifdef __x86_64__

/* More than twice as fast as with the vectors that every x86-64 processor has. */
__attribute__((target("avx2"))) static uint64_t sum_words_avx2(const uint8_t *data, uint32_t n)
{
	return sum_words(data, n);
}

uint64_t rp_sum(const uint8_t *data, uint32_t n)
{
	return __builtin_cpu_supports("avx2") ? sum_words_avx2(data, n) : sum_words(data, n);
}

#else

uint64_t rp_sum(const uint8_t *data, uint32_t n)
{
	return sum_words(data, n);
}

#endif
