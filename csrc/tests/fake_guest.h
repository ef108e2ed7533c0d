/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FAKE_GUEST_H
#define RP_FAKE_GUEST_H
/*
 * DOC: A guest without a guest: the driver's side of virtio-net.
 *
 * Its memory is a memfd that the data plane maps through the facade, as it
 * maps the memory of QEMU; its virtqueues are driven here, by the rules of a
 * well-behaved driver. Nothing is hidden: a test that wants to misbehave
 * writes into the rings itself.
 *
 *   fake_guest            what a network driver does: send, post, receive
 *     fake_queue          a split virtqueue, driver's side: add, kick, take
 *       fake_ram          guest-physical memory and the regions it is made of
 *
 *   guest-physical   ...| region 0 | region 1 |   hole   | region 2 |...
 *   here             base + (address - FAKE_RAM_BASE); holes are not accessible
 */
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "ringpass.h"

enum {
	FAKE_REGIONS = 8,
	FAKE_TABLE = 256, /* entries of an indirect table */
	FAKE_RAM_BASE = 0x40000000,
	FAKE_NOTHING = -1
};

/* The front end's own addresses of guest memory: no arithmetic maps them to guest-physical ones. */
#define FAKE_USER_BASE UINT64_C(0x7f1000000000)

struct fake_region {
	int fd;
	struct rp_mem_slot slot;
};

struct fake_ram {
	uint8_t *base;
	uint64_t span; /* reserved addresses, from FAKE_RAM_BASE on */
	uint64_t next; /* guest address of the first byte that is not handed out */
	uint32_t n;
	struct fake_region region[FAKE_REGIONS];
};

/**
 * fake_ram_open() - reserve guest-physical addresses
 * @span:	bytes from FAKE_RAM_BASE on; there is no memory yet
 */
void fake_ram_open(struct fake_ram *ram, uint64_t span);
void fake_ram_close(struct fake_ram *ram);

/**
 * fake_ram_plug() - put memory at a guest-physical address
 * @addr:	a multiple of 4096
 * @file_skip:	where in its own file it begins, a multiple of 4096
 *
 * Return: its number
 */
unsigned fake_ram_plug(struct fake_ram *ram, uint64_t addr, uint64_t bytes, uint64_t file_skip);

/* fake_ram_alloc() - @bytes of memory, never freed. Return: the guest address */
uint64_t fake_ram_alloc(struct fake_ram *ram, uint64_t bytes, uint64_t align);

static inline void *fake_ram_at(const struct fake_ram *ram, uint64_t addr)
{
	return ram->base + (addr - FAKE_RAM_BASE);
}

/* fake_ram_user() - the front end's own address of a guest address */
uint64_t fake_ram_user(const struct fake_ram *ram, uint64_t addr);

/* fake_ram_share() - give all regions to a port, as VHOST_USER_SET_MEM_TABLE does */
int fake_ram_share(const struct fake_ram *ram, rp_dataplane *dp, int port, struct rp_err *err);

/* One descriptor's worth of memory. */
struct fake_piece {
	uint64_t addr;
	uint32_t len;
};

struct fake_queue {
	struct fake_ram *ram;
	uint32_t size;
	uint32_t buf_bytes;
	bool event_idx;
	bool use_indirect; /* where a test does not say otherwise */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t desc_addr;
	uint64_t avail_addr;
	uint64_t used_addr;
	uint64_t table_addr; /* an indirect table for each head */
	uint64_t buf_addr;   /* a buffer of buf_bytes for each head */
	uint16_t avail_idx;  /* added so far; published by fake_queue_kick() */
	uint16_t kicked;     /* avail_idx at the last decision to kick */
	uint16_t used_idx;   /* taken so far */
	uint16_t base;	     /* the device's next avail index, when it starts */
	uint32_t nfree;
	uint16_t *free;	  /* descriptors that no chain uses: a stack */
	uint16_t *length; /* of the chain at each head, in descriptors of the queue's own table */
	int kick_fd;
	int call_fd;
};

/* How a buffer is divided into descriptors: the first, then all others. 0: as long as can be. */
struct fake_layout {
	uint32_t first;
	uint32_t then;
	bool indirect;
};

/**
 * fake_queue_open() - lay out an empty queue in guest memory
 * @size:	entries, a power of two
 * @buf_bytes:	of the buffer that each head has
 */
void fake_queue_open(struct fake_queue *q, struct fake_ram *ram, uint32_t size, uint32_t buf_bytes,
		     uint64_t features);
void fake_queue_close(struct fake_queue *q);

/* fake_queue_config() - what the data plane needs to know of it */
struct rp_vring_config fake_queue_config(const struct fake_queue *q);

/* fake_queue_reset() - empty, as after a reset of the device: all chains are the driver's again */
void fake_queue_reset(struct fake_queue *q);

/* fake_queue_head() - the head that the next chain will have; FAKE_NOTHING when all are used */
int fake_queue_head(const struct fake_queue *q);

static inline uint64_t fake_queue_buf_addr(const struct fake_queue *q, unsigned head)
{
	return q->buf_addr + (uint64_t)head * q->buf_bytes;
}

static inline uint8_t *fake_queue_buf(const struct fake_queue *q, unsigned head)
{
	return fake_ram_at(q->ram, fake_queue_buf_addr(q, head));
}

/**
 * fake_queue_add() - make a chain available; fake_queue_kick() publishes it
 * @flags:	VRING_DESC_F_WRITE for all of its descriptors, or 0
 * @indirect:	in an indirect table, of at most FAKE_TABLE entries
 *
 * Return: its head, or FAKE_NOTHING when there are not enough descriptors
 */
int fake_queue_add(struct fake_queue *q, const struct fake_piece *piece, unsigned n, uint16_t flags,
		   bool indirect);

/* fake_queue_add_buf() - the first @bytes of the next head's own buffer, divided by @layout */
int fake_queue_add_buf(struct fake_queue *q, uint32_t bytes, uint16_t flags,
		       struct fake_layout layout);

/* fake_queue_kick() - publish what was added; kick if the device asked for it. Return: if it did */
bool fake_queue_kick(struct fake_queue *q);

/**
 * fake_queue_take() - take back the next used chain
 * @len:	bytes that the device wrote; may be NULL
 *
 * Return: its head, or FAKE_NOTHING
 */
int fake_queue_take(struct fake_queue *q, uint32_t *len);

/* fake_queue_arm() - ask for a call at the next used chain. False: there is one already */
bool fake_queue_arm(struct fake_queue *q);
/* fake_queue_disarm() - ask for none. With event indexes: for none before the index wraps */
void fake_queue_disarm(struct fake_queue *q);

/* fake_queue_called() - wait @timeout_ms at most for a call; take all that there are */
bool fake_queue_called(struct fake_queue *q, int timeout_ms);

struct fake_guest_config {
	uint64_t features;     /* 0: all that the data plane serves */
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
