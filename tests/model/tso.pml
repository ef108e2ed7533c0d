/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory as x86 has it (TSO). A store goes into the store buffer of its process, a
 * FIFO, and from there to memory some time later; a full fence waits until the buffer
 * is empty. A load is served by memory: each word here has one writer, which never
 * loads it, so no load finds anything in its own buffer.
 *
 * With -DSEQUENTIAL stores reach memory at once, as the checker alone has it.
 */
byte memory[WORDS];

#ifdef SEQUENTIAL
#define store(me, word, value) memory[word] = value
#define full_fence(me)	       skip
#else
chan buffer[2] = [DEPTH] of { byte, byte };

active [2] proctype store_buffer()
{
	byte word, value;

end:	do
	:: d_step {
		buffer[_pid] ? word, value;
		memory[word] = value;
		word = 0;
		value = 0;
	}
	od
}

#define store(me, word, value) buffer[me] ! word, value
#define full_fence(me)	       empty(buffer[me])
#endif

/* The eventfds by which each process is woken; a system call's locks empty the buffer, too. */
bool event[2];

inline signal(me, other)
{
	atomic {
		full_fence(me);
		event[other] = true
	}
}

/* The four fences and the two rechecks; a test takes them out one by one. */
#ifdef NO_FENCE_IN_SENDER_PUBLISH
#define sender_publish_fence skip
#else
#define sender_publish_fence full_fence(SENDER)
#endif
#ifdef NO_FENCE_IN_SENDER_ARM
#define sender_arm_fence skip
#else
#define sender_arm_fence full_fence(SENDER)
#endif
#ifdef NO_FENCE_IN_RECEIVER_PUBLISH
#define receiver_publish_fence skip
#else
#define receiver_publish_fence full_fence(RECEIVER)
#endif
#ifdef NO_FENCE_IN_RECEIVER_ARM
#define receiver_arm_fence skip
#else
#define receiver_arm_fence full_fence(RECEIVER)
#endif
#ifdef NO_RECHECK_IN_SENDER
#define sender_rechecks false
#else
#define sender_rechecks true
#endif
#ifdef NO_RECHECK_IN_RECEIVER
#define receiver_rechecks false
#else
#define receiver_rechecks true
#endif

#define next(slot)     (((slot) + 1) % SLOTS)
#define previous(slot) (((slot) + SLOTS - 1) % SLOTS)

/* Frames that arrived, each checked to be the next one. */
byte arrived;

/* When nobody can go on, everything has arrived: nothing is left that nobody was told of. */
active proctype observer()
{
	timeout;
	assert(arrived == FRAMES)
}
