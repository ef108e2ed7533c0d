/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FAKE_GUEST_H
#define RP_FAKE_GUEST_H
/*
 * DOC: A guest without a guest: the driver's side of virtio-net, well-behaved.
 *
 *   fake_guest            what a network driver does: send, post, receive
 *     fake_queue          a virtqueue, driver's side: add, kick, take
 *       fake_ram          guest-physical memory and the regions it is made of
 */
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "fake_queue.h"
#include "fake_ram.h"
#include "ringpass.h"

struct fake_guest_config {
	uint64_t features;     /* 0: fake_features() */
	uint32_t queue_size;   /* 0: 256 */
	uint32_t tx_buf_bytes; /* 0: 2048, for frame and virtio-net header */
	uint32_t rx_buf_bytes; /* 0: 2048 */
};

struct fake_guest {
	rp_dataplane *dp;
	int port;
	uint64_t features;
	uint32_t header_bytes; /* of the virtio-net header */
	struct fake_ram ram;
	struct fake_queue rx;
	struct fake_queue tx;
};

/* A frame as the driver got it. */
struct fake_frame {
	struct virtio_net_hdr_mrg_rxbuf header;
	uint32_t len;
	uint8_t data[1 << 17];
};

/* Direct, the header and the frame in one descriptor. */
#define FAKE_PLAIN ((struct fake_layout){ 0, 0, false })

/* fake_guest_open() - memory and queues; no data plane knows of them yet */
void fake_guest_open(struct fake_guest *g, const struct fake_guest_config *cfg);
void fake_guest_close(struct fake_guest *g);

/**
 * fake_guest_connect() - what a front end does: features, memory, both rings
 * @port:	one with the vhost front end
 *
 * The queues go on where they were disconnected; a new guest's begin at 0.
 */
void fake_guest_connect(struct fake_guest *g, rp_dataplane *dp, int port);
/* fake_guest_disconnect() - stop both rings, as GET_VRING_BASE does */
void fake_guest_disconnect(struct fake_guest *g);

/**
 * fake_guest_send() - add a frame to the transmit queue; kick it yourself
 * @header:	NULL: all zero
 *
 * Return: false when the queue is full
 */
bool fake_guest_send(struct fake_guest *g, const struct virtio_net_hdr *header, const void *frame,
		     uint32_t len, struct fake_layout layout);

/* fake_guest_sent() - take back all used transmit chains. Return: how many */
unsigned fake_guest_sent(struct fake_guest *g);

/* fake_guest_post() - add @n receive buffers of @bytes each, and kick. Return: how many fitted */
unsigned fake_guest_post(struct fake_guest *g, unsigned n, uint32_t bytes,
			 struct fake_layout layout);

/**
 * fake_guest_receive() - take the next frame and its buffers, if there is one
 *
 * A used ring that contradicts itself fails the test.
 */
bool fake_guest_receive(struct fake_guest *g, struct fake_frame *frame);

#endif
