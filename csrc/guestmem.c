/* SPDX-License-Identifier: BSD-2-Clause */
#include "guestmem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "err.h"
#include "sigbus.h"

/* One mmap(), shared by the tables that have its region. */
struct rp_mapping {
	uint8_t *base;
	size_t bytes;
	size_t skip; /* from base to the region: files map in whole blocks */
	dev_t dev;
	ino_t ino;
	int guard;
	unsigned refs; /* tables; changed under the facade's lock */
};

static int check_slot(const struct rp_mem_slot *s, uint32_t i, struct rp_err *err)
{
	if (s->bytes == 0)
		return rp_fail(err, EINVAL, "memory region %u is empty", i);
	if (s->guest_addr + s->bytes < s->guest_addr || s->user_addr + s->bytes < s->user_addr ||
	    s->mmap_offset + s->bytes < s->mmap_offset ||
	    s->mmap_offset + s->bytes > (uint64_t)INT64_MAX)
		return rp_fail(err, EINVAL,
			       "memory region %u (guest address %#" PRIx64 ", %" PRIu64
			       " bytes) overflows the address space",
			       i, s->guest_addr, s->bytes);
	return 0;
}

static int check_overlap(const struct rp_mem_slot *slot, uint32_t n, struct rp_err *err)
{
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = i + 1; j < n; j++) {
			if (slot[i].guest_addr < slot[j].guest_addr + slot[j].bytes &&
			    slot[j].guest_addr < slot[i].guest_addr + slot[i].bytes)
				return rp_fail(
					err, EINVAL,
					"memory regions %u and %u overlap at guest address %#" PRIx64,
					i, j,
					slot[i].guest_addr > slot[j].guest_addr ?
						slot[i].guest_addr :
						slot[j].guest_addr);
		}
	}
	return 0;
}

static int check_total(const struct rp_mem_slot *slot, uint32_t n, struct rp_err *err)
{
	uint64_t left = RP_MAX_MEM_BYTES;

	for (uint32_t i = 0; i < n; i++) {
		if (slot[i].bytes > left)
			return rp_fail(err, EINVAL,
				       "the memory regions have more than %" PRIu64
				       " bytes, all that a port may have mapped",
				       RP_MAX_MEM_BYTES);
		left -= slot[i].bytes;
	}
	return 0;
}

static const struct rp_mem_region *find_same(const struct rp_guestmem *mem,
					     const struct rp_mem_slot *s, const struct stat *st)
{
	for (uint32_t i = 0; mem && i < mem->n; i++) {
		const struct rp_mem_region *r = &mem->region[i];

		if (r->guest_addr == s->guest_addr && r->bytes == s->bytes &&
		    r->user_addr == s->user_addr && r->mmap_offset == s->mmap_offset &&
		    (!st || (r->mapping->dev == st->st_dev && r->mapping->ino == st->st_ino)))
			return r;
	}
	return NULL;
}

static struct rp_mapping *map_slot(const struct rp_mem_slot *s, int fd, const struct stat *st,
				   uint32_t i, void (*lost)(void *), void *owner,
				   struct rp_err *err)
{
	/* Huge page files map only at multiples of their block size. */
	uint64_t block = st->st_blksize > 4096 ? (uint64_t)st->st_blksize : 4096;
	uint64_t start = s->mmap_offset / block * block;
	struct rp_mapping *m;

	if ((uint64_t)st->st_size < s->mmap_offset + s->bytes) {
		rp_fail(err, EINVAL,
			"memory region %u ends at offset %" PRIu64 " of a file of %" PRIu64
			" bytes",
			i, s->mmap_offset + s->bytes, (uint64_t)st->st_size);
		return NULL;
	}
	m = calloc(1, sizeof(*m));
	if (!m) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	m->skip = s->mmap_offset - start;
	m->bytes = (m->skip + s->bytes + block - 1) / block * block;
	m->dev = st->st_dev;
	m->ino = st->st_ino;
	m->base = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		       (off_t)start);
	if (m->base == MAP_FAILED) {
		rp_fail(err, EINVAL, "memory region %u cannot be mapped shared: %s", i,
			strerror(errno));
		free(m);
		return NULL;
	}
	madvise(m->base, m->bytes, MADV_DONTDUMP);
	m->guard = rp_sigbus_guard(m->base, m->bytes, lost, owner);
	if (m->guard < 0) {
		rp_fail(err, ENOSPC, "too many memory regions are mapped already");
		munmap(m->base, m->bytes);
		free(m);
		return NULL;
	}
	return m;
}

static void put_mapping(struct rp_mapping *m)
{
	if (--m->refs)
		return;
	rp_sigbus_unguard(m->guard);
	munmap(m->base, m->bytes);
	free(m);
}

static int add_region(struct rp_guestmem *mem, const struct rp_guestmem *old,
		      const struct rp_mem_slot *s, int fd, uint32_t i, void (*lost)(void *),
		      void *owner, struct rp_err *err)
{
	struct rp_mem_region *r = &mem->region[mem->n];
	const struct rp_mem_region *same;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) < 0)
		return rp_fail(err, EINVAL, "memory region %u has a bad descriptor: %s", i,
			       strerror(errno));
	same = find_same(old, s, fd >= 0 ? &st : NULL);
	if (same) {
		*r = *same;
	} else {
		struct rp_mapping *m;

		if (fd < 0)
			return rp_fail(err, EINVAL, "memory region %u came without a descriptor",
				       i);
		m = map_slot(s, fd, &st, i, lost, owner, err);
		if (!m)
			return -err->code;
		*r = (struct rp_mem_region){
			.guest_addr = s->guest_addr,
			.bytes = s->bytes,
			.user_addr = s->user_addr,
			.mmap_offset = s->mmap_offset,
			.host = m->base + m->skip,
			.mapping = m,
		};
	}
	r->mapping->refs++;
	mem->n++;
	return 0;
}

static int by_guest_addr(const void *a, const void *b)
{
	const struct rp_mem_region *x = a, *y = b;

	return x->guest_addr < y->guest_addr ? -1 : x->guest_addr > y->guest_addr;
}

struct rp_guestmem *rp_guestmem_new(const struct rp_guestmem *old, const struct rp_mem_slot *slot,
				    const int32_t *fd, uint32_t n, void (*lost)(void *owner),
				    void *owner, struct rp_err *err)
{
	struct rp_guestmem *mem;

	if (n > RP_MAX_MEM_SLOTS) {
		rp_fail(err, EINVAL, "%u memory regions; at most %d fit", n, RP_MAX_MEM_SLOTS);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (check_slot(&slot[i], i, err) < 0)
			return NULL;
	}
	if (check_overlap(slot, n, err) < 0 || check_total(slot, n, err) < 0)
		return NULL;
	mem = calloc(1, sizeof(*mem) + n * sizeof(mem->region[0]));
	if (!mem) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (add_region(mem, old, &slot[i], fd[i], i, lost, owner, err) < 0) {
			rp_guestmem_free(mem);
			return NULL;
		}
	}
	qsort(mem->region, n, sizeof(mem->region[0]), by_guest_addr);
	return mem;
}

void rp_guestmem_free(struct rp_guestmem *mem)
{
	if (!mem)
		return;
	for (uint32_t i = 0; i < mem->n; i++)
		put_mapping(mem->region[i].mapping);
	free(mem);
}

void *rp_guestmem_user(const struct rp_guestmem *mem, uint64_t user_addr, uint64_t bytes)
{
	for (uint32_t i = 0; mem && i < mem->n; i++) {
		const struct rp_mem_region *r = &mem->region[i];
		uint64_t offset = user_addr - r->user_addr;

		if (offset < r->bytes)
			return bytes <= r->bytes - offset ? r->host + offset : NULL;
	}
	return NULL;
}

uint64_t rp_guestmem_addr(const struct rp_guestmem *mem, uint32_t *hint, const void *at)
{
	/* Not in the order of pointers; but they are few, and the next one is often the same. */
	for (uint32_t i = 0; i < mem->n; i++) {
		uint32_t k = (*hint + i) % mem->n;
		uint64_t offset = (uint64_t)((const uint8_t *)at - mem->region[k].host);

		if (offset < mem->region[k].bytes) {
			*hint = k;
			return mem->region[k].guest_addr + offset;
		}
	}
	return UINT64_MAX;
}
