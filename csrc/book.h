/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BOOK_H
#define RP_BOOK_H
/*
 * DOC: A region's book: what is taken in the region, and how far its rings are.
 *
 * A memfd beside that of the region. The region's peers write the region; nobody
 * but the backend, and whoever keeps descriptors for it, maps the book. The two
 * memfds are all that another backend needs to go on with the region after this
 * one was killed, whatever it was doing then: each word is true by itself.
 *
 *    | head: the layout | a record a ring | a record a netmap_if | bits: which are taken |
 */
#include <stdint.h>

#include "ringpass.h"
#include "state.h"

enum { RP_BOOK_VERSION = 1 };

#define RP_BOOK_MAGIC UINT64_C(0x6b6f6f6270720001) /* "\1\0rpbook" */

/* What a book must agree in with its region. */
struct rp_book_head {
	uint64_t magic;
	uint64_t version;
	uint64_t region_bytes;
	struct rp_pool_info ifs;
	struct rp_pool_info rings; /* as many as there are CSBs: each ring has that of its number */
	struct rp_pool_info bufs;
};

struct rp_book_ring {
	struct rp_ring_state state;
	char port[64]; /* whose it is; empty: nobody's, or not yet */
	uint32_t slots;
	uint16_t dir; /* NETMAP_DIR_* */
	uint16_t ringid;
	uint32_t lender; /* the ring whose buffers it has, plus 1; 0: its own */
};

struct rp_book_if {
	char port[64]; /* that has it for itself; empty: one open of a port has it, or nobody */
};

struct rp_book {
	int fd;
	uint8_t *base;
	uint64_t bytes;
	struct rp_book_ring *rings;
	struct rp_book_if *ifs;
	uint64_t *ifs_taken; /* rp_pool_words() of each pool */
	uint64_t *rings_taken;
	uint64_t *bufs_taken;
};

/**
 * rp_book_new() - an empty book
 * @head:	the region's layout; magic and version need not be set
 *
 * Return: 0, or a negative errno with the reason in @err
 */
int rp_book_new(struct rp_book *b, const struct rp_book_head *head, struct rp_err *err);

/**
 * rp_book_resume() - go on with the book of an earlier run
 * @fd:		stays the caller's
 *
 * Return: 0, or a negative errno: -EINVAL for a book of another layout
 */
int rp_book_resume(struct rp_book *b, const struct rp_book_head *head, int fd, struct rp_err *err);

/* rp_book_abandon() - go on with a copy, and leave the book to others as it is */
int rp_book_abandon(struct rp_book *b, struct rp_err *err);

/* rp_book_close() - also one that was never opened, if its fd is -1 */
void rp_book_close(struct rp_book *b);

#endif
