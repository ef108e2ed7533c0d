// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* From a name to bound rings: which device, what the backend answers, whose the rings are then. */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "rp_netmap.h"

#define PREFIX "netmap:"
#define BEHIND "{}/@^*-" /* what may follow the port in a name: pipes, monitors, rings */
#define PORT   "p" /* how the backend is told of a port: whatever it is called, it is the guest's */

/*
 * The device that a name means: of the interface or the port that it begins with, or the
 * only one. All of BEHIND may belong to names, too: the longest one counts.
 */
static struct rp_device *find_device(const char *name, size_t *bytes)
{
	struct rp_device *d;

	for (*bytes = strlen(name); *bytes; --*bytes) {
		if (!strchr(BEHIND, name[*bytes])) /* the end is found as well */
			continue;
		d = rp_device_get(name, *bytes);
		if (d)
			return d;
	}
	*bytes = strcspn(name, BEHIND);
	return rp_device_get("", 0);
}

/* Find the device, and leave in @name what the backend gets: PORT, and what follows it. */
static struct rp_device *take_device(char *name)
{
	char *base = name + str_has_prefix(name, PREFIX);
	size_t bytes;
	struct rp_device *d = find_device(base, &bytes);

	if (bytes) {
		memmove(name + strlen(PORT), base + bytes, strlen(base + bytes) + 1);
		memcpy(name, PORT, strlen(PORT));
	}
	return d;
}

/* The rings of the open, TX rings first; their calls come to us. */
static int take_seats(struct rp_file *f, struct rp_open *o)
{
	u32 n = 0;

	f->seat = kvcalloc(max(o->nrings, 1u), sizeof(*f->seat), GFP_KERNEL);
	if (!f->seat)
		return -ENOMEM;
	for (int dir = NETMAP_DIR_TX; dir >= NETMAP_DIR_RX; dir--) {
		for (u32 i = 0; i < o->nrings; i++) {
			struct rp_ring *r = &o->ring[i];

			if (r->dir != dir)
				continue;
			f->seat[n++].ring = r;
			r->owner = f;
			/* Whoever sees it sees the owner, too. */
			smp_store_release(&r->called, rp_seat_called);
		}
		if (dir == NETMAP_DIR_TX)
			f->ntx = n;
	}
	f->nseats = n;
	return 0;
}

/* The open died. What the region holds stays the program's, unless there is no region any more. */
static void lost(struct rp_open *o)
{
	struct rp_file *f = o->owner;

	if (rp_device_gone(o->dev))
		rp_file_unmap(f);
	rp_file_wake(f);
}

static void give_back(struct rp_file *f, struct rp_open *o)
{
	struct rp_device *d = o->dev;

	rp_open_close(o);
	if (f->has_port)
		rp_netdev_resume_rings(d);
	f->has_port = false;
	kvfree(f->seat);
	f->seat = NULL;
	f->nseats = 0;
	f->ntx = 0;
	rp_device_put(d);
}

static int call(struct rp_open *o, struct rp_ask *ask)
{
	return rp_open_call(o, ask->op, ask->data, ask->bytes, ask->data, ask->room, &ask->got);
}

/* Ask with an open of its own, of which nothing stays: what the file is bound to has no part in it. */
static int ask_once(struct rp_ask *ask, struct rp_device *d)
{
	struct rp_open *o = rp_open_new(d);
	int err = PTR_ERR_OR_ZERO(o);

	if (!err) {
		err = call(o, ask);
		rp_open_close(o);
	}
	rp_device_put(d);
	return err;
}

/* Ask with a new open, which lasts as long as the rings that it registers. */
static int bind(struct rp_file *f, struct rp_ask *ask, struct rp_device *d)
{
	struct rp_open *o = rp_open_new(d);
	int err;

	if (IS_ERR(o)) {
		rp_device_put(d);
		return PTR_ERR(o);
	}
	o->owner = f;
	o->lost = lost;
	if (ask->own && !strpbrk(ask->name, "{}")) {
		rp_netdev_suspend_rings(d);
		f->has_port = true;
	}
	err = call(o, ask);
	if (!err)
		err = take_seats(f, o);
	if (!err && ask->enable)
		err = ask->enable(f, ask->arg);
	if (err) {
		give_back(f, o);
		return err;
	}
	f->mm = current->mm;
	mmgrab(f->mm);
	f->reg_flags = o->reg_flags;
	f->open = o;
	smp_store_release(&f->bound, 1); /* for rp_file_bound() */
	return 0;
}

int rp_file_ask(struct rp_file *f, struct rp_ask *ask)
{
	struct rp_device *d = take_device(ask->name);
	int err;

	ask->got = 0;
	if (f->open && (!d || d == f->open->dev || ask->binds)) {
		err = call(f->open, ask);
		if (d)
			rp_device_put(d);
		return err;
	}
	if (!d)
		return -ENXIO;
	return ask->binds ? bind(f, ask, d) : ask_once(ask, d);
}

void rp_file_unbind(struct rp_file *f)
{
	give_back(f, f->open);
	mmdrop(f->mm);
	f->open = NULL;
}
