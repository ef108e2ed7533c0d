/* SPDX-License-Identifier: BSD-2-Clause */
#include "announce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "port.h"
#include "switch.h"

enum {
	FRAME_BYTES = 60,
	MAC_BYTES = 6,
	TYPE = 2 * MAC_BYTES,
	HEADER_BYTES = 22, /* Ethernet and ARP, before the first address */
	TARGET = HEADER_BYTES + MAC_BYTES + 4,
};

/* A sender with one frame in its batch. The port's own one has its worker, and is busy. */
struct announcer {
	struct rp_endpoint ep;
	struct rp_ring_counters count;
	struct rp_batch batch;
	uint8_t frame[FRAME_BYTES];
};

/* RFC 903, with no protocol address: who is the station with this hardware address? */
static void make_frame(uint8_t *frame, const uint8_t *mac)
{
	static const uint8_t arp[] = {
		0x80,	   0x35,	     /* Ethernet type: RARP */
		0x00,	   0x01,	     /* hardware: Ethernet */
		0x08,	   0x00,	     /* protocol: IPv4 */
		MAC_BYTES, 4,	 0x00, 0x03, /* request reverse */
	};

	memset(frame, 0, FRAME_BYTES);
	memset(frame, 0xff, MAC_BYTES);
	memcpy(frame + MAC_BYTES, mac, MAC_BYTES);
	memcpy(frame + TYPE, arp, sizeof(arp));
	memcpy(frame + HEADER_BYTES, mac, MAC_BYTES);
	memcpy(frame + TARGET, mac, MAC_BYTES);
}

/* It is no ring: there is nothing to take frames from, and nobody to call. */
static const struct rp_endpoint_ops announcer_ops = { .pull = NULL };

int rp_announce(struct rp_caller *c, struct rp_port *p, const uint8_t mac[6])
{
	struct announcer *a = aligned_alloc(64, (sizeof(*a) + 63) / 64 * 64);

	if (!a)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	make_frame(a->frame, mac);
	a->ep = (struct rp_endpoint){
		.ops = &announcer_ops,
		.port = p,
		.count = &a->count,
		.batch = &a->batch,
		.dir = NETMAP_DIR_TX,
	};
	a->batch.seg[0] = (struct rp_seg){ .addr = a->frame, .len = FRAME_BYTES };
	a->batch.frame[0] = (struct rp_frame){ .len = FRAME_BYTES, .nseg = 1 };
	a->batch.nframes = a->batch.nsegs = 1;
	rp_switch_forward(p->sw, c, &a->ep);
	free(a);
	return 0;
}
