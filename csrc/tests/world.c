/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "frames.h"

void world_open(struct world *w)
{
	const struct rp_switch_config sw = { .name = "vale0", .ageing_s = 300 };
	const struct rp_worker_config worker = { .policy = RP_POLICY_NOTIFY, .cpu = -1 };
	struct rp_err err = { 0 };

	*w = (struct world){
		.state_fd = memfd_create("state", MFD_CLOEXEC),
		.counters_fd = memfd_create("counters", MFD_CLOEXEC),
	};
	w->dp = rp_dataplane_new(w->state_fd, w->counters_fd, &err);
	EXPECT_TEXT(err.text, "");
	EXPECT(w->dp);
	w->counters = mmap(NULL, sizeof(*w->counters), PROT_READ, MAP_SHARED, w->counters_fd, 0);
	EXPECT(w->counters != MAP_FAILED);
	w->sw = rp_switch_add(w->dp, &sw, &err);
	EXPECT_OK(w->sw, err);
	w->worker = rp_worker_add(w->dp, &worker, &err);
	EXPECT_OK(w->worker, err);
	w->caller = rp_caller_new(w->dp, &err);
	EXPECT(w->caller);
}

void world_close(struct world *w)
{
	rp_caller_free(w->caller);
	rp_dataplane_free(w->dp);
	munmap((void *)(uintptr_t)w->counters, sizeof(*w->counters));
	close(w->state_fd);
	close(w->counters_fd);
}

struct rp_port_config world_vhost_config(const struct world *w, const char *name)
{
	struct rp_port_config cfg = {
		.kind = RP_KIND_VALE,
		.front_end = RP_FRONT_VHOST,
		.sw = w->sw,
		.worker = w->worker,
		.tx_rings = 1,
		.rx_rings = 1,
		.full = RP_FULL_DROP,
	};

	snprintf(cfg.name, sizeof(cfg.name), "%s", name);
	return cfg;
}

struct rp_port_config world_rings_config(const struct world *w, const char *name)
{
	struct rp_port_config cfg = world_vhost_config(w, name);

	cfg.front_end = RP_FRONT_RINGS;
	cfg.worker = -1;
	cfg.tx_slots = cfg.rx_slots = 64;
	cfg.buf_bytes = 2048;
	cfg.region_bufs = WORLD_MORE_BUFS;
	return cfg;
}

int world_add_port(struct world *w, const struct rp_port_config *cfg)
{
	struct rp_err err;
	int port = rp_port_add(w->dp, cfg, &err);

	EXPECT_OK(port, err);
	return port;
}

int world_add_vhost(struct world *w, const char *name)
{
	const struct rp_port_config cfg = world_vhost_config(w, name);

	return world_add_port(w, &cfg);
}

int world_add_rings(struct world *w, const char *name)
{
	const struct rp_port_config cfg = world_rings_config(w, name);

	return world_add_port(w, &cfg);
}

void world_del_port(struct world *w, int port)
{
	struct rp_err err;

	EXPECT_OK(rp_port_del(w->dp, port, &err), err);
}

void world_set_full(struct world *w, int port, int full, uint32_t hold_us)
{
	struct rp_err err;

	EXPECT_OK(rp_port_set_full(w->dp, port, full, hold_us, &err), err);
}

struct rp_port_status world_status(const struct world *w, int port)
{
	struct rp_port_status status;
	struct rp_err err;

	EXPECT_OK(rp_port_status(w->dp, port, &status, &err), err);
	return status;
}

bool world_broken(const struct world *w, int port)
{
	return world_status(w, port).state == RP_PORT_BROKEN;
}

const struct rp_ring_counters *world_count(const struct world *w, int port, int dir)
{
	const struct rp_port_status s = world_status(w, port);

	return &w->counters->rings[dir == NETMAP_DIR_TX ? s.tx_record[0] : s.rx_record[0]];
}

uint64_t world_drops(const struct world *w, int port, int dir, enum rp_drop reason)
{
	return rp_load(&world_count(w, port, dir)->drops[reason]);
}

uint64_t world_all_drops(const struct world *w, int port, int dir)
{
	uint64_t n = 0;

	for (int reason = 0; reason < RP_DROP_REASONS; reason++)
		n += world_drops(w, port, dir, (enum rp_drop)reason);
	return n;
}

void ring_user_open(struct ring_user *u, struct world *w, int port)
{
	struct rp_region_info info;
	struct rp_err err;

	EXPECT_OK(rp_port_region(w->dp, port, &info, &err), err);
	*u = (struct ring_user){ .w = w, .port = port, .bytes = info.bytes };
	u->base = mmap(NULL, info.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, info.fd, 0);
	EXPECT(u->base != MAP_FAILED);
	u->nifp = (struct netmap_if *)(void *)(u->base + info.nifp_offset);
	u->bufs = u->base + info.bufs_offset;
	u->buf_bytes = info.buf_bytes;
	u->tx = (struct netmap_ring *)(void *)((uint8_t *)u->nifp + u->nifp->ring_ofs[0]);
	u->rx = (struct netmap_ring *)(void *)((uint8_t *)u->nifp +
					       u->nifp->ring_ofs[u->nifp->ni_tx_rings +
								 u->nifp->ni_host_tx_rings]);
}

void ring_user_close(struct ring_user *u)
{
	munmap(u->base, u->bytes);
}

uint32_t ring_space(const struct netmap_ring *ring)
{
	uint32_t head = rp_load(&ring->head), tail = rp_load_acquire(&ring->tail);

	return tail >= head ? tail - head : tail + ring->num_slots - head;
}

static void move_head(struct netmap_ring *ring, uint32_t head)
{
	ring->cur = head;
	rp_store_release(&ring->head, head);
}

void ring_put_slot(struct ring_user *u, const void *data, uint32_t len, uint16_t flags)
{
	struct netmap_slot *s = &u->tx->slot[u->tx->head];

	EXPECT(ring_space(u->tx) > 0);
	EXPECT(len <= u->buf_bytes);
	memcpy(ring_user_buf(u, s->buf_idx), data, len);
	s->len = (uint16_t)len;
	s->flags = flags;
	move_head(u->tx, ring_next(u->tx, u->tx->head));
}

void ring_put(struct ring_user *u, const void *frame, uint32_t len)
{
	const uint8_t *at = frame;

	while (len > u->buf_bytes) {
		ring_put_slot(u, at, u->buf_bytes, NS_MOREFRAG);
		at += u->buf_bytes;
		len -= u->buf_bytes;
	}
	ring_put_slot(u, at, len, 0);
}

int ring_txsync(struct ring_user *u)
{
	return rp_port_txsync(u->w->caller, u->port, 0);
}

int ring_rxsync(struct ring_user *u)
{
	return rp_port_rxsync(u->w->caller, u->port, 0);
}

int ring_send(struct ring_user *u, const void *frame, uint32_t len)
{
	ring_put(u, frame, len);
	return ring_txsync(u);
}

uint32_t ring_get(struct ring_user *u, uint8_t *frame)
{
	uint32_t len = 0;
	bool more = true;

	if (!ring_space(u->rx))
		EXPECT_EQ(ring_rxsync(u), 0);
	if (!ring_space(u->rx))
		return 0;
	while (more) {
		const struct netmap_slot *s = &u->rx->slot[u->rx->head];

		EXPECT(ring_space(u->rx) > 0); /* a frame is published whole */
		EXPECT(len + s->len <= FRAME_MAX);
		memcpy(frame + len, ring_user_buf(u, s->buf_idx), s->len);
		len += s->len;
		more = s->flags & NS_MOREFRAG;
		move_head(u->rx, ring_next(u->rx, u->rx->head));
	}
	return len;
}
