/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Sessions that come from other processes: inherited by exec, or received.
 */
#include "passing.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ask.h"
#include "object.h"
#include "real.h"
#include "session.h"

/* Adopt @fd if it is a connection to the backend, and we do not know it yet. */
static void recognise(int fd)
{
	struct rp_session *s = rp_session_of(fd);

	if (s)
		rp_session_put(s);
}

void rp_passing_inherited(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			recognise((int)strtol(entry->d_name, NULL, 10));
	}
	closedir(dir);
}

static void look_through(struct msghdr *message)
{
	int saved = errno;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		const unsigned char *at = CMSG_DATA(c);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t left = c->cmsg_len - CMSG_LEN(0); left >= sizeof(fd);
		     left -= sizeof(fd), at += sizeof(fd)) {
			memcpy(&fd, at, sizeof(fd));
			recognise(fd);
		}
	}
	errno = saved;
}

RP_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t n = rp_real()->recvmsg(fd, message, flags);

	if (n >= 0 && message->msg_controllen)
		look_through(message);
	return n;
}

RP_EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags,
		       struct timespec *timeout)
{
	int got = rp_real()->recvmmsg(fd, messages, n, flags, timeout);

	for (int i = 0; i < got; i++) {
		if (messages[i].msg_hdr.msg_controllen)
			look_through(&messages[i].msg_hdr);
	}
	return got;
}
