// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Receive: a poller copies frames out of the ring's buffers and gives the slots back.
 *
 *          head              tail
 *    ... theirs | ours, full ... | theirs ...
 *
 * When nothing is left it asks to be called, and looks once more: see abi/rp_barrier.h.
 * Whoever clears RP_QUEUE_ARMED disarms the ring.
 */
#include <linux/etherdevice.h>

#include "rp_netdev.h"

enum {
	GIVE_BACK = 64,	   /* slots, before the poller's end */
	LINEAR_MAX = 2048, /* longer frames come in pages, behind a head of HEAD bytes */
	HEAD = 256
};

struct frame {
	u32 pieces;
	u32 bytes; /* with the header, as all there */
	u32 next;  /* the slot behind it */
	bool bad;
};

static bool look(struct rp_rx *rx)
{
	const u32 slots = rx->ring->at.slots;
	u32 tail;

	if (!rp_ring_tail(rx->ring, &tail) ||
	    !rp_slot_within(tail, rx->tail, rp_slot_prev(rx->head, slots), slots)) {
		rp_netdev_broken(rx->netdev, "an rx ring's tail lies where it may not be");
		return false;
	}
	rx->tail = tail;
	return true;
}

static void give_back(struct rp_rx *rx)
{
	struct netmap_ring *ring = rx->ring->at.ring;

	if (rp_load(&ring->head) == rx->head)
		return;
	rp_store(&ring->cur, rx->head);
	rp_store_release(&ring->head, rx->head);
	if (rp_ring_sync(rx->ring) == -EINVAL)
		rp_netdev_broken(rx->netdev, "an rx ring's words contradict each other");
}

/* Find the pieces of the frame at head; each slot is read once. */
static struct frame find_frame(struct rp_rx *rx)
{
	const struct rp_device *d = rx->ring->open->dev;
	const u32 most = rp_buffer_bytes(rx->ring);
	struct frame f = { .next = rx->head };
	bool more = true;

	while (more && f.next != rx->tail) {
		const struct netmap_slot *slot = &rx->ring->at.ring->slot[f.next];
		const u32 bytes = rp_load(&slot->len);
		const u8 *at = rp_buffer(d, rp_load(&slot->buf_idx));

		more = rp_load(&slot->flags) & NS_MOREFRAG;
		f.next = rp_slot_add(f.next, 1, rx->ring->at.slots);
		f.bad |= !at || bytes > most || f.pieces == NETMAP_MAX_FRAGS;
		if (f.bad)
			continue;
		rx->piece[f.pieces++] = (struct rp_piece){ at, bytes };
		f.bytes += bytes;
	}
	f.bad |= more;
	return f;
}

static struct sk_buff *new_skb(struct rp_rx *rx, u32 bytes)
{
	struct sk_buff *skb;
	int error;

	if (bytes <= LINEAR_MAX) {
		skb = napi_alloc_skb(&rx->napi, bytes);
		if (skb)
			skb_put(skb, bytes);
		return skb;
	}
	skb = alloc_skb_with_frags(HEAD, bytes - HEAD, PAGE_ALLOC_COSTLY_ORDER, &error,
				   GFP_ATOMIC | __GFP_NOWARN);
	if (!skb)
		return NULL;
	skb_put(skb, HEAD);
	skb->data_len = bytes - HEAD;
	skb->len += skb->data_len;
	skb->dev = rx->netdev;
	return skb;
}

/* Copy a frame without its first @skip bytes, which are in the first piece. */
static bool copy_frame(struct rp_rx *rx, const struct frame *f, struct sk_buff *skb, u32 skip)
{
	u32 to = 0;

	for (u32 i = 0; i < f->pieces; i++) {
		const struct rp_piece *p = &rx->piece[i];

		if (skb_store_bits(skb, to, p->at + skip, p->bytes - skip))
			return false;
		to += p->bytes - skip;
		skip = 0;
	}
	return true;
}

/* What the sender says about checksums and segments; the kernel checks it. */
static bool apply_header(struct rp_rx *rx, struct sk_buff *skb)
{
	struct virtio_net_hdr header;

	memcpy(&header, rx->piece[0].at, sizeof(header));
	barrier(); /* what is checked is the copy */
	if (header.flags & VIRTIO_NET_HDR_F_DATA_VALID)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	return !virtio_net_hdr_to_skb(skb, &header, true);
}

static void receive(struct rp_rx *rx, const struct frame *f, u32 header_bytes)
{
	struct rp_queue_stats *s = &rx->stats;
	struct sk_buff *skb;
	u32 bytes;

	if (f->bad || f->bytes < header_bytes + ETH_HLEN || rx->piece[0].bytes < header_bytes) {
		rp_count(s, &s->errors, 1);
		return;
	}
	bytes = f->bytes - header_bytes;
	skb = new_skb(rx, bytes);
	if (!skb) {
		rp_count(s, &s->drops, 1);
		return;
	}
	if (!copy_frame(rx, f, skb, header_bytes) || (header_bytes && !apply_header(rx, skb))) {
		rp_count(s, &s->errors, 1);
		dev_kfree_skb_any(skb);
		return;
	}
	u64_stats_update_begin(&s->sync);
	u64_stats_inc(&s->packets);
	u64_stats_add(&s->bytes, bytes);
	u64_stats_update_end(&s->sync);
	skb_record_rx_queue(skb, rx->index);
	skb->protocol = eth_type_trans(skb, rx->netdev);
	napi_gro_receive(&rx->napi, skb);
}

static int take_frames(struct rp_rx *rx, int budget)
{
	const struct rp_netdev *n = netdev_priv(rx->netdev);
	u32 given = rx->head;
	int done = 0;

	while (done < budget) {
		struct frame f;

		if (rx->head == rx->tail && (!look(rx) || rx->head == rx->tail))
			break;
		f = find_frame(rx);
		receive(rx, &f, n->header_bytes);
		rx->head = f.next;
		done++;
		if (rp_slot_distance(given, rx->head, rx->ring->at.slots) >= GIVE_BACK) {
			give_back(rx);
			given = rx->head;
		}
	}
	give_back(rx);
	return done;
}

static void disarm(struct rp_rx *rx)
{
	if (test_and_clear_bit(RP_QUEUE_ARMED, &rx->state))
		rp_ring_disarm(rx->ring);
}

static void called(struct rp_ring *r)
{
	struct rp_rx *rx = r->owner;

	disarm(rx);
	napi_schedule(&rx->napi);
}

int rp_rx_poll(struct napi_struct *napi, int budget)
{
	struct rp_rx *rx = container_of(napi, struct rp_rx, napi);
	const struct rp_netdev *n = netdev_priv(rx->netdev);
	u32 tail;
	int done;

	if (!budget)
		return 0;
	rp_count(&rx->stats, &rx->stats.events, 1);
	done = READ_ONCE(n->broken) ? 0 : take_frames(rx, budget);
	if (done == budget || !napi_complete_done(napi, done) || READ_ONCE(n->broken))
		return done;
	if (!test_and_set_bit(RP_QUEUE_ARMED, &rx->state))
		rp_ring_arm(rx->ring);
	if (rp_ring_tail(rx->ring, &tail) && tail != rx->tail)
		called(rx->ring);
	return done;
}

void rp_rx_attach(struct rp_rx *rx, struct rp_ring *ring)
{
	rx->head = rp_load(&ring->at.ring->head);
	if (rx->head >= ring->at.slots)
		rx->head = 0;
	rx->tail = rx->head;
	rx->state = 0;
	rx->ring = ring;
	ring->owner = rx;
	/* Whoever sees it sees the owner, too. */
	smp_store_release(&ring->called, called);
}

void rp_rx_detach(struct rp_rx *rx)
{
	if (rx->ring)
		disarm(rx);
}
