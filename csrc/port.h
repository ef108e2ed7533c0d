/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PORT_H
#define RP_PORT_H
/*
 * DOC: A port: a name, some rings, and a table of functions that says what
 * becomes of the frames. Nothing outside that table asks what kind it is.
 */
#include <stdbool.h>
#include <stdint.h>

#include "dirty.h"
#include "endpoint.h"
#include "guestmem.h"
#include "region.h"
#include "ringpass.h"

struct rp_caller;
struct rp_switch;

struct rp_port_ops {
	const char *name;
	bool links; /* may be joined to another port of this kind */
	/**
	 * @txsync: move what the front end sent on @ep, a batch at most
	 * Return: frames moved or dropped; 0 when there was nothing to do
	 */
	unsigned (*txsync)(struct rp_caller *c, struct rp_endpoint *ep);
	/** @receives_only: to ask for a txsync is an error; a guest's frames are thrown away */
	bool receives_only;
};

struct rp_port {
	char name[64];
	int id;
	const struct rp_port_ops *ops;
	struct rp_switch *sw; /* of a VALE port */
	uint16_t sw_port;     /* its number there */
	uint32_t ntx;
	uint32_t nrx;
	struct rp_endpoint *tx[RP_PORT_RINGS];
	struct rp_endpoint *rx[RP_PORT_RINGS];
	int worker;		/* -1: none */
	struct rp_port *parent; /* of a monitor: the port that it shows; NULL: none (any more) */
	bool zcopy;		/* it swaps buffers with it */
	uint32_t shown;		/* its rings show their slots to a zero-copy monitor */

	uint64_t hold_ns;	  /* 0: drop when full */
	uint32_t longest;	  /* frame, by the port's MTU; UINT32_MAX: any */
	uint64_t features;	  /* negotiated virtio features; 0: it takes no offload */
	uint32_t net_header;	  /* rings: bytes of the virtio-net header before each frame */
	bool net_header_leaves;	  /* with the last open */
	struct rp_guestmem *mem;  /* vhost; replaced, never changed. Rings: CSBs elsewhere */
	uint32_t mem_gen;	  /* grows when mem is replaced */
	struct rp_dirty *log;	  /* vhost: NULL: the guest does not migrate; replaced, too */
	struct rp_region *region; /* rings */
	bool kernel;		  /* its rings are descriptors of the kernel */
	struct rp_region_ring own[2][RP_PORT_RINGS]; /* rings: by direction, where they are */
	uint32_t nifp;				     /* rings: the netmap_if that has them all */
	bool has_nifp;
	uint32_t bound[2][RP_PORT_RINGS]; /* rings: by how many opens */
	struct rp_port *peer;		  /* LINK: the other end; NULL: none */
	bool swaps;			  /* LINK: both ends' rings are in one region */
	bool csb;		    /* rings: cursors go through CSBs, and these descriptors wake */
	int kick_fd[RP_PORT_RINGS]; /* rings with CSB: the worker, by tx ring */
	int call_fd[2][RP_PORT_RINGS]; /* the user */

	uint32_t state; /* enum rp_port_state */
	uint32_t breaking;
	char reason[128];
	int event_fd; /* written when it breaks */
};

/**
 * rp_port_break() - the front end broke a rule: touch its memory no more
 * @reason:	the rule, in words
 *
 * For any thread, and for signal handlers. The first reason stays.
 */
void rp_port_break(struct rp_port *p, const char *reason);

/* rp_port_show() - tell the users of its rings whether it is broken; who sleeps wakes up */
void rp_port_show(struct rp_port *p, bool broken);

static inline bool rp_port_broken(const struct rp_port *p)
{
	return rp_load_acquire(&p->state) == RP_PORT_BROKEN;
}

/*
 * rp_ring_in_use() - may a netmap ring move frames, as far as its user goes?
 *
 * Rings of processes do while one has them open: else a ring that nobody reads
 * would fill up and hold its senders back. A pipe's always do: what waits in it
 * may be read later. In a region that is taken up none does until all are there:
 * what is sent would find nobody.
 */
static inline bool rp_ring_in_use(const struct rp_port *p, int dir, uint32_t i)
{
	return !(p->region && p->region->resuming) &&
	       (!p->csb || p->ops->links || p->bound[dir][i]);
}

/* rp_port_stale() - was the sender's memory replaced while a receiver held its frames back? */
static inline bool rp_port_stale(const struct rp_endpoint *ep)
{
	return ep->batch->held && ep->batch->mem_gen != rp_load_acquire(&ep->port->mem_gen);
}

enum rp_fit {
	RP_FIT_AS_IT_IS,
	RP_FIT_TOO_LONG, /* drop it as mtu */
	RP_FIT_OFFLOAD	 /* see offload.h */
};

/**
 * rp_port_fit() - does a port take a frame?
 *
 * What goes to segments later is measured by their size, as far as the
 * virtio-net header tells it: with TCP options they may be 40 bytes longer.
 */
enum rp_fit rp_port_fit(const struct rp_port *p, const struct rp_frame *f);

/* rp_port_longest() - the frame that an MTU allows: Linux's measure, with one VLAN tag */
static inline uint32_t rp_port_longest(uint32_t mtu)
{
	enum { VLAN_TAG = 4 };

	return mtu ? mtu + RP_ETH_MIN + VLAN_TAG : UINT32_MAX;
}

/**
 * rp_port_receiver() - the rx ring that takes what was sent on tx ring @ring
 *
 * Return: the ring of the same number, modulo their count; the first one when
 * that one is stopped; NULL when that one is stopped, too
 */
static inline struct rp_endpoint *rp_port_receiver(struct rp_port *p, unsigned ring)
{
	struct rp_endpoint *ep = p->rx[ring < p->nrx ? ring : ring % p->nrx];

	if (rp_endpoint_live(ep))
		return ep;
	return rp_endpoint_live(p->rx[0]) ? p->rx[0] : NULL;
}

#endif
