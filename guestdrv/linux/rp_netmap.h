/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_NETMAP_H
#define RP_NETMAP_H
/*
 * DOC: /dev/netmap in the guest: for each open a struct rp_file.
 *
 *    rp_netmap.c    the device; opens and their ends
 *    rp_ioctl.c     NIOCCTRL; with rp_options.c, rp_legacy.c: from and to user memory
 *    rp_nmbind.c    asking the backend; rings of a registration
 *    rp_nmsync.c    syncs, with netmap's checks; rp_indirect.c: NS_INDIRECT
 *    rp_nmpoll.c    poll, select, epoll: sync, arm, sleep
 *    rp_nmmap.c     mappings of the region
 *    rp_csbmode.c   CSBs in the program's memory; rp_kloop.c: the loop that serves them
 *
 * Frames move in the program's own context: nothing here runs by itself. A file is
 * bound once, by one REGISTER, and stays so until it is released; what is found
 * after rp_file_bound() does not change. Locks: rp_file.control, then rtnl and
 * those of rp_device.h; mmap_lock, then rp_file.map_lock.
 */
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "rp_device.h"

/* A bound ring. */
struct rp_seat {
	struct rp_ring *ring;
	unsigned long busy; /* bit 0: somebody syncs it */
	bool armed;	    /* under rp_file.arm_lock: the ring is armed for us */
};

struct rp_file {
	struct mutex control; /* one request at a time */
	struct rp_open *open; /* what is bound; NULL before */
	struct rp_seat *seat; /* TX rings first */
	u32 nseats;
	u32 ntx;
	u64 reg_flags;	      /* NR_* */
	bool has_port;	      /* the network stack has to do without its rings */
	struct mm_struct *mm; /* of who bound it; counted, but not kept alive */
	unsigned int bound;

	wait_queue_head_t wait;
	unsigned int woken; /* something came since it was cleared */
	spinlock_t arm_lock;
	struct hrtimer nap; /* for rings that nobody calls for */
	bool napping;	    /* under arm_lock: nap runs, or decides whether it goes on */

	struct address_space mapping; /* of this file alone: it can be taken away */
	struct mutex map_lock;
	bool unmapped; /* under map_lock */

	struct nm_csb_atok __user *atok; /* NULL: not in CSB mode */
	struct nm_csb_ktoa __user *ktoa;
	unsigned int loop_runs;
	unsigned int loop_stops;
};

/* rp_netmap_init() - offer /dev/netmap, or /dev/ringpass where there is one. May sleep */
int rp_netmap_init(void);
void rp_netmap_exit(void);

/* --- binding: rp_nmbind.c ------------------------------------------------- */

/* What is asked of the backend; @data is the request's payload, then the answer's. */
struct rp_ask {
	u16 op;	    /* enum rp_nm_op */
	char *name; /* in @data; the port in it is called as the backend wants it */
	bool binds; /* it is about to register rings */
	bool own;   /* those of the port that it names, or of the pipe, not a monitor's */
	void *data;
	u32 bytes;
	u32 room;
	u32 got;
	int (*enable)(struct rp_file *f, void *arg); /* last step of binding; may be NULL */
	void *arg;
};

/**
 * rp_file_ask() - ask the backend, and bind the file to the rings that it registered
 *
 * Return: 0 or -errno; f->control is held
 */
int rp_file_ask(struct rp_file *f, struct rp_ask *ask);

/* rp_file_unbind() - undo it all; nobody else uses the file any more. May sleep */
void rp_file_unbind(struct rp_file *f);

static inline bool rp_file_bound(const struct rp_file *f)
{
	return smp_load_acquire(&f->bound); /* and what was set up before */
}

static inline bool rp_file_in_csb_mode(const struct rp_file *f)
{
	return READ_ONCE(f->atok);
}

/* rp_file_wake() - something came for whoever sleeps on this file. Any context */
static inline void rp_file_wake(struct rp_file *f)
{
	WRITE_ONCE(f->woken, 1);
	wake_up_all(&f->wait);
}

/* --- syncs: rp_nmsync.c, rp_indirect.c ------------------------------------ */

struct rp_cursors {
	u32 head;
	u32 cur;
	u32 hwcur;
	u32 hwtail;
};

struct rp_cursors rp_seat_cursors(const struct rp_seat *s);

static inline bool rp_seat_is_tx(const struct rp_seat *s)
{
	return s->ring->dir == NETMAP_DIR_TX;
}

/**
 * rp_seat_sync() - sync a ring, in the context of the program
 *
 * Indexes beyond the ring and slots without a buffer are set right, as netmap does.
 * Return: 0, also if another thread is at it; -EINVAL when the program's indexes
 * make no sense; -ENXIO when the port is gone
 */
int rp_seat_sync(struct rp_seat *s);

/* rp_seat_pending() - did the program give slots away that nobody looked at yet? */
bool rp_seat_pending(const struct rp_seat *s);

/* rp_file_txsync(), rp_file_rxsync() - the ioctls */
int rp_file_txsync(struct rp_file *f);
int rp_file_rxsync(struct rp_file *f);

/* rp_file_flush() - let what was sent leave, as long as it does, a second at most */
void rp_file_flush(struct rp_file *f);

/* rp_indirect_take() - fill the buffers of NS_INDIRECT slots in [@from, @to) */
void rp_indirect_take(const struct rp_ring *r, u32 from, u32 to);

/* --- sleeping: rp_nmpoll.c ------------------------------------------------- */

__poll_t rp_netmap_poll(struct file *file, poll_table *pt);

/* rp_seat_arm(), rp_seat_disarm() - ask for a call; once is enough */
void rp_seat_arm(struct rp_file *f, struct rp_seat *s);
void rp_seat_disarm(struct rp_file *f, struct rp_seat *s);

/* rp_seat_called() - rp_ring.called of a seat's ring */
void rp_seat_called(struct rp_ring *r);

enum hrtimer_restart rp_file_nap_over(struct hrtimer *timer);

/* --- mappings: rp_nmmap.c --------------------------------------------------- */

int rp_netmap_mmap(struct file *file, struct vm_area_struct *vma);
void rp_file_mapping_init(struct rp_file *f, struct file *file);

/* rp_file_unmap() - take away all mappings, for good */
void rp_file_unmap(struct rp_file *f);

/* --- requests: rp_ioctl.c, rp_legacy.c -------------------------------------- */

long rp_netmap_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int rp_ioctl_control(struct rp_file *f, void __user *arg);
int rp_ioctl_legacy(struct rp_file *f, unsigned int cmd, void __user *arg);

/* --- CSB mode: rp_csbmode.c, rp_kloop.c ------------------------------------- */

struct nmreq_opt_csb;
struct nmreq_sync_kloop_start;
struct rp_options;

/* rp_csb_check() - may the program have its CSB there? @rings 0: not known yet */
int rp_csb_check(const struct nmreq_opt_csb *csb, u32 rings);

/* rp_csb_enable() - go into CSB mode: the entries get what the rings say */
int rp_csb_enable(struct rp_file *f, const struct nmreq_opt_csb *csb);

/**
 * rp_kloop_start() - serve the CSBs until rp_kloop_stop()
 *
 * Sleeping between two rounds or, if the program gave event descriptors for all
 * rings, until it kicks. Return: 0 when it was stopped; -EBUSY, -EINVAL, -EBADF,
 * -EFAULT; -EINTR; -ENXIO when the port went
 */
int rp_kloop_start(struct rp_file *f, const struct nmreq_sync_kloop_start *request,
		   struct rp_options *options);

/* rp_kloop_stop() - stop the loop and wait for its end; if none runs, the next one ends at once */
int rp_kloop_stop(struct rp_file *f);

#endif
