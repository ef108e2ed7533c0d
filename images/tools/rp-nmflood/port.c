/* SPDX-License-Identifier: BSD-2-Clause */
#include "port.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>

#include "frame.h"
#include "tool.h"

struct port {
	struct nm_desc *d;
	struct pollfd poll;
	/* Buffers that hold a frame of ours already: by tx ring, then slot. */
	uint32_t **filled;
	uint64_t next; /* number of the next frame */
};

static struct netmap_ring *tx_ring(const struct port *p, unsigned i)
{
	return NETMAP_TXRING(p->d->nifp, i);
}

static struct netmap_ring *rx_ring(const struct port *p, unsigned i)
{
	return NETMAP_RXRING(p->d->nifp, i);
}

static unsigned tx_rings(const struct port *p)
{
	return (unsigned)p->d->last_tx_ring + 1u;
}

struct port *port_open(const char *name, const struct traffic *t)
{
	struct port *p = calloc(1, sizeof(*p));

	p->d = nm_open(name, NULL, 0, NULL);
	if (!p->d)
		tool_fail("cannot open %s", name);
	p->poll.fd = NETMAP_FD(p->d);
	p->filled = calloc(tx_rings(p) + 1, sizeof(*p->filled));
	for (unsigned i = p->d->first_tx_ring; i < tx_rings(p); i++) {
		const struct netmap_ring *ring = tx_ring(p, i);

		if (t->size > ring->nr_buf_size) {
			errno = EMSGSIZE;
			tool_fail("%s has buffers of %u bytes", name, ring->nr_buf_size);
		}
		p->filled[i] = calloc(ring->num_slots, sizeof(**p->filled));
	}
	return p;
}

static void sync_now(const struct port *p, struct traffic *t, unsigned long request)
{
	t->syncs++;
	if (ioctl(p->poll.fd, request) != 0)
		tool_fail("sync");
}

static bool is_pending(const struct port *p)
{
	for (unsigned i = p->d->first_tx_ring; i < tx_rings(p); i++) {
		if (nm_tx_pending(tx_ring(p, i)))
			return true;
	}
	return false;
}

void port_close(struct port *p)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned naps = 0; is_pending(p) && naps < 500; naps++) {
		if (ioctl(p->poll.fd, NIOCTXSYNC) != 0)
			break;
		nanosleep(&nap, NULL);
	}
	for (unsigned i = p->d->first_tx_ring; i < tx_rings(p); i++)
		free(p->filled[i]);
	free(p->filled);
	nm_close(p->d);
	free(p);
}

/* Sync by waiting until there is something to do, or for so long. */
static void sync_or_sleep(struct port *p, struct traffic *t, short events, int wait_ms)
{
	p->poll.events = events;
	t->syncs++;
	if (poll(&p->poll, 1, wait_ms) < 0 && errno != EINTR)
		tool_fail("poll");
	if (p->poll.revents & POLLERR) {
		errno = EIO;
		tool_fail("the port is gone");
	}
}

static void write_frame(const struct traffic *t, struct rp_frame *frame)
{
	memcpy(frame->dst, t->dst, ETH_ALEN);
	memcpy(frame->src, t->src, ETH_ALEN);
	frame->ethertype = htobe16(RP_ETHERTYPE);
	frame->stream = htobe16(t->stream);
	rp_frame_fill(frame, t->size, 0, false);
}

/* A slot keeps its buffer, as a rule: then only the number is new. */
static void fill(struct port *p, const struct traffic *t, struct netmap_ring *ring,
		 uint32_t *filled)
{
	struct netmap_slot *slot = &ring->slot[ring->head];
	struct rp_frame *frame = (struct rp_frame *)NETMAP_BUF(ring, slot->buf_idx);

	if (filled[ring->head] != slot->buf_idx) {
		write_frame(t, frame);
		filled[ring->head] = slot->buf_idx;
	}
	frame->seq = htobe64(p->next++);
	slot->len = (uint16_t)t->size;
	slot->flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

static uint64_t fill_ring(struct port *p, const struct traffic *t, unsigned i, uint64_t limit)
{
	struct netmap_ring *ring = tx_ring(p, i);
	uint64_t n = nm_ring_space(ring);

	n = n < limit ? n : limit;
	n = n < t->batch ? n : t->batch;
	for (uint64_t k = 0; k < n; k++)
		fill(p, t, ring, p->filled[i]);
	return n;
}

void port_send(struct port *p, struct traffic *t, uint64_t limit, int wait_ms)
{
	uint64_t sent = 0;

	for (unsigned i = p->d->first_tx_ring; i < tx_rings(p); i++)
		sent += fill_ring(p, t, i, limit - sent);
	if (sent || t->spin)
		sync_now(p, t, NIOCTXSYNC);
	else
		sync_or_sleep(p, t, POLLOUT, wait_ms);
	t->frames += sent;
	t->bytes += sent * t->size;
}

static void take(struct port *p, struct traffic *t, const struct netmap_ring *ring,
		 const struct netmap_slot *slot)
{
	const struct rp_frame *frame = (const struct rp_frame *)NETMAP_BUF(ring, slot->buf_idx);
	uint64_t seq;

	if (slot->len < sizeof(*frame) || frame->ethertype != htobe16(RP_ETHERTYPE) ||
	    be32toh(frame->length) != slot->len) {
		t->others++;
		return;
	}
	seq = be64toh(frame->seq);
	if (seq >= p->next) {
		t->missing += seq - p->next;
		p->next = seq + 1;
	} else {
		t->late++;
	}
	t->frames++;
	t->bytes += slot->len;
}

static uint32_t empty_ring(struct port *p, struct traffic *t, struct netmap_ring *ring)
{
	const uint32_t n = nm_ring_space(ring);
	uint32_t at = ring->head;

	for (uint32_t k = 0; k < n; k++) {
		take(p, t, ring, &ring->slot[at]);
		at = nm_ring_next(ring, at);
	}
	ring->head = ring->cur = at;
	return n;
}

void port_receive(struct port *p, struct traffic *t, int wait_ms)
{
	uint32_t n = 0;

	for (unsigned i = p->d->first_rx_ring; i <= p->d->last_rx_ring; i++)
		n += empty_ring(p, t, rx_ring(p, i));
	if (n || t->spin)
		sync_now(p, t, NIOCRXSYNC);
	else
		sync_or_sleep(p, t, POLLIN, wait_ms);
}
