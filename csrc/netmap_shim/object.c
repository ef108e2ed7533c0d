/* SPDX-License-Identifier: BSD-2-Clause */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "real.h"
#include "rp_barrier.h"

static struct rp_object *table[RP_FDS];
static struct rp_object *objects; /* all there ever were */
static uint32_t shared;		  /* entries of the table for sessions and sets */
static struct rp_object own = { .kind = RP_OBJECT_OWN, .refs = 1 };

struct rp_object *rp_object_new(enum rp_object_kind kind, size_t bytes,
				void (*release)(struct rp_object *o))
{
	struct rp_object *o = rp_load_acquire(&objects);

	while (o && !(o->kind == kind && rp_claim(&o->taken)))
		o = o->next;
	if (!o) {
		o = calloc(1, bytes);
		if (!o)
			return NULL;
		o->kind = kind;
		o->taken = 1;
		do {
			o->next = rp_load(&objects);
		} while (!rp_replace(&objects, o->next, o));
	}
	o->release = release;
	rp_store_release(&o->refs, 1);
	return o;
}

static bool take_reference(struct rp_object *o)
{
	uint32_t refs;

	do {
		refs = rp_load(&o->refs);
		if (refs == 0)
			return false;
	} while (!rp_replace(&o->refs, refs, refs + 1));
	return true;
}

void rp_object_put(struct rp_object *o)
{
	if (o == &own || rp_add_fetch(&o->refs, -1) != 0)
		return;
	o->release(o);
	rp_store_release(&o->taken, 0);
}

void rp_object_each(enum rp_object_kind kind, void (*act)(struct rp_object *o))
{
	for (struct rp_object *o = rp_load_acquire(&objects); o; o = o->next) {
		if (o->kind == kind)
			act(o);
	}
}

bool rp_fd_any(void)
{
	return rp_load(&shared) != 0;
}

static struct rp_object *peek(int fd)
{
	return fd >= 0 && fd < RP_FDS ? rp_load_acquire(&table[fd]) : NULL;
}

struct rp_object *rp_fd_get(int fd, enum rp_object_kind kind)
{
	struct rp_object *o = peek(fd);

	if (!o || o == &own || !take_reference(o))
		return NULL;
	if (rp_load_acquire(&table[fd]) == o && o->kind == kind)
		return o;
	rp_object_put(o);
	return NULL;
}

static struct rp_object *exchange(int fd, struct rp_object *o)
{
	struct rp_object *old;

	do {
		old = rp_load(&table[fd]);
	} while (!rp_replace(&table[fd], old, o));
	return old;
}

int rp_fd_set(int fd, struct rp_object *o)
{
	if (fd < 0 || fd >= RP_FDS)
		return EMFILE;
	rp_fd_clear(fd);
	if (o != &own) {
		rp_add_fetch(&o->refs, 1);
		rp_add_fetch(&shared, 1);
	}
	exchange(fd, o);
	return 0;
}

void rp_fd_clear(int fd)
{
	struct rp_object *old = peek(fd) ? exchange(fd, NULL) : NULL;

	if (old && old != &own) {
		rp_add_fetch(&shared, -1);
		rp_object_put(old);
	}
}

int rp_fd_copy(int from, int to)
{
	struct rp_object *o = peek(from);
	int error;

	if (!o || o == &own || !take_reference(o)) {
		rp_fd_clear(to);
		return 0;
	}
	error = rp_fd_set(to, o);
	rp_object_put(o);
	return error;
}

bool rp_fd_is_own(int fd)
{
	return peek(fd) == &own;
}

/* Programs count descriptors from below, and choose low numbers for dup2(). */
static int out_of_the_way(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > 1024)
		return 768;
	return (int)(limit.rlim_cur / 2);
}

int rp_fd_own(int fd)
{
	int high = rp_real()->fcntl(fd, F_DUPFD_CLOEXEC, out_of_the_way());

	if (high >= 0) {
		rp_real()->close(fd);
		fd = high;
	}
	rp_fd_keep(fd);
	return fd;
}

void rp_fd_keep(int fd)
{
	rp_fd_set(fd, &own); /* beyond the table nobody will look for it */
}

void rp_fd_own_close(int fd)
{
	if (fd < 0)
		return;
	rp_fd_clear(fd);
	rp_real()->close(fd);
}

int rp_fd_next_own(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < RP_FDS; fd++) {
		if (rp_fd_is_own((int)fd))
			return (int)fd;
	}
	return -1;
}

int rp_fd_next_set(int first)
{
	for (; first < RP_FDS; first++) {
		const struct rp_object *o = peek(first);

		if (o && o->kind == RP_OBJECT_SET)
			break;
	}
	return first;
}
