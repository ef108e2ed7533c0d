/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_REGION_H
#define RP_REGION_H
/*
 * DOC: A region: what a front end may map. Drawn in abi/rp_abi.h.
 *
 * The memfd is sparse, as large as it will ever be (a power of two, unless the
 * user named its size), and sealed: its size is a promise that holds even if
 * the peer is hostile. Four pools lie in it; taking objects commits their
 * pages, so that a machine without memory says so here and not by a signal.
 * They stay committed: who takes and gives back all day costs no more than that.
 *
 * Whoever maps a region can write all of it: it is one trust domain. What is taken
 * is noted in the region's book, which nobody else maps.
 *
 * Both memfds outlive a backend that is killed. The next one resumes the region:
 * the layout is computed anew, the directory written again, and rings and
 * netmap_ifs are taken up by whoever asks for the same as before. What nobody took
 * up until rp_region_drop_old() is given back.
 */
#include <stdint.h>

#include "abi/rp_guest.h"
#include "book.h"
#include "csb.h"
#include "pool.h"
#include "ringpass.h"

struct rp_region {
	int id; /* netmap's memory id, from 1 */
	int fd;
	uint8_t *base;
	uint64_t bytes;
	uint32_t slots_max; /* of a ring */
	uint32_t users;	    /* ports and bindings */
	uint32_t opens;	    /* bindings */
	bool common;	    /* not one port's own */
	bool kept;	    /* was asked for by itself: stays without users */
	bool resuming;	    /* its rings move no frames yet: others may still be taken up */
	char name[64];
	uint32_t guests; /* records of virtual machines, behind the directory */
	struct rp_book book;
	struct rp_pool csbs; /* each ring has that of its number: not taken by themselves */
	struct rp_pool ifs;
	struct rp_pool rings;
	struct rp_pool bufs;
	struct rp_pool pages; /* that are committed, of the whole region: the backend's own note */
	struct rp_pool old_ifs; /* resumed: of the earlier run, and not taken up yet */
	struct rp_pool old_rings;
	uint64_t sealing_since_ns; /* how long locks of monitors were waited for, from then on */
	uint64_t seal_ns;
	struct rp_view view; /* as all who map it see it */
};

/**
 * rp_region_new() - create, lay out and seal a region; its pools are empty
 * @cfg:	0 in a field: its default
 *
 * Return: the region, or NULL with the reason in @err
 */
struct rp_region *rp_region_new(const struct rp_region_config *cfg, struct rp_err *err);

/**
 * rp_region_take_up() - go on with a region of an earlier run
 * @cfg:	as it was made with
 * @fd:		the region's memfd; it stays the caller's, and so does
 * @book_fd:	that of its book
 *
 * Return: the region, or NULL with the reason in @err
 */
struct rp_region *rp_region_take_up(const struct rp_region_config *cfg, int fd, int book_fd,
				    struct rp_err *err);

/* rp_region_drop_old() - give back what is of an earlier run and was not taken up */
void rp_region_drop_old(struct rp_region *r);

/**
 * rp_region_abandon() - leave a region and its book to others: here, copies of both go on
 *
 * Return: 0, or a negative errno with the reason in @err
 */
int rp_region_abandon(struct rp_region *r, struct rp_err *err);
void rp_region_free(struct rp_region *r);

/**
 * rp_region_fits() - is a memfd as rp_region_new() makes them, and of the size of @r?
 *
 * Huge pages, other seals and other files are not. Return: 0, or -EINVAL with the reason in @err
 */
int rp_region_fits(const struct rp_region *r, int fd, struct rp_err *err);

/**
 * rp_region_replace() - let a region be in a memfd that an earlier one was in
 * @fd:		a memfd that fits; it stays the caller's
 *
 * Nobody may use the region now, but others may have either memory mapped. What was in the memfd
 * is gone: its rings are to be made empty, and netmap_ifs to be written. Return: 0, or a negative
 * errno with the reason in @err, and nothing is different
 */
int rp_region_replace(struct rp_region *r, int fd, struct rp_err *err);

/* rp_region_describe() - write the directory, again where a user wrote something else */
void rp_region_describe(const struct rp_region *r);

/* A ring as the region knows it. */
struct rp_region_ring {
	uint32_t obj; /* in the ring pool */
	uint32_t csb; /* in the CSB pool */
	uint32_t slots;
	uint16_t dir; /* NETMAP_DIR_* */
	uint16_t ringid;
	bool resumed; /* taken up: slots, cursors and state are those of the earlier run */
};

/**
 * rp_region_add_ring() - take a ring with its CSB and a buffer for each slot
 * @port:	whose it is; of a resumed region, the ring that it had is taken up
 * @dir:	NETMAP_DIR_*
 *
 * Cursors are those of an empty ring, unless it was taken up. Return: 0, or a negative errno
 * with the pool, what was asked, what was left and the setting to change in @err
 */
int rp_region_add_ring(struct rp_region *r, const char *port, int dir, uint32_t ringid,
		       uint32_t slots, struct rp_region_ring *out, struct rp_err *err);

/**
 * rp_region_del_ring() - give a ring back, with the buffers that its slots name now
 *
 * Its user may have written nonsense there: what is no taken buffer is passed over.
 */
void rp_region_del_ring(struct rp_region *r, const struct rp_region_ring *ring);

/**
 * rp_region_reset_ring() - make a ring empty again, as new, with buffers of its own
 *
 * Nobody may sync it meanwhile. Return: 0, or a negative errno when its user left it
 * with other than its own buffers and there are not enough others
 */
int rp_region_reset_ring(struct rp_region *r, const struct rp_region_ring *ring,
			 struct rp_err *err);

/**
 * rp_region_lend() - let a ring have another one's buffers instead of its own
 * @from:	as many slots as @to has; NULL: take back what was lent, and leave @to without
 *
 * Only the owner gives them back to the pool.
 */
void rp_region_lend(struct rp_region *r, const struct rp_region_ring *to,
		    const struct rp_region_ring *from);

/**
 * rp_region_add_if() - take a netmap_if
 * @port:	that has it for itself, and takes up what it had; NULL: one open of a port has it
 *
 * Return: its number, or a negative errno
 */
int rp_region_add_if(struct rp_region *r, const char *port, struct rp_err *err);

/* rp_region_take_up_if() - take up the open's netmap_if at @offset. Return: as rp_region_add_if() */
int rp_region_take_up_if(struct rp_region *r, uint64_t offset, struct rp_err *err);
void rp_region_del_if(struct rp_region *r, uint32_t nifp);

/**
 * rp_region_add_extra() - take up to @n buffers and link them by their first words
 * @got:	how many there were
 *
 * Return: the first one, 0 if @got is 0
 */
uint32_t rp_region_add_extra(struct rp_region *r, uint32_t n, uint32_t *got);

/* rp_region_del_extra() - give back the list that begins at @head, as far as it makes sense */
void rp_region_del_extra(struct rp_region *r, uint32_t head);

/*
 * Programs may end with buffers in their hands that no ring and no list names. When nobody has
 * the region open any more, buffers that no ring has are free, as netmap has it: begin, name
 * every ring of the region, end.
 */
struct rp_region_keep {
	struct rp_region *region;
	struct rp_pool bufs; /* those that rings have */
	uint64_t *taken;
};

/* rp_region_keep_begin() - Return: false when out of memory: then leave it at that */
bool rp_region_keep_begin(struct rp_region_keep *k, struct rp_region *r);
void rp_region_keep_ring(struct rp_region_keep *k, const struct rp_region_ring *ring);
void rp_region_keep_end(struct rp_region_keep *k);

static inline struct rp_guest *rp_region_guest_at(const struct rp_region *r, uint32_t guest)
{
	return (struct rp_guest *)(void *)(r->base + RP_DIRECTORY_BYTES +
					   (uint64_t)guest * RP_GUEST_BYTES);
}

static inline struct netmap_ring *rp_region_ring_at(const struct rp_region *r, uint32_t obj)
{
	return (struct netmap_ring *)(void *)(r->base + r->rings.offset +
					      (uint64_t)obj * r->rings.objsize);
}

static inline struct rp_ring_state *rp_region_state(const struct rp_region *r, uint32_t obj)
{
	return &r->book.rings[obj].state;
}

static inline struct rp_csb *rp_region_csb_at(const struct rp_region *r, uint32_t csb)
{
	return (struct rp_csb *)(void *)(r->base + r->csbs.offset) + csb;
}

static inline uint64_t rp_region_if_offset(const struct rp_region *r, uint32_t nifp)
{
	return r->ifs.offset + (uint64_t)nifp * r->ifs.objsize;
}

static inline struct netmap_if *rp_region_if_at(const struct rp_region *r, uint32_t nifp)
{
	return (struct netmap_if *)(void *)(r->base + rp_region_if_offset(r, nifp));
}

static inline uint8_t *rp_region_bufs(const struct rp_region *r)
{
	return r->base + r->bufs.offset;
}

#endif
