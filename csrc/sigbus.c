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

/*
 * Read by signal handlers at any moment, so a guard that is being changed, or
 * was changed meanwhile, is skipped: it cannot be the one whose mapping a
 * thread is using right now.
 */
struct guard {
	uint32_t version; /* odd while the rest changes */
	uintptr_t base;	  /* 0: free */
	size_t bytes;
	void (*lost)(void *owner);
	void *owner;
};

static struct guard guards[GUARDS];
static pthread_mutex_t guards_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;

static bool read_guard(const struct guard *g, struct guard *copy)
{
	uint32_t version = rp_load_acquire(&g->version);

	copy->base = rp_load(&g->base);
	copy->bytes = rp_load(&g->bytes);
	copy->lost = rp_load(&g->lost);
	copy->owner = rp_load(&g->owner);
	rp_fence_full();
	return !(version & 1) && rp_load(&g->version) == version;
}

static void write_guard(struct guard *g, const struct guard *now)
{
	rp_store(&g->version, g->version + 1);
	rp_fence_full();
	rp_store(&g->base, now->base);
	rp_store(&g->bytes, now->bytes);
	rp_store(&g->lost, now->lost);
	rp_store(&g->owner, now->owner);
	rp_store_release(&g->version, g->version + 1);
}

static bool cover(uintptr_t addr)
{
	for (unsigned i = 0; i < GUARDS; i++) {
		struct guard g;

		if (!read_guard(&guards[i], &g) || !g.base || addr - g.base >= g.bytes)
			continue;
		if (mmap((void *)g.base, g.bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return false;
		g.lost(g.owner);
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
		if (rp_load(&guards[i].base))
			continue;
		write_guard(&guards[i], &(struct guard){ .base = (uintptr_t)base,
							 .bytes = bytes,
							 .lost = lost,
							 .owner = owner });
		slot = i;
		break;
	}
	pthread_mutex_unlock(&guards_lock);
	return slot;
}

void rp_sigbus_unguard(int slot)
{
	write_guard(&guards[slot], &(struct guard){ 0 });
}
