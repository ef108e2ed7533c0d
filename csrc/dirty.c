/* SPDX-License-Identifier: BSD-2-Clause */
#include "dirty.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "err.h"
#include "sigbus.h"

/* Bits for every page that guest memory can have, at any address that real machines use. */
#define MAX_BYTES (UINT64_C(1) << 33)

static int check(int fd, uint64_t offset, uint64_t bytes, uint64_t *block, struct rp_err *err)
{
	struct stat st;

	if (bytes == 0 || bytes > MAX_BYTES)
		return rp_fail(err, EINVAL,
			       "a dirty log of %" PRIu64 " bytes; 1 to %" PRIu64 " are allowed",
			       bytes, MAX_BYTES);
	if (fstat(fd, &st) < 0)
		return rp_fail(err, EINVAL, "the dirty log has a bad descriptor: %s",
			       strerror(errno));
	if (offset > (uint64_t)INT64_MAX - bytes || (uint64_t)st.st_size < offset + bytes)
		return rp_fail(err, EINVAL,
			       "the dirty log has %" PRIu64 " bytes from offset %" PRIu64
			       " of a file of %" PRIu64 " bytes",
			       bytes, offset, (uint64_t)st.st_size);
	if (st.st_blksize > RP_DIRTY_PAGE)
		*block = (uint64_t)st.st_blksize;
	return 0;
}

struct rp_dirty *rp_dirty_new(int fd, uint64_t offset, uint64_t bytes, void (*lost)(void *owner),
			      void *owner, struct rp_err *err)
{
	struct rp_dirty *log;
	uint64_t block = RP_DIRTY_PAGE, start;

	if (check(fd, offset, bytes, &block, err) < 0)
		return NULL;
	log = calloc(1, sizeof(*log));
	if (!log) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	/* Files map in whole blocks. */
	start = offset / block * block;
	log->bytes = (offset - start + bytes + block - 1) / block * block;
	log->base = mmap(NULL, log->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			 (off_t)start);
	if (log->base == MAP_FAILED) {
		rp_fail(err, EINVAL, "the dirty log cannot be mapped shared: %s", strerror(errno));
		free(log);
		return NULL;
	}
	log->bits = log->base + (offset - start);
	log->pages = bytes * 8;
	log->guard = rp_sigbus_guard(log->base, log->bytes, lost, owner);
	if (log->guard < 0) {
		rp_fail(err, ENOSPC, "too many memory regions are mapped already");
		munmap(log->base, log->bytes);
		free(log);
		return NULL;
	}
	return log;
}

void rp_dirty_free(struct rp_dirty *log)
{
	if (!log)
		return;
	rp_sigbus_unguard(log->guard);
	munmap(log->base, log->bytes);
	free(log);
}

void rp_dirty_mark_all(const struct rp_dirty *log, uint64_t guest_addr, uint64_t bytes)
{
	const uint64_t block = 8 * (uint64_t)RP_DIRTY_PAGE; /* of memory: one byte's */
	const uint64_t end = guest_addr + bytes;
	uint64_t from = (guest_addr + block - 1) / block, to = end / block;

	if (to > log->pages / 8)
		to = log->pages / 8;
	if (from >= to) {
		rp_dirty_mark(log, guest_addr, bytes);
		return;
	}
	rp_dirty_mark(log, guest_addr, from * block - guest_addr);
	memset(log->bits + from, 0xff, to - from); /* a bit that is set twice is set */
	rp_fence_full();
	rp_dirty_mark(log, to * block, end - to * block);
}
