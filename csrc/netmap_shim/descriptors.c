/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: What becomes of descriptors: close(), dup() and their like.
 *
 * Our own descriptors do not exist for the program: closing one fails as if it
 * were not open, and what closes everything goes around it. A child of vfork()
 * shares our memory but not our descriptors: it changes nothing in the table.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

#include "epoll.h"
#include "interpose.h"
#include "object.h"
#include "passing.h"
#include "real.h"
#include "session.h"

static pid_t process;

static void remember_process(void)
{
	process = getpid();
}

/* Only the thread that forked goes on in a child: nobody else would release what others held. */
static void begin_child(void)
{
	remember_process();
	rp_session_forked();
	rp_epoll_forked();
}

__attribute__((constructor)) static void start(void)
{
	remember_process();
	pthread_atfork(NULL, NULL, begin_child);
	rp_passing_inherited();
}

static bool table_is_ours(void)
{
	return getpid() == process;
}

static void forget(int fd)
{
	struct rp_object *o;

	if (!rp_fd_any() || !table_is_ours())
		return;
	o = rp_fd_get(fd, RP_OBJECT_SESSION);
	if (o) {
		rp_epoll_forget(fd);
		rp_object_put(o);
	}
	rp_fd_clear(fd);
}

RP_EXPORT int close(int fd)
{
	if (rp_fd_is_own(fd)) {
		errno = EBADF;
		return -1;
	}
	forget(fd);
	return rp_real()->close(fd);
}

/* Our descriptors cut the range into pieces. */
RP_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	unsigned from = first;
	int own;

	if (first > last || flags & CLOSE_RANGE_CLOEXEC)
		return rp_real()->close_range(first, last, flags);
	for (unsigned fd = first; fd <= last && fd < RP_FDS; fd++) {
		if (!rp_fd_is_own((int)fd))
			forget((int)fd);
	}
	while ((own = rp_fd_next_own(from, last)) >= 0) {
		if ((unsigned)own > from && rp_real()->close_range(from, (unsigned)own - 1, flags))
			return -1;
		from = (unsigned)own + 1;
	}
	return from <= last ? rp_real()->close_range(from, last, flags) : 0;
}

RP_EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned)first, UINT_MAX, 0);
}

/* The new number stands for what the old one does. */
static int copied(int fd, int to)
{
	if (to >= 0 && to != fd && rp_fd_any() && table_is_ours() && rp_fd_copy(fd, to)) {
		rp_real()->close(to);
		errno = EMFILE;
		return -1;
	}
	return to;
}

RP_EXPORT int dup(int fd)
{
	return copied(fd, rp_real()->dup(fd));
}

RP_EXPORT int dup3(int fd, int to, int flags)
{
	if (rp_fd_is_own(to)) {
		errno = EBUSY;
		return -1;
	}
	to = rp_real()->dup3(fd, to, flags);
	if (to >= 0)
		forget(to); /* what it was before is gone, in sets, too */
	return copied(fd, to);
}

RP_EXPORT int dup2(int fd, int to)
{
	if (fd == to)
		return rp_real()->dup2(fd, to);
	return dup3(fd, to, 0);
}

static int control(int fd, int cmd, void *argument)
{
	int result = rp_real()->fcntl(fd, cmd, argument);

	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}

RP_EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, cmd);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(fd, cmd, argument);
}

RP_EXPORT int fcntl64(int fd, int cmd, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, cmd);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(fd, cmd, argument);
}
