/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_NETDEV_H
#define RP_NETDEV_H
/*
 * DOC: The interface: a program that registers the port's rings, and sends and
 * receives what the network stack wants.
 *
 *    transmit   copy into the ring's buffers, publish once a batch; the skb is done
 *    receive    NAPI; copy out of the buffers, give them back, sleep until called
 *
 * Frames are copied because the buffers are other parties' to write at any time:
 * what the stack checked must not change under it.
 */
#include <linux/netdevice.h>
#include <linux/u64_stats_sync.h>
#include <linux/virtio_net.h>

#include "rp_device.h"

#define RP_HEADER_BYTES ((u32)sizeof(struct virtio_net_hdr_mrg_rxbuf))

enum rp_queue_state { RP_QUEUE_ARMED };

struct rp_queue_stats {
	struct u64_stats_sync sync;
	u64_stats_t packets;
	u64_stats_t bytes;
	u64_stats_t drops;  /* there was no memory, or no port */
	u64_stats_t errors; /* frames that cannot be */
	u64_stats_t events; /* tx: times that the queue stopped; rx: polls */
};

/* One ring as its queue uses it: cursors of its own, which nobody else writes. */
struct rp_tx {
	struct rp_ring *ring; /* NULL: not registered now; changes under the queue's lock */
	struct net_device *netdev;
	struct netdev_queue *queue;
	u32 head;      /* filled up to here */
	u32 published; /* told up to here */
	u32 tail;      /* the first slot that is not ours */
	u32 reserve;   /* slots that the largest frame may need */
	unsigned long state;
	struct rp_queue_stats stats;
} ____cacheline_aligned;

struct rp_piece {
	const u8 *at;
	u32 bytes;
};

struct rp_rx {
	struct rp_ring *ring;
	struct net_device *netdev;
	struct napi_struct napi;
	u16 index;
	u32 head; /* taken up to here */
	u32 tail; /* what came, up to here */
	unsigned long state;
	struct rp_queue_stats stats;
	struct rp_piece piece[NETMAP_MAX_FRAGS]; /* of the frame that is being taken */
} ____cacheline_aligned;

struct rp_netdev {
	struct rp_device *dev;
	struct rp_open *open;	   /* NULL: not registered now; under rtnl */
	u64 features;		   /* virtio-net, as agreed */
	u32 header_bytes;	   /* before each frame: 0 or RP_HEADER_BYTES */
	unsigned int lent;	   /* programs that have the port; under rtnl */
	bool halted;		   /* asleep, or the backend forgot us; under rtnl */
	bool broken;		   /* said already that a ring is */
	bool refused;		   /* said already that it cannot have its rings; under rtnl */
	struct delayed_work again; /* to have them then */
	struct rp_tx *tx;
	struct rp_rx *rx;
};

/* rp_netdev_broken() - the other side does what it may not: stop until rings are registered anew */
void rp_netdev_broken(struct net_device *netdev, const char *why);

netdev_tx_t rp_tx_xmit(struct sk_buff *skb, struct net_device *netdev);
/* rp_tx_attach() - begin with an empty ring */
void rp_tx_attach(struct rp_tx *tx, struct rp_ring *ring);
/* rp_tx_detach() - the queue drops its frames from now on; nobody is in it when this returns */
void rp_tx_detach(struct rp_tx *tx);

int rp_rx_poll(struct napi_struct *napi, int budget);
/* The poller is disabled, and nobody is in it any more. */
void rp_rx_attach(struct rp_rx *rx, struct rp_ring *ring);
void rp_rx_detach(struct rp_rx *rx);

/* rp_count() - add to a queue's statistics; one writer at a time */
static inline void rp_count(struct rp_queue_stats *s, u64_stats_t *what, unsigned long n)
{
	u64_stats_update_begin(&s->sync);
	u64_stats_add(what, n);
	u64_stats_update_end(&s->sync);
}

/* rp_buffer_bytes() - of each packet buffer, as far as a slot's len can say */
static inline u32 rp_buffer_bytes(const struct rp_ring *r)
{
	return min_t(u32, r->at.view->bufs.objsize, U16_MAX);
}

extern const struct ethtool_ops rp_ethtool_ops;

#endif
