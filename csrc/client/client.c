/* SPDX-License-Identifier: BSD-2-Clause */
/* Mapping what the backend described, and taking it apart again. */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A descriptor by its number in the message; -1 for none. */
static bool take_fd(const int *fds, uint32_t nfds, int16_t number, int *fd)
{
	*fd = number < 0 ? -1 : number < (int)nfds ? fds[number] : -1;
	return number < (int)nfds;
}

static bool open_ring(struct rp_client *c, struct client_ring *r, const struct rp_nm_ring *in)
{
	*r = (struct client_ring){
		.dir = in->dir, .index = in->index, .flags = in->flags, .kicked_at = RP_NOT_KICKED
	};
	if (!rp_csb_ring_open(&r->at, &c->view, in->csb) || in->dir > NETMAP_DIR_TX ||
	    in->ring_offset != (uint64_t)((uint8_t *)r->at.ring - c->view.base))
		return false;
	if (in->peer_csb != RP_NO_CSB &&
	    (!rp_csb_ring_open(&r->peer, &c->view, in->peer_csb) || r->peer.slots != r->at.slots))
		return false;
	return take_fd(c->fds, c->nfds, in->kick, &r->kick_fd) &&
	       take_fd(c->fds, c->nfds, in->call, &r->call_fd) &&
	       take_fd(c->fds, c->nfds, in->peer_call, &r->peer_call_fd);
}

static bool map(struct rp_client *c, uint64_t bytes)
{
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fds[0], 0);

	if (base == MAP_FAILED)
		return false;
	if (rp_view_open(&c->view, base, bytes))
		return true;
	munmap(base, bytes);
	c->view.base = NULL;
	errno = EPROTO;
	return false;
}

static struct rp_client *refuse(const int *fds, uint32_t nfds, int error)
{
	for (uint32_t i = 0; i < nfds; i++)
		close(fds[i]);
	errno = error;
	return NULL;
}

rp_client *rp_client_open(const void *attachment, uint32_t bytes, const int *fds, uint32_t nfds)
{
	const struct rp_nm_ring *rings;
	struct rp_nm_attachment a;
	struct rp_client *c;

	if (bytes < sizeof(a))
		return refuse(fds, nfds, EPROTO);
	memcpy(&a, attachment, sizeof(a));
	if (nfds == 0 || nfds != a.nfds || (bytes - sizeof(a)) / sizeof(*rings) < a.nrings)
		return refuse(fds, nfds, EPROTO);
	c = calloc(1, sizeof(*c) + a.nrings * sizeof(c->ring[0]));
	if (!c || !(c->fds = malloc(nfds * sizeof(*fds)))) {
		free(c);
		return refuse(fds, nfds, ENOMEM);
	}
	memcpy(c->fds, fds, nfds * sizeof(*fds));
	c->nfds = nfds;
	c->nifp_offset = a.nifp_offset;
	c->mem_id = a.mem_id;
	rings = (const void *)((const uint8_t *)attachment + sizeof(a));
	if (!map(c, a.region_bytes))
		goto fail;
	while (c->nrings < a.nrings) {
		struct rp_nm_ring in;

		memcpy(&in, &rings[c->nrings], sizeof(in));
		if (!open_ring(c, &c->ring[c->nrings], &in)) {
			errno = EPROTO;
			goto fail;
		}
		c->nrings++;
	}
	return c;
fail:
	rp_client_close(c);
	return NULL;
}

void rp_client_close(rp_client *c)
{
	const int error = errno;

	if (!c)
		return;
	if (c->view.base)
		munmap(c->view.base, c->view.bytes);
	for (uint32_t i = 0; i < c->nfds; i++)
		close(c->fds[i]);
	free(c->fds);
	free(c);
	errno = error;
}

void *rp_client_base(const rp_client *c)
{
	return c->view.base;
}

uint64_t rp_client_bytes(const rp_client *c)
{
	return c->view.bytes;
}

int rp_client_region_fd(const rp_client *c)
{
	return c->fds[0];
}

uint64_t rp_client_nifp_offset(const rp_client *c)
{
	return c->nifp_offset;
}

uint32_t rp_client_mem_id(const rp_client *c)
{
	return c->mem_id;
}

uint32_t rp_client_rings(const rp_client *c)
{
	return c->nrings;
}

uint64_t rp_client_ring_offset(const rp_client *c, uint32_t ring)
{
	return (uint64_t)((const uint8_t *)c->ring[ring].at.ring - c->view.base);
}

uint32_t rp_client_ring_dir(const rp_client *c, uint32_t ring)
{
	return c->ring[ring].dir;
}

uint32_t rp_client_ring_index(const rp_client *c, uint32_t ring)
{
	return c->ring[ring].index;
}

uint32_t rp_client_ring_flags(const rp_client *c, uint32_t ring)
{
	return c->ring[ring].flags;
}

int rp_client_call_fd(const rp_client *c, uint32_t ring)
{
	return c->ring[ring].call_fd;
}
