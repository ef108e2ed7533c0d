/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Into an rx ring: from the other end of a pipe, or, with -DWORKER, from the worker.
 *
 *    pipe's end (sender)   csrc/client/sync.c   pipe_txsync(), call_peer(), arm()
 *                          csrc/pipe.c          rp_pipe_txsync(): publishes hwtail
 *    worker (sender)       csrc/front_rings.c   rings_publish(), wants_call()
 *    user (receiver)       csrc/client/sync.c   rxsync(), call_peer(), arm()
 *                          csrc/pipe.c          rp_pipe_rxsync(): publishes head
 *
 * The ends of a pipe call each other, each only if the other's appl_need_kick is set.
 * A worker is never called: it naps while a receiver is full, and looks again. What was
 * given back a sender may know late, until it is about to sleep. Claim:
 * all frames arrive in order, and nobody waits for one who sleeps. In the end the
 * sender is done and the receiver sleeps.
 */
#define SENDER             0
#define RECEIVER           1

#define HWTAIL             0 /* rx.ktoa.hwtail: frames are before it */
#define HEAD               1 /* rx.atok.head: given back are the slots before it */
#define SENDER_NEED_CALL   2 /* tx.atok.appl_need_kick */
#define RECEIVER_NEED_CALL 3 /* rx.atok.appl_need_kick */
#define SLOT               4
#define WORDS              (SLOT + SLOTS)

#include "tso.pml"

active proctype sender()
{
	byte hwtail, sent, released;

	do
	:: released != memory[HEAD] -> released = memory[HEAD]
	:: sent < FRAMES && next(hwtail) != released ->
		/* A batch into some of the free slots, which the receiver sees at once. */
		do
		:: sent < FRAMES && next(hwtail) != released ->
			store(SENDER, SLOT + hwtail, sent);
			hwtail = next(hwtail);
			sent++
		:: sent > 0 -> break
		od;
		store(SENDER, HWTAIL, hwtail);
		/* wants_call() of the worker, call_peer() of a pipe's end */
		sender_publish_fence;
		if
		:: memory[RECEIVER_NEED_CALL] -> signal(SENDER, RECEIVER)
		:: else
		fi
	:: sent == FRAMES -> break
#ifndef WORKER
	:: next(hwtail) == released ->
		/* rp_client_arm(): drain, arm; then a look, poll(), rp_client_disarm() */
		event[SENDER] = false;
		store(SENDER, SENDER_NEED_CALL, true);
		sender_arm_fence;
		if
		:: sender_rechecks && next(hwtail) != memory[HEAD] -> released = memory[HEAD]
		:: else -> event[SENDER]
		fi;
		store(SENDER, SENDER_NEED_CALL, false)
#endif
	od
}

active proctype receiver()
{
	byte head, held;

	do
	:: memory[HWTAIL] != head ->
		/* The program takes some frames, */
		do
		:: memory[HWTAIL] != head ->
			assert(memory[SLOT + head] == arrived);
			arrived++;
			head = next(head);
			held++
		:: held > 0 -> break
		od
	:: held > 0 ->
		/* and its next rxsync() gives the slots back. */
		held = 0;
		store(RECEIVER, HEAD, head);
#ifndef WORKER
		receiver_publish_fence;
		if
		:: memory[SENDER_NEED_CALL] -> signal(RECEIVER, SENDER)
		:: else
		fi
#endif
	:: memory[HWTAIL] == head && held == 0 ->
		event[RECEIVER] = false;
		store(RECEIVER, RECEIVER_NEED_CALL, true);
		receiver_arm_fence;
		if
		:: receiver_rechecks && memory[HWTAIL] != head
		:: else ->
end_asleep:		event[RECEIVER]
		fi;
		store(RECEIVER, RECEIVER_NEED_CALL, false)
	od
}
