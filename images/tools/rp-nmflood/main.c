/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rp-nmflood: sends numbered frames through a netmap port as fast as it takes them,
 * or counts them. It is a netmap program like any other.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#include "tool.h"

static const char USAGE[] =
	"usage: rp-nmflood [options] PORT\n"
	"Send numbered frames through a netmap port, or count them; print one line of JSON.\n"
	"PORT is netmap:rp0, or a pipe such as netmap:rp0{1.\n"
	"  --receive          count\n"
	"  --seconds S        at most so long (1; with --receive 60)\n"
	"  --count N          at most so many frames\n"
	"  --spin             never sleep: sync all the time\n"
	"  --background FILE  return when the port is open, write the JSON to FILE at the end\n"
	"sending:\n"
	"  --size BYTES       of a frame, without its checksum (60)\n"
	"  --batch N          frames between two syncs, at most (256)\n"
	"  --dst MAC          destination (ff:ff:ff:ff:ff:ff)\n"
	"  --src MAC          source (02:00:00:00:00:01)\n"
	"counting:\n"
	"  --idle S           end so long after the last frame, once one has come (1)\n";

enum { WAIT_MS = 100, LONGEST = 65535, MOST = 65536 };

struct options {
	bool receives;
	const char *port;
	const char *background;
	double seconds;
	double idle;
	uint64_t count;
};

static _Noreturn void usage(int status)
{
	fputs(USAGE, status == 0 ? stdout : stderr);
	exit(status);
}

static struct options parse(int argc, char **argv, struct traffic *t)
{
	static const struct option NAMES[] = {
		{ "receive", no_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 't' },
		{ "count", required_argument, NULL, 'n' },
		{ "spin", no_argument, NULL, 'p' },
		{ "background", required_argument, NULL, 'g' },
		{ "size", required_argument, NULL, 's' },
		{ "batch", required_argument, NULL, 'b' },
		{ "dst", required_argument, NULL, 'd' },
		{ "src", required_argument, NULL, 'r' },
		{ "idle", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options o = { .seconds = -1, .idle = 1, .count = UINT64_MAX };
	int option;

	while ((option = getopt_long(argc, argv, "h", NAMES, NULL)) != -1) {
		switch (option) {
		case 'c':
			o.receives = true;
			break;
		case 't':
			o.seconds = tool_number(optarg, 0, 1e6);
			break;
		case 'n':
			o.count = (uint64_t)tool_number(optarg, 1, 1e15);
			break;
		case 'p':
			t->spin = true;
			break;
		case 'g':
			o.background = optarg;
			break;
		case 's':
			t->size = (uint32_t)tool_number(optarg, 30, LONGEST);
			break;
		case 'b':
			t->batch = (uint32_t)tool_number(optarg, 1, MOST);
			break;
		case 'd':
			tool_mac(optarg, t->dst);
			break;
		case 'r':
			tool_mac(optarg, t->src);
			break;
		case 'i':
			o.idle = tool_number(optarg, 0, 1e6);
			break;
		default:
			usage(option == 'h' ? 0 : 2);
		}
	}
	if (optind != argc - 1)
		usage(2);
	o.port = argv[optind];
	if (o.seconds < 0)
		o.seconds = o.receives ? 60 : 1;
	return o;
}

/* Return: seconds that it took */
static double send_all(struct port *port, struct traffic *t, const struct options *o)
{
	const double start = tool_now();
	double now = start;

	while (!tool_stopped && now < start + o->seconds && t->frames < o->count) {
		port_send(port, t, o->count - t->frames, WAIT_MS);
		now = tool_now();
	}
	return now - start;
}

/* Return: seconds from the first frame to the last */
static double receive_all(struct port *port, struct traffic *t, const struct options *o)
{
	const double end = tool_now() + o->seconds;
	double now = tool_now(), first = 0, last = HUGE_VAL;

	while (!tool_stopped && now < end && now < last + o->idle && t->frames < o->count) {
		const uint64_t before = t->frames;

		port_receive(port, t, WAIT_MS);
		now = tool_now();
		if (t->frames == before)
			continue;
		if (before == 0)
			first = now;
		last = now;
	}
	return t->frames ? last - first : 0;
}

static void report(FILE *out, const struct traffic *t, const struct options *o, double seconds)
{
	fprintf(out,
		"{\"mode\": \"netmap\", \"frames\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"pps\": %.0f, "
		"\"syncs\": %llu",
		(unsigned long long)t->frames, (unsigned long long)t->bytes, seconds,
		seconds > 0 ? (double)t->frames / seconds : 0.0, (unsigned long long)t->syncs);
	if (o->receives)
		fprintf(out, ", \"missing\": %llu, \"late\": %llu, \"others\": %llu",
			(unsigned long long)t->missing, (unsigned long long)t->late,
			(unsigned long long)t->others);
	else
		fprintf(out, ", \"size\": %u", t->size);
	fputs("}\n", out);
}

int main(int argc, char **argv)
{
	struct traffic t = {
		.size = 60,
		.batch = 256,
		.dst = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		.src = { 0x02, 0, 0, 0, 0, 0x01 },
	};
	struct options o = parse(argc, argv, &t);
	struct port *port = port_open(o.port, &t);
	double seconds;

	tool_catch_signals();
	if (o.background != NULL) {
		unlink(o.background);
		tool_background();
	}
	seconds = o.receives ? receive_all(port, &t, &o) : send_all(port, &t, &o);
	port_close(port);
	if (o.background != NULL) {
		FILE *out = tool_file(o.background);

		report(out, &t, &o, seconds);
		tool_file_done(out, o.background);
	} else {
		report(stdout, &t, &o, seconds);
	}
	return 0;
}
