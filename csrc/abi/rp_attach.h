/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_ATTACH_H
#define RP_ATTACH_H
/*
 * DOC: What a process and the backend say to each other about /dev/netmap.
 *
 * A unix socket of packets (SOCK_SEQPACKET). One connection is one open of the
 * device: it may be duplicated, inherited and passed to other processes, and
 * what was registered on it lasts until the last copy is closed.
 *
 * A request carries a descriptor: one end of a socket pair of the same type, on
 * which the answer comes. So processes that share a connection never take each
 * other's answers.
 *
 *    request:  rp_nm_request, payload
 *    answer:   rp_nm_answer, payload, attachment         + descriptors
 *
 *    payload of RP_NM_CTRL, both ways:
 *        nmreq_header | uint32_t body_bytes | uint32_t options_bytes | body | options
 *        options, each: uint32_t bytes | uint32_t pad | nmreq_option and what follows it
 *        (pointers only say whether there is something: nr_body, nr_options, nro_next)
 *    payload of RP_NM_GINFO and RP_NM_REGIF: struct nmreq
 *
 *    attachment of a registered port, also of RP_NM_DESCRIBE:
 *        rp_nm_attachment | rp_nm_ring of each bound ring
 *        descriptor 0 is the region; rings name the others
 */
#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

/* cffi:begin */
enum rp_nm_constants {
	RP_NM_MAGIC = 0x706e7072, /* "rpnp" */
	RP_NM_VERSION = 1,
	RP_NM_MESSAGE_BYTES = 16384, /* a request or an answer is never longer */
	RP_NM_MAX_FDS = 250,
	RP_NM_HOST_RING = 1, /* rp_nm_ring.flags */
	RP_NM_MONITOR_RING = 2
};

enum rp_nm_op {
	RP_NM_CTRL = 1,	  /* NIOCCTRL */
	RP_NM_GINFO = 2,  /* NIOCGINFO */
	RP_NM_REGIF = 3,  /* NIOCREGIF */
	RP_NM_CONFIG = 4, /* NIOCCONFIG */
	RP_NM_DESCRIBE =
		5,	/* what is registered here, for a process that was given the descriptor */
	RP_NM_CHECK = 6 /* does it work? EIO and the reason: its port is broken */
};

struct rp_nm_request {
	uint32_t magic; /* RP_NM_MAGIC */
	uint16_t version;
	uint16_t op;	/* enum rp_nm_op */
	uint32_t bytes; /* of the payload */
	uint32_t pad;
};

struct rp_nm_answer {
	uint32_t magic;
	int32_t error; /* 0 or a positive errno */
	uint32_t bytes;
	uint32_t attachment_bytes;
	char text[240]; /* why, in words */
};

struct rp_nm_ring {
	uint64_t ring_offset; /* of the netmap_ring, from the region's start */
	uint32_t csb;	      /* record in the region's CSB pool */
	uint32_t
		peer_csb; /* of a pipe's other end, if the two ends do without the backend; UINT32_MAX */
	uint16_t dir;	/* NETMAP_DIR_* */
	uint16_t index; /* among the rings of that direction in netmap_if, host rings last */
	uint32_t flags;
	int16_t kick; /* descriptors, by their number in the message; -1: none */
	int16_t call;
	int16_t peer_call;
	int16_t pad;
};

struct rp_nm_attachment {
	uint64_t region_bytes;
	uint64_t nifp_offset;
	uint64_t reg_flags; /* nr_flags */
	uint32_t reg_mode;  /* nr_mode */
	uint32_t mem_id;
	uint32_t nrings;
	uint32_t nfds;
};
/* cffi:end */

#endif
