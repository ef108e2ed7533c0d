/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PTNET_PTNET_H
#define RP_PTNET_PTNET_H
/*
 * DOC: A ptnet device, driven from user space as netmap's own drivers do it.
 *
 * It knows of the device what netmap's documentation and drivers say, and nothing of
 * ringpass: rings in the memory device's BAR, indexes in two pages of the guest's RAM.
 * Nobody else may have the device: no driver is bound. It polls, and takes no interrupts.
 */
#include <stdbool.h>
#include <stdint.h>

#include <net/netmap_user.h>

enum { PTNET_HEADER_BYTES = 12 }; /* of a virtio-net header before each frame */

/*
 * A ring, and the halves of its communication block: ours and the device's. What does not
 * change is kept, as drivers do: who shares the memory may be writing it anew.
 */
struct ptnet_ring {
	struct netmap_ring *ring;
	uint32_t slots;
	uint32_t head;
	uint32_t tail;
	uint8_t *buffers; /* the first */
	uint32_t buffer_bytes;
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	uint16_t kick; /* I/O port */
	uint64_t *kicks;
};

struct ptnet {
	char address[64]; /* of the PCI function */
	uint16_t io;	  /* first I/O port of its registers */
	uint8_t mac[6];
	uint32_t header; /* bytes before each frame, as granted */
	uint32_t tx_rings;
	uint32_t rx_rings;
	uint64_t memory_bytes;
	uint8_t *memory;
	void *csb; /* two pages, locked: atok, ktoa */
	struct ptnet_ring *tx;
	struct ptnet_ring *rx;
	uint64_t kicks;
};

/**
 * ptnet_open() - find the device, map its memory, give it the CSBs, and start its rings
 * @address: of function 0, 0000:00:05.0; NULL for the first there is
 * @header: whether frames are to have virtio-net headers
 *
 * Does not return on failure.
 */
struct ptnet *ptnet_open(const char *address, bool header);

/* ptnet_lock() - keep the CSBs where they are, in the process that goes on */
void ptnet_lock(const struct ptnet *p);

/* ptnet_close() - stop the rings and take the CSBs back */
void ptnet_close(struct ptnet *p);

/* ptnet_ring_slot() - the slot at r->head, and its buffer */
struct netmap_slot *ptnet_ring_slot(const struct ptnet_ring *r, uint8_t **buffer);

/* ptnet_ring_next() - go on to the next slot */
void ptnet_ring_next(struct ptnet_ring *r);

/* ptnet_ring_publish() - tell how far r->head is, and kick if the other side sleeps */
void ptnet_ring_publish(struct ptnet_ring *r);

/* ptnet_ring_update() - see how far the other side is: r->tail; return: its hwcur */
uint32_t ptnet_ring_update(struct ptnet_ring *r);

#endif
