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
#include "relay.h"
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
	struct rp_region *region[RP_MAX_REGIONS + 1]; /* by id, from 1 */
	struct rp_binding *binding[RP_MAX_BINDINGS];
	struct rp_relays *relays; /* NULL until there is one */
	int event_fd;
};

/* Regions go with their last user, unless they were asked for by themselves. */
struct rp_region *rp_find_region(rp_dataplane *dp, int region, struct rp_err *err);
struct rp_region *rp_make_region(rp_dataplane *dp, const struct rp_region_config *cfg,
				 struct rp_err *err);
void rp_use_region(struct rp_region *r);
void rp_leave_region(rp_dataplane *dp, struct rp_region *r);

/* rp_mend_port() - take a port back into service, if it is broken */
void rp_mend_port(rp_dataplane *dp, struct rp_port *p);

/* rp_unlink_port() - part a port from the other end of its link */
void rp_unlink_port(rp_dataplane *dp, struct rp_port *p);

/* rp_write_if() - fill netmap_if @at of the region of @p with the rings of @cfg */
void rp_write_if(uint32_t at, const struct rp_bind_config *cfg, const struct rp_port *p,
		 const struct rp_port *host);

/* rp_settle_region() - give back what nobody took up; rings that nobody has open are empty then */
void rp_settle_region(rp_dataplane *dp, struct rp_region *r);

/* rp_fill_region() - the region of @p, which nobody has open, is in other memory: write it anew */
void rp_fill_region(rp_dataplane *dp, struct rp_port *p);

/* rp_let_rings_move() - rings of a direction, with CSBs, that are in use and did not move frames */
void rp_let_rings_move(rp_dataplane *dp, int dir);

/* rp_is_open() - has anybody one of the rings of @p? */
bool rp_is_open(const struct rp_port *p);

/*
 * rp_renew_pipe() - make the pipe of @p as new: nobody has either end, and what is in it is lost
 *
 * Its users may have written anything there. An end that gets no buffers is broken.
 */
void rp_renew_pipe(rp_dataplane *dp, struct rp_port *p);

/* rp_leave_csb() - nobody has @p open, nor uses its rings: their CSBs are in its region again */
void rp_leave_csb(struct rp_port *p);

/* rp_vnet_leave() - the last open of a port went, and with it the header that it brought */
void rp_vnet_leave(rp_dataplane *dp, struct rp_port *p);

/* rp_drop_bindings() - undo those of a port that goes */
void rp_drop_bindings(rp_dataplane *dp, const struct rp_port *p);

/* Find an object by its number; NULL, with ENOENT in @err, when there is none. Under the lock. */
struct rp_switch *rp_find_switch(rp_dataplane *dp, int sw, struct rp_err *err);
struct rp_port *rp_find_port(rp_dataplane *dp, int port, struct rp_err *err);
/* rp_find_rings() - a port with netmap rings; EINVAL when its rings are others */
struct rp_port *rp_find_rings(rp_dataplane *dp, int port, struct rp_err *err);
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

/*
 * rp_zcopy_join() - let the rings of @parent and its zero-copy monitors show their slots to each other
 *
 * To be called when one of them, or the other end of its pipe, came or goes.
 */
void rp_zcopy_join(rp_dataplane *dp, struct rp_port *parent);
/* rp_zcopy_seal() - nobody gives slots to monitor @m any more, even who was about to */
void rp_zcopy_seal(const struct rp_port *m);
void rp_zcopy_unseal(const struct rp_port *m);
/* Around what empties rings of @p, a monitor or not: nobody gives slots to them, and all as before. */
void rp_zcopy_pause(rp_dataplane *dp, struct rp_port *p);
void rp_zcopy_resume(rp_dataplane *dp, struct rp_port *p);

/* rp_vhost_stop_rings() - stop what runs, and wait until nobody uses it; no-op for netmap rings */
void rp_vhost_stop_rings(rp_dataplane *dp, struct rp_port *p);

/* rp_kernel_stop_rings() - the same, for a port of the kernel's */
void rp_kernel_stop_rings(rp_dataplane *dp, struct rp_port *p);
/* rp_kernel_go_home() - give rings that other workers serve back to the port's own */
int rp_kernel_go_home(rp_dataplane *dp, struct rp_port *p, struct rp_err *err);
/* rp_kernel_update() - let those rings move frames that may */
void rp_kernel_update(rp_dataplane *dp, struct rp_port *p);

#endif
