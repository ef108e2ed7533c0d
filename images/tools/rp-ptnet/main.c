/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rp-ptnet: sends numbered frames through a ptnet device, or checks them, without a driver.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "ptnet.h"
#include "tool.h"

static const char USAGE[] =
	"usage: rp-ptnet [options] send|receive\n"
	"Drive a ptnet device as netmap's drivers do, by polling; print one line of JSON.\n"
	"Frames are those of rp-flood --vary.\n"
	"  --device ADDRESS   of its PCI function (the first there is)\n"
	"  --header           have a virtio-net header before each frame\n"
	"  --seconds S        at most so long (60)\n"
	"  --count N          at most so many frames\n"
	"  --background FILE  return when its rings run, write the JSON to FILE at the end\n"
	"sending:\n"
	"  --size BYTES       of a frame, without its checksum (60)\n"
	"  --dst MAC          destination (ff:ff:ff:ff:ff:ff)\n"
	"receiving:\n"
	"  --idle S           end so long after the last frame, once one has come (1)\n";

enum { BATCH = 256, NAP_NS = 100000 };

struct options {
	const char *device;
	const char *background;
	bool header;
	double seconds;
	double idle;
	uint64_t count;
	uint32_t size;
	uint8_t dst[ETH_ALEN];
};

struct seen {
	uint64_t frames;
	uint64_t missing;
	uint64_t late;
	uint64_t corrupt;
	uint64_t others;
	uint64_t next; /* number that should come */
};

static _Noreturn void usage(int status)
{
	fputs(USAGE, status == 0 ? stdout : stderr);
	exit(status);
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option NAMES[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "header", no_argument, NULL, 'v' },
		{ "seconds", required_argument, NULL, 't' },
		{ "count", required_argument, NULL, 'n' },
		{ "background", required_argument, NULL, 'b' },
		{ "size", required_argument, NULL, 's' },
		{ "dst", required_argument, NULL, 'm' },
		{ "idle", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", NAMES, NULL)) != -1) {
		switch (option) {
		case 'd':
			o->device = optarg;
			break;
		case 'v':
			o->header = true;
			break;
		case 't':
			o->seconds = tool_number(optarg, 0, 1e6);
			break;
		case 'n':
			o->count = (uint64_t)tool_number(optarg, 1, 1e15);
			break;
		case 'b':
			o->background = optarg;
			break;
		case 's':
			o->size = (uint32_t)tool_number(optarg, sizeof(struct rp_frame), 1514);
			break;
		case 'm':
			tool_mac(optarg, o->dst);
			break;
		case 'i':
			o->idle = tool_number(optarg, 0, 1e6);
			break;
		default:
			usage(option == 'h' ? 0 : 2);
		}
	}
	if (optind != argc - 1)
		usage(2);
	if (strcmp(argv[optind], "send") == 0)
		return true;
	if (strcmp(argv[optind], "receive") == 0)
		return false;
	usage(2);
}

static void nap(void)
{
	const struct timespec time = { .tv_nsec = NAP_NS };

	nanosleep(&time, NULL);
}

static void fill(const struct ptnet *p, struct netmap_slot *slot, uint8_t *at, uint64_t seq,
		 const struct options *o)
{
	struct rp_frame *frame = (void *)(at + p->header);

	memset(at, 0, p->header);
	memcpy(frame->dst, o->dst, ETH_ALEN);
	memcpy(frame->src, p->mac, ETH_ALEN);
	frame->ethertype = htons(RP_ETHERTYPE);
	frame->stream = 0;
	rp_frame_fill(frame, o->size, seq, true);
	slot->len = (uint16_t)(p->header + o->size);
	slot->flags = 0;
}

/* Return: frames that went into the ring */
static uint64_t fill_ring(const struct ptnet *p, struct ptnet_ring *r, uint64_t seq,
			  const struct options *o)
{
	uint64_t n = 0;

	ptnet_ring_update(r);
	while (n < BATCH && seq + n < o->count && r->head != r->tail) {
		uint8_t *buffer;
		struct netmap_slot *slot = ptnet_ring_slot(r, &buffer);

		fill(p, slot, buffer, seq + n, o);
		ptnet_ring_next(r);
		n++;
	}
	if (n)
		ptnet_ring_publish(r);
	return n;
}

static void send_all(struct ptnet *p, const struct options *o, struct seen *s)
{
	const double end = tool_now() + o->seconds;

	while (!tool_stopped && s->frames < o->count && tool_now() < end) {
		const uint64_t n = fill_ring(p, &p->tx[0], s->frames, o);

		s->frames += n;
		if (!n)
			nap();
	}
	while (!tool_stopped && ptnet_ring_update(&p->tx[0]) != p->tx[0].head && tool_now() < end)
		nap();
}

static void look(const struct ptnet *p, const uint8_t *at, uint32_t length, struct seen *s)
{
	const struct rp_frame *frame = (const void *)(at + p->header);
	uint64_t seq;

	if (length < p->header + sizeof(*frame) || frame->ethertype != htons(RP_ETHERTYPE)) {
		s->others++;
		return;
	}
	s->frames++;
	if (!rp_frame_intact(frame, length - p->header)) {
		s->corrupt++;
		return;
	}
	seq = be64toh(frame->seq);
	if (seq < s->next) {
		s->late++;
		return;
	}
	s->missing += seq - s->next;
	s->next = seq + 1;
}

static void empty_ring(const struct ptnet *p, struct ptnet_ring *r, struct seen *s)
{
	ptnet_ring_update(r);
	if (r->head == r->tail)
		return;
	while (r->head != r->tail) {
		uint8_t *buffer;
		const struct netmap_slot *slot = ptnet_ring_slot(r, &buffer);

		look(p, buffer, slot->len, s);
		ptnet_ring_next(r);
	}
	ptnet_ring_publish(r);
}

static void receive_all(struct ptnet *p, const struct options *o, struct seen *s)
{
	const double end = tool_now() + o->seconds;
	double now = tool_now(), last = HUGE_VAL;

	while (!tool_stopped && now < end && now < last + o->idle && s->frames < o->count) {
		const uint64_t before = s->frames;

		for (uint32_t i = 0; i < p->rx_rings; i++)
			empty_ring(p, &p->rx[i], s);
		now = tool_now();
		if (s->frames != before)
			last = now;
		else
			nap();
	}
}

int main(int argc, char **argv)
{
	struct options o = {
		.seconds = 60,
		.idle = 1,
		.count = UINT64_MAX,
		.size = 60,
		.dst = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	};
	const bool sends = parse(argc, argv, &o);
	struct ptnet *p = ptnet_open(o.device, o.header);
	struct seen s = { 0 };
	FILE *out = stdout;

	tool_catch_signals();
	if (o.background != NULL) {
		unlink(o.background);
		tool_background();
		ptnet_lock(p);
	}
	if (sends)
		send_all(p, &o, &s);
	else
		receive_all(p, &o, &s);
	if (o.background != NULL)
		out = tool_file(o.background);
	fprintf(out,
		"{\"frames\": %llu, \"missing\": %llu, \"late\": %llu, \"corrupt\": %llu, "
		"\"others\": %llu, \"kicks\": %llu, \"header\": %u}\n",
		(unsigned long long)s.frames, (unsigned long long)s.missing,
		(unsigned long long)s.late, (unsigned long long)s.corrupt,
		(unsigned long long)s.others, (unsigned long long)p->kicks, p->header);
	ptnet_close(p);
	if (o.background != NULL)
		tool_file_done(out, o.background);
	return 0;
}
