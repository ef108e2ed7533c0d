/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_LOGIC_H
#define RP_LOGIC_H
/*
 * DOC: A switch's logic: where frames go, a batch at a time.
 *
 * A C file that includes this header, and nothing else of ringpass, is all that
 * a switch needs to do something other than to learn:
 *
 *     #include <rp_logic.h>
 *
 *     static void lookup(void *state, struct rp_logic_batch *b)
 *     {
 *             for (uint32_t i = 0; i < b->n; i++)
 *                     b->dest[i] = RP_LOGIC_FLOOD;
 *     }
 *
 *     RP_LOGIC(.lookup = lookup);
 *
 *     $ ringpass switch logic vale0 ./hub.c
 *
 * Who calls what, and when:
 *
 *     control thread    init   port port ...   port ...   port ...        exit
 *     workers                                lookup lookup lookup lookup
 *
 * - init comes first, then port for every port that there is, then lookups;
 *   exit comes when no lookup runs any more.
 * - lookup is called by several threads at a time, each with a batch of its
 *   own, and port meanwhile: what they share is for __atomic_* functions, or
 *   for one word that one side stores and the other loads.
 *   Between two calls of port all lookups end that began before the first.
 * - A lookup must not wait: no locks that others hold for long, no system calls.
 * - The bytes of a frame are in the sender's memory, and the sender may change
 *   them at any time: read what you check once, into a variable.
 * - Each switch loads a copy of its own, so static variables are private to the
 *   switch, too, as *state is.
 * - It all runs inside the backend. A stray pointer ends the backend, a loop
 *   without an end stops a worker.
 */
#include <stddef.h>
#include <stdint.h>

enum rp_logic_limits {
	RP_LOGIC_VERSION = 1,
	RP_LOGIC_PORTS = 1024,	/* the numbers of ports are below it */
	RP_LOGIC_BATCH = 256,	/* frames of a batch, at most */
	RP_LOGIC_HEAD = 128,	/* so much of a frame is in one piece, or all of a shorter one */
	RP_LOGIC_THREADS = 128, /* rp_logic_batch.thread is below it */
	RP_LOGIC_WHY = 200	/* bytes for init's reason */
};

/* Where a frame goes: a port's number, or one of these. Anything else is dropped. */
enum rp_logic_dest {
	RP_LOGIC_SET = 0x8000,	 /* + k: the ports of b->set[k], but for the frame's own */
	RP_LOGIC_LEARN = 0xfffd, /* where the learning bridge says; it learns the source, too */
	RP_LOGIC_FLOOD = 0xfffe, /* all ports, but for the frame's own */
	RP_LOGIC_DROP = 0xffff	 /* nowhere; counted as `logic` at the sender */
};

enum rp_logic_frame_flags {
	RP_LOGIC_AGAIN = 0x1 /* asked before: its receiver was full, and the frame waited for it */
};

struct rp_logic_frame {
	const uint8_t *data; /* from the Ethernet header on */
	uint32_t here;	     /* bytes at data; at least RP_LOGIC_HEAD, or the whole frame */
	uint32_t len;	     /* of the whole frame, 14 to 65792; the rest is elsewhere */
	uint16_t source;     /* the number of the port that it came from */
	uint16_t ring;	     /* of that port */
	uint16_t flags;	     /* RP_LOGIC_AGAIN */
	uint16_t pad;
};

/* Some ports: port n is in it if bit n % 64 of bit[n / 64] is set. */
struct rp_logic_set {
	uint64_t bit[16];
};

/* Frames from one port, in the order in which it sent them. */
struct rp_logic_batch {
	const struct rp_logic_frame *frame;
	uint16_t *dest;	 /* to be written, for each frame; RP_LOGIC_DROP before */
	uint32_t n;	 /* frames */
	uint32_t thread; /* no other lookup has this number at this time */
	uint32_t now_s;	 /* CLOCK_MONOTONIC, in seconds */
	uint32_t nsets;	 /* to be written with set, if any dest is RP_LOGIC_SET + k */
	const struct rp_logic_set *set; /* to live until exit */
};

struct rp_logic {
	uint32_t version; /* RP_LOGIC_VERSION */
	uint32_t bytes;	  /* sizeof(struct rp_logic) */

	/**
	 * @init: make a switch's private state; may be missing
	 * @state: where to leave it, for all other calls
	 * @config: the text that the user gave, "" if none; gone after the call
	 * @why: RP_LOGIC_WHY bytes, for a reason
	 *
	 * Return: 0, or anything else to refuse; then nothing more is called
	 */
	int (*init)(void **state, const char *config, char *why);

	/** @exit: free the state; may be missing */
	void (*exit)(void *state);

	/**
	 * @port: a port of the switch came or goes; may be missing
	 * @name: such as "vale0:vm1"; gone after the call
	 * @up: 1: it came, 0: it goes, and its number may be another port's later
	 */
	void (*port)(void *state, const char *name, uint16_t number, int up);

	/** @lookup: say where each frame of a batch goes */
	void (*lookup)(void *state, struct rp_logic_batch *b);
};

/* RP_LOGIC(.lookup = ..., ...): what the file offers; once a file. */
#define RP_LOGIC(...)                                                                      \
	extern const struct rp_logic rp_logic;                                             \
	__attribute__((visibility("default"))) const struct rp_logic rp_logic = {          \
		.version = RP_LOGIC_VERSION, .bytes = sizeof(struct rp_logic), __VA_ARGS__ \
	}

/* rp_logic_set_port() - put a port into a set, or take it out; lookups may use the set meanwhile */
static inline void rp_logic_set_port(struct rp_logic_set *set, uint16_t port, int in)
{
	uint64_t *word = &set->bit[port / 64 % 16], bit = UINT64_C(1) << port % 64;

	if (in)
		__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED);
}

#endif
