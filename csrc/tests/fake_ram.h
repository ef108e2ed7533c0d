/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FAKE_RAM_H
#define RP_FAKE_RAM_H
/*
 * DOC: Guest-physical memory, made of memfds that the data plane maps through
 * the facade as it maps the memory of QEMU.
 *
 *   guest-physical   ...| region 0 | region 1 |   hole   | region 2 |...
 *   here             base + (address - FAKE_RAM_BASE); holes are not accessible
 */
#include <stdint.h>

#include "ringpass.h"

enum { FAKE_REGIONS = 8, FAKE_RAM_BASE = 0x40000000 };

/* The front end's own addresses of guest memory: no arithmetic maps them to guest-physical ones. */
#define FAKE_USER_BASE UINT64_C(0x7f1000000000)

struct fake_region {
	int fd;
	struct rp_mem_slot slot;
};

struct fake_ram {
	uint8_t *base;
	uint64_t span; /* reserved addresses, from FAKE_RAM_BASE on */
	uint64_t next; /* guest address of the first byte that is not handed out */
	uint32_t n;
	struct fake_region region[FAKE_REGIONS];
};

/**
 * fake_ram_open() - reserve guest-physical addresses
 * @span:	bytes from FAKE_RAM_BASE on; there is no memory yet
 */
void fake_ram_open(struct fake_ram *ram, uint64_t span);
void fake_ram_close(struct fake_ram *ram);

/**
 * fake_ram_plug() - put memory at a guest-physical address
 * @addr:	a multiple of 4096
 * @file_skip:	where in its own file it begins, a multiple of 4096
 *
 * Return: its number
 */
unsigned fake_ram_plug(struct fake_ram *ram, uint64_t addr, uint64_t bytes, uint64_t file_skip);

/* fake_ram_alloc() - @bytes of memory, never freed. Return: the guest address */
uint64_t fake_ram_alloc(struct fake_ram *ram, uint64_t bytes, uint64_t align);

static inline void *fake_ram_at(const struct fake_ram *ram, uint64_t addr)
{
	return ram->base + (addr - FAKE_RAM_BASE);
}

/* fake_ram_user() - the front end's own address of a guest address */
uint64_t fake_ram_user(const struct fake_ram *ram, uint64_t addr);

/* fake_ram_share() - give all regions to a port, as VHOST_USER_SET_MEM_TABLE does */
int fake_ram_share(const struct fake_ram *ram, rp_dataplane *dp, int port, struct rp_err *err);

#endif
