/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_ABI_H
#define RP_ABI_H
/*
 * DOC: What is laid out in memory that more than one program maps.
 *
 * Three kinds of memory are described here, and nothing else:
 *
 *   region     netmap's rings, slots and buffers, byte for byte, so that any
 *              netmap program can use them. A front end writes it: believe
 *              nothing that is read from it.
 *   CSB        two one-writer halves a ring, 64 bytes each.
 *   counters   written by the backend, read by anybody.
 *
 *   region, a memfd, sparse, its size a power of two, sealed
 *   +--------------+------------+-----------------+-------------+--------------------+
 *   | rp_directory | rp_csb ... | netmap_if ...   | netmap_ring | buffers            |
 *   | one page     | one a ring | ring_ofs[] -----+-> slot[] ---+-> buf_idx * objsize |
 *   +--------------+------------+-----------------+-------------+--------------------+
 *                  ^ here the records of virtual machines, in regions that have such
 *
 * A ring belongs to two parties; who owns a slot follows from the cursors:
 *
 *            head        cur        tail
 *   ... owned | owned by the user    | owned by the backend ...
 *             by the user: [head, tail)
 *
 * The user moves head and cur, the backend moves tail, and nobody moves
 * backwards. One slot always stays empty, so a full ring differs from an
 * empty one. Layout and semantics: netmap(4), API versions 14 and 15.
 *
 * The text between the cffi marks is read by the C compiler, by the Linux
 * kernel and by cffi: fixed-width integers, enums for what is computed,
 * padding written out, no attributes.
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
enum netmap_constants {
	NETMAP_API = 14,
	NETMAP_MAX_API = 15,
	NETMAP_MAX_FRAGS = 64, /* slots a frame may be spread over */
	NS_BUF_CHANGED = 0x0001,
	NS_REPORT = 0x0002,
	NS_FORWARD = 0x0004,
	NS_NO_LEARN = 0x0008,
	NS_INDIRECT = 0x0010,
	NS_MOREFRAG = 0x0020,
	NS_TXMON = 0x0040,
	NS_RFRAGS_SHIFT =
		8, /* on an rx ring of VALE: slots of the frame, in the flags' high byte */
	NI_PRIV_MEM = 0x1,
	NETMAP_DIR_RX = 0, /* netmap_ring.dir as netmap stores it */
	NETMAP_DIR_TX = 1,
	NETMAP_BUF_RESERVED = 2 /* buffers 0 and 1 are never handed out */
};

struct netmap_slot {
	uint32_t buf_idx; /* user */
	uint16_t len;	  /* TX: user, RX: backend; bytes */
	uint16_t flags;	  /* NS_*, both */
	uint64_t ptr;	  /* NS_INDIRECT, offsets: user */
};

struct netmap_ring {
	int64_t buf_ofs;      /* backend: from this ring to buffer 0 */
	uint32_t num_slots;   /* backend */
	uint32_t nr_buf_size; /* backend: bytes */
	uint16_t ringid;      /* backend */
	uint16_t dir;	      /* backend: NETMAP_DIR_* */
	uint32_t head;	      /* user */
	uint32_t cur;	      /* user */
	uint32_t tail;	      /* backend */
	uint32_t flags;	      /* user */
	uint32_t pad0;
	int64_t ts_sec; /* backend: struct timeval of the last sync */
	int64_t ts_usec;
	uint64_t offset_mask; /* backend */
	uint64_t buf_align;   /* backend */
	uint8_t pad1[56];
	uint8_t sem[128];
	struct netmap_slot slot[];
};

struct netmap_if {
	char ni_name[16];
	uint32_t ni_version;
	uint32_t ni_flags; /* NI_* */
	uint32_t ni_tx_rings;
	uint32_t ni_rx_rings;
	uint32_t ni_bufs_head; /* first extra buffer, 0 when there is none */
	uint32_t ni_host_tx_rings;
	uint32_t ni_host_rx_rings;
	uint32_t ni_spare1[3];
	int64_t ring_ofs[]; /* tx, host tx, rx, host rx; from this struct; 0 = not bound */
};

/* The front end's half of a CSB: application to kernel. */
struct nm_csb_atok {
	uint32_t head;
	uint32_t cur;
	uint32_t appl_need_kick;
	uint32_t sync_flags;
	uint32_t pad[12];
};

/* The backend's half: kernel to application. */
struct nm_csb_ktoa {
	uint32_t hwcur;
	uint32_t hwtail;
	uint32_t kern_need_kick;
	uint32_t broken; /* in regions: the port is; rp_attach.h tells how to ask why */
	uint32_t pad[12];
};

enum rp_directory_constants { RP_DIRECTORY_VERSION = 3, RP_DIRECTORY_BYTES = 4096 };

/* Objects of one size, from @offset of the region on. */
struct rp_pool_info {
	uint64_t offset;
	uint32_t objtotal;
	uint32_t objsize; /* bytes */
};

/* First page of every region. The backend writes it and never reads it back. */
struct rp_directory {
	uint64_t magic; /* RP_DIRECTORY_MAGIC */
	uint32_t version;
	uint32_t features;
	uint64_t region_bytes;
	struct rp_pool_info csb_pool;
	struct rp_pool_info if_pool;
	struct rp_pool_info ring_pool;
	struct rp_pool_info buf_pool;
	char name[64];
	struct rp_pool_info guest_pool; /* records of virtual machines: rp_guest.h */
};

/*
 * What the two sides of a ring tell each other, one record a ring that processes
 * or guests use; each half and what follows has cache lines of its own.
 *
 * A pipe between two rings of one region needs no backend: each end plays the
 * kernel for the other. Its words, where T sends and R receives:
 *
 *    R.atok.head            R's user gave back all slots before it    (R's side writes)
 *    R.ktoa.hwtail          T's side filled all slots before it       (T's side writes)
 *    T.ktoa.hwcur           as far as T's side got in T               (T's side writes)
 *    T, R.atok.appl_need_kick   call me: there is room, there are frames
 */
struct rp_csb {
	struct nm_csb_atok atok; /* the ring's user writes it */
	struct nm_csb_ktoa ktoa; /* whoever syncs the ring */
	uint64_t ring_offset;	 /* from the region's start; 0: no ring */
	uint32_t peer;		 /* record of the other end's ring; RP_NO_CSB: the backend syncs */
	uint32_t monitor;	 /* record of the ring that gets its slots at last; RP_NO_CSB */
	uint32_t mark;		 /* what they are there: see zcopy.h */
	uint32_t lock;		 /* of a monitor's ring: held by who gives it slots */
	uint8_t pad0[40];
	uint64_t frames; /* counted by who syncs: a pipe's sender, a monitor's giver */
	uint64_t bytes;
	uint64_t batches;
	uint64_t calls;
	uint8_t pad1[32];
};

/* Why a frame was not delivered. The names in rp_drop_name() are these, too. */
enum rp_drop {
	RP_DROP_FULL,  /* the receiver had no free slot or buffer */
	RP_DROP_SHORT, /* shorter than an Ethernet header */
	RP_DROP_MTU,   /* longer than the receiver's MTU or its buffers, or than any frame may be */
	RP_DROP_FRAGS, /* in more pieces than a batch or a chain may have */
	RP_DROP_HEADER, /* its virtio-net header contradicts itself, its own headers or what was agreed */
	RP_DROP_SELF,	 /* addressed to the port that it came from */
	RP_DROP_NOBODY,	 /* to be flooded, and no other port of the switch is up */
	RP_DROP_DOWN,	 /* the receiver's rings are stopped */
	RP_DROP_BROKEN,	 /* the receiver's port is broken */
	RP_DROP_RESET,	 /* held back when its ring or memory went away */
	RP_DROP_DISCARD, /* taken by a null port: thrown away on purpose */
	RP_DROP_LOGIC,	 /* the switch's logic sent it nowhere, or to no port */
	RP_DROP_MISSED,	 /* the kernel had no room to keep them until we came */
	RP_DROP_RESTART, /* slots of a batch that a backend had in its hands when it was killed */
	RP_DROP_REASONS,
	RP_DROP_SPACE = 20 /* room in struct rp_ring_counters */
};

/*
 * Counters of one ring. Exactly one thread writes them at a time: a tx ring's
 * by the thread that syncs it, an rx ring's under that ring's lock.
 */
struct rp_ring_counters {
	char port[64];
	uint32_t active; /* 1: a port uses this record */
	uint16_t dir;	 /* NETMAP_DIR_* */
	uint16_t ring;
	char broken[184]; /* why its port is broken; empty: it is not */
	uint64_t frames;  /* tx: taken from the front end; rx: given to it */
	uint64_t bytes;	  /* of Ethernet frames, without virtio-net headers */
	uint64_t batches;
	uint64_t kicks;	    /* notifications from the front end */
	uint64_t calls;	    /* notifications to it */
	uint64_t copied;    /* tx: payload bytes copied on behalf of this ring */
	uint64_t holds;	    /* rx: times that a sender was held back, because this ring was full */
	uint64_t checksums; /* tx: completed in software, for receivers that do not */
	uint64_t segments; /* tx: made in software of longer frames, for receivers that take none */
	uint64_t sleeps;   /* times that its worker slept until a kick, with this ring to watch */
	uint64_t truncated; /* rx: frames of which a monitor shows only the beginning */
	uint64_t pad0;
	uint64_t drops[20]; /* by enum rp_drop; at the sender, but for full */
};

struct rp_worker_counters {
	uint32_t active;
	uint32_t policy; /* enum rp_policy */
	int32_t cpu;	 /* -1: not pinned */
	int32_t tid;
	uint64_t loops;
	uint64_t busy;	 /* loops that moved a frame */
	uint64_t sleeps; /* times that it went to sleep */
	uint64_t wakes;	 /* times that a kick woke it */
	uint8_t pad[80];
};

enum rp_counters_constants {
	RP_COUNTERS_VERSION = 3,
	RP_COUNTERS_RINGS = 4096,
	RP_COUNTERS_WORKERS = 64
};

struct rp_counters {
	uint64_t magic; /* RP_COUNTERS_MAGIC */
	uint32_t version;
	uint32_t ring_records;
	uint32_t worker_records;
	uint32_t reasons;      /* RP_DROP_REASONS */
	uint64_t rings_offset; /* of struct rp_ring_counters[], from the file's start */
	uint64_t workers_offset;
	char reason_names[20][16];
	uint64_t pid;	     /* of the backend */
	uint64_t pid_ns;     /* its PID namespace, by inode; 0: unknown */
	uint64_t started_ns; /* CLOCK_MONOTONIC, as the next one */
	uint64_t alive_ns;   /* the control plane's last sign of life; 0: it gives none */
	uint8_t pad[120];
	struct rp_worker_counters workers[64];
	struct rp_ring_counters rings[4096];
};
/* cffi:end */

/* "ringpass" and "rpcountr" as little-endian integers. */
#define RP_DIRECTORY_MAGIC	 UINT64_C(0x73736170676e6972)
#define RP_COUNTERS_MAGIC	 UINT64_C(0x72746e756f637072)

#define RP_NO_CSB		 UINT32_MAX

#define RP_ABI_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type)
#define RP_ABI_OFFSET(type, field, at) \
	static_assert(offsetof(type, field) == (at), #type "." #field)

RP_ABI_SIZE(struct netmap_slot, 16);
RP_ABI_SIZE(struct netmap_ring, 256);
RP_ABI_OFFSET(struct netmap_ring, dir, 18);
RP_ABI_OFFSET(struct netmap_ring, head, 20);
RP_ABI_OFFSET(struct netmap_ring, tail, 28);
RP_ABI_OFFSET(struct netmap_ring, ts_sec, 40);
RP_ABI_OFFSET(struct netmap_ring, offset_mask, 56);
RP_ABI_OFFSET(struct netmap_ring, sem, 128);
RP_ABI_OFFSET(struct netmap_ring, slot, 256);
RP_ABI_SIZE(struct netmap_if, 56);
RP_ABI_OFFSET(struct netmap_if, ni_host_tx_rings, 36);
RP_ABI_OFFSET(struct netmap_if, ring_ofs, 56);
RP_ABI_SIZE(struct nm_csb_atok, 64);
RP_ABI_SIZE(struct nm_csb_ktoa, 64);
RP_ABI_OFFSET(struct rp_csb, ring_offset, 128);
RP_ABI_OFFSET(struct rp_csb, frames, 192);
RP_ABI_SIZE(struct rp_csb, 256);
RP_ABI_SIZE(struct rp_ring_counters, 512);
RP_ABI_SIZE(struct rp_worker_counters, 128);
RP_ABI_OFFSET(struct rp_counters, workers, 512);
static_assert((int)RP_DROP_REASONS <= (int)RP_DROP_SPACE, "room for every reason");

#endif
