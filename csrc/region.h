/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_REGION_H
#define RP_REGION_H
/*
 * DOC: A region: what a front end may map. Drawn in abi/rp_abi.h.
 *
 * The memfd is sparse, as large as it will ever be (a power of two), and
 * sealed: its size is a promise that holds even if the peer is hostile.
 */
#include <stdint.h>

#include "ringpass.h"

struct rp_region {
	int fd;
	uint8_t *base;
	uint64_t bytes;
	uint64_t nifp_offset;
	uint64_t bufs_offset;
	uint32_t buf_bytes;
	uint32_t buf_count;
	uint32_t tx_rings; /* without the host ring that each direction has, too */
	uint32_t rx_rings;
	uint32_t slots;
};

/**
 * rp_region_new() - create, lay out and seal the region of one port
 * @cfg:	name, rings, slots and buffer size
 *
 * Every slot gets a buffer; the cursors are those of an empty ring.
 * Return: the region, or NULL with the reason in @err
 */
struct rp_region *rp_region_new(const struct rp_port_config *cfg, struct rp_err *err);
void rp_region_free(struct rp_region *r);

/* rp_region_ring() - ring @i in @dir (NETMAP_DIR_*); host rings are not counted */
struct netmap_ring *rp_region_ring(const struct rp_region *r, int dir, uint32_t i);

#endif
