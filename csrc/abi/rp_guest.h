/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_GUEST_H
#define RP_GUEST_H
/*
 * DOC: How a guest that maps a region talks to the backend.
 *
 * A guest sees the region as the memory of a PCI device (ivshmem). Behind the
 * directory there is a record for each guest, of two pages:
 *
 *    struct rp_guest           written by the backend: what the guest has, and answers
 *    struct rp_guest_request   written by the guest: its requests
 *
 * A guest's record is the one with its peer id, which the device tells it.
 * Doorbells and interrupts come in pairs: doorbell v of the backend (peer 0) and
 * vector v of the guest. Pair 0 is the mailbox's, the others are given to rings.
 *
 *    guest                                     backend
 *    fill in the request
 *    store-release sent = another number than before
 *    doorbell 0  --------------------------->  load-acquire sent, copy the request, check, do it
 *                                              fill in the answer
 *    load-acquire answered == sent  <--------  store-release answered = sent; vector 0
 *
 * Vector 0 without an answer says that the record changed: link, MTU, epoch.
 *
 * RP_GUEST_CALL carries a request of rp_attach.h, and its answer; what are
 * descriptors there are numbers of pairs here:
 *
 *    rp_nm_ring.kick        doorbell that wakes the backend for this ring
 *    rp_nm_ring.call        vector that the ring's news come on
 *    rp_nm_ring.peer_call   doorbell that wakes the other end of a pipe
 *
 * Every answer begins with a struct rp_nm_answer.
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

/* cffi:begin */
enum rp_guest_constants {
	RP_GUEST_VERSION = 1,
	RP_GUEST_PAGE_BYTES = 4096,
	RP_GUEST_BYTES = 8192,	    /* of a record: both pages */
	RP_GUEST_DATA_BYTES = 3840, /* of a request or an answer at most */
	RP_GUEST_OPENS = 64,	    /* a guest's opens are numbered below */
	RP_GUEST_HOST = 0	    /* the backend's peer id */
};

enum rp_guest_op {
	RP_GUEST_HELLO = 1,   /* a driver begins, with a generation of its own: nothing is open */
	RP_GUEST_CALL = 2,    /* data: rp_nm_request and its payload */
	RP_GUEST_CLOSE = 3,   /* the open ends */
	RP_GUEST_RESET = 4,   /* all opens end */
	RP_GUEST_OFFLOADS = 5 /* data: uint64_t, virtio-net feature bits for the rings that the
			       * open will register; their frames begin with a virtio-net header then */
};

struct rp_guest {
	uint32_t peer; /* whose record it is; 0: nobody's */
	uint32_t version;
	uint32_t epoch; /* another one: the backend forgot what was open; say hello */
	uint32_t link;	/* 1: up */
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t tx_rings; /* of the port */
	uint16_t rx_rings;
	uint16_t tx_slots;
	uint16_t rx_slots;
	uint16_t vectors;    /* pairs, the mailbox's included */
	uint16_t opens;	     /* that it may have at the same time */
	uint32_t extra_bufs; /* that it may have */
	uint64_t offloads;   /* that it may ask for; 0: none, and no header */
	uint32_t answered;   /* the last request that has its answer */
	uint32_t answer_bytes;
	char port[64];
	uint8_t pad[136];
	uint8_t answer[3840];
};

struct rp_guest_request {
	uint32_t sent; /* number of this request */
	uint32_t op;   /* enum rp_guest_op */
	uint32_t open; /* number of the open, the guest's choice */
	uint32_t bytes;
	uint64_t generation; /* of the driver's hello; others are refused with ESTALE */
	uint8_t pad[232];
	uint8_t data[3840];
};
/* cffi:end */

static_assert(sizeof(struct rp_guest) == RP_GUEST_PAGE_BYTES, "a page");
static_assert(offsetof(struct rp_guest, offloads) == 40, "no holes");
static_assert(offsetof(struct rp_guest, answer) == 256, "no holes");
static_assert(sizeof(struct rp_guest_request) == RP_GUEST_PAGE_BYTES, "a page");
static_assert(offsetof(struct rp_guest_request, data) == 256, "no holes");

#endif
