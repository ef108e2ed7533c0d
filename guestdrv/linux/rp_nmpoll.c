// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * poll, select and epoll. All of them sync, as netmap's do: what is pending is sent,
 * unless the port was registered with NO_TX_POLL, and what came is fetched.
 *
 * Who finds nothing arms its rings and looks again, so that it either sees what came or is
 * called. Nobody says when a sleep ends, and files may share a ring: it stays armed until
 * its call comes, to all of them.
 */
#include "rp_netmap.h"
#include "rp_nmreq.h"

#define TX_EVENTS (EPOLLOUT | EPOLLWRNORM)
#define RX_EVENTS (EPOLLIN | EPOLLRDNORM)
#define NAP_NS	  NSEC_PER_MSEC

static __poll_t events_of(const struct rp_seat *s)
{
	return rp_seat_is_tx(s) ? TX_EVENTS : RX_EVENTS;
}

static bool is_ready(const struct rp_seat *s)
{
	const struct netmap_ring *at = s->ring->at.ring;

	return rp_load(&at->cur) != rp_load(&at->tail);
}

/* One ring's part of @events. */
static __poll_t look_at(struct rp_seat *s, __poll_t events)
{
	const __poll_t wanted = events & events_of(s);

	if (!wanted && !rp_seat_pending(s))
		return 0;
	if (rp_seat_is_tx(s) && s->ring->flags & RP_NM_MONITOR_RING)
		return EPOLLERR;
	if (rp_seat_sync(s))
		return EPOLLERR;
	return is_ready(s) ? wanted : 0;
}

static __poll_t look(struct rp_file *f, __poll_t events)
{
	const bool push = !(f->reg_flags & NR_NO_TX_POLL) || events & TX_EVENTS;
	const u32 end = events & RX_EVENTS ? f->nseats : f->ntx;
	__poll_t revents = 0;

	for (u32 i = push ? 0 : f->ntx; i < end; i++)
		revents |= look_at(&f->seat[i], events);
	return READ_ONCE(f->open->dead) ? EPOLLERR : revents;
}

/* Is there something that a sleeper whom nobody calls has to see? */
static bool naps_end(const struct rp_file *f)
{
	if (READ_ONCE(f->open->dead))
		return true;
	for (u32 i = 0; i < f->nseats; i++) {
		if (f->seat[i].ring->call < 0 && rp_ring_pending(f->seat[i].ring))
			return true;
	}
	return false;
}

/* For rings without a vector: look at them every now and then, as long as somebody waits. */
enum hrtimer_restart rp_file_nap_over(struct hrtimer *timer)
{
	struct rp_file *f = container_of(timer, struct rp_file, nap);
	unsigned long flags;
	bool found, goes_on;

	spin_lock_irqsave(&f->arm_lock, flags);
	found = naps_end(f);
	/* Who polls is in the queue before it arms; a loop runs before it does. */
	goes_on = !found && (waitqueue_active(&f->wait) || READ_ONCE(f->loop_runs));
	f->napping = goes_on;
	if (goes_on)
		hrtimer_forward_now(timer, ns_to_ktime(NAP_NS));
	spin_unlock_irqrestore(&f->arm_lock, flags);
	if (found)
		rp_file_wake(f);
	return goes_on ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

void rp_seat_arm(struct rp_file *f, struct rp_seat *s)
{
	unsigned long flags;

	spin_lock_irqsave(&f->arm_lock, flags);
	if (s->ring->call < 0) {
		/* One that runs is for all: it is neither put off nor started twice. */
		if (!f->napping)
			hrtimer_start(&f->nap, ns_to_ktime(NAP_NS), HRTIMER_MODE_REL);
		f->napping = true;
	} else {
		if (!s->armed)
			rp_ring_arm(s->ring);
		s->armed = true;
	}
	spin_unlock_irqrestore(&f->arm_lock, flags);
	smp_mb(); /* also if it was armed: the words that are looked at next are not older */
}

void rp_seat_disarm(struct rp_file *f, struct rp_seat *s)
{
	unsigned long flags;

	spin_lock_irqsave(&f->arm_lock, flags);
	if (s->armed)
		rp_ring_disarm(s->ring);
	s->armed = false;
	spin_unlock_irqrestore(&f->arm_lock, flags);
}

/* Everybody who sleeps looks again, and arms again what it still needs. */
void rp_seat_called(struct rp_ring *r)
{
	struct rp_file *f = r->owner;

	for (u32 i = 0; i < f->nseats; i++) {
		if (f->seat[i].ring == r)
			rp_seat_disarm(f, &f->seat[i]);
	}
	rp_file_wake(f);
}

static void for_wanted(struct rp_file *f, __poll_t events,
		       void (*act)(struct rp_file *f, struct rp_seat *s))
{
	for (u32 i = 0; i < f->nseats; i++) {
		if (events & events_of(&f->seat[i]))
			act(f, &f->seat[i]);
	}
}

/* Something came after the last sync, so no call will tell of it. */
static bool missed(const struct rp_file *f, __poll_t events)
{
	for (u32 i = 0; i < f->nseats; i++) {
		if (events & events_of(&f->seat[i]) && rp_ring_pending(f->seat[i].ring))
			return true;
	}
	return false;
}

__poll_t rp_netmap_poll(struct file *file, poll_table *pt)
{
	struct rp_file *f = file->private_data;
	const __poll_t events = poll_requested_events(pt);
	__poll_t revents;

	poll_wait(file, &f->wait, pt);
	if (!rp_file_bound(f) || rp_file_in_csb_mode(f) || READ_ONCE(f->open->dead))
		return EPOLLERR;
	revents = look(f, events);
	if (revents && !(events & EPOLLET))
		return revents;
	/* epoll asks without adding itself once more, and sleeps on what it added long ago. */
	if (poll_does_not_wait(pt) && !waitqueue_active(&f->wait))
		return revents;
	for_wanted(f, events, rp_seat_arm);
	if (revents) {
		if (missed(f, events)) /* the next edge came already */
			rp_file_wake(f);
		return revents;
	}
	return look(f, events);
}
