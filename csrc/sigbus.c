/* SPDX-License-Identifier: BSD-2-Clause */
#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/rp_barrier.h"
#include "err.h"

enum { GUARDS = 8192 };

struct guard {
	uintptr_t base; /* 0: free; written last */
	size_t bytes;
	void (*lost)(void *owner);
	void *owner;
};

static struct guard guards[GUARDS];
static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;

static bool cover(uintptr_t addr)
{
	for (unsigned i = 0; i < GUARDS; i++) {
		struct guard *g = &guards[i];
		uintptr_t base = rp_load_acquire(&g->base);

		if (!base || addr - base >= g->bytes)
			continue;
		if (mmap((void *)base, g->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return false;
		g->lost(g->owner);
		return true;
	}
	return false;
}

static void pass_on(int sig, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		/* On return the access faults again, and now it kills. */
		signal(sig, SIG_DFL);
	}
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (!cover((uintptr_t)info->si_addr))
		pass_on(sig, info, context);
	errno = saved;
}

int rp_sigbus_install(struct rp_err *err)
{
	struct sigaction now = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigaction old;
	int ret = 0;

	pthread_mutex_lock(&guards_lock);
	if (sigaction(SIGBUS, NULL, &old) < 0 ||
	    (old.sa_sigaction != on_sigbus && sigaction(SIGBUS, &now, &before) < 0))
		ret = rp_fail(err, errno, "cannot handle SIGBUS: %s", strerror(errno));
	pthread_mutex_unlock(&guards_lock);
	return ret;
}

int rp_sigbus_guard(void *base, size_t bytes, void (*lost)(void *owner), void *owner)
{
	int slot = -ENOSPC;

	pthread_mutex_lock(&guards_lock);
	for (int i = 0; i < GUARDS; i++) {
		if (guards[i].base)
			continue;
		guards[i].bytes = bytes;
		guards[i].lost = lost;
		guards[i].owner = owner;
		rp_store_release(&guards[i].base, (uintptr_t)base);
		slot = i;
		break;
	}
	pthread_mutex_unlock(&guards_lock);
	return slot;
}

void rp_sigbus_unguard(int slot)
{
	rp_store_release(&guards[slot].base, 0);
}
