/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_SESSION_H
#define RP_SESSION_H
/*
 * DOC: One open of /dev/netmap, as this process knows it.
 *
 * The descriptor that the program has is the connection to the backend; it says
 * who we are, wherever it travels. What was registered on it, perhaps by another
 * process that has a copy, is asked for when it is first needed.
 *
 * The connection stands for the registration, so nothing is told to the backend
 * at the end: it sees the last copy go.
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_attach.h"
#include "client/rp_client.h"
#include "object.h"

/* What a register request says about poll(). */
enum { RP_REG_EXCLUSIVE = 0x800, RP_REG_NO_TX_POLL = 0x20000 };

struct nm_csb_atok; /* as abi/rp_abi.h and the programs' net/netmap.h both say */
struct nm_csb_ktoa;
struct netmap_ring;
struct rp_csb;
struct rp_loop; /* kloop.c */
struct rp_reply;

struct rp_session_ring {
	struct netmap_ring *at;
	struct rp_csb *csb;
	uint32_t slots;	 /* as checked: the region's own number may change */
	uint32_t number; /* for rp_client */
	uint32_t flags;	 /* RP_NM_* */
	uint32_t busy;	 /* a thread syncs it */
};

struct rp_session {
	struct rp_object object;
	uint32_t busy;		      /* held while it is registered or described */
	uint32_t bound;		      /* client is there */
	struct rp_client *client;     /* the mapped region and its rings */
	struct rp_session_ring *ring; /* TX rings first */
	unsigned nrings;
	unsigned ntx;
	uint32_t bufs;	       /* of the region, as its directory was when it was checked */
	uint32_t buf_bytes;    /* of each */
	int fd[RP_NM_MAX_FDS]; /* the client's descriptors, which the program must leave alone */
	unsigned nfds;
	uint64_t reg_flags;
	uint32_t told; /* why the port is broken */
	bool alone;    /* its rings, all of them pipes', go on without the backend */
	bool extmem;   /* the region lies where the program wanted it: there is no mmap() */

	/* CSB mode, and the loop that serves it; shared with children. */
	struct nm_csb_atok *atok; /* NULL: not in CSB mode */
	struct nm_csb_ktoa *ktoa;
	struct rp_loop *loop;
};

/**
 * rp_session_adopt() - let the connection @fd stand for a new session
 *
 * Return: 0, ENOMEM, EMFILE
 */
int rp_session_adopt(int fd);

/**
 * rp_session_of() - the session of a descriptor, also of one that came from elsewhere
 *
 * Return: it, with a reference, or NULL: it is not /dev/netmap
 */
struct rp_session *rp_session_of(int fd);

void rp_session_put(struct rp_session *s);

/**
 * rp_session_attach() - map what an answer describes
 *
 * Return: 0 or a positive errno
 */
int rp_session_attach(struct rp_session *s, struct rp_reply *reply);

/**
 * rp_session_bound() - tell whether @s is registered, asking the backend if we do not know
 * @fd: the connection
 */
bool rp_session_bound(struct rp_session *s, int fd);

/**
 * rp_session_broken() - a sync says that the port is broken: tell why, once, if that is wanted
 *
 * Return: EIO
 */
int rp_session_broken(struct rp_session *s, int fd);

/* rp_session_txsync(), rp_session_rxsync() - the ioctls; Return: 0 or a positive errno */
int rp_session_txsync(struct rp_session *s, int fd);
int rp_session_rxsync(struct rp_session *s, int fd);

/* rp_session_region() - the descriptor of the region */
int rp_session_region(const struct rp_session *s);

/* rp_session_may_map() - tell whether there is a region at [@offset, @offset + @bytes) */
bool rp_session_may_map(const struct rp_session *s, uint64_t offset, uint64_t bytes);

/* rp_session_mark() - a number that changes when a ring's tail moves */
uint64_t rp_session_mark(const struct rp_session *s);

/* rp_session_map_over() - the program gives @bytes at @address for the region (extmem). 0 or an errno */
int rp_session_map_over(struct rp_session *s, uint64_t address, uint64_t bytes);

/* rp_session_forked() - in a child: threads that were at work with sessions are not there */
void rp_session_forked(void);

/* --- ring by ring, for CSB mode: TX rings first ----------------------------- */

struct rp_cursors {
	uint32_t head;
	uint32_t cur;
	uint32_t hwcur;
	uint32_t hwtail;
};

unsigned rp_session_rings(const struct rp_session *s);
struct rp_cursors rp_session_cursors(const struct rp_session *s, unsigned ring);

/* rp_session_sync_at() - sync a ring whose user is at @head and @cur */
void rp_session_sync_at(struct rp_session *s, unsigned ring, uint32_t head, uint32_t cur);

/* rp_session_arm() - ask for a call when the ring changes. Return: the descriptor, -1: look again */
int rp_session_arm(struct rp_session *s, unsigned ring);
void rp_session_disarm(struct rp_session *s, unsigned ring);

#endif
