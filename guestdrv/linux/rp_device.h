/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_DEVICE_H
#define RP_DEVICE_H
/*
 * DOC: A ringpass port in the guest: the core that interface and netmap device share.
 *
 *    rp_netdev, rp_tx, rp_rx       rp_netmap ...
 *    rp0, a network interface      /dev/netmap
 *              |                        |
 *              +-----  rp_open  --------+     rings of one registration: sync, arm, sleep
 *                         |
 *                     rp_mailbox              one request at a time, to the backend
 *                         |
 *                     rp_device               memory, vectors, doorbells
 *                         |
 *                 rp_ivshmem, rp_ptnet        what of it differs between devices of QEMU
 *
 * The memory is the host's and everybody's who may map it here: each word that
 * matters is read once, checked, and kept.
 *
 * Locks, outermost first: rtnl, rp_device.opens_lock, rp_open.lock,
 * rp_mailbox.lock, rp_device.vectors_lock; then rp_vector.lock, rp_vector.arm_lock,
 * which interrupts take. Calls that may sleep say so.
 */
#include <linux/interrupt.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "abi/rp_attach.h"
#include "abi/rp_guest.h"
#include "csb.h"
#include "rp_transport.h"

#define RP_DRIVER_NAME "ringpass"
#define RP_MAX_VECTORS 1024
#define RP_MAX_RINGS   64 /* of a direction */

struct rp_device;
struct rp_open;

/* What the backend's record says about the port, checked and copied. */
struct rp_port_info {
	u32 epoch;
	bool link;
	u8 mac[ETH_ALEN];
	u16 mtu;
	u16 tx_rings;
	u16 rx_rings;
	u16 tx_slots;
	u16 rx_slots;
	u16 vectors;
	u16 opens;
	u32 extra_bufs;
	u64 offloads;
	char port[64]; /* the port's name on the host, for people */
};

struct rp_ring;
typedef void rp_called_fn(struct rp_ring *r);

/* A ring of an open. Who registered it is its only user, but for arm, disarm and wait. */
struct rp_ring {
	struct rp_csb_ring at;
	struct rp_csb_ring peer; /* of a pipe; ring is NULL when the backend syncs */
	struct rp_open *open;
	u16 dir;       /* NETMAP_DIR_* */
	u16 index;     /* in its direction, as in netmap_if */
	u32 flags;     /* RP_NM_* */
	int kick;      /* doorbell that wakes the backend; -1: none */
	int call;      /* vector; -1: none, look again after a while */
	int peer_call; /* doorbell that wakes the other end of a pipe; -1: none */
	u32 kicked_at; /* see rp_csb_send() */

	u32 armed;		/* sleepers, under the vector's arm_lock */
	wait_queue_head_t wait; /* woken by every call */
	/* Instead of waking up @wait; in interrupt context, not after rp_open_close(). */
	rp_called_fn *called;
	void *owner;		    /* of who set @called */
	struct list_head on_vector; /* under both locks of the vector */
};

/* An open of the port: what it registered, until it is closed. */
struct rp_open {
	struct rp_device *dev;
	u32 number;
	struct mutex lock; /* held by calls; what follows changes under it */
	bool dead;	   /* the backend forgot it, or the device went: close it */
	u32 nrings;	   /* 0: nothing is registered */
	struct rp_ring *ring;
	u64 nifp_offset; /* of the netmap_if in the region, checked to lie inside */
	u64 reg_flags;	 /* NR_*, as registered */
	u32 reg_mode;	 /* NR_REG_* */
	u32 mem_id;
	/*
	 * The open died: wake up who sleeps, take mappings away if rp_device_gone().
	 * Comes once more if the device goes later. May sleep; rp_open.lock is held.
	 * May be NULL.
	 */
	void (*lost)(struct rp_open *o);
	void *owner; /* of who opened it */
};

struct rp_vector {
	spinlock_t lock;	/* keeps rings while they are called */
	spinlock_t arm_lock;	/* protects their armed, and whether the CSB asks for calls */
	struct list_head rings; /* changes under both; a ring that is open twice is there twice */
	char name[48];
};

struct rp_mailbox {
	struct mutex lock; /* held from a request to the use of its answer */
	wait_queue_head_t wait;
	u32 sent;
	u64 generation;
	bool waiting; /* somebody does, for an answer */
	bool failed;  /* the last request had no answer, or nonsense, and we said so */
	u8 *answer;   /* RP_GUEST_DATA_BYTES, a copy; under lock */
};

/* A PCI device with a region of ours behind it. */
struct rp_device {
	struct kref refs;
	struct list_head all; /* of the devices of this driver */
	struct pci_dev *pdev;
	struct pci_dev *memory; /* the function that has the region; may be pdev */
	const struct rp_transport *transport;
	void __iomem *regs;
	u16 pairs; /* that the device has */
	u8 *base;  /* the region, write-back; valid until the last reference goes */
	u64 bytes;
	phys_addr_t phys; /* of the region, for mappings of programs */
	struct rp_view view;
	struct rp_pool_info if_pool; /* checked, as the pools of the view */
	const struct rp_guest *record;
	struct rp_guest_request *request;
	u32 peer;		  /* our id */
	struct rp_port_info info; /* as of the last hello; link and mtu as of the last look */

	struct rp_mailbox mailbox;
	struct mutex vectors_lock; /* who requests and frees interrupts */
	struct rp_vector *vector;
	u16 nvectors;
	struct mutex opens_lock; /* protects opens */
	struct rp_open *opens[RP_GUEST_OPENS];
	bool leaving;		  /* being removed: no open any more */
	bool gone;		  /* removed: no doorbell, no request any more */
	bool stale;		  /* the backend knows our generation no more */
	bool nudged;		  /* vector 0 came, and nobody waits for an answer */
	struct delayed_work look; /* at the record */
	struct ratelimit_state restarts;
	struct net_device *netdev;
};

/* --- binding: rp_pci.c --------------------------------------------------- */

extern struct pci_driver rp_pci_driver;

/* --- the device: rp_device.c --------------------------------------------- */

/* rp_device_new() - a device with one reference, and nothing mapped; or NULL */
struct rp_device *rp_device_new(struct pci_dev *pdev, const struct rp_transport *transport,
				struct pci_dev *memory);
/* rp_device_publish() - let rp_device_get() find it, until rp_device_withdraw() */
void rp_device_publish(struct rp_device *d);
void rp_device_withdraw(struct rp_device *d);

/**
 * rp_device_get() - find the device of a name
 * @name:	of the interface ("rp0"), or of the port on the host ("vale0:vm1")
 * @len:	bytes of it; only these are compared. 0: the device, if there is but one
 *
 * Return: the device with one reference more, or NULL. May sleep
 */
struct rp_device *rp_device_get(const char *name, size_t len);
void rp_device_hold(struct rp_device *d);
void rp_device_put(struct rp_device *d);

/* rp_device_gone() - was the device taken away? No program may have its memory any more */
static inline bool rp_device_gone(const struct rp_device *d)
{
	return READ_ONCE(d->gone);
}

/* rp_device_begin() - say hello; what was open is not any more. rtnl is held. May sleep */
int rp_device_begin(struct rp_device *d);

/* rp_device_look() - look at the record in @delay jiffies, if not sooner. Any context */
void rp_device_look(struct rp_device *d, unsigned long delay);

/* rp_doorbell() - ring the backend's doorbell of @pair; -1: there is none */
void rp_doorbell(struct rp_device *d, int pair);

/* --- what the backend says about the port: rp_record.c ------------------- */

/**
 * rp_device_find_record() - read and check the directory, and find our record
 * Return: 0; -ENODEV when the memory has no directory of ours; -EPROTO with a message
 * in the log
 */
int rp_device_find_record(struct rp_device *d);

/**
 * rp_device_read_info() - read and check the backend's record
 * Return: 0, or -EPROTO with a message in the log
 */
int rp_device_read_info(struct rp_device *d, struct rp_port_info *info);

/* --- vectors: rp_vector.c ------------------------------------------------ */

int rp_vectors_init(struct rp_device *d);
void rp_vectors_exit(struct rp_device *d);

/* rp_vector_irq() - the interrupt of a pair's vector; they were allocated */
int rp_vector_irq(const struct rp_device *d, u16 pair);

/* rp_vector_add() - have @r called on its vector, if it has one. May sleep */
int rp_vector_add(struct rp_device *d, struct rp_ring *r);
/* rp_vector_remove() - no call comes any more when this returns. May sleep */
void rp_vector_remove(struct rp_device *d, struct rp_ring *r);
/**
 * rp_ring_arm() - have r->wait woken (or r->called called) when the other side moves
 *
 * Then look once more: rp_ring_pending(), or sync. Calls nest. Any context
 */
void rp_ring_arm(struct rp_ring *r);
void rp_ring_disarm(struct rp_ring *r);

/* rp_vectors_nudge() - as if all calls came, and kick for all rings: the backend may be new */
void rp_vectors_nudge(struct rp_device *d);

/* --- opens and their rings: rp_open.c ------------------------------------ */

/**
 * rp_open_new() - open the port once more, for a program
 * Return: the open, with nothing registered, or ERR_PTR: -EMFILE when none is left,
 * -ENODEV when the device is going. May sleep
 */
struct rp_open *rp_open_new(struct rp_device *d);
/* rp_open_interface() - the same for the interface, which programs leave one open. May sleep */
struct rp_open *rp_open_interface(struct rp_device *d);

/**
 * rp_open_close() - end an open, and whatever it registered
 *
 * No call comes from its rings any more when this returns. May sleep, for seconds if
 * the backend does not answer.
 */
void rp_open_close(struct rp_open *o);

/**
 * rp_open_call() - ask the backend
 * @op:		enum rp_nm_op
 * @payload:	of the request, see rp_attach.h
 * @bytes:	of it
 * @answer:	where to put the answer's payload; may be @payload's memory
 * @room:	bytes there
 * @got:	bytes of it that the answer has, whether there was an error or not; may be NULL
 *
 * If the answer says which rings are registered now, o->ring has them. An error of
 * the backend's is returned as such; what it says in words goes to the kernel's log.
 *
 * Return: 0; -EPROTO when the answer contradicts itself or the region; -ETIMEDOUT;
 * -ENXIO when the open is dead; or what the backend said. May sleep
 */
int rp_open_call(struct rp_open *o, u16 op, const void *payload, u32 bytes, void *answer, u32 room,
		 u32 *got);

/* rp_open_offloads() - virtio-net features for rings that @o is going to register. May sleep */
int rp_open_offloads(struct rp_open *o, u64 features);

/* rp_open_ring() - the ring of a direction and index among those registered, or NULL */
struct rp_ring *rp_open_ring(const struct rp_open *o, u16 dir, u16 index);

/* rp_device_lose_opens() - all opens are dead from now on. May sleep */
void rp_device_lose_opens(struct rp_device *d);

/* --- rings: rp_ring.c ----------------------------------------------------- */

/**
 * rp_ring_sync() - netmap's txsync or rxsync, but that it never waits
 *
 * tx: the slots before ring->head go to the backend, or to the other end of a pipe;
 * who sleeps there and wants it is woken. rx: the slots before ring->head are given
 * back. ring->tail then says how far the other side has come.
 *
 * To wait until the backend has sent it all, as netmap's txsync does when it can:
 * rp_ring_arm(), and look at rp_ring_sent().
 *
 * Return: 0; -EINVAL when the user's head, or the other side's, lies where it may not
 * be; -ENXIO when the open is dead. Any context, one caller a ring at a time
 */
int rp_ring_sync(struct rp_ring *r);

/**
 * rp_ring_tail() - how far the other side has come, without a sync
 * Return: false when it says something that cannot be
 */
bool rp_ring_tail(const struct rp_ring *r, u32 *tail);

/* rp_ring_sent() - did the other side take all slots that the last sync gave it? */
bool rp_ring_sent(const struct rp_ring *r);

/* rp_ring_pending() - would a sync move tail? */
bool rp_ring_pending(const struct rp_ring *r);

/* rp_buffer() - a packet buffer; NULL: there is none of this index */
static inline u8 *rp_buffer(const struct rp_device *d, u32 index)
{
	const struct rp_pool_info *p = &d->view.bufs;

	if (index < NETMAP_BUF_RESERVED || index >= p->objtotal)
		return NULL;
	return d->base + p->offset + (u64)index * p->objsize;
}

/* --- requests: rp_mailbox.c ---------------------------------------------- */

/* What an answer consists of: a checked copy, valid until the mailbox's lock is given up. */
struct rp_answer {
	int error; /* the backend's: 0 or a negative errno */
	const u8 *payload;
	u32 bytes;
	const u8 *attachment;
	u32 attachment_bytes;
};

int rp_mailbox_init(struct rp_device *d);
void rp_mailbox_exit(struct rp_device *d);
irqreturn_t rp_mailbox_interrupt(int irq, void *device);

/**
 * rp_mailbox_ask() - send one request and wait for its answer
 * @op:		enum rp_guest_op
 * @open:	number of the open, if it is about one
 * @head:	first part of the data; may be NULL
 * @data:	second part
 *
 * The caller holds d->mailbox.lock. Return: 0, and @answer says what the backend did;
 * -EMSGSIZE, -EPROTO, -ETIMEDOUT or -ENODEV when there is no answer. May sleep
 */
int rp_mailbox_ask(struct rp_device *d, u32 op, u32 open, const void *head, u32 head_bytes,
		   const void *data, u32 bytes, struct rp_answer *answer);

/* rp_mailbox_tell() - a request whose answer is only whether it was done. May sleep */
int rp_mailbox_tell(struct rp_device *d, u32 op, u32 open, const void *data, u32 bytes);

/* rp_mailbox_hello() - begin anew, with another generation: nothing is open. May sleep */
int rp_mailbox_hello(struct rp_device *d);

/* --- the interface: rp_netdev.c ------------------------------------------ */

int rp_netdev_add(struct rp_device *d);
void rp_netdev_remove(struct rp_device *d);

/**
 * rp_netdev_suspend_rings() - take the port's rings away from the network stack
 *
 * For a program that registers them. The interface stays up; frames that the stack
 * sends meanwhile are dropped and counted. Nests. May sleep; takes rtnl
 */
void rp_netdev_suspend_rings(struct rp_device *d);
/* rp_netdev_resume_rings() - give them back. May sleep; takes rtnl */
void rp_netdev_resume_rings(struct rp_device *d);

/*
 * The record changed; all opens died; the backend knows us again. rtnl is held.
 * Between halt and restart the interface is detached.
 */
void rp_netdev_changed(struct rp_device *d);
void rp_netdev_halt(struct rp_device *d);
void rp_netdev_restart(struct rp_device *d);

#endif
