// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Transmit: frames are copied into the ring's buffers and published once a batch.
 *
 *          tail               head
 *    ... theirs | ours, free ... | filled | theirs ...     as in netmap, mirrored
 *
 * A queue without room stops, asks to be called, and looks once more: see
 * abi/rp_barrier.h. Whoever clears RP_QUEUE_ARMED disarms the ring.
 */
#include <linux/etherdevice.h>

#include "rp_netdev.h"

static u32 room(const struct rp_tx *tx)
{
	return rp_slot_distance(tx->head, tx->tail, tx->ring->at.slots);
}

/* Look how far the other side is: its word must lie between our last look and our head. */
static bool look(struct rp_tx *tx)
{
	const u32 slots = tx->ring->at.slots;
	u32 tail;

	if (!rp_ring_tail(tx->ring, &tail) ||
	    !rp_slot_within(tail, tx->tail, rp_slot_prev(tx->head, slots), slots)) {
		rp_netdev_broken(tx->netdev, "a tx ring's tail lies where it may not be");
		return false;
	}
	tx->tail = tail;
	return true;
}

static void disarm(struct rp_tx *tx)
{
	if (test_and_clear_bit(RP_QUEUE_ARMED, &tx->state))
		rp_ring_disarm(tx->ring);
}

/* The backend sent a good part of the ring. */
static void called(struct rp_ring *r)
{
	struct rp_tx *tx = r->owner;

	if (!test_and_clear_bit(RP_QUEUE_ARMED, &tx->state))
		return;
	rp_ring_disarm(r);
	netif_tx_wake_queue(tx->queue);
}

static void publish(struct rp_tx *tx)
{
	struct netmap_ring *ring = tx->ring->at.ring;

	if (tx->head == tx->published)
		return;
	tx->published = tx->head;
	rp_store(&ring->cur, tx->head);
	rp_store_release(&ring->head, tx->head);
	if (rp_ring_sync(tx->ring) == -EINVAL)
		rp_netdev_broken(tx->netdev, "a tx ring's words contradict each other");
}

/* Stop until there is room for @slots slots, and be woken. What is filled has been published. */
static void stop(struct rp_tx *tx, u32 slots)
{
	netif_tx_stop_queue(tx->queue);
	rp_count(&tx->stats, &tx->stats.events, 1);
	if (!test_and_set_bit(RP_QUEUE_ARMED, &tx->state))
		rp_ring_arm(tx->ring);
	if (!look(tx) || room(tx) < slots)
		return;
	disarm(tx);
	netif_tx_start_queue(tx->queue);
}

/* Copy a frame, and the header before it, into @slots slots from head on. */
static bool fill(struct rp_tx *tx, const struct sk_buff *skb, const void *header, u32 header_bytes,
		 u32 slots)
{
	const struct rp_device *d = tx->ring->open->dev;
	const u32 most = rp_buffer_bytes(tx->ring);
	u32 at = tx->head, from = 0;

	while (slots--) {
		struct netmap_slot *slot = &tx->ring->at.ring->slot[at];
		u8 *to = rp_buffer(d, rp_load(&slot->buf_idx));
		const u32 bytes = min(most - header_bytes, skb->len - from);

		if (!to) {
			rp_netdev_broken(tx->netdev, "a tx slot has a buffer that is not there");
			return false;
		}
		memcpy(to, header, header_bytes);
		if (skb_copy_bits(skb, from, to + header_bytes, bytes))
			return false;
		rp_store(&slot->len, (u16)(header_bytes + bytes));
		rp_store(&slot->flags, (u16)(slots ? NS_MOREFRAG : 0));
		from += bytes;
		header_bytes = 0;
		at = rp_slot_add(at, 1, tx->ring->at.slots);
	}
	tx->head = at;
	return true;
}

/* Return: 0 when the frame is in the ring, or lost; or the slots that there is no room for */
static u32 send(struct rp_tx *tx, struct sk_buff *skb, const struct rp_netdev *n)
{
	struct virtio_net_hdr_mrg_rxbuf header = {};
	const u32 slots = DIV_ROUND_UP(n->header_bytes + skb->len, rp_buffer_bytes(tx->ring));

	if (slots > min_t(u32, NETMAP_MAX_FRAGS, tx->ring->at.slots - 1) ||
	    (n->header_bytes && virtio_net_hdr_from_skb(skb, &header.hdr, true, false, 0))) {
		rp_count(&tx->stats, &tx->stats.errors, 1);
		return 0;
	}
	if (room(tx) < slots && (!look(tx) || room(tx) < slots))
		return slots;
	if (!fill(tx, skb, &header, n->header_bytes, slots)) {
		rp_count(&tx->stats, &tx->stats.errors, 1);
		return 0;
	}
	u64_stats_update_begin(&tx->stats.sync);
	u64_stats_inc(&tx->stats.packets);
	u64_stats_add(&tx->stats.bytes, skb->len);
	u64_stats_update_end(&tx->stats.sync);
	skb_tx_timestamp(skb);
	return 0;
}

netdev_tx_t rp_tx_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	const struct rp_netdev *n = netdev_priv(netdev);
	struct rp_tx *tx = &n->tx[skb_get_queue_mapping(skb)];
	const bool more = netdev_xmit_more();
	u32 slots;

	if (!tx->ring) {
		rp_count(&tx->stats, &tx->stats.drops, 1);
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	slots = send(tx, skb, n);
	if (slots) {
		publish(tx);
		stop(tx, max(slots, tx->reserve));
		return NETDEV_TX_BUSY;
	}
	dev_consume_skb_any(skb);
	if (room(tx) < tx->reserve && look(tx) && room(tx) < tx->reserve) {
		publish(tx);
		stop(tx, tx->reserve);
	} else if (!more || netif_xmit_stopped(tx->queue)) {
		publish(tx);
	}
	return NETDEV_TX_OK;
}

/* Slots for the largest frame that may come; a small ring must do with half of its own. */
static u32 reserve(const struct rp_tx *tx)
{
	const u32 longest = max_t(u32, tx->netdev->tso_max_size, tx->netdev->mtu + VLAN_ETH_HLEN);
	const u32 slots = DIV_ROUND_UP(RP_HEADER_BYTES + longest, rp_buffer_bytes(tx->ring));

	return clamp_t(u32, slots, 1, max_t(u32, tx->ring->at.slots / 2, 1));
}

void rp_tx_attach(struct rp_tx *tx, struct rp_ring *ring)
{
	__netif_tx_lock_bh(tx->queue);
	tx->head = rp_load(&ring->at.ring->head);
	if (tx->head >= ring->at.slots)
		tx->head = 0;
	tx->published = tx->head;
	tx->tail = tx->head; /* no room until a look */
	tx->state = 0;
	ring->owner = tx;
	/* Whoever sees it sees the owner, too. */
	smp_store_release(&ring->called, called);
	tx->ring = ring;
	tx->reserve = reserve(tx);
	__netif_tx_unlock_bh(tx->queue);
}

void rp_tx_detach(struct rp_tx *tx)
{
	__netif_tx_lock_bh(tx->queue);
	if (tx->ring)
		disarm(tx);
	tx->ring = NULL;
	__netif_tx_unlock_bh(tx->queue);
}
