/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_REAL_H
#define RP_REAL_H
/*
 * DOC: The functions that this library stands in front of.
 *
 * Whatever does not concern netmap goes straight on to them.
 */
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

/* What a program sees of this library. */
#define RP_EXPORT __attribute__((visibility("default")))

struct rp_real {
	int (*openat)(int dir, const char *path, int flags, ...);
	int (*close)(int fd);
	int (*close_range)(unsigned first, unsigned last, int flags);
	int (*dup)(int fd);
	int (*dup2)(int fd, int to);
	int (*dup3)(int fd, int to, int flags);
	int (*fcntl)(int fd, int cmd, ...);
	int (*ioctl)(int fd, unsigned long request, ...);
	void *(*mmap)(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
	int (*ppoll)(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		     const sigset_t *mask);
	int (*pselect)(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
		       const sigset_t *mask);
	int (*select)(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout);
	int (*epoll_ctl)(int set, int op, int fd, struct epoll_event *event);
	int (*epoll_pwait)(int set, struct epoll_event *events, int max, int timeout,
			   const sigset_t *mask);
	int (*epoll_pwait2)(int set, struct epoll_event *events, int max,
			    const struct timespec *timeout, const sigset_t *mask);
	ssize_t (*recvmsg)(int fd, struct msghdr *message, int flags);
	int (*recvmmsg)(int fd, struct mmsghdr *messages, unsigned n, int flags,
			struct timespec *timeout);
};

/* rp_real() - the C library's functions, or those of the next library in front of it */
const struct rp_real *rp_real(void);

#endif
