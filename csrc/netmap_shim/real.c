/* SPDX-License-Identifier: BSD-2-Clause */
#include "real.h"

#include <dlfcn.h>
#include <stdbool.h>

#include "rp_barrier.h"

static struct rp_real functions;
static uint32_t resolved;

/* POSIX lets a data pointer of dlsym() be a function; ISO C has no conversion for it. */
static void find(void *function, const char *name)
{
	*(void **)function = dlsym(RTLD_NEXT, name);
}

/* Doing it twice does no harm: both find the same. */
static void resolve(void)
{
	find(&functions.openat, "openat");
	find(&functions.close, "close");
	find(&functions.close_range, "close_range");
	find(&functions.dup, "dup");
	find(&functions.dup2, "dup2");
	find(&functions.dup3, "dup3");
	find(&functions.fcntl, "fcntl");
	find(&functions.ioctl, "ioctl");
	find(&functions.mmap, "mmap");
	find(&functions.ppoll, "ppoll");
	find(&functions.pselect, "pselect");
	find(&functions.select, "select");
	find(&functions.epoll_ctl, "epoll_ctl");
	find(&functions.epoll_pwait, "epoll_pwait");
	find(&functions.epoll_pwait2, "epoll_pwait2");
	find(&functions.recvmsg, "recvmsg");
	find(&functions.recvmmsg, "recvmmsg");
	rp_store_release(&resolved, 1);
}

const struct rp_real *rp_real(void)
{
	if (!rp_load_acquire(&resolved))
		resolve();
	return &functions;
}
