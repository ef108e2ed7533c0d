/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_MONITOR_H
#define RP_MONITOR_H
/*
 * DOC: Monitors: ports that are shown what passes another port.
 *
 * Frames are taken and given by two verbs, and whoever moves frames uses them:
 * a ring that somebody monitors shows its batch there, before it is sent on (tx)
 * or just before its receiver can see it (rx, whether or not anybody reads it).
 *
 *    tx ring k ---pull---> batch ----> lease ---copy---> publish ---> rx ring k
 *                   |                                       |
 *                   +--- copy ---> rx ring k of each <------+
 *                                  monitor
 *
 * A monitor never holds back what it monitors. If its ring has no room for all
 * frames of a batch, the oldest ones are left out, and counted there as full.
 *
 * In a monitor's ring, NS_TXMON marks what was sent, and a slot's ptr is the time:
 * CLOCK_REALTIME, ns. NS_REPORT marks the last slot of a frame of which no more fits;
 * its ptr is the frame's length. The first word of the ring's sem, room that netmap
 * leaves to its kernel, counts the frames that were left out.
 */
#include "endpoint.h"

struct rp_caller;

/* The monitors of one ring; replaced as a whole, never changed. */
struct rp_monitors {
	uint32_t n;
	struct rp_endpoint *ring[]; /* their rx rings */
};

/* What showing frames needs: the lease of their receiver may be open meanwhile. */
struct rp_monitor_scratch {
	uint16_t order[RP_BATCH]; /* 0, 1, 2 ... */
	uint32_t cut[RP_BATCH];	  /* bytes of a frame of which only the beginning is shown; or 0 */
	struct rp_batch batch;	  /* frames alone; their pieces lie elsewhere */
	struct rp_lease lease;
};

/* rp_monitor_init() - make ready what a new caller needs */
void rp_monitor_init(struct rp_monitor_scratch *s);

/*
 * What rp_endpoint_pull() and rp_endpoint_publish() do for rings with monitors. The list
 * is read once, there: it may be replaced, or taken away, at any time.
 */
void rp_monitor_sent(struct rp_caller *c, const struct rp_monitors *monitors,
		     const struct rp_batch *b);
void rp_monitor_delivered(struct rp_caller *c, const struct rp_monitors *monitors,
			  const struct rp_lease *l);

/* rp_endpoint_pull() - take a batch and count it. Return: as @pull does */
static inline unsigned rp_endpoint_pull(struct rp_caller *c, struct rp_endpoint *ep)
{
	unsigned taken = ep->ops->pull(ep);
	const struct rp_monitors *monitors;

	if (!taken)
		return 0;
	rp_endpoint_count_pull(ep);
	monitors = rp_load_acquire(&ep->monitors);
	if (__builtin_expect(monitors != NULL, 0))
		rp_monitor_sent(c, monitors, ep->batch);
	return taken;
}

/* rp_endpoint_publish() - give a filled lease to its receiver. Return: as @publish does */
static inline bool rp_endpoint_publish(struct rp_caller *c, struct rp_endpoint *ep,
				       struct rp_lease *l)
{
	const struct rp_monitors *monitors = rp_load_acquire(&ep->monitors);

	if (__builtin_expect(monitors != NULL, 0))
		rp_monitor_delivered(c, monitors, l);
	return ep->ops->publish(ep, l);
}

#endif
