/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_RINGS_H
#define RP_RINGS_H
/*
 * DOC: One ring of a session, by its number: TX rings first.
 */
#include <stdbool.h>

#include "session.h"

bool rp_ring_is_tx(const struct rp_session *s, unsigned ring);

/**
 * rp_ring_sync() - netmap's sync
 *
 * Return: 0, also if another thread is at it; EINVAL if the program's indexes
 * make no sense; EIO if the port is broken, and all that came has been read
 */
int rp_ring_sync(struct rp_session *s, unsigned ring);

/* rp_ring_ready() - tell whether the program has a slot from cur on */
bool rp_ring_ready(const struct rp_session *s, unsigned ring);

/* rp_ring_pending() - tell whether the program gave slots away that nobody looked at yet */
bool rp_ring_pending(const struct rp_session *s, unsigned ring);

#endif
