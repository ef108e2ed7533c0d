/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "err.h"

struct rp_state *rp_state_map(int fd, struct rp_err *err)
{
	struct rp_state *s;

	if (ftruncate(fd, sizeof(*s)) < 0) {
		rp_fail(err, errno, "cannot size the state memfd to %zu bytes: %s", sizeof(*s),
			strerror(errno));
		return NULL;
	}
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED) {
		rp_fail(err, errno, "cannot map the state memfd: %s", strerror(errno));
		return NULL;
	}
	s->magic = RP_STATE_MAGIC;
	s->version = RP_STATE_VERSION;
	s->bytes = sizeof(*s);
	return s;
}

void rp_state_unmap(struct rp_state *s)
{
	munmap(s, sizeof(*s));
}
