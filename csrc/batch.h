/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BATCH_H
#define RP_BATCH_H
/*
 * DOC: Frames in flight.
 *
 * A batch is what one pull took from an endpoint. It owns nothing: a frame is
 * a short list of pieces that still lie in the sender's memory. A descriptor
 * chain, a chain of netmap slots and a 64 KB segment all look like this.
 *
 *   frame[0] ---> seg[0]            one piece, the usual case
 *   frame[1] ---> seg[1..3]         three
 *   frame[2] ---> seg[4]
 */
#include <linux/virtio_net.h>
#include <stdint.h>

#include "ringpass.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "virtqueues and MAC addresses are read as they lie in memory");

enum {
	RP_ETH_MIN = 14,
	/* The longest frame of any kind: 64 KB of GSO payload behind its headers. */
	RP_FRAME_MAX = 65536 + 256
};

struct rp_seg {
	uint8_t *addr;
	uint32_t len; /* may be 0 */
};

struct rp_frame {
	uint32_t len; /* bytes, from the Ethernet header on */
	uint16_t seg; /* first piece */
	uint16_t nseg;
	uint16_t segment; /* held back in the middle: the next one to deliver; see offload.h */
	struct virtio_net_hdr vnet; /* checked; all zero when the sender has none */
};

/* What a frame may cost, in bytes copied: it takes as long to make a segment as to copy so many. */
static inline uint32_t rp_frame_weight(const struct rp_frame *f)
{
	enum { SEGMENT = 512 };

	return f->vnet.gso_type ? f->len + f->len / f->vnet.gso_size * SEGMENT : f->len;
}

/* A descriptor chain to give back. */
struct rp_taken {
	uint16_t id;
	uint16_t slots; /* positions of the ring */
};

struct rp_batch {
	uint16_t nframes;
	uint16_t nsegs;
	uint32_t bytes;		 /* of all frames, as pulled */
	uint16_t taken;		 /* chains or slots to give back when all frames are done */
	uint16_t held;		 /* frames that wait for their receiver; they are frame[0..held) */
	uint32_t mem_gen;	 /* of the sender's memory table, when it was pulled */
	uint32_t next_pos;	 /* netmap rings: the cursor behind the last slot taken */
	uint64_t stuck_since_ns; /* none of the frames moved since then; 0: some did just now */
	struct rp_taken chain[RP_BATCH]; /* virtqueues: the chains taken */
	struct rp_frame frame[RP_BATCH];
	struct rp_seg seg[RP_BATCH_SEGS];
};

#endif
