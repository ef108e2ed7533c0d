/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A CSB's tx ring: a front end sends, the backend's worker takes.
 *
 *    front end (sender)   csrc/client/sync.c   backend_txsync(), wait_until_taken(), arm()
 *    worker (receiver)    csrc/worker.c        sync_one(), sleep_until_kick(), arm()
 *                         csrc/front_rings.c   rings_complete(), wants_call(), rings_arm()
 *
 * The front end kicks only if kern_need_kick is set, and not while an earlier kick is
 * pending: hwcur has not moved since. The worker calls only if appl_need_kick is set,
 * and then once for many frames. Claim: whatever the interleaving,
 * all frames arrive in order, and the front end never waits for a worker that sleeps.
 * In the end the front end is done and the worker sleeps.
 */
#define SENDER    0
#define RECEIVER  1

#define HEAD      0 /* atok.head */
#define HWCUR     1 /* ktoa.hwcur; ktoa.hwtail is always the slot before it */
#define NEED_KICK 2 /* ktoa.kern_need_kick */
#define NEED_CALL 3 /* atok.appl_need_kick */
#define SLOT      4
#define WORDS     (SLOT + SLOTS)
#define NOWHERE   SLOTS

#include "tso.pml"

#ifdef NO_FORGETTING_OF_KICKS
#define forget_kick skip
#else
#define forget_kick kicked_at = NOWHERE
#endif

active proctype front_end()
{
	byte head, sent, seen, kicked_at = NOWHERE;

	do
	:: sent < FRAMES && next(head) != memory[HWCUR] ->
		/* The program fills some slots of those that are free, */
		do
		:: sent < FRAMES && next(head) != memory[HWCUR] ->
			store(SENDER, SLOT + head, sent);
			head = next(head);
			sent++
		:: sent > 0 -> break
		od;
		/* and backend_txsync() publishes them: rp_csb_send(). */
		store(SENDER, HEAD, head);
		sender_publish_fence;
		seen = memory[HWCUR];
		if
		:: seen == head || !memory[NEED_KICK] -> forget_kick
		:: else ->
			if
			:: seen != kicked_at ->
				kicked_at = seen;
				signal(SENDER, RECEIVER)
			:: else
			fi
		fi
	:: sent == FRAMES -> break
	:: memory[HWCUR] != head ->
		/* wait_until_taken(): stale calls do no harm, it looks again. */
		store(SENDER, NEED_CALL, true);
		sender_arm_fence;
		do
		:: sender_rechecks && memory[HWCUR] == head -> break
		:: else ->
			event[SENDER];
			event[SENDER] = false;
			if
			:: memory[HWCUR] == head -> break
			:: else
			fi
		od;
		store(SENDER, NEED_CALL, false)
	:: memory[HWCUR] != head ->
		/* A program in poll(): rp_client_arm(), a look, poll(), rp_client_disarm(). */
		event[SENDER] = false;
		store(SENDER, NEED_CALL, true);
		sender_arm_fence;
		if
		:: sender_rechecks && next(head) != memory[HWCUR]
		:: else -> event[SENDER]
		fi;
		store(SENDER, NEED_CALL, false)
	od
}

inline call()
{
	awaited = 0;
	signal(RECEIVER, SENDER)
}

active proctype worker()
{
	byte hwcur, taken, awaited;

	do
	:: memory[HEAD] != hwcur ->
		/* rings_pull() takes a batch: what is there, or the first part of it. */
		do
		:: memory[HEAD] != hwcur ->
			assert(memory[SLOT + hwcur] == arrived);
			arrived++;
			hwcur = next(hwcur);
			taken++
		:: taken > 0 -> break
		od;
		/* rings_complete() gives it back; the call may wait. */
		store(RECEIVER, HWCUR, hwcur);
		receiver_publish_fence;
		if
		:: awaited || memory[NEED_CALL] -> awaited = awaited + taken
		:: else
		fi;
		taken = 0;
		if
		:: awaited >= SLOTS / 2 -> call()
		:: else
		fi
	:: memory[HEAD] == hwcur ->
		/* sync_one(): after some empty polls */
		if
		:: awaited -> call()
		:: true
		fi;
		/* sleep_until_kick(): arm, fence, recheck; wait_for_kicks() makes the calls first. */
		store(RECEIVER, NEED_KICK, true);
		receiver_arm_fence;
		if
		:: receiver_rechecks && memory[HEAD] != hwcur
		:: else ->
			if
			:: awaited -> call()
			:: else
			fi;
end_asleep:		event[RECEIVER];
			event[RECEIVER] = false
		fi;
		store(RECEIVER, NEED_KICK, false)
	od
}
