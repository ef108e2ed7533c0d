/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_NMFLOOD_PORT_H
#define RP_NMFLOOD_PORT_H
/*
 * DOC: A netmap port to send numbered frames to, or to count them from.
 */
#include <net/ethernet.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * struct traffic - what is sent or awaited, and what came of it
 * @size: bytes of a frame
 * @batch: slots that are filled between two syncs, at most
 * @spin: never sleep
 * @dst, @src, @stream: what is written into the frames
 * @frames, @bytes: moved
 * @missing: received: numbers that did not come, before the highest one that did
 * @late: received: came after one with a higher number
 * @others: received: frames that are none of ours
 * @syncs: system calls
 */
struct traffic {
	uint32_t size;
	uint32_t batch;
	bool spin;
	uint8_t dst[ETH_ALEN];
	uint8_t src[ETH_ALEN];
	uint16_t stream;

	uint64_t frames;
	uint64_t bytes;
	uint64_t missing;
	uint64_t late;
	uint64_t others;
	uint64_t syncs;
};

struct port;

/* port_open() - register and map a port, "netmap:rp0" or "vale0:x{1"; does not return on failure */
struct port *port_open(const char *name, const struct traffic *t);

/* port_close() - wait until all is sent, and close */
void port_close(struct port *p);

/**
 * port_send() - fill free slots, sync; sleep before if there are none
 * @limit: frames at most
 * @wait_ms: to sleep for at most
 */
void port_send(struct port *p, struct traffic *t, uint64_t limit, int wait_ms);

/* port_receive() - take what is there, sync; sleep before if there is nothing */
void port_receive(struct port *p, struct traffic *t, int wait_ms);

#endif
