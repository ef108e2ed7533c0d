/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: the vhost-user front end of a port. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane.h"
#include "front_vhost.h"

uint64_t rp_vhost_offered(void)
{
	return rp_front_vhost_features();
}

static struct rp_port *find_vhost(rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_port *p = rp_find_port(dp, port, err);

	if (p && (p->region || p->kernel)) {
		rp_fail(err, EINVAL, "port %.63s has %s, not virtqueues", p->name,
			p->kernel ? "the kernel's descriptors" : "netmap rings");
		return NULL;
	}
	return p;
}

/* Virtqueues come in pairs: the guest's receive queue first. */
static struct rp_endpoint *find_vring(struct rp_port *p, uint32_t vring, struct rp_err *err)
{
	if (vring / 2 < p->ntx)
		return vring % 2 ? p->tx[vring / 2] : p->rx[vring / 2];
	rp_fail(err, EINVAL, "virtqueue %u of a port with %u queue pairs", vring, p->ntx);
	return NULL;
}

/* Find both, under the lock. */
static struct rp_endpoint *lock_vring(rp_dataplane *dp, int port, uint32_t vring,
				      struct rp_err *err)
{
	struct rp_endpoint *ep = NULL;
	struct rp_port *p;

	pthread_mutex_lock(&dp->lock);
	p = find_vhost(dp, port, err);
	if (p)
		ep = find_vring(p, vring, err);
	if (!ep)
		pthread_mutex_unlock(&dp->lock);
	return ep;
}

/* NULL: the port's users sync it themselves, and know when. */
static struct rp_worker *worker_of(const rp_dataplane *dp, const struct rp_endpoint *ep)
{
	return ep->port->worker < 0 ? NULL : dp->worker[ep->port->worker];
}

/* A ring moves frames when it was started, is enabled, and its port is not broken. */
static void update_live(rp_dataplane *dp, struct rp_endpoint *ep)
{
	bool live = rp_front_vhost_started(ep) && ep->enabled && !rp_port_broken(ep->port);
	struct rp_worker *w = worker_of(dp, ep);

	rp_store_release(&ep->live, live);
	/* It may be breaking just now: either we see that, or it sees the ring live and stops it. */
	rp_fence_full();
	if (rp_load(&ep->port->breaking))
		rp_store_release(&ep->live, 0);
	if (live && w && ep->dir == NETMAP_DIR_TX)
		rp_worker_wake(w); /* the guest may have kicked before */
}

static void stop_ring(rp_dataplane *dp, struct rp_endpoint *ep)
{
	struct rp_worker *w = worker_of(dp, ep);

	if (!rp_front_vhost_started(ep))
		return;
	rp_store_release(&ep->live, 0);
	if (w && ep->dir == NETMAP_DIR_TX)
		rp_worker_unwatch(w, rp_front_vhost_kick_fd(ep));
	rp_quiet_wait(&dp->quiet);
	rp_front_vhost_stop(ep);
}

void rp_vhost_stop_rings(rp_dataplane *dp, struct rp_port *p)
{
	for (uint32_t i = 0; i < p->ntx; i++)
		stop_ring(dp, p->tx[i]);
	for (uint32_t i = 0; i < p->nrx; i++)
		stop_ring(dp, p->rx[i]);
}

int rp_vhost_features(rp_dataplane *dp, int port, uint64_t features, struct rp_err *err)
{
	struct rp_port *p;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	p = find_vhost(dp, port, err);
	if (!p)
		ret = err ? -err->code : -ENOENT;
	else
		rp_store(&p->features, features);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static void memory_lost(void *owner)
{
	rp_port_break(owner, "the front end truncated the guest's memory");
}

/*
 * Put a new memory table in place. Rings that lie elsewhere in it pause while
 * they move; those that lie nowhere in it stop.
 */
static int replace_memory(rp_dataplane *dp, struct rp_port *p, struct rp_guestmem *now,
			  struct rp_err *err)
{
	struct rp_guestmem *old = p->mem;
	struct rp_err lost;

	for (uint32_t i = 0; i < 2 * p->ntx; i++) {
		struct rp_endpoint *ep = find_vring(p, i, err);

		if (!rp_front_vhost_remap(ep, now))
			continue;
		rp_store_release(&ep->live, 0);
		rp_quiet_wait(&dp->quiet);
		if (rp_front_vhost_move(ep, now, &lost) < 0)
			stop_ring(dp, ep);
	}
	rp_store_release(&p->mem, now);
	rp_store_release(&p->mem_gen, p->mem_gen + 1);
	rp_quiet_wait(&dp->quiet);
	rp_guestmem_free(old);
	for (uint32_t i = 0; i < 2 * p->ntx; i++)
		update_live(dp, find_vring(p, i, err));
	return 0;
}

/* Whatever is written can be logged, then, and nobody has to ask. */
static int check_log(const struct rp_dirty *log, const struct rp_guestmem *mem, struct rp_err *err)
{
	uint64_t covered = log ? log->pages * RP_DIRTY_PAGE : UINT64_MAX;

	if (rp_guestmem_end(mem) <= covered)
		return 0;
	return rp_fail(
		err, EINVAL,
		"the dirty log covers guest addresses up to %#llx, the guest's memory ends at %#llx",
		(unsigned long long)covered, (unsigned long long)rp_guestmem_end(mem));
}

static int set_memory(rp_dataplane *dp, struct rp_port *p, const struct rp_mem_slot *slots,
		      const int32_t *fds, uint32_t n, struct rp_err *err)
{
	/* A broken port may have lost its memory: map it anew then. */
	struct rp_guestmem *now = rp_guestmem_new(rp_port_broken(p) ? NULL : p->mem, slots, fds, n,
						  memory_lost, p, err);

	if (!now)
		return err ? -err->code : -EINVAL;
	if (check_log(p->log, now, err) < 0) {
		rp_guestmem_free(now);
		return -EINVAL;
	}
	return replace_memory(dp, p, now, err);
}

int rp_vhost_mem_set(rp_dataplane *dp, int port, const struct rp_mem_slot *slots,
		     const int32_t *fds, uint32_t n, struct rp_err *err)
{
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = find_vhost(dp, port, err);
	ret = p ? set_memory(dp, p, slots, fds, n, err) : -EINVAL;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

/* The table as it is, as descriptions; room for one more. */
static uint32_t current_slots(const struct rp_guestmem *mem, struct rp_mem_slot *slots,
			      int32_t *fds)
{
	uint32_t n = mem ? mem->n : 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct rp_mem_region *r = &mem->region[i];

		slots[i] = (struct rp_mem_slot){ r->guest_addr, r->bytes, r->user_addr,
						 r->mmap_offset };
		fds[i] = -1;
	}
	return n;
}

int rp_vhost_mem_add(rp_dataplane *dp, int port, const struct rp_mem_slot *slot, int32_t fd,
		     struct rp_err *err)
{
	struct rp_mem_slot slots[RP_MAX_MEM_SLOTS + 1];
	int32_t fds[RP_MAX_MEM_SLOTS + 1];
	struct rp_port *p;
	int ret = -EINVAL;

	pthread_mutex_lock(&dp->lock);
	p = find_vhost(dp, port, err);
	if (p && rp_port_broken(p)) {
		ret = rp_fail(err, EPIPE, "port %.63s is broken", p->name);
	} else if (p) {
		uint32_t n = current_slots(p->mem, slots, fds);

		slots[n] = *slot;
		fds[n] = fd;
		ret = set_memory(dp, p, slots, fds, n + 1, err);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_vhost_mem_del(rp_dataplane *dp, int port, const struct rp_mem_slot *slot, struct rp_err *err)
{
	struct rp_mem_slot slots[RP_MAX_MEM_SLOTS + 1];
	int32_t fds[RP_MAX_MEM_SLOTS + 1];
	uint32_t n = 0, kept = 0;
	struct rp_port *p;
	int ret = -EINVAL;

	pthread_mutex_lock(&dp->lock);
	p = find_vhost(dp, port, err);
	if (p)
		n = current_slots(p->mem, slots, fds);
	for (uint32_t i = 0; i < n; i++) {
		/* A front end names a region by its addresses and size, not by its offset. */
		if (slots[i].guest_addr != slot->guest_addr || slots[i].bytes != slot->bytes ||
		    slots[i].user_addr != slot->user_addr)
			slots[kept++] = slots[i];
	}
	if (p && kept == n)
		ret = rp_fail(err, EINVAL,
			      "there is no memory region at guest address %#llx of %llu bytes",
			      (unsigned long long)slot->guest_addr,
			      (unsigned long long)slot->bytes);
	else if (p)
		ret = set_memory(dp, p, slots, fds, kept, err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static void log_lost(void *owner)
{
	rp_port_break(owner, "the front end truncated its dirty log");
}

static void mark_all(const struct rp_dirty *log, const struct rp_guestmem *mem)
{
	for (uint32_t i = 0; mem && i < mem->n; i++)
		rp_dirty_mark_all(log, mem->region[i].guest_addr, mem->region[i].bytes);
}

int rp_vhost_log(rp_dataplane *dp, int port, int32_t fd, uint64_t offset, uint64_t bytes,
		 int everything, struct rp_err *err)
{
	struct rp_dirty *log = NULL;
	struct rp_port *p;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	p = find_vhost(dp, port, err);
	if (!p)
		ret = -ENOENT;
	else if (fd >= 0 && !(log = rp_dirty_new(fd, offset, bytes, log_lost, p, err)))
		ret = -EINVAL;
	else
		ret = check_log(log, p->mem, err);
	if (ret == 0) {
		struct rp_dirty *old = p->log;

		/* Whoever wrote without a log, or with the old one, is done when this returns. */
		rp_store_release(&p->log, log);
		rp_quiet_wait(&dp->quiet);
		if (log && everything)
			mark_all(log, p->mem);
		log = old;
	}
	rp_dirty_free(log);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static int start_ring(rp_dataplane *dp, struct rp_endpoint *ep, const struct rp_vring_config *cfg,
		      struct rp_err *err)
{
	struct rp_worker *w = worker_of(dp, ep);
	int ret;

	if (rp_port_broken(ep->port))
		return rp_fail(err, EPIPE, "port %.63s is broken: %.127s", ep->port->name,
			       ep->port->reason);
	if (!ep->port->mem)
		return rp_fail(err, EINVAL,
			       "the front end did not describe the guest's memory yet");
	ret = rp_front_vhost_start(ep, cfg, err);
	if (ret == 0 && w && ep->dir == NETMAP_DIR_TX) {
		ret = rp_worker_watch(w, rp_front_vhost_kick_fd(ep), ep->record, err);
		if (ret < 0)
			rp_front_vhost_stop(ep);
	}
	if (ret == 0)
		update_live(dp, ep);
	return ret;
}

int rp_vhost_ring_start(rp_dataplane *dp, int port, uint32_t vring,
			const struct rp_vring_config *cfg, struct rp_err *err)
{
	struct rp_endpoint *ep = lock_vring(dp, port, vring, err);
	int ret;

	if (!ep)
		return -EINVAL;
	ret = start_ring(dp, ep, cfg, err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_vhost_ring_call(rp_dataplane *dp, int port, uint32_t vring, int32_t call_fd,
		       struct rp_err *err)
{
	struct rp_endpoint *ep = lock_vring(dp, port, vring, err);
	rp_call_t old = RP_CALL_NONE;
	int ret;

	if (!ep)
		return -EINVAL;
	ret = rp_front_vhost_set_call(ep, call_fd, &old, err);
	if (ret == 0) {
		/* A closed descriptor's number may be another file's at once. */
		rp_quiet_wait(&dp->quiet);
		rp_call_close(old);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_vhost_ring_enable(rp_dataplane *dp, int port, uint32_t vring, int on, struct rp_err *err)
{
	struct rp_endpoint *ep = lock_vring(dp, port, vring, err);

	if (!ep)
		return -EINVAL;
	ep->enabled = on;
	update_live(dp, ep);
	if (!on) {
		rp_quiet_wait(&dp->quiet);
		rp_endpoint_call(ep); /* its worker does not look at it any more */
	}
	pthread_mutex_unlock(&dp->lock);
	return 0;
}

int rp_vhost_ring_stop(rp_dataplane *dp, int port, uint32_t vring, uint32_t *base,
		       struct rp_err *err)
{
	struct rp_endpoint *ep = lock_vring(dp, port, vring, err);

	if (!ep)
		return -EINVAL;
	stop_ring(dp, ep);
	*base = rp_front_vhost_base(ep);
	pthread_mutex_unlock(&dp->lock);
	return 0;
}
