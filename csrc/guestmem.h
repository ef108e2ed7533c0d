/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_GUESTMEM_H
#define RP_GUESTMEM_H
/*
 * DOC: A guest's memory, as its front end described it.
 *
 * Every address in a descriptor is a guest-physical one, written by the guest.
 * rp_guestmem_at() is the only way from there to a pointer, and it never gives
 * one that leaves a region, whatever address and length were asked for.
 *
 *    guest-physical   0 |--- region 0 ---|   hole   |--- region 1 ---|
 *    here                     mapping 0                  mapping 1
 *
 * A table never changes. To add or remove regions, a new table is built, which
 * takes over the mappings that stay, put in place of the old one, and the old
 * one is freed when no worker can still use it (quiet.h).
 */
#include <stddef.h>
#include <stdint.h>

#include "ringpass.h"

/* Of a port: addresses are the whole process's, and a sparse file costs a front end nothing. */
#define RP_MAX_MEM_BYTES (UINT64_C(4) << 40)

struct rp_mapping;

struct rp_mem_region {
	uint64_t guest_addr;
	uint64_t bytes;
	uint64_t user_addr;
	uint64_t mmap_offset;
	uint8_t *host;
	struct rp_mapping *mapping;
};

struct rp_guestmem {
	uint32_t n;
	struct rp_mem_region region[]; /* by guest_addr, disjoint */
};

/**
 * rp_guestmem_new() - map a table
 * @old:	the table it will replace, or NULL; equal regions share its mappings
 * @slot:	@n descriptions
 * @fd:		@n descriptors, which stay the caller's; -1 where @old has the region
 * @lost:	called with @owner, from a signal handler, when the memory goes away
 *
 * Return: the table, or NULL with the reason in @err: EINVAL for descriptions
 * that are empty, overlap, overflow or exceed RP_MAX_MEM_BYTES in all, or for
 * files that are too short or not to be mapped shared
 */
struct rp_guestmem *rp_guestmem_new(const struct rp_guestmem *old, const struct rp_mem_slot *slot,
				    const int32_t *fd, uint32_t n, void (*lost)(void *owner),
				    void *owner, struct rp_err *err);
void rp_guestmem_free(struct rp_guestmem *mem);

/**
 * rp_guestmem_user() - a front end's own address, as it names ring areas
 *
 * Return: the pointer, or NULL unless all @bytes lie in one region
 */
void *rp_guestmem_user(const struct rp_guestmem *mem, uint64_t user_addr, uint64_t bytes);

/**
 * rp_guestmem_addr() - back from a pointer that this table gave
 * @hint:	index of the region that served the last call; updated
 *
 * Return: its guest-physical address; UINT64_MAX when it is of another table
 */
uint64_t rp_guestmem_addr(const struct rp_guestmem *mem, uint32_t *hint, const void *at);

/* rp_guestmem_end() - the first guest-physical address behind all regions */
static inline uint64_t rp_guestmem_end(const struct rp_guestmem *mem)
{
	return mem && mem->n ? mem->region[mem->n - 1].guest_addr + mem->region[mem->n - 1].bytes :
			       0;
}

/**
 * rp_guestmem_at() - a guest-physical address
 * @hint:	index of the region that served the last call, looked at first; updated
 * @bytes:	in: wanted, at least 1; out: how many of them lie in one piece
 *
 * Return: the pointer, or NULL when no region has the address
 */
static inline uint8_t *rp_guestmem_at(const struct rp_guestmem *mem, uint32_t *hint, uint64_t addr,
				      uint32_t *bytes)
{
	uint32_t low = 0, end = mem->n, at = *hint < end ? *hint : 0;

	/* A binary search, for the guest may have hundreds of regions and change between them. */
	for (; low < end; at = low + (end - low) / 2) {
		const struct rp_mem_region *r = &mem->region[at];
		uint64_t offset = addr - r->guest_addr;

		if (offset < r->bytes) {
			if (*bytes > r->bytes - offset)
				*bytes = (uint32_t)(r->bytes - offset);
			*hint = at;
			return r->host + offset;
		}
		if (addr < r->guest_addr)
			end = at;
		else
			low = at + 1;
	}
	return NULL;
}

#endif
