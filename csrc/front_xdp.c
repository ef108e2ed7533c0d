/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Endpoints on an AF_XDP socket: a queue of a network interface.
 *
 * The socket's memory is ours. Its first half is lent to the kernel to receive
 * into, the second one holds what is to be sent, and four rings of descriptors
 * say who has what:
 *
 *    fill          empty chunks  --->  kernel        rx          kernel  ---> frames
 *    tx            frames        --->  kernel        completion  kernel  ---> sent chunks
 *
 *      | rx chunk 0 | rx chunk 1 | ...... | tx chunk 0 | tx chunk 1 | ......
 *
 * Slot k of the outgoing queue is entry k of the tx ring and tx chunk k. A
 * driver without zero-copy sends only while it is asked to, by a system call
 * that takes few frames at a time.
 *
 * Security: a descriptor is read once and must name a chunk that was lent.
 */
#include "front_xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "partial.h"

/* Frames of several chunks, since Linux 6.6. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

enum {
	CHUNK_SMALL = 2048,
	CHUNK_LARGE = 4096,
	HEADROOM = 256, /* XDP_PACKET_HEADROOM: the kernel keeps it free before each frame */
	MAX_CHUNKS = 16 /* of a frame; the kernel's own limit is one more */
};

/* One of the four rings, as it is mapped. */
struct xdp_ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void *entry;
	uint32_t mask;
	void *map;
	size_t bytes;
};

struct xdp_queue {
	struct rp_kernel_queue q;
	struct xdp_ring rx, fill, tx, completion;
	uint8_t *umem;
	size_t umem_bytes;
	uint32_t slots;
	uint32_t chunk_bytes;
	bool software;
	struct rp_xdp_chunks chunks;
	uint32_t *taken; /* chunks of the batch, to be lent again */
	uint32_t ntaken;
	uint64_t missed; /* by the kernel's count, when it was last asked */
	uint8_t *done;	 /* tx chunks that were sent, in any order */
};

static struct xdp_queue *of(struct rp_endpoint *ep)
{
	return (struct xdp_queue *)rp_kernel_ring(ep)->queue; /* q is its first member */
}

int32_t rp_xdp_take(struct rp_xdp_chunks *c, uint64_t addr, uint32_t len)
{
	const uint64_t chunk = addr / c->chunk_bytes;

	if (addr >= c->bytes || len > c->chunk_bytes - addr % c->chunk_bytes || !c->lent[chunk])
		return -1;
	c->lent[chunk] = 0;
	return (int32_t)chunk;
}

static bool needs_wakeup(const struct xdp_ring *r)
{
	return rp_load(r->flags) & XDP_RING_NEED_WAKEUP;
}

/* Take the chunks of one frame, from *@pos on. False: not all of it is there, or it broke. */
static bool take_frame(struct rp_endpoint *ep, uint32_t *pos, uint32_t producer)
{
	struct xdp_queue *x = of(ep);
	struct rp_batch *b = ep->batch;
	struct rp_frame *f = &b->frame[b->nframes];
	const uint32_t first_taken = x->ntaken;
	const struct xdp_desc *ring = x->rx.entry;
	bool too_many = false, more = true;

	*f = (struct rp_frame){ .seg = b->nsegs };
	for (uint32_t at = *pos; more; at++) {
		const struct xdp_desc *d = &ring[at & x->rx.mask];
		uint64_t addr = rp_load(&d->addr);
		uint32_t len = rp_load(&d->len);
		int32_t chunk;

		if (at == producer) { /* its end is still to come: it is as if nothing was taken */
			while (x->ntaken > first_taken)
				x->chunks.lent[x->taken[--x->ntaken]] = 1;
			return false;
		}
		more = rp_load(&d->options) & XDP_PKT_CONTD;
		chunk = rp_xdp_take(&x->chunks, addr, len);
		if (chunk < 0) {
			rp_port_break(ep->port, "a received descriptor is not of a lent chunk");
			return false;
		}
		x->taken[x->ntaken++] = (uint32_t)chunk;
		too_many |= f->nseg == MAX_CHUNKS + 2;
		if (too_many)
			continue;
		b->seg[b->nsegs + f->nseg++] = (struct rp_seg){ x->umem + addr, len };
		f->len += len;
	}
	*pos += x->ntaken - first_taken;
	if (too_many || f->len < RP_ETH_MIN) {
		rp_refuse(ep, too_many ? RP_DROP_FRAGS : RP_DROP_SHORT);
		return true;
	}
	if (x->software)
		f->vnet = rp_partial_find(b->seg[b->nsegs].addr, b->seg[b->nsegs].len);
	b->nsegs += f->nseg;
	b->bytes += f->len;
	b->nframes++;
	return true;
}

/* Count frames that found no chunk that was lent, or no room in the rx ring. */
static void count_missed(struct rp_endpoint *ep)
{
	struct xdp_queue *x = of(ep);
	struct xdp_statistics now;
	socklen_t bytes = sizeof(now);
	uint64_t missed;

	if (getsockopt(x->q.fd, SOL_XDP, XDP_STATISTICS, &now, &bytes) < 0)
		return;
	missed = now.rx_dropped + now.rx_ring_full;
	if (missed != x->missed)
		rp_drop(ep, RP_DROP_MISSED, missed - x->missed);
	x->missed = missed;
}

static unsigned xdp_pull(struct rp_endpoint *ep)
{
	struct xdp_queue *x = of(ep);
	struct rp_batch *b = ep->batch;
	uint32_t producer = rp_load_acquire(x->rx.producer);
	uint32_t pos = *x->rx.consumer;

	rp_kernel_retry(ep);
	if (producer - pos >= x->slots / 2)
		count_missed(ep); /* it may have run over: else only before the worker sleeps */
	b->nframes = b->nsegs = b->held = 0;
	b->bytes = 0;
	x->ntaken = 0;
	while (pos != producer && b->nframes < RP_BATCH && b->bytes < RP_BATCH_BYTES &&
	       b->nsegs + MAX_CHUNKS + 2 <= RP_BATCH_SEGS) {
		if (!take_frame(ep, &pos, producer))
			break;
	}
	rp_store_release(x->rx.consumer, pos);
	return x->ntaken;
}

/* Lend chunks to the kernel. The fill ring has room for all that there are. */
static void lend(struct xdp_queue *x, const uint32_t *chunk, uint32_t n)
{
	uint64_t *ring = x->fill.entry;
	uint32_t pos = *x->fill.producer;

	for (uint32_t i = 0; i < n; i++) {
		ring[pos++ & x->fill.mask] = (uint64_t)chunk[i] * x->chunk_bytes;
		x->chunks.lent[chunk[i]] = 1;
	}
	rp_store_release(x->fill.producer, pos);
}

/* A driver that found no chunk to receive into stops until it is told of new ones. */
static void ask_to_receive(struct xdp_queue *x)
{
	if (needs_wakeup(&x->fill))
		recvfrom(x->q.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void xdp_complete(struct rp_endpoint *ep)
{
	struct xdp_queue *x = of(ep);

	lend(x, x->taken, x->ntaken);
	x->ntaken = 0;
	ask_to_receive(x);
}

static void xdp_arm(struct rp_endpoint *ep)
{
	ask_to_receive(of(ep));
}

static bool xdp_pending(struct rp_endpoint *ep)
{
	struct xdp_queue *x = of(ep);

	count_missed(ep);
	return rp_load(&x->q.out.stuck) || rp_load_acquire(x->rx.producer) != *x->rx.consumer;
}

/* Take back what was sent. By the thread that sends. */
static void reap(struct rp_endpoint *ep)
{
	struct xdp_queue *x = of(ep);
	const uint64_t *ring = x->completion.entry;
	const uint64_t first = (uint64_t)x->slots * x->chunk_bytes;
	uint32_t to = rp_load_acquire(x->completion.producer), pos = *x->completion.consumer;
	uint32_t released = ep->state->released;

	for (; pos != to; pos++) {
		uint64_t addr = rp_load(&ring[pos & x->completion.mask]);

		if (addr < first || addr - first >= first) {
			rp_port_break(ep->port, "a completed descriptor is not of a tx chunk");
			return;
		}
		x->done[(addr - first) / x->chunk_bytes] = 1;
	}
	rp_store_release(x->completion.consumer, pos);
	while (released != x->q.out.sent && x->done[rp_outq_at(&x->q.out, released)])
		x->done[rp_outq_at(&x->q.out, released++)] = 0;
	rp_store_release(&ep->state->released, released);
}

/* Ask the kernel to send, as long as it asks to be asked and gets on. */
static void kick(struct xdp_queue *x)
{
	const uint32_t to = *x->tx.producer;
	uint32_t at = rp_load_acquire(x->tx.consumer), before;

	while (at != to && needs_wakeup(&x->tx)) {
		before = at;
		if (sendto(x->q.fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EBUSY && errno != ENOBUFS)
			return; /* the interface is down: sent when it is up again */
		at = rp_load_acquire(x->tx.consumer);
		if (at == before) {
			rp_outq_stuck(&x->q.out);
			return;
		}
	}
}

static void send_frames(struct rp_endpoint *ep, uint32_t to)
{
	struct xdp_queue *x = of(ep);
	struct rp_outq *out = &x->q.out;
	struct xdp_desc *ring = x->tx.entry;

	reap(ep);
	for (; out->sent != to; out->sent++) {
		const uint32_t at = rp_outq_at(out, out->sent);

		ring[at] = (struct xdp_desc){
			.addr = ((uint64_t)x->slots + at) * x->chunk_bytes,
			.len = out->slot[at].len,
			.options = out->slot[at].more ? XDP_PKT_CONTD : 0,
		};
	}
	rp_store_release(x->tx.producer, to);
	kick(x);
	reap(ep);
}

static void xdp_notify(struct rp_endpoint *ep)
{
	rp_outq_send(&of(ep)->q.out, ep, send_frames);
}

static const struct rp_endpoint_ops xdp_ops = {
	.pull = xdp_pull,
	.complete = xdp_complete,
	.pending = xdp_pending,
	.arm = xdp_arm,
	.disarm = rp_kernel_nothing,
	.lease = rp_kernel_lease,
	.publish = rp_outq_publish,
	.notify = xdp_notify,
	.retry = rp_kernel_retry,
	.free = rp_kernel_free,
};

static void unmap_ring(struct xdp_ring *r)
{
	if (r->map)
		munmap(r->map, r->bytes);
}

static void xdp_close(struct rp_kernel_queue *q)
{
	struct xdp_queue *x = (struct xdp_queue *)q;

	if (q->fd >= 0)
		close(q->fd);
	unmap_ring(&x->rx);
	unmap_ring(&x->fill);
	unmap_ring(&x->tx);
	unmap_ring(&x->completion);
	if (x->umem != MAP_FAILED)
		munmap(x->umem, x->umem_bytes);
	rp_outq_free(&q->out);
	free(x->chunks.lent);
	free(x->taken);
	free(x->done);
	free(x);
}

static int map_ring(struct xdp_queue *x, struct xdp_ring *r, const struct xdp_ring_offset *o,
		    uint64_t page, size_t entry_bytes)
{
	uint8_t *map;

	r->bytes = o->desc + x->slots * entry_bytes;
	map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, x->q.fd,
		   (off_t)page);
	if (map == MAP_FAILED)
		return -1;
	r->map = map;
	r->producer = (uint32_t *)(void *)(map + o->producer);
	r->consumer = (uint32_t *)(void *)(map + o->consumer);
	r->flags = (uint32_t *)(void *)(map + o->flags);
	r->entry = map + o->desc;
	r->mask = x->slots - 1;
	return 0;
}

static int map_rings(struct xdp_queue *x)
{
	struct xdp_mmap_offsets o;
	socklen_t bytes = sizeof(o);

	if (getsockopt(x->q.fd, SOL_XDP, XDP_MMAP_OFFSETS, &o, &bytes) < 0)
		return -1;
	if (map_ring(x, &x->rx, &o.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc)) < 0 ||
	    map_ring(x, &x->tx, &o.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc)) < 0 ||
	    map_ring(x, &x->fill, &o.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t)) < 0)
		return -1;
	return map_ring(x, &x->completion, &o.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t));
}

static int set_ring(const struct xdp_queue *x, int option)
{
	return setsockopt(x->q.fd, SOL_XDP, option, &x->slots, sizeof(x->slots));
}

static int open_socket(struct xdp_queue *x)
{
	struct xdp_umem_reg umem = { .addr = (uintptr_t)x->umem,
				     .len = x->umem_bytes,
				     .chunk_size = x->chunk_bytes };

	x->q.fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (x->q.fd < 0 || setsockopt(x->q.fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) < 0 ||
	    set_ring(x, XDP_UMEM_FILL_RING) < 0 || set_ring(x, XDP_UMEM_COMPLETION_RING) < 0 ||
	    set_ring(x, XDP_RX_RING) < 0 || set_ring(x, XDP_TX_RING) < 0)
		return -1;
	return map_rings(x);
}

static int bind_socket(const struct xdp_queue *x, const struct rp_xdp_binding *binding)
{
	const bool chains = x->q.out.frame_slots > 1;
	struct sockaddr_xdp to = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = binding->ifindex,
		.sxdp_queue_id = binding->queue,
		.sxdp_flags = (uint16_t)(XDP_USE_NEED_WAKEUP |
					 (binding->zero_copy ? XDP_ZEROCOPY : XDP_COPY) |
					 (chains ? XDP_USE_SG : 0)),
	};

	return bind(x->q.fd, (const struct sockaddr *)&to, sizeof(to));
}

static int allocate(struct xdp_queue *x, const struct rp_kernel_queue_config *cfg)
{
	const uint32_t room = cfg->frame_bytes + HEADROOM;

	x->chunk_bytes = room <= CHUNK_SMALL ? CHUNK_SMALL : CHUNK_LARGE;
	x->slots = cfg->slots;
	x->umem_bytes = 2ul * x->slots * x->chunk_bytes;
	x->umem = mmap(NULL, x->umem_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	x->chunks = (struct rp_xdp_chunks){ .bytes = (uint64_t)x->slots * x->chunk_bytes,
					    .chunk_bytes = x->chunk_bytes,
					    .lent = calloc(x->slots, 1) };
	x->taken = calloc(x->slots, sizeof(*x->taken));
	x->done = calloc(x->slots, 1);
	if (x->umem == MAP_FAILED || !x->chunks.lent || !x->taken || !x->done)
		return -ENOMEM;
	return rp_outq_init(&x->q.out, x->umem + x->chunks.bytes, x->slots, x->chunk_bytes,
			    room <= CHUNK_LARGE ? 1 : MAX_CHUNKS);
}

static void lend_all(struct xdp_queue *x)
{
	for (uint32_t i = 0; i < x->slots; i++)
		x->taken[i] = i;
	lend(x, x->taken, x->slots);
}

struct rp_kernel_queue *rp_front_xdp_open(const struct rp_kernel_queue_config *cfg,
					  const struct rp_xdp_binding *binding, struct rp_err *err)
{
	struct xdp_queue *x = calloc(1, sizeof(*x));

	if (!x) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	x->q.ops = &xdp_ops;
	x->q.free = xdp_close;
	x->q.fd = -1;
	x->software = binding->software;
	if (allocate(x, cfg) < 0) {
		rp_fail(err, ENOMEM, "out of memory for %u frames in each direction", cfg->slots);
	} else if (open_socket(x) < 0) {
		rp_fail(err, errno, "cannot make an AF_XDP socket: %s", strerror(errno));
	} else {
		lend_all(x);
		if (bind_socket(x, binding) == 0)
			return &x->q;
		rp_fail(err, errno, "queue %u of the interface takes no AF_XDP socket%s: %s",
			binding->queue, binding->zero_copy ? " without copies" : "",
			strerror(errno));
	}
	xdp_close(&x->q);
	return NULL;
}
