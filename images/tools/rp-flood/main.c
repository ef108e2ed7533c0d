/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rp-flood: sends numbered frames through a network driver as fast as it takes them.
 *
 * Frames go through a mapped AF_PACKET ring, past the queueing discipline, and
 * one system call sends many: in User-mode Linux a system call costs 80 us.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frame.h"
#include "ring.h"
#include "tool.h"

static const char USAGE[] =
	"usage: rp-flood [options] INTERFACE\n"
	"Send numbered frames as fast as the driver takes them; print one line of JSON.\n"
	"  --size BYTES     of the frame, without its checksum (60)\n"
	"  --seconds S      at most so long (1, or without limit if there is a count)\n"
	"  --count N        at most so many\n"
	"  --batch N        frames per system call (1024)\n"
	"  --rate N         at most so many frames a second\n"
	"  --dst MAC        destination (ff:ff:ff:ff:ff:ff)\n"
	"  --stream N       number of the stream, 0 to 15 (0)\n"
	"  --vary           payload depends on the sequence number\n";

struct options {
	const char *interface;
	uint32_t size;
	uint32_t batch;
	uint16_t stream;
	bool vary;
	double seconds;
	double rate;
	uint64_t count;
	uint8_t dst[ETH_ALEN];
};

static _Noreturn void usage(int status)
{
	fputs(USAGE, status == 0 ? stdout : stderr);
	exit(status);
}

static struct options parse(int argc, char **argv)
{
	static const struct option NAMES[] = {
		{ "size", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "count", required_argument, NULL, 'n' },
		{ "batch", required_argument, NULL, 'b' },
		{ "rate", required_argument, NULL, 'r' },
		{ "dst", required_argument, NULL, 'd' },
		{ "stream", required_argument, NULL, 'i' },
		{ "vary", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options options = { .size = 60, .batch = 1024, .seconds = -1 };
	int option;

	memset(options.dst, 0xff, ETH_ALEN);
	while ((option = getopt_long(argc, argv, "h", NAMES, NULL)) != -1) {
		switch (option) {
		case 's':
			options.size = (uint32_t)tool_number(optarg, sizeof(struct rp_frame),
							     RING_MAX_FRAME);
			break;
		case 't':
			options.seconds = tool_number(optarg, 0, 1e6);
			break;
		case 'n':
			options.count = (uint64_t)tool_number(optarg, 1, 1e15);
			break;
		case 'b':
			options.batch = (uint32_t)tool_number(optarg, 1, RING_MAX_BATCH);
			break;
		case 'r':
			options.rate = tool_number(optarg, 1, 1e9);
			break;
		case 'd':
			tool_mac(optarg, options.dst);
			break;
		case 'i':
			options.stream = (uint16_t)tool_number(optarg, 0, RP_STREAMS - 1);
			break;
		case 'v':
			options.vary = true;
			break;
		default:
			usage(option == 'h' ? 0 : 2);
		}
	}
	if (optind != argc - 1)
		usage(2);
	options.interface = argv[optind];
	if (options.seconds < 0)
		options.seconds = options.count != 0 ? HUGE_VAL : 1;
	return options;
}

/* Fill in what stays the same each time a slot is sent. */
static void prepare(struct ring *ring, const struct options *options)
{
	for (uint32_t i = 0; i < ring->slots; i++) {
		struct rp_frame *frame = ring_frame(ring, i);

		memcpy(frame->dst, options->dst, ETH_ALEN);
		memcpy(frame->src, ring->mac, ETH_ALEN);
		frame->ethertype = htobe16(RP_ETHERTYPE);
		frame->stream = htobe16(options->stream);
		rp_frame_fill(frame, options->size, 0, options->vary);
	}
}

/* How many frames may go out now: a batch, less if a count or a rate says so. */
static uint32_t allowance(const struct options *options, uint64_t queued, double elapsed)
{
	uint64_t allowed = options->batch;

	if (options->count != 0 && options->count - queued < allowed)
		allowed = options->count - queued;
	if (options->rate != 0) {
		double due = options->rate * elapsed - (double)queued;

		if (due < (double)allowed)
			allowed = due > 0 ? (uint64_t)due : 0;
	}
	return (uint32_t)allowed;
}

/* Put up to `limit` frames into free slots of the ring; return how many. */
static uint32_t queue_batch(struct ring *ring, const struct options *options, uint64_t seq,
			    uint32_t limit)
{
	uint32_t n = 0;

	while (n < limit && ring_next_is_free(ring)) {
		struct rp_frame *frame = ring_frame(ring, ring->next);

		if (options->vary)
			rp_frame_fill(frame, options->size, seq + n, true);
		else
			frame->seq = htobe64(seq + n);
		ring_queue(ring, options->size);
		n++;
	}
	return n;
}

static bool finished(const struct options *options, const struct ring *ring, uint64_t queued,
		     double elapsed)
{
	return tool_stopped || ring->error != 0 || elapsed >= options->seconds ||
	       (options->count != 0 && queued >= options->count);
}

/* Send until it is enough; return how many frames were queued. */
static uint64_t flood(struct ring *ring, const struct options *options, double start)
{
	/* Between two frames of a slow flood: others want the processor. */
	const struct timespec nap = { .tv_nsec = 1000000 };
	uint64_t queued = 0;
	double elapsed = 0;

	while (!finished(options, ring, queued, elapsed)) {
		uint32_t allowed = allowance(options, queued, elapsed);

		queued += queue_batch(ring, options, queued, allowed);
		if (allowed > 0)
			ring_send(ring);
		else
			nanosleep(&nap, NULL);
		elapsed = tool_now() - start;
	}
	ring_drain(ring);
	return queued - ring_unsent(ring);
}

int main(int argc, char **argv)
{
	struct options options = parse(argc, argv);
	struct ring ring;
	double start, seconds;
	uint64_t frames;

	ring_open(&ring, options.interface, options.size, options.batch);
	prepare(&ring, &options);
	tool_catch_signals();
	start = tool_now();
	frames = flood(&ring, &options, start);
	seconds = tool_now() - start;
	printf("{\"frames\": %llu, \"seconds\": %.6f, \"errors\": %d, \"full\": %llu, "
	       "\"calls\": %llu, \"size\": %u, \"pps\": %.0f}\n",
	       (unsigned long long)frames, seconds, ring.error != 0, (unsigned long long)ring.full,
	       (unsigned long long)ring.calls, options.size, (double)frames / seconds);
	if (ring.error != 0) {
		errno = ring.error;
		tool_fail("%s", options.interface);
	}
	return 0;
}
