/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The facade: communication blocks outside the region, in memory of a guest.
 *
 * The guest's QEMU names the memory, and can take it away at any time: then the port breaks, and
 * its workers go on in memory of nobody (sigbus.h) until its last open ends.
 */
#include <errno.h>

#include "dataplane.h"
#include "front_rings.h"

enum { PAGE = 4096, RECORD = 64 };

static_assert(sizeof(struct nm_csb_atok) == RECORD && sizeof(struct nm_csb_ktoa) == RECORD,
	      "records of both arrays have one size");
static_assert(2 * RP_PORT_RINGS * RECORD <= PAGE, "all rings of a port fit a page");

static uint32_t array_bytes(const struct rp_port *p)
{
	return (p->ntx + p->nrx) * RECORD;
}

static bool fits(const struct rp_port *p, uint64_t offset)
{
	return offset % RECORD == 0 && offset % PAGE + array_bytes(p) <= PAGE;
}

static bool all_open(const struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		const int dir = i < p->ntx ? NETMAP_DIR_TX : NETMAP_DIR_RX;

		if (!p->bound[dir][i < p->ntx ? i : i - p->ntx])
			return false;
	}
	return true;
}

static int check(const struct rp_port *p, const struct rp_csb_config *cfg, struct rp_err *err)
{
	if (!p->csb || p->ops->links || p->ops->receives_only)
		return rp_fail(err, EOPNOTSUPP,
			       "the communication blocks of %.63s are also for others to read",
			       p->name);
	if (!all_open(p) || p->mem)
		return rp_fail(err, EBUSY,
			       p->mem ? "port %.63s has communication blocks elsewhere already" :
					"nobody has all rings of port %.63s open",
			       p->name);
	if (!fits(p, cfg->atok_offset) || !fits(p, cfg->ktoa_offset))
		return rp_fail(err, EINVAL,
			       "communication blocks at %#llx and %#llx: %u bytes each, at a "
			       "multiple of %d and within a page, are needed",
			       (unsigned long long)cfg->atok_offset,
			       (unsigned long long)cfg->ktoa_offset, array_bytes(p), RECORD);
	return 0;
}

static void memory_lost(void *owner)
{
	rp_port_break(owner, "the guest's memory with the communication blocks was truncated");
}

/* Both arrays; "addresses" just tell them apart. */
static struct rp_guestmem *map(struct rp_port *p, const struct rp_csb_config *cfg,
			       struct rp_err *err)
{
	const struct rp_mem_slot slots[] = {
		{ .bytes = array_bytes(p), .mmap_offset = cfg->atok_offset },
		{ .guest_addr = PAGE,
		  .bytes = array_bytes(p),
		  .user_addr = PAGE,
		  .mmap_offset = cfg->ktoa_offset },
	};
	const int32_t fds[] = { cfg->atok_fd, cfg->ktoa_fd };

	return rp_guestmem_new(NULL, slots, fds, 2, memory_lost, p, err);
}

static void stop(rp_dataplane *dp, const struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx; i++)
		rp_store_release(&p->tx[i]->live, 0);
	for (uint32_t i = 0; i < p->nrx; i++)
		rp_store_release(&p->rx[i]->live, 0);
	rp_quiet_wait(&dp->quiet);
}

static void start(rp_dataplane *dp, struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		struct rp_endpoint *ep = i < p->ntx ? p->tx[i] : p->rx[i - p->ntx];

		rp_store_release(&ep->live, rp_ring_in_use(p, ep->dir, ep->ring));
		/* Pairs with rp_port_break(): whoever breaks the port now stops it, or is seen. */
		rp_fence_full();
		if (rp_load_acquire(&p->breaking))
			rp_store_release(&ep->live, 0);
	}
	if (p->worker >= 0)
		rp_worker_wake(dp->worker[p->worker]);
}

static void move(struct rp_port *p, enum rp_begin how)
{
	struct nm_csb_atok *atok = rp_guestmem_user(p->mem, 0, array_bytes(p));
	struct nm_csb_ktoa *ktoa = rp_guestmem_user(p->mem, PAGE, array_bytes(p));

	for (uint32_t i = 0; i < p->ntx + p->nrx; i++) {
		struct rp_endpoint *ep = i < p->ntx ? p->tx[i] : p->rx[i - p->ntx];

		rp_front_rings_csb(ep, &atok[i], &ktoa[i]);
		rp_front_rings_begin(ep, how);
		if (how != RP_BEGIN_NEW)
			ep->ops->notify(ep); /* its user may have waited meanwhile */
	}
}

static int place(rp_dataplane *dp, struct rp_port *p, const struct rp_csb_config *cfg,
		 struct rp_err *err)
{
	struct rp_guestmem *mem;
	int ret = check(p, cfg, err);

	if (ret < 0)
		return ret;
	mem = map(p, cfg, err);
	if (!mem)
		return -err->code;
	stop(dp, p);
	p->mem = mem;
	if (p->region->resuming)
		move(p, RP_BEGIN_AS_IT_IS);
	else
		move(p, cfg->go_on ? RP_BEGIN_AT_HEAD : RP_BEGIN_NEW);
	start(dp, p);
	return 0;
}

int rp_port_csb(rp_dataplane *dp, int port, const struct rp_csb_config *cfg, struct rp_err *err)
{
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	ret = p ? place(dp, p, cfg, err) : -err->code;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

void rp_leave_csb(struct rp_port *p)
{
	if (!p->region || !p->mem)
		return;
	for (uint32_t i = 0; i < p->ntx; i++)
		rp_front_rings_csb(p->tx[i], NULL, NULL);
	for (uint32_t i = 0; i < p->nrx; i++)
		rp_front_rings_csb(p->rx[i], NULL, NULL);
	rp_guestmem_free(p->mem);
	p->mem = NULL;
}
