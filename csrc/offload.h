/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_OFFLOAD_H
#define RP_OFFLOAD_H
/*
 * DOC: Offloads in software: the checksum or the segmentation that a sender
 * left for somebody else to do, and that a receiver did not agree to do.
 *
 * A frame that the receiver can't take as it is becomes one or several that it
 * can. They are frames of a second batch, lists of pieces like all others: a
 * private piece that was written here, among the sender's own bytes, which are
 * neither changed nor copied. So the lease and the copy that deliver any frame
 * deliver these, too.
 *
 *   checksum    | sender's bytes .. | sum | .. sender's bytes |
 *
 *   segments    | headers | first gso_size bytes of the sender's payload |
 *               | headers | the next ...                                 |
 *               | headers | the rest   |
 *
 * What comes out is what Linux makes of the same frame when it has to do so
 * without hardware. A frame is cut only if its headers are what its virtio-net
 * header says: Ethernet, any VLAN tags, IPv4 with options or IPv6 with extension
 * headers that Linux segments behind (hop-by-hop, routing, destination options),
 * TCP where csum_start says. To complete a checksum needs no header at all.
 *
 * Security: a sender may change its frame at any time. Headers are copied once,
 * and only the copy is checked, edited and sent. Payload that changes between
 * its sum and its copy makes a frame with a bad checksum, of this sender's.
 */
#include <stdint.h>

#include "batch.h"

struct rp_endpoint;

enum {
	RP_OFFLOAD_FRAMES = 64,	    /* made at a time: few enough to stay in the nearest caches */
	RP_OFFLOAD_HEAD = 1024,	    /* the longest headers that a segment may have */
	RP_OFFLOAD_HEADS = 1 << 14, /* private pieces of a batch, in bytes */
	/*
	 * TCP options and payload of a full segment have at least so many bytes
	 * together: Linux's TCP_MIN_SND_MSS, below which no Linux guest goes.
	 */
	RP_OFFLOAD_MSS_MIN = 48
};

/* A place in a list of frames of the sender. */
struct rp_offload_place {
	uint16_t i;	  /* in the list */
	uint16_t segment; /* those before it are done */
};

struct rp_offload {
	struct rp_batch batch; /* what was made */
	struct rp_offload_place made_of[RP_OFFLOAD_FRAMES];
	struct rp_offload_place next; /* where to go on */
	uint32_t heads;		      /* bytes of head[] that are taken */
	uint8_t head[RP_OFFLOAD_HEADS];
};

/**
 * rp_offload_from() - go on at order[@i], behind the segments of it that were delivered before
 * @order:	frames of @b
 */
void rp_offload_from(struct rp_offload *o, const struct rp_batch *b, const uint16_t *order,
		     unsigned n, unsigned i);

/**
 * rp_offload_make() - make frames that a receiver takes as they are
 * @o:		o->next says where to go on, and does afterwards; o->batch is filled
 * @from:	the sender; order[0..@n) are frames of its batch
 * @features:	negotiated with the receiver
 *
 * As many as the batch has room for; those that need nothing done are taken up
 * unchanged. A frame that can't be cut is counted as header at the sender, one
 * of too many pieces as frags. Done when o->next.i is @n.
 */
void rp_offload_make(struct rp_offload *o, struct rp_endpoint *from, const uint16_t *order,
		     unsigned n, uint64_t features);

#endif
