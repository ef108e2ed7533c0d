/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: life of a data plane, and of the callers that embed it. */
#include "dataplane.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sigbus.h"

static const char *const drop_names[] = {
	[RP_DROP_FULL] = "full",     [RP_DROP_SHORT] = "short",	    [RP_DROP_MTU] = "mtu",
	[RP_DROP_FRAGS] = "frags",   [RP_DROP_HEADER] = "header",   [RP_DROP_SELF] = "self",
	[RP_DROP_NOBODY] = "nobody", [RP_DROP_DOWN] = "down",	    [RP_DROP_BROKEN] = "broken",
	[RP_DROP_RESET] = "reset",   [RP_DROP_DISCARD] = "discard", [RP_DROP_LOGIC] = "logic",
	[RP_DROP_MISSED] = "missed", [RP_DROP_RESTART] = "restart",
};

static_assert(sizeof(drop_names) / sizeof(drop_names[0]) == RP_DROP_REASONS,
	      "a name for every reason");

const char *rp_drop_name(int reason)
{
	return reason >= 0 && reason < RP_DROP_REASONS ? drop_names[reason] : NULL;
}

static struct rp_counters *map_counters(int fd, struct rp_err *err)
{
	struct rp_counters *c = MAP_FAILED;
	struct stat ns;

	/* Truncating first clears what an earlier run left behind. */
	if (ftruncate(fd, 0) == 0 && ftruncate(fd, sizeof(*c)) == 0)
		c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED) {
		rp_fail(err, errno, "cannot map the counters file: %s", strerror(errno));
		return NULL;
	}
	c->version = RP_COUNTERS_VERSION;
	c->ring_records = RP_COUNTERS_RINGS;
	c->worker_records = RP_COUNTERS_WORKERS;
	c->reasons = RP_DROP_REASONS;
	c->rings_offset = offsetof(struct rp_counters, rings);
	c->workers_offset = offsetof(struct rp_counters, workers);
	for (int i = 0; i < RP_DROP_REASONS; i++)
		snprintf(c->reason_names[i], sizeof(c->reason_names[i]), "%s", drop_names[i]);
	c->pid = (uint64_t)getpid();
	c->pid_ns = stat("/proc/self/ns/pid", &ns) == 0 ? ns.st_ino : 0;
	c->started_ns = rp_now_ns();
	rp_store_release(&c->magic, RP_COUNTERS_MAGIC);
	return c;
}

rp_dataplane *rp_dataplane_new(int state_fd, int counters_fd, struct rp_err *err)
{
	rp_dataplane *dp = aligned_alloc(64, (sizeof(*dp) + 63) / 64 * 64);

	if (!dp) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	memset(dp, 0, sizeof(*dp));
	pthread_mutex_init(&dp->lock, NULL);
	rp_quiet_init(&dp->quiet);
	dp->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dp->event_fd < 0)
		rp_fail(err, errno, "cannot make an eventfd: %s", strerror(errno));
	else if (rp_sigbus_install(err) == 0 && (dp->state = rp_state_map(state_fd, err)) &&
		 (dp->counters = map_counters(counters_fd, err)))
		return dp;
	rp_dataplane_free(dp);
	return NULL;
}

void rp_dataplane_free(rp_dataplane *dp)
{
	if (!dp)
		return;
	for (int i = 0; i < RP_MAX_PORTS; i++) {
		if (dp->port[i])
			rp_port_del(dp, i, NULL);
	}
	for (int i = 1; i <= RP_MAX_REGIONS; i++) {
		if (dp->region[i])
			rp_region_del(dp, i, NULL);
	}
	for (int i = 0; i < RP_MAX_WORKERS; i++) {
		if (dp->worker[i])
			rp_worker_del(dp, i, NULL);
	}
	for (int i = 0; i < RP_MAX_SWITCHES; i++) {
		if (dp->sw[i])
			rp_switch_del(dp, i, NULL);
	}
	rp_relays_free(dp->relays);
	if (dp->counters)
		munmap(dp->counters, sizeof(*dp->counters));
	if (dp->state)
		rp_state_unmap(dp->state);
	if (dp->event_fd >= 0)
		close(dp->event_fd);
	pthread_mutex_destroy(&dp->lock);
	free(dp);
}

int rp_dataplane_event_fd(rp_dataplane *dp)
{
	return dp->event_fd;
}

rp_caller *rp_caller_new(rp_dataplane *dp, struct rp_err *err)
{
	rp_caller *c = calloc(1, sizeof(*c));

	if (!c || !(c->quiet = rp_quiet_join(&dp->quiet))) {
		rp_fail(err, c ? ENOSPC : ENOMEM,
			c ? "all of the %d places for threads that move frames are taken" :
			    "out of memory",
			RP_MAX_THREADS);
		free(c);
		return NULL;
	}
	c->dp = dp;
	c->thread = (uint32_t)(c->quiet - dp->quiet.thread);
	rp_forward_init(&c->forward);
	rp_monitor_init(&c->monitor);
	return c;
}

void rp_caller_free(rp_caller *caller)
{
	if (!caller)
		return;
	rp_quiet_part(caller->quiet);
	free(caller);
}

/* Ports may be removed at any time: one is looked up inside, and used until leaving. */
static struct rp_port *enter_port(rp_caller *c, int port)
{
	struct rp_port *p;

	rp_quiet_enter(&c->dp->quiet, c->quiet);
	p = port >= 0 && port < RP_MAX_PORTS ? rp_load_acquire(&c->dp->port[port]) : NULL;
	if (!p)
		rp_quiet_leave(c->quiet);
	return p;
}

int rp_port_txsync(rp_caller *caller, int port, uint32_t ring)
{
	struct rp_port *p = enter_port(caller, port);
	unsigned moved = 0, n;
	int ret;

	if (!p)
		return -ENOENT;
	caller->now_s = rp_now_s();
	if (ring >= p->ntx || p->worker >= 0) {
		ret = ring >= p->ntx ? -EINVAL : -EBUSY;
	} else if (p->ops->receives_only) {
		ret = -EIO;
	} else {
		/* What was there: whoever goes on filling it must not keep us inside. */
		while (moved < RP_MAX_SLOTS && rp_endpoint_live(p->tx[ring]) &&
		       (n = p->ops->txsync(caller, p->tx[ring])))
			moved += n;
		/* Who knows when it is synced again: a call that is awaited must not wait longer. */
		rp_endpoint_call(p->tx[ring]);
		ret = rp_port_broken(p) ? -EPIPE : (int)moved;
	}
	rp_quiet_leave(caller->quiet);
	return ret;
}

int rp_port_rxsync(rp_caller *caller, int port, uint32_t ring)
{
	struct rp_port *p = enter_port(caller, port);
	int ret;

	if (!p)
		return -ENOENT;
	if (ring >= p->nrx || !p->rx[ring]->ops->sync)
		ret = -EINVAL;
	else if (!rp_endpoint_live(p->rx[ring]))
		ret = rp_port_broken(p) ? -EPIPE : -ENETDOWN;
	else
		ret = p->rx[ring]->ops->sync(p->rx[ring]) < 0 ? -EPIPE : 0;
	rp_quiet_leave(caller->quiet);
	return ret;
}
