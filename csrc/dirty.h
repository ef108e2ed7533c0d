/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_DIRTY_H
#define RP_DIRTY_H
/*
 * DOC: The dirty log: which pages of a guest's memory we wrote while it migrates.
 *
 * The front end shares a bitmap, one bit a page of guest-physical memory. It
 * takes the bits, many at once, clears them, and sends those pages again.
 *
 *      here                              front end
 *      write guest memory                bits = exchange(word, 0)
 *      rp_dirty_mark(): set its bits     read the pages of bits, send them
 *
 * The order is the whole point: a bit that is set before the write could be
 * taken, and the page sent, without it. Setting a bit is a full barrier, and
 * it is set whether it was seen set or not: it may just have been taken.
 *
 * A log is never changed; another one takes its place, and the old one is
 * freed when no worker can still use it (quiet.h).
 */
#include <stddef.h>
#include <stdint.h>

#include "abi/rp_barrier.h"
#include "ringpass.h"

enum { RP_DIRTY_PAGE = 4096 };

struct rp_dirty {
	uint8_t *bits;	/* page n is bit n % 8 of byte n / 8 */
	uint64_t pages; /* that there are bits for */
	uint8_t *base;	/* of the mapping */
	size_t bytes;
	int guard;
};

/**
 * rp_dirty_new() - map a front end's bitmap
 * @fd:		its file, which stays the caller's
 * @offset:	where the bitmap begins in the file
 * @bytes:	its size
 * @lost:	called with @owner, from a signal handler, when the file is truncated
 *
 * Return: the log, or NULL with the reason in @err: EINVAL for a bitmap that is
 * empty, too large for any guest, not within its file, or not to be mapped shared
 */
struct rp_dirty *rp_dirty_new(int fd, uint64_t offset, uint64_t bytes, void (*lost)(void *owner),
			      void *owner, struct rp_err *err);
void rp_dirty_free(struct rp_dirty *log);

/**
 * rp_dirty_mark_all() - rp_dirty_mark() for much memory at a time
 *
 * A front end may describe terabytes: whole bytes are set without asking what they were.
 */
void rp_dirty_mark_all(const struct rp_dirty *log, uint64_t guest_addr, uint64_t bytes);

/**
 * rp_dirty_mark() - @bytes of memory at @guest_addr were written
 *
 * Pages beyond the log are passed over; the facade lets no memory table have any.
 */
static inline void rp_dirty_mark(const struct rp_dirty *log, uint64_t guest_addr, uint64_t bytes)
{
	uint64_t page = guest_addr / RP_DIRTY_PAGE;

	if (bytes == 0)
		return;
	for (uint64_t last = (guest_addr + bytes - 1) / RP_DIRTY_PAGE;
	     page <= last && page < log->pages; page++)
		rp_set_bits(&log->bits[page / 8], (uint8_t)(1u << page % 8));
}

#endif
