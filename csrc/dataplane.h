/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_DATAPLANE_H
#define RP_DATAPLANE_H
/*
 * What the facade's files share: the tables of objects, and the one lock that
 * every call that changes something takes.
 */
#include <pthread.h>
#include <stdint.h>

#include "caller.h"
#include "err.h"
#include "port.h"
#include "quiet.h"
#include "ringpass.h"
#include "state.h"
#include "switch.h"
#include "worker.h"

struct rp_dataplane {
	pthread_mutex_t lock;
	struct rp_quiet quiet;
	struct rp_state *state;
	struct rp_counters *counters;
	struct rp_switch *sw[RP_MAX_SWITCHES];
	struct rp_port *port[RP_MAX_PORTS];
	struct rp_worker *worker[RP_MAX_WORKERS];
	int event_fd;
};

/* Find an object by its number; NULL, with ENOENT in @err, when there is none. Under the lock. */
struct rp_switch *rp_find_switch(rp_dataplane *dp, int sw, struct rp_err *err);
struct rp_port *rp_find_port(rp_dataplane *dp, int port, struct rp_err *err);
struct rp_worker *rp_find_worker(rp_dataplane *dp, int worker, struct rp_err *err);

/* Replace a switch's members or a worker's rings, and wait until nobody uses the old ones. */
int rp_switch_join(rp_dataplane *dp, struct rp_switch *sw, struct rp_port *p, struct rp_err *err);
int rp_switch_part(rp_dataplane *dp, struct rp_switch *sw, struct rp_port *p, struct rp_err *err);
int rp_duty_add(rp_dataplane *dp, struct rp_worker *w, struct rp_port *p, struct rp_err *err);
int rp_duty_del(rp_dataplane *dp, struct rp_worker *w, struct rp_port *p, struct rp_err *err);
/* rp_duty_move() - let another worker serve one ring */
int rp_duty_move(rp_dataplane *dp, struct rp_endpoint *ep, struct rp_worker *from,
		 struct rp_worker *to, struct rp_err *err);

/* rp_monitor_part() - @p goes: it shows nothing any more, and its own monitors break */
int rp_monitor_part(rp_dataplane *dp, struct rp_port *p, struct rp_err *err);

/* rp_vhost_stop_rings() - stop what runs, and wait until nobody uses it; no-op for netmap rings */
void rp_vhost_stop_rings(rp_dataplane *dp, struct rp_port *p);

/* rp_kernel_stop_rings() - the same, for a port of the kernel's */
void rp_kernel_stop_rings(rp_dataplane *dp, struct rp_port *p);
/* rp_kernel_go_home() - give rings that other workers serve back to the port's own */
int rp_kernel_go_home(rp_dataplane *dp, struct rp_port *p, struct rp_err *err);
/* rp_kernel_update() - let those rings move frames that may */
void rp_kernel_update(rp_dataplane *dp, struct rp_port *p);

#endif
