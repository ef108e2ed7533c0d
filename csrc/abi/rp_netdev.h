/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_NETDEV_H
#define RP_NETDEV_H
/*
 * DOC: What QEMU's -netdev ringpass and the backend say to each other.
 *
 * A unix socket of packets (SOCK_SEQPACKET), on which the backend listens. QEMU asks,
 * one request at a time; the backend answers, and tells what changes without being asked.
 *
 *    QEMU                                        backend
 *    HELLO, and what it holds already  ------->
 *                                     <--------  rp_netdev_port; region, doorbells, vectors
 *    OPEN  --------------------------------->    the rings are QEMU's from now on
 *                                     <--------  rp_netdev_opened, rp_nm_ring ...
 *    CLOSE  -------------------------------->
 *                                     <--------
 *                                     <--------  CHANGED: rp_netdev_port (number 0)
 *
 * Every packet begins with a struct rp_netdev_message. An answer has its request's op
 * and number; with an error, nothing follows but the reason in its text.
 *
 * Doorbells (to the backend) and vectors (from it) are eventfds, and come in pairs, as
 * for every guest that maps a region: pair 0 is that of the mailbox (rp_guest.h), which
 * a driver in the guest may use by itself. Who said OPEN here or hello there last has
 * the port; the other one's rings are closed.
 *
 * QEMU outlives the backend. When it connects again it hands back what it holds, as the
 * guest may have it mapped: the backend takes it only if it is what a backend gave, by
 * its seals and its size, and says RP_NETDEV_KEPT then. Otherwise what comes with the
 * answer replaces it.
 */
#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>
#else
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#endif

#include "rp_abi.h"

/* cffi:begin */
enum rp_netdev_constants {
	RP_NETDEV_MAGIC = 0x646e7072, /* "rpnd" */
	RP_NETDEV_VERSION = 1,
	RP_NETDEV_MESSAGE_BYTES = 8192, /* a packet is never longer */
	RP_NETDEV_MAX_PAIRS = 126,	/* so that all descriptors fit one packet */
	RP_NETDEV_KEPT = 1,		/* rp_netdev_port.flags: what QEMU holds is the port's */
	RP_NETDEV_GUEST_CSB = 1,	/* rp_netdev_open.flags: CSBs are in memory of the guest, */
	RP_NETDEV_GO_ON = 2,		/* whose driver does not know that they were closed */
	RP_NETDEV_HEADER_BYTES = 12	/* virtio-net header before each frame, if there is one */
};

enum rp_netdev_op {
	RP_NETDEV_HELLO = 1,  /* rp_netdev_hello */
	RP_NETDEV_OPEN = 2,   /* rp_netdev_open; closes what was open */
	RP_NETDEV_CLOSE = 3,  /* nothing; nor is it an error if nothing is open */
	RP_NETDEV_CHANGED = 4 /* of the backend: link, mtu, epoch of rp_netdev_port may be new */
};

struct rp_netdev_message {
	uint32_t magic; /* RP_NETDEV_MAGIC */
	uint16_t version;
	uint16_t op;	 /* enum rp_netdev_op */
	uint32_t number; /* of the request, not 0; 0: nobody asked */
	uint32_t bytes;	 /* that follow this struct */
	uint32_t fds;	 /* descriptors that come with it */
	int32_t error;	 /* of an answer: 0 or a positive errno, and why, and what to do: */
	char text[232];
};

/* Descriptors, if something is held: the region, all doorbells, all vectors. */
struct rp_netdev_hello {
	uint64_t region_bytes; /* 0: nothing is held */
	uint32_t pairs;	       /* that are held */
	uint32_t peer;	       /* that QEMU was */
	uint32_t queues;       /* pairs of rings that are wanted; 0: as many as there are */
	uint32_t pad;
};

/* Descriptors, unless RP_NETDEV_KEPT or CHANGED: the region, all doorbells, all vectors. */
struct rp_netdev_port {
	uint64_t region_bytes; /* a power of two */
	uint64_t nifp_offset;  /* of the netmap_if with all rings of the port */
	uint64_t offloads;     /* virtio-net feature bits that OPEN may ask for; 0: no header */
	uint32_t flags;
	uint32_t pairs;
	uint32_t peer; /* whose record (rp_guest.h) is this guest's */
	uint32_t epoch;
	uint32_t link; /* 1: up */
	uint32_t mem_id;
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t tx_rings;
	uint16_t rx_rings;
	uint16_t tx_slots;
	uint16_t rx_slots;
	struct rp_pool_info if_pool;
	struct rp_pool_info ring_pool;
	struct rp_pool_info buf_pool;
	char name[64];
};

/*
 * Descriptors, with RP_NETDEV_GUEST_CSB: memory with an array of nm_csb_atok, and with one
 * of nm_csb_ktoa; a record each for all tx rings, then for all rx rings. An array lies
 * within a page of 4096 bytes. Ring n of that order has pair n + 1 then.
 */
struct rp_netdev_open {
	uint64_t features; /* offloads, out of those of rp_netdev_port */
	uint64_t atok_offset;
	uint64_t ktoa_offset;
	uint32_t header_bytes; /* 0 or RP_NETDEV_HEADER_BYTES */
	uint32_t flags;
};

/* Followed by a struct rp_nm_ring (rp_attach.h) for each: tx rings, then rx rings. */
struct rp_netdev_opened {
	uint64_t nifp_offset;
	uint32_t nrings;
	uint32_t pad;
};
/* cffi:end */

static_assert(sizeof(struct rp_netdev_message) == 256, "no holes");
static_assert(sizeof(struct rp_netdev_hello) == 24, "no holes");
static_assert(offsetof(struct rp_netdev_port, if_pool) == 64, "no holes");
static_assert(sizeof(struct rp_netdev_port) == 176, "no holes");
static_assert(sizeof(struct rp_netdev_open) == 32, "no holes");
static_assert(sizeof(struct rp_netdev_opened) == 16, "no holes");

#endif
