/* SPDX-License-Identifier: BSD-2-Clause */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "err.h"

enum { PAGE = 4096, HOST_RINGS = 1, RING_ALIGN = 128 };

/* A slot's length has 16 bits. */
enum { BUF_BYTES_MAX = UINT16_MAX / 64 * 64 };

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static uint64_t power_of_two(uint64_t n)
{
	uint64_t p = PAGE;

	while (p < n)
		p *= 2;
	return p;
}

static uint64_t ring_bytes(uint32_t slots)
{
	return round_up(sizeof(struct netmap_ring) + slots * sizeof(struct netmap_slot),
			RING_ALIGN);
}

/* The if pool holds one netmap_if; ring_ofs[] has a place for host rings as well. */
static uint64_t nifp_bytes(const struct rp_region *r)
{
	uint64_t rings = r->tx_rings + r->rx_rings + 2 * HOST_RINGS;

	return sizeof(struct netmap_if) + rings * sizeof(int64_t);
}

static uint64_t rings_offset(const struct rp_region *r)
{
	return round_up(r->nifp_offset + nifp_bytes(r), PAGE);
}

struct netmap_ring *rp_region_ring(const struct rp_region *r, int dir, uint32_t i)
{
	uint32_t at = dir == NETMAP_DIR_TX ? i : r->tx_rings + i;

	return (struct netmap_ring *)(void *)(r->base + rings_offset(r) +
					      at * ring_bytes(r->slots));
}

static int check(const struct rp_port_config *cfg, struct rp_err *err)
{
	if (cfg->tx_rings == 0 || cfg->tx_rings > RP_PORT_RINGS || cfg->rx_rings == 0 ||
	    cfg->rx_rings > RP_PORT_RINGS)
		return rp_fail(err, EINVAL, "%u tx and %u rx rings; 1 to %d of each are allowed",
			       cfg->tx_rings, cfg->rx_rings, RP_PORT_RINGS);
	if (cfg->slots < 2 || cfg->slots > RP_MAX_SLOTS)
		return rp_fail(err, EINVAL, "rings of %u slots; 2 to %d are allowed", cfg->slots,
			       RP_MAX_SLOTS);
	if (cfg->buf_bytes < 64 || cfg->buf_bytes > BUF_BYTES_MAX || cfg->buf_bytes % 64)
		return rp_fail(err, EINVAL,
			       "buffers of %u bytes; a multiple of 64 up to %d is allowed",
			       cfg->buf_bytes, BUF_BYTES_MAX);
	return 0;
}

static void lay_out_ring(struct rp_region *r, const struct rp_port_config *cfg, int dir, uint32_t i,
			 uint32_t *buf)
{
	struct netmap_ring *ring = rp_region_ring(r, dir, i);

	ring->buf_ofs = r->base + r->bufs_offset - (uint8_t *)ring;
	ring->num_slots = cfg->slots;
	ring->nr_buf_size = cfg->buf_bytes;
	ring->ringid = (uint16_t)i;
	ring->dir = (uint16_t)dir;
	ring->tail = dir == NETMAP_DIR_TX ? cfg->slots - 1 : 0;
	for (uint32_t s = 0; s < cfg->slots; s++)
		ring->slot[s].buf_idx = (*buf)++;
}

static void lay_out(struct rp_region *r, const struct rp_port_config *cfg)
{
	struct netmap_if *nifp = (struct netmap_if *)(void *)(r->base + r->nifp_offset);
	struct rp_directory *d = (struct rp_directory *)(void *)r->base;
	uint32_t buf = NETMAP_BUF_RESERVED;
	uint32_t at = 0;

	*d = (struct rp_directory){
		.magic = RP_DIRECTORY_MAGIC,
		.version = RP_DIRECTORY_VERSION,
		.region_bytes = r->bytes,
		.nifp_offset = r->nifp_offset,
		.bufs_offset = r->bufs_offset,
		.buf_bytes = r->buf_bytes,
		.buf_count = r->buf_count,
	};
	snprintf(d->port, sizeof(d->port), "%s", cfg->name);

	snprintf(nifp->ni_name, sizeof(nifp->ni_name), "%.15s", cfg->name);
	nifp->ni_version = NETMAP_API;
	nifp->ni_flags = NI_PRIV_MEM;
	nifp->ni_tx_rings = cfg->tx_rings;
	nifp->ni_rx_rings = cfg->rx_rings;
	nifp->ni_host_tx_rings = nifp->ni_host_rx_rings = HOST_RINGS;
	for (uint32_t i = 0; i < cfg->tx_rings; i++, at++) {
		lay_out_ring(r, cfg, NETMAP_DIR_TX, i, &buf);
		nifp->ring_ofs[at] =
			(uint8_t *)rp_region_ring(r, NETMAP_DIR_TX, i) - (uint8_t *)nifp;
	}
	at += HOST_RINGS; /* their offsets stay 0: not there */
	for (uint32_t i = 0; i < cfg->rx_rings; i++, at++) {
		lay_out_ring(r, cfg, NETMAP_DIR_RX, i, &buf);
		nifp->ring_ofs[at] =
			(uint8_t *)rp_region_ring(r, NETMAP_DIR_RX, i) - (uint8_t *)nifp;
	}
}

struct rp_region *rp_region_new(const struct rp_port_config *cfg, struct rp_err *err)
{
	struct rp_region *r;

	if (check(cfg, err) < 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	r->tx_rings = cfg->tx_rings;
	r->rx_rings = cfg->rx_rings;
	r->slots = cfg->slots;
	r->buf_bytes = cfg->buf_bytes;
	r->buf_count = (cfg->tx_rings + cfg->rx_rings) * cfg->slots + NETMAP_BUF_RESERVED;
	r->nifp_offset = RP_DIRECTORY_BYTES;
	r->bufs_offset = round_up(
		rings_offset(r) + (cfg->tx_rings + cfg->rx_rings) * ring_bytes(cfg->slots), PAGE);
	r->bytes = power_of_two(r->bufs_offset + (uint64_t)r->buf_count * r->buf_bytes);
	r->base = MAP_FAILED;
	r->fd = memfd_create(cfg->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd >= 0 && ftruncate(r->fd, (off_t)r->bytes) == 0 &&
	    fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		r->base = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->base == MAP_FAILED) {
		rp_fail(err, errno, "cannot make a region of %llu bytes: %s",
			(unsigned long long)r->bytes, strerror(errno));
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return NULL;
	}
	lay_out(r, cfg);
	return r;
}

void rp_region_free(struct rp_region *r)
{
	if (!r)
		return;
	munmap(r->base, r->bytes);
	close(r->fd);
	free(r);
}
