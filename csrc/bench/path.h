/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BENCH_PATH_H
#define RP_BENCH_PATH_H
/*
 * DOC: What all loops share: the two rings as a user sees them, the frames,
 * threads on chosen cores, and when to stop.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "abi/rp_abi.h"
#include "abi/rp_barrier.h"
#include "rp_bench.h"

enum {
	BENCH_HEADER = 14, /* of Ethernet; the sequence number follows */
	BENCH_FRAME_MIN = BENCH_HEADER + sizeof(uint64_t),
	BENCH_CLOCK_FRAMES = 4096, /* look at the clock once in so many */
	BENCH_SPINS = 1000	   /* before a waiting thread lets others run */
};

/* A ring as its user holds it: in a mapped region, with its geometry read once. */
struct bench_ring {
	struct netmap_ring *ring;
	uint8_t *bufs; /* buffer 0 */
	uint32_t buf_bytes;
	uint32_t slots;
	void *base; /* of the mapping */
	uint64_t bytes;
};

struct rp_bench {
	rp_dataplane *dp;
	int tx_port;
	int rx_port;
	struct bench_ring tx;
	struct bench_ring rx;
	int monitor_port;
	struct bench_ring monitor; /* its rx ring; ring is NULL when there is none */
};

/* Either end of a stream of frames. */
struct bench_stream {
	uint64_t header[2]; /* its first and its last eight bytes, which overlap */
	uint32_t len;
	uint64_t next; /* sequence number of the next frame */
	uint64_t frames;
	uint64_t lost;
	uint64_t bad;
};

extern const uint8_t rp_bench_header[BENCH_HEADER];

static inline struct bench_stream rp_bench_stream(const uint8_t header[BENCH_HEADER],
						  uint32_t frame_bytes)
{
	struct bench_stream s = { .len = frame_bytes };

	memcpy(&s.header[0], header, 8);
	memcpy(&s.header[1], header + BENCH_HEADER - 8, 8);
	return s;
}

static inline uint8_t *rp_bench_buf(const struct bench_ring *r, uint32_t buf_idx)
{
	return r->bufs + (uint64_t)buf_idx * r->buf_bytes;
}

static inline void rp_bench_write(struct bench_stream *s, uint8_t *frame)
{
	memcpy(frame, &s->header[0], 8);
	memcpy(frame + BENCH_HEADER - 8, &s->header[1], 8);
	memcpy(frame + BENCH_HEADER, &s->next, sizeof(s->next));
	s->next++;
}

static inline void rp_bench_check(struct bench_stream *s, const uint8_t *frame, uint32_t len)
{
	uint64_t header[2], seq;

	memcpy(&header[0], frame, 8);
	memcpy(&header[1], frame + BENCH_HEADER - 8, 8);
	memcpy(&seq, frame + BENCH_HEADER, sizeof(seq));
	if ((header[0] ^ s->header[0]) | (header[1] ^ s->header[1]) | (len ^ s->len) ||
	    seq < s->next) {
		s->bad++;
		return;
	}
	s->lost += seq - s->next;
	s->next = seq + 1;
	s->frames++;
}

/* rp_bench_space() - slots from head up to tail: free ones of a tx ring, frames of an rx ring */
static inline uint32_t rp_bench_space(const struct bench_ring *r)
{
	uint32_t head = r->ring->head, tail = rp_load_acquire(&r->ring->tail);

	return tail >= head ? tail - head : tail + r->slots - head;
}

static inline uint32_t rp_bench_next(const struct bench_ring *r, uint32_t i)
{
	return i + 1 == r->slots ? 0 : i + 1;
}

/*
 * What these two work with is copied first: then the compiler knows that no
 * frame overlaps it, and keeps it in registers.
 */

/* rp_bench_fill() - write @n frames into the slots from head on */
static inline void rp_bench_fill(struct bench_ring r, struct bench_stream *stream, uint32_t n)
{
	struct bench_stream s = *stream;
	uint32_t head = r.ring->head;

	for (; n; n--) {
		struct netmap_slot *slot = &r.ring->slot[head];

		rp_bench_write(&s, rp_bench_buf(&r, slot->buf_idx));
		slot->len = (uint16_t)s.len;
		slot->flags = 0;
		head = rp_bench_next(&r, head);
	}
	r.ring->cur = head;
	rp_store_release(&r.ring->head, head);
	*stream = s;
}

/* rp_bench_drain() - check and release the frames up to tail; how many there were */
static inline uint32_t rp_bench_drain(struct bench_ring r, struct bench_stream *stream)
{
	uint32_t n = rp_bench_space(&r), head = r.ring->head;
	struct bench_stream s = *stream;

	for (uint32_t i = 0; i < n; i++) {
		const struct netmap_slot *slot = &r.ring->slot[head];

		rp_bench_check(&s, rp_bench_buf(&r, slot->buf_idx), slot->len);
		head = rp_bench_next(&r, head);
	}
	r.ring->cur = head;
	rp_store_release(&r.ring->head, head);
	*stream = s;
	return n;
}

static inline uint64_t rp_bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Tells when a run is over; the clock is read once in BENCH_CLOCK_FRAMES frames. */
struct bench_clock {
	uint64_t start_ns;
	uint64_t run_ns;
	uint64_t max_frames; /* 0: any number */
	uint64_t look_at;    /* frames at which to look next */
};

static inline struct bench_clock rp_bench_clock(const struct rp_bench_config *cfg)
{
	return (struct bench_clock){ .start_ns = rp_bench_now(),
				     .run_ns = cfg->run_ns,
				     .max_frames = cfg->max_frames };
}

static inline bool rp_bench_over(struct bench_clock *c, uint64_t frames)
{
	if (c->max_frames && frames >= c->max_frames)
		return true;
	if (frames < c->look_at)
		return false;
	c->look_at = frames + BENCH_CLOCK_FRAMES;
	return rp_bench_now() - c->start_ns >= c->run_ns;
}

/* A thread that found nothing to do: spin a little, then let others run, for cores may be few. */
static inline void rp_bench_wait(uint32_t *spins)
{
	if (++*spins % BENCH_SPINS)
		rp_cpu_relax();
	else
		sched_yield();
}

/* rp_bench_check_config() - refuse what the rings can't do; 0 or a negative errno */
int rp_bench_check_config(const rp_bench *b, const struct rp_bench_config *cfg, struct rp_err *err);

/* rp_bench_fail() - fill in @err; returns -@code */
__attribute__((format(printf, 3, 4))) int rp_bench_fail(struct rp_err *err, int code,
							const char *format, ...);

/* A thread of a run, and the CPU that it is bound to; -1: any that this process may use. */
struct bench_thread {
	void *(*loop)(void *);
	void *arg;
	int32_t cpu;
};

/**
 * rp_bench_team() - run some threads that begin together, and wait for them
 *
 * Return: 0, or a negative errno with the reason in @err; then none was run
 */
int rp_bench_team(const struct bench_thread *threads, unsigned n, struct rp_err *err);

/**
 * rp_bench_threads() - run one or two threads, each on its own core, and wait for them
 * @main_loop:	for @cpu[0]
 * @other:	for @cpu[1]; NULL: one thread only
 * @arg:	for both
 *
 * Return: 0, or a negative errno with the reason in @err; then neither was run
 */
int rp_bench_threads(void *(*main_loop)(void *), void *(*other)(void *), const int32_t cpu[2],
		     void *arg, struct rp_err *err);

#endif
