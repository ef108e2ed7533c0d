/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_PIPE_H
#define RP_PIPE_H
/*
 * DOC: A pipe: slots move between two rings of one region, and no byte of a frame does.
 *
 * T sends, R receives, and slot k of one belongs to slot k of the other: they
 * are one circular buffer, seen twice. A sync needs nothing but the region, so
 * the end that calls it runs it; abi/rp_abi.h says who writes which word.
 *
 *       T:   | . | a | b | c | . | . |        txsync copies the slots [hwcur, head);
 *                  |   |   |                  the buffers a b c are the receiver's until
 *       R:   | . | a | b | c | . | . |        it gives those slots back
 *
 * So the two rings share one set of buffers. A receiver that puts another buffer
 * into a slot says so with NS_BUF_CHANGED, as netmap wants it, and its rxsync hands
 * that buffer to the sender's slot.
 *
 * Frames stay in R until they are taken, whatever becomes of T's process.
 */
#include <stdbool.h>
#include <stdint.h>

#include "csb.h"

struct rp_pipe {
	struct rp_csb_ring tx;
	struct rp_csb_ring rx; /* of the other end */
};

/**
 * rp_pipe_open() - find both rings
 * @csb:	record of the sending ring
 *
 * Return: false when it has no peer, or they do not fit each other
 */
bool rp_pipe_open(struct rp_pipe *p, const struct rp_view *v, uint32_t csb);

/**
 * rp_pipe_txsync() - give the sender's frames to the receiver, and free slots to the sender
 *
 * Only complete frames become visible. tail of the sender's ring moves, but not always as far
 * as it could: what the receiver gave back is looked at when there is nothing to send, when half
 * the ring or less is known to be free, and when the sender is about to wait.
 * Return: slots moved, or -1 when the user's head, or the receiver's, lies where
 * it may not be
 */
int rp_pipe_txsync(const struct rp_pipe *p);

/**
 * rp_pipe_rxsync() - give back what the receiver took, and show it what came
 * @rx:		the receiving ring
 * @tx:		the sending one of a pipe; NULL: the backend sends
 *
 * Return: slots given back, or -1 when the user's head or the sender's word lies
 * where it may not be
 */
int rp_pipe_rxsync(const struct rp_csb_ring *rx, const struct rp_csb_ring *tx);

#endif
