// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The sync loop of CSB mode, in the thread that starts it: sleeping between two rounds
 * or, with event descriptors for all rings, until it is kicked. The direct modes, in
 * which netmap works in the context of the kick, are the latter: the program's memory
 * can be reached in its own context only.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "rp_compat.h"
#include "rp_netmap.h"
#include "rp_nmreq.h"
#include "rp_options.h"

#define FALLBACK  (3 * HZ)
#define RX_ROUNDS 2

/* A ring in the loop. */
struct duty {
	struct rp_file *f;
	struct rp_seat *seat;
	struct nm_csb_atok __user *atok;
	struct nm_csb_ktoa __user *ktoa;
	u32 told; /* hwtail, as the program knows it */

	struct eventfd_ctx *tell; /* NULL: the program is not told */
	struct eventfd_ctx *kick; /* NULL: nobody kicks, the loop sleeps between rounds */
	wait_queue_entry_t wait;  /* on kick's queue */
	poll_table table;
};

/* Somebody wrote to the eventfd; its lock is held. */
static int kicked(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct duty *d = container_of(wait, struct duty, wait);
	u64 count;

	if (key_to_poll(key) & EPOLLIN) {
		eventfd_ctx_do_read(d->kick, &count);
		rp_file_wake(d->f);
	}
	return 0;
}

static void queue_kicks(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct duty *d = container_of(table, struct duty, table);

	add_wait_queue(head, &d->wait);
}

static struct eventfd_ctx *take_tell(int fd)
{
	return fd < 0 ? NULL : eventfd_ctx_fdget(fd);
}

static int take_kick(struct duty *d, int fd)
{
	struct file *file = eventfd_fget(fd);
	struct eventfd_ctx *kick;

	if (IS_ERR(file))
		return PTR_ERR(file);
	kick = eventfd_ctx_fileget(file);
	if (!IS_ERR(kick)) {
		d->kick = kick;
		init_waitqueue_func_entry(&d->wait, kicked);
		init_poll_funcptr(&d->table, queue_kicks);
		if (vfs_poll(file, &d->table) & EPOLLIN)
			WRITE_ONCE(d->f->woken, 1);
	}
	fput(file); /* the context and its queue stay: they are counted by themselves */
	return PTR_ERR_OR_ZERO(kick);
}

static void give_up_descriptors(struct duty *d)
{
	u64 count;

	if (d->kick) {
		eventfd_ctx_remove_wait_queue(d->kick, &d->wait, &count);
		eventfd_ctx_put(d->kick);
	}
	if (d->tell)
		eventfd_ctx_put(d->tell);
}

/* @all: there is a kick for every ring. The backend saw to it that the option has their number. */
static int take_descriptors(struct duty *d, u32 n, struct nmreq_option *option, bool *all)
{
	struct nmreq_opt_sync_kloop_eventfds *o = (void *)option;

	*all = option;
	if (!option)
		return 0;
	if (option->nro_size != struct_size(o, eventfds, n))
		return -EINVAL;
	for (u32 i = 0; i < n; i++)
		*all &= o->eventfds[i].ioeventfd >= 0;
	for (u32 i = 0; i < n; i++) {
		struct eventfd_ctx *tell = take_tell(o->eventfds[i].irqfd);
		int err = 0;

		if (IS_ERR(tell))
			return PTR_ERR(tell);
		d[i].tell = tell;
		if (*all)
			err = take_kick(&d[i], o->eventfds[i].ioeventfd);
		if (err)
			return err;
	}
	option->nro_status = 0;
	return 0;
}

/* Sync one ring with what the program says. Return: 1 if there is something new for the program */
static int serve(struct duty *d)
{
	struct netmap_ring *ring = d->seat->ring->at.ring;
	struct rp_cursors at;
	u32 head, cur;

	if (READ_ONCE(d->seat->ring->open->dead))
		return -ENXIO;
	if (get_user(head, &d->atok->head))
		return -EFAULT;
	smp_rmb(); /* the program writes cur first: it is never older than head */
	if (get_user(cur, &d->atok->cur))
		return -EFAULT;
	rp_store(&ring->cur, cur);
	rp_store_release(&ring->head, head);
	if (rp_seat_sync(d->seat) == -ENXIO)
		return -ENXIO;
	at = rp_seat_cursors(d->seat);
	if (put_user(at.hwcur, &d->ktoa->hwcur))
		return -EFAULT;
	smp_wmb(); /* hwtail last: who sees it finds slots, and a hwcur that is not older */
	if (put_user(at.hwtail, &d->ktoa->hwtail))
		return -EFAULT;
	if (at.hwtail == d->told)
		return 0;
	d->told = at.hwtail;
	return 1;
}

static int tell_program(const struct duty *d)
{
	u32 wanted;

	smp_mb(); /* after hwtail: it armed before it looked there */
	if (get_user(wanted, &d->atok->appl_need_kick))
		return -EFAULT;
	if (wanted && d->tell)
		rp_eventfd_signal(d->tell);
	return 0;
}

/* One round over all rings. Return: 1 if any of them moved */
static int serve_all(struct duty *d, u32 n)
{
	int moved = 0;

	for (u32 i = 0; i < n; i++) {
		int ret = serve(&d[i]);

		if (ret > 0) {
			moved = 1;
			ret = tell_program(&d[i]);
		}
		if (ret < 0)
			return ret;
	}
	return moved;
}

static int set_need_kick(struct duty *d, u32 n, u32 need)
{
	for (u32 i = 0; i < n; i++) {
		if (put_user(need, &d[i].ktoa->kern_need_kick))
			return -EFAULT;
	}
	return 0;
}

static bool is_stopped(const struct rp_file *f)
{
	return smp_load_acquire(&f->loop_stops); /* of rp_kloop_stop() */
}

static int run_sleeping(struct rp_file *f, struct duty *d, u32 n, u32 sleep_us)
{
	int ret = set_need_kick(d, n, 0);

	while (ret >= 0 && !is_stopped(f)) {
		ret = serve_all(d, n);
		if (ret < 0)
			break;
		if (signal_pending(current))
			return -EINTR;
		if (sleep_us)
			wait_event_interruptible_hrtimeout(
				f->wait, is_stopped(f), ns_to_ktime((u64)sleep_us * NSEC_PER_USEC));
		cond_resched();
	}
	return min(ret, 0);
}

/* Sleep until a kick, a call of the backend, the stop, or for three seconds. */
static int sleep_on(struct rp_file *f, struct duty *d, u32 n)
{
	long slept = 0;
	int ret;

	WRITE_ONCE(f->woken, 0);
	for (u32 i = 0; i < n; i++)
		rp_seat_arm(f, d[i].seat);
	ret = set_need_kick(d, n, 1);
	smp_mb(); /* whoever does not see that kicks are wanted has its work seen here */
	if (!ret)
		ret = serve_all(d, n);
	if (ret == 0)
		slept = wait_event_interruptible_timeout(
			f->wait, READ_ONCE(f->woken) || is_stopped(f), FALLBACK);
	for (u32 i = 0; i < n; i++)
		rp_seat_disarm(f, d[i].seat);
	if (ret >= 0)
		ret = set_need_kick(d, n, 0);
	return slept < 0 ? -EINTR : ret;
}

static int run_notified(struct rp_file *f, struct duty *d, u32 n)
{
	int ret = set_need_kick(d, n, 0);

	while (ret >= 0 && !is_stopped(f)) {
		u32 rounds = 0;

		do {
			ret = serve_all(d, n);
		} while (ret > 0 && ++rounds < RX_ROUNDS);
		if (ret >= 0)
			ret = sleep_on(f, d, n);
		if (ret >= 0 && signal_pending(current))
			ret = -EINTR;
		cond_resched(); /* under a steady load it never sleeps */
	}
	return min(ret, 0);
}

static int run(struct rp_file *f, const struct nmreq_sync_kloop_start *request,
	       struct rp_options *options)
{
	const u32 n = f->nseats;
	int err = 0;
	struct nmreq_option *descriptors =
		rp_options_find(options, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, &err);
	struct nmreq_option *mode = rp_options_find(options, NETMAP_REQ_OPT_SYNC_KLOOP_MODE, &err);
	struct duty *d;
	bool all;

	if (err)
		return err;
	d = kvcalloc(max(n, 1u), sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++)
		d[i] = (struct duty){
			.f = f,
			.seat = &f->seat[i],
			.atok = f->atok + i,
			.ktoa = f->ktoa + i,
			.told = rp_seat_cursors(&f->seat[i]).hwtail,
		};
	err = take_descriptors(d, n, descriptors, &all);
	if (err) {
		descriptors->nro_status = -err;
	} else if (mode && ((struct nmreq_opt_sync_kloop_mode *)mode)->mode && !all) {
		mode->nro_status = EINVAL;
		err = -EINVAL;
	} else {
		if (mode)
			mode->nro_status = 0;
		err = all ? run_notified(f, d, n) : run_sleeping(f, d, n, request->sleep_us);
	}
	for (u32 i = 0; i < n; i++)
		give_up_descriptors(&d[i]);
	kvfree(d);
	return err;
}

int rp_kloop_start(struct rp_file *f, const struct nmreq_sync_kloop_start *request,
		   struct rp_options *options)
{
	int err;

	if (!rp_file_in_csb_mode(f))
		return -EINVAL;
	if (cmpxchg(&f->loop_runs, 0, 1))
		return -EBUSY;
	err = run(f, request, options);
	WRITE_ONCE(f->loop_stops, 0);
	smp_store_release(&f->loop_runs, 0); /* all that the loop did comes before */
	wake_up_all(&f->wait);
	return err;
}

int rp_kloop_stop(struct rp_file *f)
{
	if (!rp_file_bound(f))
		return -ENXIO;
	smp_store_release(&f->loop_stops, 1); /* is_stopped() reads it */
	rp_file_wake(f);
	/* Acquires what the loop did. */
	return wait_event_killable(f->wait, !smp_load_acquire(&f->loop_runs)) ? -EINTR : 0;
}
