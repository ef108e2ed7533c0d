/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _NET_NETMAP_H_
#define _NET_NETMAP_H_
/*
 * DOC: netmap's interface, API versions 14 and 15, for programs.
 *
 * A program opens /dev/netmap, binds it to a port (NIOCCTRL with
 * NETMAP_REQ_REGISTER, or the older NIOCREGIF), maps the port's region, and
 * finds there
 *
 *   netmap_if --ring_ofs[]--> netmap_ring --slot[].buf_idx--> packet buffers
 *
 * of which it owns the slots [head, tail) of each ring. Going on with head it
 * gives slots back; the backend looks at them in NIOCTXSYNC, NIOCRXSYNC and
 * poll(), and never at another time. "user" and "backend" below say who
 * writes a field.
 *
 * The same names and the same binary layout as everywhere that netmap runs, so
 * that a program compiled with this file runs there, and one compiled there
 * runs here.
 */
#include <net/if.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/types.h>

#define NETMAP_API     14
#define NETMAP_MIN_API 14
#define NETMAP_MAX_API 15

#define NM_CACHE_ALIGN 128

/* --- what is in a region ------------------------------------------------- */

struct netmap_slot {
	uint32_t buf_idx; /* user: which buffer */
	uint16_t len;	  /* bytes; TX: user, RX: backend */
	uint16_t flags;	  /* NS_*; both */
	uint64_t ptr;	  /* NS_INDIRECT: address, offsets: where the frame begins; user */
};

#define NS_BUF_CHANGED 0x0001 /* buf_idx is another than at the last sync */
#define NS_REPORT      0x0002 /* tell soon when this slot was sent */
#define NS_FORWARD     0x0004 /* RX: pass it on to the host stack */
#define NS_NO_LEARN    0x0008 /* TX on VALE: do not learn its source address */
#define NS_INDIRECT    0x0010 /* TX: the frame is at the address in ptr */
#define NS_MOREFRAG    0x0020 /* the frame goes on in the next slot */
#define NS_TXMON       0x0040 /* zero-copy monitor: seen in the TX direction */

#define NS_PORT_SHIFT  8
#define NS_PORT_MASK   (0xff << NS_PORT_SHIFT)
/* RX on VALE: of how many slots this frame is */
#define NS_RFRAGS(slot)	 (((slot)->flags >> 8) & 0xff)

#define NETMAP_MAX_FRAGS 64 /* slots in a frame, at most */

struct netmap_ring {
	const int64_t buf_ofs; /* from this ring to buffer 0 */
	const uint32_t num_slots;
	const uint32_t nr_buf_size; /* bytes */
	const uint16_t ringid;
	const uint16_t dir;   /* 1: TX, 0: RX */
	uint32_t head;	      /* user: the first slot of its own */
	uint32_t cur;	      /* user: wake up when tail is beyond */
	uint32_t tail;	      /* backend: the first slot of the backend */
	uint32_t flags;	      /* user: NR_* */
	struct timeval ts;    /* backend: of the last RX sync */
	uint64_t offset_mask; /* backend: which bits of slot.ptr are an offset */
	uint64_t buf_align;   /* backend */
	uint8_t sem[128] __attribute__((__aligned__(NM_CACHE_ALIGN)));
	struct netmap_slot slot[];
};

#define NR_TIMESTAMP 0x0002 /* set ts at every sync */
#define NR_FORWARD   0x0004 /* heed NS_FORWARD */

/*
 * ring_ofs[]: TX rings, host TX rings, RX rings, host RX rings; from this
 * struct, 0 where the descriptor did not bind the ring.
 */
struct netmap_if {
	char ni_name[IFNAMSIZ];
	const uint32_t ni_version;
	const uint32_t ni_flags; /* NI_* */
	const uint32_t ni_tx_rings;
	const uint32_t ni_rx_rings;
	uint32_t
		ni_bufs_head; /* first of the extra buffers; each begins with the next one's index */
	const uint32_t ni_host_tx_rings;
	const uint32_t ni_host_rx_rings;
	uint32_t ni_spare1[3];
	const ssize_t ring_ofs[];
};

#define NI_PRIV_MEM 0x1 /* the region is the port's alone */

/* --- requests: NIOCCTRL -------------------------------------------------- */

#define NETMAP_REQ_IFNAMSIZ 64

struct nmreq_header {
	uint16_t nr_version;  /* NETMAP_API */
	uint16_t nr_reqtype;  /* NETMAP_REQ_* */
	uint32_t nr_reserved; /* 0 */
	char nr_name[NETMAP_REQ_IFNAMSIZ];
	uint64_t nr_options; /* address of the first option */
	uint64_t nr_body;    /* address of what belongs to the request */
};

enum {
	NETMAP_REQ_REGISTER = 1,
	NETMAP_REQ_PORT_INFO_GET = 2,
	NETMAP_REQ_VALE_ATTACH = 3,
	NETMAP_REQ_VALE_DETACH = 4,
	NETMAP_REQ_VALE_LIST = 5,
	NETMAP_REQ_PORT_HDR_SET = 6,
	NETMAP_REQ_PORT_HDR_GET = 7,
	NETMAP_REQ_VALE_NEWIF = 8,
	NETMAP_REQ_VALE_DELIF = 9,
	NETMAP_REQ_VALE_POLLING_ENABLE = 10,
	NETMAP_REQ_VALE_POLLING_DISABLE = 11,
	NETMAP_REQ_POOLS_INFO_GET = 12,
	NETMAP_REQ_SYNC_KLOOP_START = 13,
	NETMAP_REQ_SYNC_KLOOP_STOP = 14,
	NETMAP_REQ_CSB_ENABLE = 15,
};

struct nmreq_option {
	uint64_t nro_next;    /* address of the next option */
	uint32_t nro_reqtype; /* NETMAP_REQ_OPT_* */
	uint32_t nro_status;  /* out: 0 or an errno */
	uint64_t nro_size;    /* of options of no fixed size, header included */
};

enum {
	NETMAP_REQ_OPT_EXTMEM = 1,
	NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS = 2,
	NETMAP_REQ_OPT_CSB = 3,
	NETMAP_REQ_OPT_SYNC_KLOOP_MODE = 4,
	NETMAP_REQ_OPT_OFFSETS = 5,
	NETMAP_REQ_OPT_MAX = 6,
};

/* NETMAP_REQ_REGISTER: bind this descriptor to rings of the port nr_name. */
struct nmreq_register {
	uint64_t nr_offset;   /* out: of the netmap_if in the region */
	uint64_t nr_memsize;  /* out: bytes of the region */
	uint32_t nr_tx_slots; /* in, out */
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;
	uint16_t nr_ringid;
	uint32_t nr_mode; /* NR_REG_* */
	uint32_t nr_extra_bufs;
	uint64_t nr_flags;
};

enum {
	NR_REG_DEFAULT = 0, /* what nr_ringid says; NIOCREGIF only */
	NR_REG_ALL_NIC = 1,
	NR_REG_SW = 2,
	NR_REG_NIC_SW = 3,
	NR_REG_ONE_NIC = 4,
	NR_REG_PIPE_MASTER = 5, /* NIOCREGIF only */
	NR_REG_PIPE_SLAVE = 6,
	NR_REG_NULL = 7,
	NR_REG_ONE_SW = 8,
};

#define NR_REG_MASK	   0xf
#define NR_MONITOR_TX	   0x100
#define NR_MONITOR_RX	   0x200
#define NR_ZCOPY_MON	   0x400
#define NR_EXCLUSIVE	   0x800
#define NR_PTNETMAP_HOST   0x1000
#define NR_RX_RINGS_ONLY   0x2000
#define NR_TX_RINGS_ONLY   0x4000
#define NR_ACCEPT_VNET_HDR 0x8000
#define NR_DO_RX_POLL	   0x10000
#define NR_NO_TX_POLL	   0x20000

struct nmreq_port_info_get {
	uint64_t nr_memsize;
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad1[3];
};

#define NM_BDG_NAME "vale"

struct nmreq_vale_attach {
	struct nmreq_register reg;
	uint32_t port_index; /* out */
	uint32_t pad1;
};

struct nmreq_vale_detach {
	uint32_t port_index; /* out */
	uint32_t pad1;
};

struct nmreq_vale_list {
	uint16_t nr_bridge_idx;
	uint16_t pad1;
	uint32_t nr_port_idx;
};

struct nmreq_port_hdr {
	uint32_t nr_hdr_len; /* of the virtio-net header: 0, 10 or 12 */
	uint32_t pad1;
};

struct nmreq_vale_newif {
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad1;
};

struct nmreq_vale_polling {
	uint32_t nr_mode;
#define NETMAP_POLLING_MODE_SINGLE_CPU 1
#define NETMAP_POLLING_MODE_MULTI_CPU  2
	uint32_t nr_first_cpu_id;
	uint32_t nr_num_polling_cpus;
	uint32_t pad1;
};

struct nmreq_pools_info {
	uint64_t nr_memsize;
	uint16_t nr_mem_id;
	uint16_t pad1[3];
	uint64_t nr_if_pool_offset;
	uint32_t nr_if_pool_objtotal;
	uint32_t nr_if_pool_objsize;
	uint64_t nr_ring_pool_offset;
	uint32_t nr_ring_pool_objtotal;
	uint32_t nr_ring_pool_objsize;
	uint64_t nr_buf_pool_offset;
	uint32_t nr_buf_pool_objtotal;
	uint32_t nr_buf_pool_objsize;
};

struct nmreq_sync_kloop_start {
	uint32_t sleep_us; /* between two rounds; not with event descriptors */
	uint32_t pad1;
};

/* --- options of requests ------------------------------------------------- */

/* The region is the program's own memory. */
struct nmreq_opt_extmem {
	struct nmreq_option nro_opt;
	uint64_t nro_usrptr;
	struct nmreq_pools_info nro_info;
};

/* Descriptors to kick the loop (ioeventfd) and to be told by it (irqfd); TX rings first. */
struct nmreq_opt_sync_kloop_eventfds {
	struct nmreq_option nro_opt;
	struct {
		int32_t ioeventfd;
		int32_t irqfd;
	} eventfds[];
};

struct nmreq_opt_sync_kloop_mode {
	struct nmreq_option nro_opt;
#define NM_OPT_SYNC_KLOOP_DIRECT_TX 0x1
#define NM_OPT_SYNC_KLOOP_DIRECT_RX 0x2
	uint32_t mode;
};

struct nmreq_opt_csb {
	struct nmreq_option nro_opt;
	uint64_t csb_atok; /* address of struct nm_csb_atok[], TX rings first */
	uint64_t csb_ktoa; /* address of struct nm_csb_ktoa[] */
};

struct nmreq_opt_offsets {
	struct nmreq_option nro_opt;
	uint64_t nro_max_offset;
	uint64_t nro_initial_offset;
	uint32_t nro_offset_bits;
	uint32_t nro_tx_align;
	uint64_t nro_min_gap;
};

/* --- the communication status block: indexes, without system calls -------- */

/* Application to kernel. */
struct nm_csb_atok {
	uint32_t head;
	uint32_t cur;
	uint32_t appl_need_kick;
	uint32_t sync_flags;
	uint32_t pad[12];
};

/* Kernel to application. */
struct nm_csb_ktoa {
	uint32_t hwcur;
	uint32_t hwtail;
	uint32_t kern_need_kick;
	uint32_t pad[13];
};

#ifdef __KERNEL__
#error "this file is for programs"
#endif

/* Order stores before later stores, loads before later loads, stores before later loads. */
#define nm_stst_barrier() __atomic_thread_fence(__ATOMIC_RELEASE)
#define nm_ldld_barrier() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define nm_stld_barrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/**
 * nm_sync_kloop_appl_write() - give slots to the loop
 *
 * The loop reads head first, so it never sees a head that is beyond its cur.
 */
static inline void nm_sync_kloop_appl_write(struct nm_csb_atok *atok, uint32_t cur, uint32_t head)
{
	nm_stst_barrier(); /* the slots, before the indexes that publish them */
	__atomic_store_n(&atok->cur, cur, __ATOMIC_RELAXED);
	__atomic_store_n(&atok->head, head, __ATOMIC_RELEASE);
}

/**
 * nm_sync_kloop_appl_read() - see how far the loop is
 *
 * The loop writes hwtail last, so hwcur is never behind what hwtail was set with.
 */
static inline void nm_sync_kloop_appl_read(struct nm_csb_ktoa *ktoa, uint32_t *hwtail,
					   uint32_t *hwcur)
{
	*hwtail = __atomic_load_n(&ktoa->hwtail, __ATOMIC_ACQUIRE);
	*hwcur = __atomic_load_n(&ktoa->hwcur, __ATOMIC_RELAXED);
	nm_ldld_barrier(); /* the slots, after the indexes */
}

/* --- the older requests: one struct for everything ----------------------- */

struct nmreq {
	char nr_name[IFNAMSIZ];
	uint32_t nr_version; /* NETMAP_API */
	uint32_t nr_offset;  /* out: of the netmap_if in the region */
	uint32_t nr_memsize; /* out: bytes of the region */
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;

	uint16_t nr_ringid;
#define NETMAP_HW_RING	  0x4000 /* bind the one ring that the number names */
#define NETMAP_SW_RING	  0x2000 /* bind the host ring */
#define NETMAP_RING_MASK  0x0fff
#define NETMAP_NO_TX_POLL 0x1000 /* poll() sends nothing unless asked for POLLOUT */
#define NETMAP_DO_RX_POLL 0x8000

	uint16_t nr_cmd;
#define NETMAP_BDG_ATTACH      1
#define NETMAP_BDG_DETACH      2
#define NETMAP_BDG_REGOPS      3
#define NETMAP_BDG_LIST	       4
#define NETMAP_BDG_VNET_HDR    5
#define NETMAP_BDG_OFFSET      NETMAP_BDG_VNET_HDR
#define NETMAP_BDG_NEWIF       6
#define NETMAP_BDG_DELIF       7
#define NETMAP_PT_HOST_CREATE  8
#define NETMAP_PT_HOST_DELETE  9
#define NETMAP_BDG_POLLING_ON  10
#define NETMAP_BDG_POLLING_OFF 11
#define NETMAP_VNET_HDR_GET    12

	uint16_t nr_arg1;
#define NETMAP_BDG_HOST 1  /* NETMAP_BDG_ATTACH: the host stack, too */
	uint16_t nr_arg2;  /* memory id */
	uint32_t nr_arg3;  /* extra buffers */
	uint32_t nr_flags; /* NR_REG_* in the low four bits, NR_* */
	uint32_t spare2[1];
};

/* NIOCCONFIG: passed on to the logic of a switch. */
#define NM_IFRDATA_LEN 256
struct nm_ifreq {
	char nifr_name[IFNAMSIZ];
	char data[NM_IFRDATA_LEN];
};

#define NIOCGINFO  _IOWR('i', 145, struct nmreq)
#define NIOCREGIF  _IOWR('i', 146, struct nmreq)
#define NIOCTXSYNC _IO('i', 148)
#define NIOCRXSYNC _IO('i', 149)
#define NIOCCONFIG _IOWR('i', 150, struct nm_ifreq)
#define NIOCCTRL   _IOWR('i', 151, struct nmreq_header)

#endif
