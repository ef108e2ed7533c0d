/* SPDX-License-Identifier: BSD-2-Clause */
#include "kloop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "object.h"
#include "options.h"
#include "real.h"
#include "rp_barrier.h"

enum { FALLBACK_MS = 3000, RX_ROUNDS = 2 };

/* Shared with children of fork(): any of them may stop the loop. */
struct rp_loop {
	uint32_t running;
	uint32_t stopping;
	int32_t bell; /* eventfd: wakes the loop up, to see that it is to stop */
};

/* A ring in the loop. */
struct duty {
	struct rp_session *s;
	unsigned index;
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	int kick; /* -1: nobody kicks, the loop sleeps between rounds */
	int tell; /* -1: the program is not told */
};

static long futex(uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static struct rp_loop *loop_of(struct rp_session *s)
{
	struct rp_loop *made, *none = NULL;

	if (rp_load_acquire(&s->loop))
		return s->loop;
	made = rp_real()->mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		return NULL;
	made->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made->bell < 0) { /* without it nobody could stop the loop */
		munmap(made, sizeof(*made));
		return NULL;
	}
	made->bell = rp_fd_own(made->bell);
	if (!rp_replace(&s->loop, none, made)) { /* another thread was faster */
		rp_fd_own_close(made->bell);
		munmap(made, sizeof(*made));
	}
	return s->loop;
}

void rp_kloop_free(struct rp_session *s)
{
	if (!s->loop)
		return;
	rp_fd_own_close(s->loop->bell);
	munmap(s->loop, sizeof(*s->loop));
	s->loop = NULL;
}

bool rp_kloop_runs(const struct rp_session *s)
{
	return s->loop && rp_load(&s->loop->running);
}

static void ring_the_bell(int fd)
{
	const uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return; /* it rings already */
}

/* The descriptor may be the program's, and blocking: what is not there must not stop the loop. */
static void drain(int fd)
{
	uint64_t count;
	const struct iovec piece = { &count, sizeof(count) };

	if (fd >= 0 && preadv2(fd, &piece, 1, -1, RWF_NOWAIT) < 0)
		return; /* it did not ring */
}

/* Sync one ring with what the program says. Return: is there something new for the program? */
static bool serve(struct duty *d)
{
	uint32_t head = rp_load_acquire(&d->atok->head), cur = rp_load_acquire(&d->atok->cur);
	uint32_t before = rp_load(&d->ktoa->hwtail);
	struct rp_cursors at;

	rp_session_sync_at(d->s, d->index, head, cur);
	at = rp_session_cursors(d->s, d->index);
	/* hwtail last: who sees it finds slots, and a hwcur that is not older. */
	rp_store(&d->ktoa->hwcur, at.hwcur);
	rp_store_release(&d->ktoa->hwtail, at.hwtail);
	return at.hwtail != before;
}

static void tell_program(const struct duty *d)
{
	rp_fence_full(); /* after hwtail: it armed before it looked there */
	if (rp_load(&d->atok->appl_need_kick))
		ring_the_bell(d->tell);
}

/* One round over all rings. Return: did any of them move? */
static bool serve_all(struct duty *d, unsigned n)
{
	bool moved = false;

	for (unsigned i = 0; i < n; i++) {
		if (serve(&d[i])) {
			tell_program(&d[i]);
			moved = true;
		}
	}
	return moved;
}

static void set_need_kick(struct duty *d, unsigned n, uint32_t need)
{
	for (unsigned i = 0; i < n; i++)
		rp_store(&d[i].ktoa->kern_need_kick, need);
}

static bool stopped(const struct rp_loop *loop)
{
	return rp_load_acquire(&loop->stopping);
}

static void run_sleeping(const struct rp_loop *loop, struct duty *d, unsigned n, uint32_t sleep_us)
{
	const struct timespec pause = { sleep_us / 1000000, sleep_us % 1000000 * 1000L };

	set_need_kick(d, n, 0);
	while (!stopped(loop)) {
		serve_all(d, n);
		if (sleep_us)
			nanosleep(&pause, NULL);
		else
			rp_cpu_relax();
	}
}

/* Sleep until a kick, a call of the backend, the bell, or for three seconds. */
static void sleep_on(const struct rp_loop *loop, struct duty *d, unsigned n, struct pollfd *fds)
{
	nfds_t count = 0;
	const struct timespec fallback = { FALLBACK_MS / 1000, 0 }, nap = { 0, 1000000 };
	bool naps = false;

	fds[count++] = (struct pollfd){ .fd = loop->bell, .events = POLLIN };
	for (unsigned i = 0; i < n; i++) {
		int call = rp_session_arm(d[i].s, d[i].index);

		fds[count++] = (struct pollfd){ .fd = d[i].kick, .events = POLLIN };
		if (call >= 0)
			fds[count++] = (struct pollfd){ .fd = call, .events = POLLIN };
		else
			naps = true;
	}
	set_need_kick(d, n, 1);
	rp_fence_full();
	if (!serve_all(d, n) && !stopped(loop))
		rp_real()->ppoll(fds, count, naps ? &nap : &fallback, NULL);
	set_need_kick(d, n, 0);
	for (unsigned i = 0; i < n; i++) {
		rp_session_disarm(d[i].s, d[i].index);
		drain(d[i].kick);
	}
}

static void run_notified(const struct rp_loop *loop, struct duty *d, unsigned n, struct pollfd *fds)
{
	set_need_kick(d, n, 0);
	while (!stopped(loop)) {
		unsigned rounds = 0;

		while (serve_all(d, n) && ++rounds < RX_ROUNDS)
			;
		sleep_on(loop, d, n, fds);
	}
}

/* A descriptor of the program's that is named in an option. */
static int duplicate(int fd)
{
	int copy;

	if (fd < 0)
		return -1;
	copy = rp_real()->fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -EBADF : rp_fd_own(copy);
}

/* Take the event descriptors. Return: 0, EBADF; @all: there is a kick for every ring */
static int take_descriptors(struct duty *d, unsigned n,
			    struct nmreq_opt_sync_kloop_eventfds *option, bool *all)
{
	*all = option != NULL;
	if (option)
		option->nro_opt.nro_status = 0;
	for (unsigned i = 0; option && i < n; i++)
		*all &= option->eventfds[i].ioeventfd >= 0;
	for (unsigned i = 0; option && i < n; i++) {
		d[i].kick = *all ? duplicate(option->eventfds[i].ioeventfd) : -1;
		d[i].tell = duplicate(option->eventfds[i].irqfd);
		if (d[i].kick == -EBADF || d[i].tell == -EBADF)
			return EBADF;
	}
	return 0;
}

static int run(struct rp_session *s, struct rp_loop *loop,
	       const struct nmreq_sync_kloop_start *request, struct rp_options *options)
{
	const unsigned n = rp_session_rings(s);
	int error = 0;
	struct nmreq_opt_sync_kloop_eventfds *descriptors =
		(void *)rp_options_find(options, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, &error);
	struct nmreq_opt_sync_kloop_mode *mode =
		(void *)rp_options_find(options, NETMAP_REQ_OPT_SYNC_KLOOP_MODE, &error);
	struct duty *d = calloc(n ? n : 1, sizeof(*d));
	struct pollfd *fds = calloc(1 + 2 * (size_t)n, sizeof(*fds));
	bool all;

	if (!d || !fds) {
		error = ENOMEM;
		goto out;
	}
	for (unsigned i = 0; i < n; i++)
		d[i] = (struct duty){ .s = s,
				      .index = i,
				      .atok = s->atok + i,
				      .ktoa = s->ktoa + i,
				      .kick = -1,
				      .tell = -1 };
	if (!error)
		error = take_descriptors(d, n, descriptors, &all);
	if (mode)
		mode->nro_opt.nro_status = 0;
	if (error) {
		if (descriptors)
			descriptors->nro_opt.nro_status = (uint32_t)error;
	} else if (mode && mode->mode && !all) {
		error = EINVAL;
		mode->nro_opt.nro_status = EINVAL;
	} else if (all) {
		run_notified(loop, d, n, fds);
	} else {
		run_sleeping(loop, d, n, request->sleep_us);
	}
	for (unsigned i = 0; i < n; i++) {
		rp_fd_own_close(d[i].kick);
		rp_fd_own_close(d[i].tell);
	}
out:
	free(d);
	free(fds);
	return error;
}

int rp_kloop_start(struct rp_session *s, const struct nmreq_sync_kloop_start *request,
		   struct rp_options *options)
{
	struct rp_loop *loop = loop_of(s);
	int error;

	if (!loop)
		return ENOMEM;
	if (!rp_load(&s->atok))
		return EINVAL;
	if (!rp_claim(&loop->running))
		return EBUSY;
	error = run(s, loop, request, options);
	drain(loop->bell);
	rp_store(&loop->stopping, 0);
	rp_store_release(&loop->running, 0);
	futex(&loop->running, FUTEX_WAKE, INT_MAX);
	return error;
}

int rp_kloop_stop(struct rp_session *s)
{
	struct rp_loop *loop = loop_of(s);

	if (!loop)
		return ENOMEM;
	rp_store_release(&loop->stopping, 1);
	ring_the_bell(loop->bell);
	while (rp_load_acquire(&loop->running))
		futex(&loop->running, FUTEX_WAIT, 1);
	return 0;
}
