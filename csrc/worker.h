/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_WORKER_H
#define RP_WORKER_H
/*
 * DOC: A worker: a helper thread that runs the syncs of the tx rings given to it.
 *
 *   for ever: quiet point; txsync every live ring; nothing moved?
 *             spin, nap, or go to sleep:
 *
 *      arm      ask every front end for a kick
 *      fence    abi/rp_barrier.h says why
 *      recheck  did one send meanwhile? then no sleep
 *      sleep    on the kicks of all rings, and on the worker's own wake_fd
 *
 * A worker never calls Python. The control plane changes its list of rings by
 * replacing it.
 */
#include <pthread.h>
#include <stdint.h>

#include "caller.h"
#include "endpoint.h"
#include "idle.h"
#include "ringpass.h"

/* The tx rings of a worker; replaced, never changed. */
struct rp_duty {
	uint32_t n;
	struct rp_endpoint *ep[];
};

struct rp_worker {
	struct rp_caller *caller;
	const struct rp_quiet *quiet;
	struct rp_counters *counters;
	struct rp_worker_counters *count;
	struct rp_duty *duty;
	uint32_t first; /* of the duty, whose turn it is */
	struct rp_worker_config cfg;
	uint32_t cfg_gen; /* grows when cfg changes, under cfg_lock */
	struct rp_lock cfg_lock;
	uint32_t polled; /* live rings without a kick descriptor */
	uint32_t stop;
	int epoll_fd;
	int wake_fd;
	pthread_t thread;
};

/**
 * rp_worker_start() - start the thread
 * @w:		caller, quiet, counters, count, duty and cfg are set
 */
int rp_worker_start(struct rp_worker *w, struct rp_err *err);
void rp_worker_stop(struct rp_worker *w);
void rp_worker_configure(struct rp_worker *w, const struct rp_worker_config *cfg);

/* rp_worker_wake() - look at everything anew */
void rp_worker_wake(struct rp_worker *w);

/**
 * rp_worker_watch() - let kicks on @fd, counted on @record, wake the worker
 * @fd:		-1: there is no such descriptor, the ring must be polled
 */
int rp_worker_watch(struct rp_worker *w, int fd, uint32_t record, struct rp_err *err);
void rp_worker_unwatch(struct rp_worker *w, int fd);

#endif
