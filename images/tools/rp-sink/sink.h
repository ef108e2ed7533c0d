/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_SINK_H
#define RP_SINK_H
/*
 * DOC: What rp-sink counts, and its two ways of counting.
 *
 * A program in the kernel (sink_bpf.c, fast: it drops each frame where it
 * counts it) or a mapped receive ring (sink_ring.c, slow: it looks at every
 * byte). Both fill in one `struct sink_stream` for each stream of rp-flood.
 */
#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

/**
 * struct sink_stream - one stream's frames
 * @frames: received
 * @bytes: their length, without checksums
 * @next: the sequence number that should come next
 * @missing: numbers that were skipped
 * @late: frames whose number was below @next: reordered or duplicated
 * @first_ns: when the first one came, CLOCK_MONOTONIC
 * @mark_ns: when frame @mark_frames came
 * @mark_frames: frames received before the one at @mark_ns
 *
 * The time is read for every SINK_MARK-th frame only; the rate of a stream is
 * @mark_frames over (@mark_ns - @first_ns). A program in the kernel counts
 * here too: keep it 64 bytes, all of them 64-bit words.
 */
struct sink_stream {
	uint64_t frames;
	uint64_t bytes;
	uint64_t next;
	uint64_t missing;
	uint64_t late;
	uint64_t first_ns;
	uint64_t mark_ns;
	uint64_t mark_frames;
};

#define SINK_STREAM_SHIFT 6
#define SINK_MARK	  64

_Static_assert(sizeof(struct sink_stream) == 1 << SINK_STREAM_SHIFT, "streams are found by shift");

/**
 * struct sink - all counts, and how they came about
 * @mode: "xdp", "tc" or "ring"
 * @streams: by number
 * @duplicates: frames that came twice (ring only)
 * @corrupt: frames that are not what was sent (ring only)
 * @overrun: frames that the ring had no room for (ring only)
 */
struct sink {
	const char *mode;
	struct sink_stream streams[RP_STREAMS];
	uint64_t duplicates;
	uint64_t corrupt;
	uint64_t overrun;
};

/**
 * enum sink_mode - where the counting program is wanted
 * @SINK_AUTO: in the driver, or behind it if the driver cannot
 * @SINK_XDP: in the driver
 * @SINK_TC: behind the driver, as a filter of arriving frames
 */
enum sink_mode { SINK_AUTO, SINK_XDP, SINK_TC };

/**
 * sink_bpf_attach() - count and drop frames in the kernel; does not return on failure
 * @ifindex: the interface
 * @mode: where
 * @any: whether every frame counts, not only those of rp-flood
 *
 * Return: the name of the mode that was possible.
 */
const char *sink_bpf_attach(int ifindex, enum sink_mode mode, bool any);

/**
 * sink_bpf_read() - read the counts
 * @sink: where to
 */
void sink_bpf_read(struct sink *sink);

/**
 * sink_bpf_detach() - let frames pass again
 */
void sink_bpf_detach(void);

/**
 * sink_ring_attach() - take and check frames in user space; does not return on failure
 * @ifindex: the interface
 */
void sink_ring_attach(int ifindex);

/**
 * sink_ring_read() - take what has arrived, at most until a tenth of a second from now
 * @sink: where to count it
 */
void sink_ring_read(struct sink *sink);

/**
 * sink_tc_attach() - run a program for every frame that arrives at an interface
 * @ifindex: the interface
 * @program: descriptor of a loaded program of type BPF_PROG_TYPE_SCHED_CLS
 *
 * Return: 0, or -1 with errno set.
 */
int sink_tc_attach(int ifindex, int program);

/**
 * sink_tc_detach() - undo sink_tc_attach()
 * @ifindex: the interface
 */
void sink_tc_detach(int ifindex);

#endif
