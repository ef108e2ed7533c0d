/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: workers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane.h"

struct rp_worker *rp_find_worker(rp_dataplane *dp, int worker, struct rp_err *err)
{
	if (worker >= 0 && worker < RP_MAX_WORKERS && dp->worker[worker])
		return dp->worker[worker];
	rp_fail(err, ENOENT, "there is no worker %d", worker);
	return NULL;
}

static int check(const struct rp_worker_config *cfg, struct rp_err *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	if (cfg->policy < RP_POLICY_ADAPTIVE || cfg->policy > RP_POLICY_NOTIFY)
		return rp_fail(err, EINVAL, "there is no policy %d", cfg->policy);
	if (cfg->policy == RP_POLICY_SLEEP && (cfg->sleep_us == 0 || cfg->sleep_us > 1000000))
		return rp_fail(err, EINVAL, "naps of %u us; 1 to 1000000 are allowed",
			       cfg->sleep_us);
	if (cfg->cpu < -1 || cfg->cpu >= cpus)
		return rp_fail(err, EINVAL, "there is no processor %d; this machine has 0 to %ld",
			       cfg->cpu, cpus - 1);
	return 0;
}

static void free_worker(struct rp_worker *w)
{
	rp_caller_free(w->caller);
	free(w->duty);
	free(w);
}

int rp_worker_add(rp_dataplane *dp, const struct rp_worker_config *cfg, struct rp_err *err)
{
	struct rp_worker *w;
	int id = 0, ret;

	ret = check(cfg, err);
	if (ret < 0)
		return ret;
	w = calloc(1, sizeof(*w));
	if (!w || !(w->duty = calloc(1, sizeof(*w->duty)))) {
		free(w);
		return rp_fail(err, ENOMEM, "out of memory");
	}
	w->caller = rp_caller_new(dp, err);
	if (!w->caller) {
		ret = err ? -err->code : -ENOMEM;
		free_worker(w);
		return ret;
	}
	w->quiet = &dp->quiet;
	w->counters = dp->counters;
	w->cfg = *cfg;
	pthread_mutex_lock(&dp->lock);
	while (id < RP_MAX_WORKERS && dp->worker[id])
		id++;
	if (id == RP_MAX_WORKERS) {
		ret = rp_fail(err, ENOSPC, "there are %d workers already", RP_MAX_WORKERS);
	} else {
		w->count = &dp->counters->workers[id];
		*w->count = (struct rp_worker_counters){ .cpu = -1 };
		ret = rp_worker_start(w, err);
	}
	if (ret == 0)
		dp->worker[id] = w;
	else
		free_worker(w);
	pthread_mutex_unlock(&dp->lock);
	return ret < 0 ? ret : id;
}

int rp_worker_set(rp_dataplane *dp, int worker, const struct rp_worker_config *cfg,
		  struct rp_err *err)
{
	struct rp_worker *w;
	int ret = check(cfg, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&dp->lock);
	w = rp_find_worker(dp, worker, err);
	if (w)
		rp_worker_configure(w, cfg);
	pthread_mutex_unlock(&dp->lock);
	return w ? 0 : -ENOENT;
}

int rp_worker_del(rp_dataplane *dp, int worker, struct rp_err *err)
{
	struct rp_worker *w;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	w = rp_find_worker(dp, worker, err);
	if (!w) {
		ret = -ENOENT;
	} else if (w->duty->n) {
		ret = rp_fail(err, EBUSY, "worker %d still serves %u rings", worker, w->duty->n);
	} else {
		dp->worker[worker] = NULL;
		rp_worker_stop(w);
		free_worker(w);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static int replace_duty(rp_dataplane *dp, struct rp_worker *w, const struct rp_port *p, bool in,
			struct rp_err *err)
{
	struct rp_duty *old = w->duty;
	struct rp_duty *now = calloc(1, sizeof(*now) + (old->n + p->ntx) * sizeof(now->ep[0]));

	if (!now)
		return rp_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < old->n; i++) {
		if (old->ep[i]->port != p)
			now->ep[now->n++] = old->ep[i];
	}
	for (uint32_t i = 0; in && i < p->ntx; i++)
		now->ep[now->n++] = p->tx[i];
	rp_store_release(&w->duty, now);
	rp_worker_wake(w);
	rp_quiet_wait(&dp->quiet);
	free(old);
	return 0;
}

int rp_duty_move(rp_dataplane *dp, struct rp_endpoint *ep, struct rp_worker *from,
		 struct rp_worker *to, struct rp_err *err)
{
	struct rp_duty *old[] = { from->duty, to->duty };
	struct rp_duty *less = calloc(1, sizeof(*less) + old[0]->n * sizeof(less->ep[0]));
	struct rp_duty *more = calloc(1, sizeof(*more) + (old[1]->n + 1) * sizeof(more->ep[0]));

	if (!less || !more) {
		free(less);
		free(more);
		return rp_fail(err, ENOMEM, "out of memory");
	}
	for (uint32_t i = 0; i < old[0]->n; i++) {
		if (old[0]->ep[i] != ep)
			less->ep[less->n++] = old[0]->ep[i];
	}
	memcpy(more->ep, old[1]->ep, old[1]->n * sizeof(more->ep[0]));
	more->n = old[1]->n;
	more->ep[more->n++] = ep;
	/* One thread at a time: the old worker is done with the ring before the new one sees it. */
	rp_store_release(&from->duty, less);
	rp_quiet_wait(&dp->quiet);
	rp_store_release(&to->duty, more);
	rp_worker_wake(to);
	rp_quiet_wait(&dp->quiet);
	free(old[0]);
	free(old[1]);
	return 0;
}

/* Without a CSB nobody kicks for netmap rings. */
static int kick_of(const struct rp_port *p, uint32_t i)
{
	return p->csb ? p->kick_fd[i] : -1;
}

static void unwatch(struct rp_worker *w, const struct rp_port *p, uint32_t n)
{
	for (uint32_t i = 0; p->region && i < n; i++)
		rp_worker_unwatch(w, kick_of(p, i));
}

/* Virtqueues are watched when they start; netmap rings from the beginning. */
static int watch(struct rp_worker *w, const struct rp_port *p, struct rp_err *err)
{
	int ret = 0;

	for (uint32_t i = 0; p->region && ret == 0 && i < p->ntx; i++) {
		ret = rp_worker_watch(w, kick_of(p, i), p->tx[i]->record, err);
		if (ret < 0)
			unwatch(w, p, i);
	}
	return ret;
}

int rp_duty_add(rp_dataplane *dp, struct rp_worker *w, struct rp_port *p, struct rp_err *err)
{
	int ret = watch(w, p, err); /* before the worker goes to sleep with them */

	if (ret < 0)
		return ret;
	ret = replace_duty(dp, w, p, true, err);
	if (ret < 0)
		unwatch(w, p, p->ntx);
	return ret;
}

int rp_duty_del(rp_dataplane *dp, struct rp_worker *w, struct rp_port *p, struct rp_err *err)
{
	int ret = replace_duty(dp, w, p, false, err);

	if (ret == 0)
		unwatch(w, p, p->ntx);
	return ret;
}
