/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Takes frames through a mapped receive ring of AF_PACKET (TPACKET_V3) and verifies them.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "rp_barrier.h"
#include "sink.h"
#include "tool.h"

#define BLOCK_SIZE (1u << 20)
#define BLOCKS	   32
#define SLOT_SIZE  2048

/* How far back a late frame can still be told from one that came twice. */
#define WINDOW 65536

static struct {
	int fd;
	uint8_t *memory;
	uint32_t next;
	uint64_t seen[RP_STREAMS][WINDOW / 64];
} ring;

void sink_ring_attach(int ifindex)
{
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = SLOT_SIZE,
		.tp_frame_nr = BLOCKS * (BLOCK_SIZE / SLOT_SIZE),
		.tp_retire_blk_tov = 10,
	};
	int version = TPACKET_V3;

	ring.fd = tool_packet_socket();
	if (setsockopt(ring.fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) != 0 ||
	    setsockopt(ring.fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) != 0)
		tool_fail("cannot make a receive ring");
	ring.memory = mmap(NULL, (size_t)BLOCKS * BLOCK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring.fd, 0);
	if (ring.memory == MAP_FAILED)
		tool_fail("cannot map the receive ring");
	tool_bind(ring.fd, ifindex, RP_ETHERTYPE);
}

/* Set the bit of a number, and tell whether it was set. */
static bool test_and_set(uint64_t *bits, uint64_t number)
{
	uint64_t *word = &bits[number % WINDOW / 64];
	uint64_t bit = 1ULL << (number % 64);
	bool was_set = (*word & bit) != 0;

	*word |= bit;
	return was_set;
}

static void follow_sequence(struct sink *sink, unsigned int stream_number, uint64_t seq)
{
	struct sink_stream *stream = &sink->streams[stream_number];
	uint64_t *seen = ring.seen[stream_number];

	if (stream->frames == 0)
		stream->next = seq;
	if (seq < stream->next) {
		stream->late++;
		if (stream->next - seq <= WINDOW && test_and_set(seen, seq))
			sink->duplicates++;
		return;
	}
	stream->missing += seq - stream->next;
	/* The window moves: what it now covers has not been seen. */
	for (uint64_t n = stream->next; n < seq && n - stream->next < WINDOW; n++)
		seen[n % WINDOW / 64] &= ~(1ULL << (n % 64));
	(void)test_and_set(seen, seq);
	stream->next = seq + 1;
}

static void count(struct sink *sink, const struct tpacket3_hdr *header)
{
	const struct rp_frame *frame =
		(const struct rp_frame *)((const uint8_t *)header + header->tp_mac);
	struct sink_stream *stream;
	unsigned int number;
	uint64_t now;

	if (header->tp_len < sizeof(*frame) || header->tp_snaplen != header->tp_len) {
		sink->corrupt++;
		return;
	}
	number = be16toh(frame->stream) & (RP_STREAMS - 1);
	stream = &sink->streams[number];
	if (!rp_frame_intact(frame, header->tp_len)) {
		/* Its number is not to be believed either. */
		sink->corrupt++;
	} else {
		follow_sequence(sink, number, be64toh(frame->seq));
	}
	now = header->tp_sec * 1000000000ULL + header->tp_nsec;
	if (stream->frames == 0)
		stream->first_ns = now;
	stream->mark_ns = now;
	stream->mark_frames = stream->frames;
	stream->frames++;
	stream->bytes += header->tp_len;
}

static void add_overrun(struct sink *sink)
{
	struct tpacket_stats_v3 statistics;
	socklen_t size = sizeof(statistics);

	/* Reading them sets them to zero. */
	if (getsockopt(ring.fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0)
		sink->overrun += statistics.tp_drops;
}

void sink_ring_read(struct sink *sink)
{
	struct pollfd poll_fd = { .fd = ring.fd, .events = POLLIN };
	double end = tool_now() + 0.1;

	do {
		struct tpacket_block_desc *block =
			(void *)(ring.memory + (size_t)ring.next * BLOCK_SIZE);
		const uint8_t *at;

		if (!(rp_load_acquire(&block->hdr.bh1.block_status) & TP_STATUS_USER)) {
			(void)poll(&poll_fd, 1, 100);
			break;
		}
		at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
		for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
			const struct tpacket3_hdr *header = (const void *)at;

			count(sink, header);
			at += header->tp_next_offset;
		}
		rp_store_release(&block->hdr.bh1.block_status, TP_STATUS_KERNEL);
		ring.next = (ring.next + 1) % BLOCKS;
	} while (tool_now() < end);
	add_overrun(sink);
}
