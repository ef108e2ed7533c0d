/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_INTERPOSE_H
#define RP_INTERPOSE_H
/*
 * DOC: Functions that programs call and no header of ours or the C library's declares.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t bytes);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
		size_t bytes);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

struct rp_deadline;

/* rp_ppoll() - ppoll() with a deadline; some of @fds may be sessions */
int rp_ppoll(struct pollfd *fds, nfds_t n, const struct rp_deadline *deadline,
	     const sigset_t *mask);

#endif
