/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any frame with any virtio-net header that passes the check, in any pieces:
 * what is made of it has all of its payload, in order, and nothing else.
 *
 * Input: what the receiver agreed to, bytes of the first piece and of all
 * others, the segment to begin with (2 bytes), zeros to append (2 bytes), a
 * virtio-net header; then the frame.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "offload.h"
#include "vnet.h"

enum { HEAD = 7, ROUNDS = 1 << 15 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rp_batch batch;
static struct rp_ring_counters count;
static struct rp_endpoint from = { .batch = &batch, .count = &count };
static struct rp_offload o;
static uint8_t whole[RP_FRAME_MAX];

static void require(bool holds)
{
	if (!holds)
		abort();
}

static uint16_t read16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

/* Each piece is memory of its own, so that a byte too far is seen. */
static bool cut_up(uint32_t len, uint32_t first, uint32_t piece)
{
	uint32_t n = first ? first : piece;

	batch.nsegs = 0;
	for (uint32_t at = 0; at < len; at += n, n = piece) {
		struct rp_seg *s = &batch.seg[batch.nsegs];

		if (batch.nsegs == RP_BATCH_SEGS)
			return false;
		if (len - at < n)
			n = len - at;
		s->addr = malloc(n);
		s->len = n;
		require(s->addr);
		memcpy(s->addr, whole + at, n);
		batch.nsegs++;
	}
	return true;
}

static void give_back(void)
{
	while (batch.nsegs)
		free(batch.seg[--batch.nsegs].addr);
}

/* The payload of a frame that was made: its last bytes are those of the whole frame at @at. */
static void check_frame(const struct rp_frame *f, uint32_t at, uint32_t len)
{
	uint32_t bytes = 0, skip = f->len - len, i = 0;

	for (uint16_t k = 0; k < f->nseg; k++) {
		const struct rp_seg *s = &o.batch.seg[f->seg + k];

		for (uint32_t b = 0; b < s->len; b++, bytes++) {
			if (bytes >= skip)
				require(s->addr[b] == whole[at + i++]);
		}
	}
	require(bytes == f->len && i == len);
}

/* Segments follow each other, of one size but for the last. */
static uint32_t check_made(const struct rp_frame *f, uint32_t heads, uint32_t next)
{
	const uint32_t size = f->vnet.gso_size;

	require(o.batch.nframes <= RP_OFFLOAD_FRAMES && o.batch.nsegs <= RP_BATCH_SEGS);
	for (uint16_t i = 0; i < o.batch.nframes; i++) {
		const struct rp_frame *made = &o.batch.frame[i];
		uint32_t len = made->len - heads;

		require(made->vnet.gso_type == 0 && made->len > heads);
		require(o.made_of[i].i == 0 && o.made_of[i].segment == next);
		require(len == size || heads + next * size + len == f->len);
		check_frame(made, heads + next * size, len);
		next++;
	}
	return next;
}

static void check(const struct rp_frame *f, uint64_t features)
{
	const uint16_t order = 0;
	uint32_t next = f->segment, heads = 0;
	unsigned rounds = 0;

	count = (struct rp_ring_counters){ 0 };
	rp_offload_from(&o, &batch, &order, 1, 0);
	while (o.next.i < 1) {
		require(++rounds < ROUNDS);
		rp_offload_make(&o, &from, &order, 1, features);
		require(o.batch.nframes || o.next.i == 1);
		if (!o.batch.nframes)
			break;
		if (!count.segments) {
			require(o.batch.nframes == 1 && o.batch.frame[0].len == f->len);
			check_frame(&o.batch.frame[0], f->len, 0);
			break;
		}
		if (!heads)
			heads = o.batch.seg[o.batch.frame[0].seg].len;
		next = check_made(f, heads, next);
	}
	require(count.drops[RP_DROP_HEADER] + count.drops[RP_DROP_FRAGS] <= 1);
	require(count.segments == next - f->segment);
	require(!count.drops[RP_DROP_HEADER] || !count.segments);
	if (count.segments && !count.drops[RP_DROP_FRAGS])
		require(heads + (uint64_t)next * f->vnet.gso_size >= f->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t agreed[] = { 0, RP_FEATURE(VIRTIO_NET_F_GUEST_CSUM) };
	struct rp_frame *f = &batch.frame[0];
	uint32_t len, zeros;

	if (size < HEAD + sizeof(f->vnet) + RP_ETH_MIN)
		return 0;
	*f = (struct rp_frame){ .segment = read16(data + 3) };
	zeros = read16(data + 5);
	memcpy(&f->vnet, data + HEAD, sizeof(f->vnet));
	len = (uint32_t)(size - HEAD - sizeof(f->vnet));
	if (len + zeros > sizeof(whole))
		return 0;
	memcpy(whole, data + HEAD + sizeof(f->vnet), len);
	memset(whole + len, 0, zeros);
	f->len = len + zeros;
	if (!rp_vnet_check(&f->vnet, RP_VNET_FEATURES, f->len))
		return 0;
	if (f->vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		f->segment = 0; /* never set for what is not cut */
	batch.nframes = 1;
	if (cut_up(f->len, data[1], data[2] ? data[2] : f->len)) {
		f->nseg = batch.nsegs;
		check(f, agreed[data[0] & 1]);
	}
	give_back();
	return 0;
}
