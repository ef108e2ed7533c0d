/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Mapping a session: its region.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "interpose.h"
#include "real.h"
#include "session.h"

static void *map_region(struct rp_session *s, int conn, void *at, size_t bytes, int prot, int flags,
			off_t offset)
{
	if (!rp_session_bound(s, conn) || s->extmem || offset < 0 ||
	    !rp_session_may_map(s, (uint64_t)offset, bytes)) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	return rp_real()->mmap(at, bytes, prot, flags, rp_session_region(s), offset);
}

/* Of a descriptor that we never saw the kernel says first what it thinks of mapping it. */
static struct rp_session *session_behind(int fd, void *mapped)
{
	return mapped == MAP_FAILED && errno == ENODEV ? rp_session_of(fd) : NULL;
}

RP_EXPORT void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	bool of_file = fd >= 0 && !(flags & MAP_ANONYMOUS);
	struct rp_session *s = NULL;
	void *mapped;

	if (of_file && rp_fd_any())
		s = (struct rp_session *)rp_fd_get(fd, RP_OBJECT_SESSION);
	if (!s) {
		mapped = rp_real()->mmap(at, bytes, prot, flags, fd, offset);
		if (of_file)
			s = session_behind(fd, mapped);
		if (!s)
			return mapped;
	}
	mapped = map_region(s, fd, at, bytes, prot, flags, offset);
	rp_session_put(s);
	return mapped;
}

RP_EXPORT void *mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	return mmap(at, bytes, prot, flags, fd, offset);
}
