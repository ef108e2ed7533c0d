/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rp-sink: counts the frames of rp-flood where they enter the guest, and drops them there.
 *
 * By default a small program does it in the network driver, before the stack sees
 * the frame; with --check each byte is verified in user space.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sink.h"
#include "tool.h"

static const char USAGE[] =
	"usage: rp-sink [options] INTERFACE\n"
	"Count the frames of rp-flood and drop them; print one line of JSON at the end.\n"
	"  --seconds S        at most so long (60)\n"
	"  --idle S           end so long after the last frame, once one has come (1)\n"
	"  --count N          end when so many frames have come\n"
	"  --mode xdp|tc      count in the driver, or just behind it (the first that works)\n"
	"  --any              count every frame, not only those of rp-flood\n"
	"  --check            verify each frame in user space: slow\n"
	"  --background FILE  return when counting has begun, write the JSON to FILE at the end\n";

struct options {
	const char *interface;
	const char *background;
	enum sink_mode mode;
	bool any;
	bool check;
	double seconds;
	double idle;
	uint64_t count;
};

static _Noreturn void usage(int status)
{
	fputs(USAGE, status == 0 ? stdout : stderr);
	exit(status);
}

static enum sink_mode parse_mode(const char *text)
{
	if (strcmp(text, "xdp") == 0)
		return SINK_XDP;
	if (strcmp(text, "tc") == 0)
		return SINK_TC;
	usage(2);
}

static struct options parse(int argc, char **argv)
{
	static const struct option NAMES[] = {
		{ "seconds", required_argument, NULL, 't' },
		{ "idle", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ "mode", required_argument, NULL, 'm' },
		{ "any", no_argument, NULL, 'a' },
		{ "check", no_argument, NULL, 'c' },
		{ "background", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options options = { .seconds = 60, .idle = 1, .count = UINT64_MAX };
	int option;

	while ((option = getopt_long(argc, argv, "h", NAMES, NULL)) != -1) {
		switch (option) {
		case 't':
			options.seconds = tool_number(optarg, 0, 1e6);
			break;
		case 'i':
			options.idle = tool_number(optarg, 0, 1e6);
			break;
		case 'n':
			options.count = (uint64_t)tool_number(optarg, 1, 1e15);
			break;
		case 'm':
			options.mode = parse_mode(optarg);
			break;
		case 'a':
			options.any = true;
			break;
		case 'c':
			options.check = true;
			break;
		case 'b':
			options.background = optarg;
			break;
		default:
			usage(option == 'h' ? 0 : 2);
		}
	}
	if (optind != argc - 1 || (options.check && (options.any || options.mode != SINK_AUTO)))
		usage(2);
	options.interface = argv[optind];
	return options;
}

static uint64_t frames_of(const struct sink *sink)
{
	uint64_t frames = 0;

	for (int i = 0; i < RP_STREAMS; i++)
		frames += sink->streams[i].frames;
	return frames;
}

/* Count until it is enough, in --check by doing it, else by looking ten times a second. */
static void watch(struct sink *sink, const struct options *options)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };
	double now = tool_now();
	double end = now + options->seconds;
	double last = HUGE_VAL;
	uint64_t seen = 0;

	while (!tool_stopped && now < end && now < last + options->idle && seen < options->count) {
		if (options->check) {
			sink_ring_read(sink);
		} else {
			nanosleep(&tenth, NULL);
			sink_bpf_read(sink);
		}
		now = tool_now();
		if (frames_of(sink) > seen) {
			seen = frames_of(sink);
			last = now;
		}
	}
}

/* The streams as one: from the first frame of any to the last mark of any. */
static struct sink_stream sum(const struct sink *sink)
{
	struct sink_stream total = { .first_ns = UINT64_MAX };

	for (int i = 0; i < RP_STREAMS; i++) {
		const struct sink_stream *stream = &sink->streams[i];

		if (stream->frames == 0)
			continue;
		total.frames += stream->frames;
		total.bytes += stream->bytes;
		total.missing += stream->missing;
		total.late += stream->late;
		total.mark_frames += stream->mark_frames;
		if (stream->first_ns < total.first_ns)
			total.first_ns = stream->first_ns;
		if (stream->mark_ns > total.mark_ns)
			total.mark_ns = stream->mark_ns;
	}
	return total;
}

static void report(FILE *out, const struct sink *sink)
{
	struct sink_stream total = sum(sink);
	double seconds = 0, pps = 0;

	if (total.mark_frames > 0 && total.mark_ns > total.first_ns) {
		seconds = (double)(total.mark_ns - total.first_ns) * 1e-9;
		pps = (double)total.mark_frames / seconds;
	}
	fprintf(out,
		"{\"mode\": \"%s\", \"frames\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
		"\"pps\": %.0f, \"missing\": %llu, \"late\": %llu",
		sink->mode, (unsigned long long)total.frames, (unsigned long long)total.bytes,
		seconds, pps, (unsigned long long)total.missing, (unsigned long long)total.late);
	if (strcmp(sink->mode, "ring") == 0)
		fprintf(out, ", \"duplicates\": %llu, \"corrupt\": %llu, \"overrun\": %llu",
			(unsigned long long)sink->duplicates, (unsigned long long)sink->corrupt,
			(unsigned long long)sink->overrun);
	fputs("}\n", out);
}

int main(int argc, char **argv)
{
	static struct sink sink;
	struct options options = parse(argc, argv);
	int ifindex = tool_interface(options.interface);

	tool_catch_signals();
	if (options.check) {
		sink_ring_attach(ifindex);
		sink.mode = "ring";
	} else {
		sink.mode = sink_bpf_attach(ifindex, options.mode, options.any);
	}
	if (options.background != NULL) {
		unlink(options.background);
		tool_background();
	}
	watch(&sink, &options);
	if (!options.check)
		sink_bpf_detach();
	if (options.background != NULL) {
		FILE *out = tool_file(options.background);

		report(out, &sink);
		tool_file_done(out, options.background);
	} else {
		report(stdout, &sink);
	}
	return 0;
}
