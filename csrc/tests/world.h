/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_WORLD_H
#define RP_WORLD_H
/*
 * DOC: What most tests start from: a data plane with a switch and a worker,
 * and the user's side of ports with netmap rings.
 */
#include <stdbool.h>
#include <stdint.h>

#include "abi/rp_abi.h"
#include "ringpass.h"

enum {
	WORLD_FOREVER_US = 60 * 1000 * 1000,
	WORLD_MORE_BUFS = 2 /* of a port's region, beside those of its slots */
};

struct world {
	rp_dataplane *dp;
	rp_caller *caller;
	int state_fd;
	int counters_fd;
	const struct rp_counters *counters;
	int sw;
	int worker; /* sleeps until it is kicked */
};

void world_open(struct world *w);
/* world_close() - with all ports that are still there */
void world_close(struct world *w);

/* A port of the world's switch with virtqueues, and one with netmap rings of 64 slots. */
int world_add_vhost(struct world *w, const char *name);
int world_add_rings(struct world *w, const char *name);
int world_add_port(struct world *w, const struct rp_port_config *cfg);

/* What both of them are made from. */
struct rp_port_config world_vhost_config(const struct world *w, const char *name);
struct rp_port_config world_rings_config(const struct world *w, const char *name);

void world_del_port(struct world *w, int port);
void world_set_full(struct world *w, int port, int full, uint32_t hold_us);

/* The counters of a port's first ring in a direction, and of all its rings. */
const struct rp_ring_counters *world_count(const struct world *w, int port, int dir);
uint64_t world_drops(const struct world *w, int port, int dir, enum rp_drop reason);
/* world_all_drops() - for all reasons */
uint64_t world_all_drops(const struct world *w, int port, int dir);

struct rp_port_status world_status(const struct world *w, int port);
bool world_broken(const struct world *w, int port);

/* A port's region, as its user maps it. */
struct ring_user {
	struct world *w;
	int port;
	uint8_t *base;
	uint64_t bytes;
	struct netmap_if *nifp;
	uint8_t *bufs;
	uint32_t buf_bytes;
	struct netmap_ring *tx; /* the first ones */
	struct netmap_ring *rx;
};

void ring_user_open(struct ring_user *u, struct world *w, int port);
void ring_user_close(struct ring_user *u);

static inline uint8_t *ring_user_buf(const struct ring_user *u, uint32_t buf_idx)
{
	return u->bufs + (uint64_t)buf_idx * u->buf_bytes;
}

static inline uint32_t ring_next(const struct netmap_ring *ring, uint32_t i)
{
	return i + 1 == ring->num_slots ? 0 : i + 1;
}

/* ring_space() - slots that the user owns: free ones in a tx ring, received ones in an rx ring */
uint32_t ring_space(const struct netmap_ring *ring);

/* ring_put() - into the next tx slots, without a sync; as many as the frame needs */
void ring_put(struct ring_user *u, const void *frame, uint32_t len);
/* ring_put_slot() - one slot of @len bytes with @flags */
void ring_put_slot(struct ring_user *u, const void *data, uint32_t len, uint16_t flags);
/* ring_send() - put and sync. Return: what the sync returned */
int ring_send(struct ring_user *u, const void *frame, uint32_t len);
int ring_txsync(struct ring_user *u);
int ring_rxsync(struct ring_user *u);

/**
 * ring_get() - sync if the ring is empty, and take the next frame, of any number of slots
 * @frame:	FRAME_MAX bytes
 *
 * Return: its length, 0 when there is none
 */
uint32_t ring_get(struct ring_user *u, uint8_t *frame);

#endif
