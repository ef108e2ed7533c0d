/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RINGPASS_H
#define RINGPASS_H
/*
 * DOC: The facade: all that the control plane may ask of the data plane.
 *
 * Objects are named by small numbers (switch, port, worker), so that a stale
 * handle is an error and never a stray pointer. Calls that change something
 * come from one thread at a time (they take a lock); each returns only when
 * no worker can still see what it took away. A call returns 0 or a number
 * from 0 on, or a negative errno with the reason in *err.
 */
#include <stdint.h>

#include "abi/rp_abi.h"
#include "abi/rp_guest.h"

/* cffi:begin */
enum rp_limits {
	RP_MAX_SWITCHES = 64,
	RP_MAX_PORTS = 1024,
	RP_MAX_WORKERS = 64,
	RP_MAX_THREADS = 128,	/* workers and embedded callers */
	RP_PORT_RINGS = 16,	/* in each direction */
	RP_MAX_MEM_SLOTS = 509, /* guest memory regions of a port */
	RP_MAX_VRING = 32768,	/* entries of a virtqueue */
	RP_MAX_SLOTS = 4096,	/* of a netmap ring */
	RP_MAX_REGIONS = 2048,
	RP_MAX_BINDINGS = 4096,
	RP_MAX_RELAYS = 4096,
	RP_BATCH = 256,		 /* frames moved at a time */
	RP_BATCH_SEGS = 2048,	 /* pieces that the frames of a batch may have in all */
	RP_BATCH_BYTES = 1 << 20 /* a batch that has so many gets no more frames */
};

enum rp_policy {
	RP_POLICY_ADAPTIVE, /* spins as long as recent gaps make it worth it, then sleeps */
	RP_POLICY_BUSY,	    /* never sleeps */
	RP_POLICY_SLEEP,    /* naps for a fixed time, needs no kicks */
	RP_POLICY_NOTIFY    /* sleeps until a kick, at once */
};

enum rp_kind {
	RP_KIND_VALE,	/* a port of a switch */
	RP_KIND_NULL,	/* throws frames away */
	RP_KIND_LINK,	/* what one end sends the other receives */
	RP_KIND_MONITOR /* shows what passes another port */
};

enum rp_front_end {
	RP_FRONT_RINGS, /* netmap rings in a region */
	RP_FRONT_VHOST, /* virtqueues in guest memory */
	RP_FRONT_KERNEL /* descriptors of the kernel: see rp_kernel_start() */
};

enum rp_monitor_flags {
	RP_MONITOR_TX = 1,   /* what the parent's user sends */
	RP_MONITOR_RX = 2,   /* what it gets */
	RP_MONITOR_ZCOPY = 4 /* both, by swapping buffers: monitor and parent share a region */
};

/* What says where a switch's frames go. */
enum rp_switch_kind {
	RP_SWITCH_BRIDGE, /* a learning bridge */
	RP_SWITCH_STATIC, /* a table of addresses */
	RP_SWITCH_HASH,	  /* a hash of the flow, which spreads flows over the ports */
	RP_SWITCH_FILE	  /* a user's own; see abi/rp_logic.h */
};

/* What to do with a frame for a port whose receive ring has no room. */
enum rp_full {
	RP_FULL_HOLD, /* hold its sender back for hold_us, once per congestion, then drop */
	RP_FULL_DROP  /* drop it, VALE's way */
};

/*
 * A port is UP until its front end breaks a rule; then BROKEN, with a reason,
 * and its rings are neither read nor written until rp_port_repair().
 */
enum rp_port_state { RP_PORT_UP, RP_PORT_BROKEN };

struct rp_err {
	int32_t code; /* positive errno */
	char text[252];
};

struct rp_switch_config {
	char name[64];
	uint32_t ageing_s; /* a MAC unheard for so long is forgotten; 0: never */
};

struct rp_port_config {
	char name[64];
	int32_t kind;	   /* enum rp_kind */
	int32_t front_end; /* enum rp_front_end */
	int32_t sw;	   /* switch of a VALE port */
	int32_t worker;	   /* that serves its tx rings; -1: the callers of rp_port_txsync() */
	uint32_t tx_rings; /* virtqueue pairs for vhost: tx_rings == rx_rings */
	uint32_t rx_rings;
	/* Of netmap rings: */
	uint32_t tx_slots;
	uint32_t rx_slots;
	uint32_t buf_bytes;   /* of a private region's buffers, a multiple of 64 */
	uint32_t region_bufs; /* of a private region, beside those of its own slots; 0: default */
	int32_t region;	      /* id; 0: a private one */
	uint32_t csb;	      /* 1: users are processes or guests, see struct rp_csb */
	int32_t full;	      /* enum rp_full */
	uint32_t hold_us;
	uint32_t mtu; /* a longer packet is not for this port; 0: no bound */
};

struct rp_port_status {
	int32_t state;	  /* enum rp_port_state */
	char reason[128]; /* of BROKEN */
	uint32_t tx_rings;
	uint32_t rx_rings;
	uint32_t tx_live; /* bit mask of rings that may move frames */
	uint32_t rx_live;
	uint32_t tx_record[16]; /* index into rp_counters.rings */
	uint32_t rx_record[16];
	uint32_t net_header; /* netmap rings: see rp_port_vnet() */
	uint64_t features;   /* those that were agreed on */
};

/* 0 in a field: its default. */
struct rp_region_config {
	char name[64];
	uint64_t bytes;	    /* in all; default: the power of two that holds the pools */
	uint32_t buf_bytes; /* of a buffer, a multiple of 64 */
	uint32_t slots_max; /* of the largest ring */
	uint32_t if_max;    /* netmap_if objects: opens, and ports */
	uint32_t ring_max;
	uint32_t buf_max;
	uint32_t
		common; /* 1: ports share it by its name; 0: it is one port's, and says NI_PRIV_MEM */
	uint32_t guests; /* records of virtual machines that map it; none: 0 */
};

struct rp_pools_info {
	int32_t fd;	 /* the region's own: dup it to keep it */
	int32_t book_fd; /* that of its book: never for those who map the region */
	uint32_t users;	 /* ports and bindings */
	uint64_t bytes;
	struct rp_pool_info csb_pool;
	struct rp_pool_info if_pool;
	struct rp_pool_info ring_pool;
	struct rp_pool_info buf_pool;
	struct rp_pool_info guest_pool;
	uint32_t if_used;
	uint32_t ring_used;
	uint32_t buf_used;
	uint32_t slots_max;
};

struct rp_ring_info {
	uint64_t ring_offset; /* from the region's start */
	uint32_t csb;
	uint32_t peer_csb; /* of a pipe's other end; UINT32_MAX: the backend syncs */
	uint32_t slots;
	int32_t kick_fd; /* the port's own, -1: none */
	int32_t call_fd;
};

struct rp_port_rings {
	int32_t region;
	uint32_t tx_rings;
	uint32_t rx_rings;
	struct rp_ring_info tx[16];
	struct rp_ring_info rx[16];
};

/* One open of a port: a netmap_if of its own that names some of its rings. */
struct rp_bind_config {
	int32_t port;
	int32_t host_port; /* whose rings are its host rings; -1: none */
	uint32_t tx_first;
	uint32_t tx_n;
	uint32_t rx_first;
	uint32_t rx_n;
	uint32_t host_tx_first;
	uint32_t host_tx_n;
	uint32_t host_rx_first;
	uint32_t host_rx_n;
	uint32_t extra_bufs;  /* as many of these as there are */
	uint64_t nifp_offset; /* of an open to take up in a resumed region; 0: a new one */
};

struct rp_bind_info {
	uint64_t nifp_offset; /* from the region's start */
	uint32_t extra_bufs;  /* that were there */
	int32_t region;
};

/*
 * Memory of a user's own for the CSBs of a port: an array of nm_csb_atok and one of nm_csb_ktoa,
 * with a record for each tx ring, then for each rx ring. Each begins at a multiple of 64 and lies
 * within a page of 4096 bytes.
 */
struct rp_csb_config {
	int32_t atok_fd;
	int32_t ktoa_fd;
	uint64_t atok_offset;
	uint64_t ktoa_offset;
	uint32_t go_on; /* 1: rings begin at the user's heads; 0: at their first slots */
	uint32_t pad;
};

struct rp_region_info {
	int32_t fd; /* the port's own: dup it to keep it */
	uint32_t buf_bytes;
	uint64_t bytes;
	uint64_t nifp_offset;
	uint64_t bufs_offset;
};

/* One row of VHOST_USER_SET_MEM_TABLE or ADD_MEM_REG. */
struct rp_mem_slot {
	uint64_t guest_addr;
	uint64_t bytes;
	uint64_t user_addr; /* the front end's own address of it */
	uint64_t mmap_offset;
};

struct rp_vring_config {
	uint32_t size; /* entries, a power of two */
	uint32_t base; /* as SET_VRING_BASE writes it, for split or packed rings */
	uint64_t desc_user_addr;
	uint64_t avail_user_addr; /* packed: the driver's event structure */
	uint64_t used_user_addr;  /* packed: the device's event structure */
	int32_t kick_fd;	  /* -1: the ring must be polled */
	int32_t call_fd;	  /* -1: never call */
};

/* The descriptors that a port of the kernel's reads frames from and writes them to. */
enum rp_kernel_mode {
	RP_KERNEL_XDP_COPY,	/* AF_XDP sockets, made here */
	RP_KERNEL_XDP_ZEROCOPY, /* the same, with a driver that needs no copy, or not at all */
	RP_KERNEL_PACKET,	/* packet sockets with PACKET_VNET_HDR and PACKET_AUXDATA */
	RP_KERNEL_TAP		/* TAP devices with IFF_VNET_HDR and IFF_NO_PI */
};

struct rp_kernel_config {
	int32_t mode;	      /* enum rp_kernel_mode */
	uint32_t slots;	      /* of each queue in each direction, a power of two */
	uint32_t frame_bytes; /* XDP: the longest frame that the interface sends or receives */
	uint32_t ifindex;     /* XDP */
	uint32_t software;    /* XDP: no wire behind it, so checksums may be incomplete */
	int32_t fd[16];	      /* others: of each queue; they are duplicated */
};

struct rp_worker_config {
	int32_t policy;	   /* enum rp_policy */
	uint32_t sleep_us; /* of RP_POLICY_SLEEP */
	int32_t cpu;	   /* -1: any */
};

struct rp_fdb_row {
	uint8_t mac[6];
	uint16_t pad;
	int32_t port;
	uint32_t age_s;
};

typedef struct rp_dataplane rp_dataplane;
typedef struct rp_caller rp_caller;

/* Life. The descriptors stay the caller's; state_fd is a memfd, counters_fd any file. */
rp_dataplane *rp_dataplane_new(int state_fd, int counters_fd, struct rp_err *err);
void rp_dataplane_free(rp_dataplane *dp);
int rp_dataplane_event_fd(rp_dataplane *dp); /* readable when a port broke */
void rp_dataplane_beat(rp_dataplane *dp);    /* now and then: a sign of life; pipes' counters */

/* Switches. */
int rp_switch_add(rp_dataplane *dp, const struct rp_switch_config *cfg, struct rp_err *err);
int rp_switch_set_ageing(rp_dataplane *dp, int sw, uint32_t ageing_s, struct rp_err *err);
/*
 * Replace a switch's logic by a new one, made with the text @config; RP_SWITCH_FILE is a
 * shared object, a file @fd that no switch has loaded yet. Frames go on meanwhile: by the old one, then by the
 * new one. The learning bridge's table is empty then, unless one file came for another.
 */
int rp_switch_set_logic(rp_dataplane *dp, int sw, int kind, int fd, const char *config,
			struct rp_err *err);
int rp_switch_del(rp_dataplane *dp, int sw, struct rp_err *err);
int rp_switch_fdb(rp_dataplane *dp, int sw, struct rp_fdb_row *rows, uint32_t max,
		  struct rp_err *err);

/* Workers. */
int rp_worker_add(rp_dataplane *dp, const struct rp_worker_config *cfg, struct rp_err *err);
int rp_worker_set(rp_dataplane *dp, int worker, const struct rp_worker_config *cfg,
		  struct rp_err *err);
int rp_worker_del(rp_dataplane *dp, int worker, struct rp_err *err);

/* Ports. */
int rp_port_add(rp_dataplane *dp, const struct rp_port_config *cfg, struct rp_err *err);
int rp_port_set_full(rp_dataplane *dp, int port, int full, uint32_t hold_us, struct rp_err *err);
int rp_port_set_mtu(rp_dataplane *dp, int port, uint32_t mtu, struct rp_err *err);
int rp_port_del(rp_dataplane *dp, int port, struct rp_err *err);
int rp_port_status(rp_dataplane *dp, int port, struct rp_port_status *out, struct rp_err *err);
int rp_port_repair(rp_dataplane *dp, int port, struct rp_err *err);
/* Learn @mac at a port of a switch, and tell all others of it: a reverse ARP request to everybody. */
int rp_port_announce(rp_dataplane *dp, int port, const uint8_t mac[6], struct rp_err *err);
int rp_port_region(rp_dataplane *dp, int port, struct rp_region_info *out, struct rp_err *err);
int rp_port_rings(rp_dataplane *dp, int port, struct rp_port_rings *out, struct rp_err *err);
/*
 * Let the slots of a port's rings say, in the low @bits of ptr (0: all), where their frames
 * begin: up to @max bytes into the buffer, @initial at first. While nobody has the port open.
 */
int rp_port_offsets(rp_dataplane *dp, int port, uint32_t bits, uint64_t max, uint64_t initial,
		    struct rp_err *err);
/*
 * Put a virtio-net header of @header_bytes (0: none, 10, 12) before every frame in a port's rings,
 * in its first slot, in both directions; @features are virtio's bits of the offloads agreed on.
 * Frames that wait in the rings stay as they are. What is set while the port is open goes with its
 * last open. Both ends of a pipe within a region have the same header, and nobody converts.
 */
int rp_port_vnet(rp_dataplane *dp, int port, uint32_t header_bytes, uint64_t features,
		 struct rp_err *err);
uint64_t rp_vnet_offered(void); /* every bit that @features may have */
/* Join two ports of kind LINK. Undone when one of them is removed. */
int rp_port_link(rp_dataplane *dp, int a, int b, struct rp_err *err);

/* Regions that are there without a port, and opens of ports with netmap rings. */
int rp_region_add(rp_dataplane *dp, const struct rp_region_config *cfg, struct rp_err *err);
/*
 * Go on with a region of a backend that was killed: with its memfd and that of its book, and the
 * configuration that it was made with. Ports that are added with names and rings as before then
 * take up their rings where these were, and bindings with the netmap_if of an open go on with it.
 * No frame moves in it until rp_dataplane_settle(); what nobody took up by then, of all such
 * regions, is free again, and rings that nobody has open are empty.
 */
int rp_region_resume(rp_dataplane *dp, const struct rp_region_config *cfg, int fd, int book_fd,
		     struct rp_err *err);
void rp_dataplane_settle(rp_dataplane *dp);
/*
 * Leave all regions to another backend as they are now: what is done here from now on, their
 * removal included, neither their users see nor who resumes them. Before rp_dataplane_settle(),
 * for frames would go on here.
 */
int rp_dataplane_abandon(rp_dataplane *dp, struct rp_err *err);
int rp_region_del(rp_dataplane *dp, int region, struct rp_err *err);
/*
 * Let a region with a single port, which nobody has open, be in the memfd of a region that was like
 * it, which a guest handed back as it has it mapped. Everything in it is made new.
 */
int rp_region_hand_back(rp_dataplane *dp, int region, int fd, struct rp_err *err);
int rp_region_pools(rp_dataplane *dp, int region, struct rp_pools_info *out, struct rp_err *err);

/*
 * The records of virtual machines that map a region, numbered from 0; see abi/rp_guest.h.
 * rp_guest_take() copies a request that is not the one of number @answered: 1, or 0 when there
 * is none, or -EPROTO for one that is longer than a request may be, but for whose data @out is
 * filled in then, too.
 */
int rp_guest_write(rp_dataplane *dp, int region, uint32_t guest, const struct rp_guest *record,
		   struct rp_err *err);
int rp_guest_take(rp_dataplane *dp, int region, uint32_t guest, uint32_t answered,
		  struct rp_guest_request *out, struct rp_err *err);
int rp_guest_answer(rp_dataplane *dp, int region, uint32_t guest, uint32_t sent, const void *data,
		    uint32_t bytes, struct rp_err *err);

/*
 * Let the user of a ring with a CSB kick and be called on these eventfds, of which duplicates
 * are kept; -1: a new one. kick_fd is of tx rings only.
 */
int rp_port_wire(rp_dataplane *dp, int port, int dir, uint32_t ring, int kick_fd, int call_fd,
		 struct rp_err *err);
/*
 * Let the CSBs of a port that is open be in other memory than its region, until its last open
 * ends. Its rings are empty then; in a region that is taken up they go on where they were. Not of
 * pipes and monitors, whose words others read, too.
 */
int rp_port_csb(rp_dataplane *dp, int port, const struct rp_csb_config *cfg, struct rp_err *err);
/* Pass on what one eventfd is signalled to another, by a thread that is there for it. */
int rp_relay_add(rp_dataplane *dp, int from_fd, int to_fd, struct rp_err *err);
int rp_relay_del(rp_dataplane *dp, int relay, struct rp_err *err);
/*
 * Make the rings of a port as new that nobody has open; of a pipe, while neither end is open. Who
 * maps their region may have written there all the same.
 */
int rp_port_renew(rp_dataplane *dp, int port, struct rp_err *err);
int rp_binding_add(rp_dataplane *dp, const struct rp_bind_config *cfg, struct rp_bind_info *out,
		   struct rp_err *err);
int rp_binding_del(rp_dataplane *dp, int binding, struct rp_err *err);

/*
 * Monitors: what passes ring k of the parent is shown in ring k of the monitor, modulo its rx
 * rings; see monitor.h. When the parent goes its monitors break, and that is the reason.
 */
int rp_monitor_attach(rp_dataplane *dp, int monitor, int parent, uint32_t flags,
		      struct rp_err *err);
int rp_monitor_detach(rp_dataplane *dp, int monitor, struct rp_err *err);

/* vhost-user front end. Virtqueue 2k is the port's rx ring k, 2k+1 its tx ring k. */
int rp_vhost_features(rp_dataplane *dp, int port, uint64_t features, struct rp_err *err);
int rp_vhost_mem_set(rp_dataplane *dp, int port, const struct rp_mem_slot *slots,
		     const int32_t *fds, uint32_t n, struct rp_err *err);
int rp_vhost_mem_add(rp_dataplane *dp, int port, const struct rp_mem_slot *slot, int32_t fd,
		     struct rp_err *err);
int rp_vhost_mem_del(rp_dataplane *dp, int port, const struct rp_mem_slot *slot,
		     struct rp_err *err);
int rp_vhost_ring_start(rp_dataplane *dp, int port, uint32_t vring,
			const struct rp_vring_config *cfg, struct rp_err *err);
int rp_vhost_ring_call(rp_dataplane *dp, int port, uint32_t vring, int32_t call_fd,
		       struct rp_err *err);
int rp_vhost_ring_enable(rp_dataplane *dp, int port, uint32_t vring, int on, struct rp_err *err);
int rp_vhost_ring_stop(rp_dataplane *dp, int port, uint32_t vring, uint32_t *base,
		       struct rp_err *err);
/*
 * The front end's dirty log, @bytes at @offset of @fd; -1: none any more. @everything: mark all
 * memory to begin with. Rings go on meanwhile.
 */
int rp_vhost_log(rp_dataplane *dp, int port, int32_t fd, uint64_t offset, uint64_t bytes,
		 int everything, struct rp_err *err);
uint64_t rp_vhost_offered(void); /* every virtio feature bit that the data plane serves */

/*
 * Kernel front end. Ring k of both directions is queue k. A port moves frames when it was started
 * and enabled; it is started without being enabled.
 */
int rp_kernel_start(rp_dataplane *dp, int port, const struct rp_kernel_config *cfg,
		    struct rp_err *err);
int rp_kernel_stop(rp_dataplane *dp, int port, struct rp_err *err);
int rp_kernel_enable(rp_dataplane *dp, int port, int on, struct rp_err *err);
int rp_kernel_fd(rp_dataplane *dp, int port, uint32_t ring,
		 struct rp_err *err); /* the port's own */
/* Let another worker serve what comes in on a ring, from now on; its port's worker has it first. */
int rp_kernel_serve(rp_dataplane *dp, int port, uint32_t ring, int worker, struct rp_err *err);

/* Embedded use: the caller's own thread runs the syncs. A caller belongs to one thread. */
rp_caller *rp_caller_new(rp_dataplane *dp, struct rp_err *err);
void rp_caller_free(rp_caller *caller);
int rp_port_txsync(rp_caller *caller, int port, uint32_t ring);
int rp_port_rxsync(rp_caller *caller, int port, uint32_t ring);

const char *rp_drop_name(int reason);
/* cffi:end */

#endif
