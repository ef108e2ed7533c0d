/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_NMREQ_H
#define RP_NMREQ_H
/*
 * DOC: netmap's ioctls and what they point to, API versions 14 and 15.
 *
 * Rings, slots and CSBs are in abi/rp_abi.h. Of requests that are only passed on
 * to the backend the size is here, and nothing else.
 */
#include <linux/build_bug.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define NETMAP_REQ_IFNAMSIZ 64

struct nmreq_header {
	u16 nr_version;
	u16 nr_reqtype; /* NETMAP_REQ_* */
	u32 nr_reserved;
	char nr_name[NETMAP_REQ_IFNAMSIZ];
	u64 nr_options; /* address of the first option */
	u64 nr_body;
};

enum {
	NETMAP_REQ_REGISTER = 1,
	NETMAP_REQ_PORT_INFO_GET,
	NETMAP_REQ_VALE_ATTACH,
	NETMAP_REQ_VALE_DETACH,
	NETMAP_REQ_VALE_LIST,
	NETMAP_REQ_PORT_HDR_SET,
	NETMAP_REQ_PORT_HDR_GET,
	NETMAP_REQ_VALE_NEWIF,
	NETMAP_REQ_VALE_DELIF,
	NETMAP_REQ_VALE_POLLING_ENABLE,
	NETMAP_REQ_VALE_POLLING_DISABLE,
	NETMAP_REQ_POOLS_INFO_GET,
	NETMAP_REQ_SYNC_KLOOP_START,
	NETMAP_REQ_SYNC_KLOOP_STOP,
	NETMAP_REQ_CSB_ENABLE,
};

struct nmreq_option {
	u64 nro_next;	 /* address of the next option */
	u32 nro_reqtype; /* NETMAP_REQ_OPT_* */
	u32 nro_status;	 /* out: 0 or a positive errno */
	u64 nro_size;	 /* of options of no fixed size, header included */
};

enum {
	NETMAP_REQ_OPT_EXTMEM = 1,
	NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
	NETMAP_REQ_OPT_CSB,
	NETMAP_REQ_OPT_SYNC_KLOOP_MODE,
	NETMAP_REQ_OPT_OFFSETS,
};

struct nmreq_register {
	u64 nr_offset;	/* out: of the netmap_if in the region */
	u64 nr_memsize; /* out: bytes of the region */
	u32 nr_tx_slots;
	u32 nr_rx_slots;
	u16 nr_tx_rings;
	u16 nr_rx_rings;
	u16 nr_host_tx_rings;
	u16 nr_host_rx_rings;
	u16 nr_mem_id;
	u16 nr_ringid;
	u32 nr_mode; /* NR_REG_* */
	u32 nr_extra_bufs;
	u64 nr_flags;
};

enum {
	NR_REG_PIPE_MASTER = 5,
	NR_REG_PIPE_SLAVE = 6,
	NR_REG_NULL = 7,
	NR_REG_MASK = 0xf,
};

#define NR_MONITOR_TX 0x100
#define NR_MONITOR_RX 0x200
#define NR_ZCOPY_MON  0x400
#define NR_NO_TX_POLL 0x20000

#define NR_MONITOR    (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON)

struct nmreq_sync_kloop_start {
	u32 sleep_us;
	u32 pad1;
};

struct nmreq_opt_sync_kloop_eventfds {
	struct nmreq_option nro_opt;
	struct {
		s32 ioeventfd; /* the program kicks the loop; -1: it does not */
		s32 irqfd;     /* the loop tells the program; -1: it does not */
	} eventfds[];
};

struct nmreq_opt_csb {
	struct nmreq_option nro_opt;
	u64 csb_atok; /* address of struct nm_csb_atok[], TX rings first */
	u64 csb_ktoa; /* address of struct nm_csb_ktoa[] */
};

struct nmreq_opt_sync_kloop_mode {
	struct nmreq_option nro_opt;
	u32 mode; /* NM_OPT_SYNC_KLOOP_DIRECT_* */
	u32 pad1;
};

/* The older requests. */
struct nmreq {
	char nr_name[16];
	u32 nr_version;
	u32 nr_offset;
	u32 nr_memsize;
	u32 nr_tx_slots;
	u32 nr_rx_slots;
	u16 nr_tx_rings;
	u16 nr_rx_rings;
	u16 nr_ringid;
	u16 nr_cmd;
	u16 nr_arg1;
	u16 nr_arg2;
	u32 nr_arg3;
	u32 nr_flags; /* NR_REG_* in the low four bits, NR_* */
	u32 spare2;
};

struct nm_ifreq {
	char nifr_name[16];
	char data[256];
};

#define NIOCGINFO  _IOWR('i', 145, struct nmreq)
#define NIOCREGIF  _IOWR('i', 146, struct nmreq)
#define NIOCTXSYNC _IO('i', 148)
#define NIOCRXSYNC _IO('i', 149)
#define NIOCCONFIG _IOWR('i', 150, struct nm_ifreq)
#define NIOCCTRL   _IOWR('i', 151, struct nmreq_header)

static_assert(sizeof(struct nmreq_header) == 88, "netmap's");
static_assert(sizeof(struct nmreq_option) == 24, "netmap's");
static_assert(sizeof(struct nmreq_register) == 56, "netmap's");
static_assert(sizeof(struct nmreq_opt_csb) == 40, "netmap's");
static_assert(sizeof(struct nmreq_opt_sync_kloop_mode) == 32, "netmap's");
static_assert(sizeof(struct nmreq) == 60, "netmap's");
static_assert(sizeof(struct nm_ifreq) == 272, "netmap's");

#endif
