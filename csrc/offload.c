/* SPDX-License-Identifier: BSD-2-Clause */
#include "offload.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "csum.h"
#include "endpoint.h"
#include "vnet.h"

enum made {
	MADE,
	NO_ROOM, /* in what is left of the batch */
	UNFIT	 /* the headers are not what the virtio-net header says */
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* A number as it lies in memory, for sums. */
static uint64_t word(uint32_t value)
{
	return __builtin_bswap32(value);
}

static void put_sum(uint8_t *at, uint16_t sum)
{
	memcpy(at, &sum, sizeof(sum));
}

/* A place in the pieces of a frame. Nobody may look behind the last byte. */
struct cursor {
	const struct rp_seg *seg;
	uint32_t at;
};

static struct cursor first_byte(const struct rp_batch *b, const struct rp_frame *f)
{
	return (struct cursor){ .seg = &b->seg[f->seg] };
}

/* The next bytes, at most @n and as many as lie in one piece, which may be none. */
static struct rp_seg next_part(struct cursor *c, uint32_t n)
{
	const uint32_t left = c->seg->len - c->at;
	struct rp_seg part = { .addr = c->seg->addr + c->at, .len = n < left ? n : left };

	c->at += part.len;
	if (c->at == c->seg->len) {
		c->seg++;
		c->at = 0;
	}
	return part;
}

static void skip(struct cursor *c, uint32_t n)
{
	while (n)
		n -= next_part(c, n).len;
}

static void read_bytes(struct cursor c, uint8_t *to, uint32_t n)
{
	while (n) {
		struct rp_seg part = next_part(&c, n);

		memcpy(to, part.addr, part.len);
		to += part.len;
		n -= part.len;
	}
}

static uint64_t sum_bytes(struct cursor c, uint32_t n)
{
	uint64_t sum = 0;
	bool odd = false;

	while (n) {
		struct rp_seg part = next_part(&c, n);
		uint64_t more = rp_sum(part.addr, part.len);

		sum += odd ? rp_sum_odd(more) : more;
		odd ^= part.len & 1;
		n -= part.len;
	}
	return sum;
}

/* Append the next @n bytes to the pieces of the frame that is being made. */
static bool add_bytes(struct rp_batch *b, struct cursor *c, uint32_t n)
{
	while (n) {
		if (b->nsegs == RP_BATCH_SEGS)
			return false;
		b->seg[b->nsegs] = next_part(c, n);
		n -= b->seg[b->nsegs++].len;
	}
	return true;
}

/* Append a private piece. Return: where to write its @n bytes, NULL: no room */
static uint8_t *add_private(struct rp_offload *o, uint32_t n)
{
	struct rp_batch *b = &o->batch;
	uint8_t *at = &o->head[o->heads];

	if (b->nsegs == RP_BATCH_SEGS || o->heads + n > sizeof(o->head))
		return NULL;
	b->seg[b->nsegs++] = (struct rp_seg){ .addr = at, .len = n };
	o->heads += n;
	return at;
}

/* The pieces from @seg on are a frame. */
static void add_frame(struct rp_offload *o, uint16_t seg, uint32_t len,
		      const struct virtio_net_hdr *vnet)
{
	struct rp_batch *b = &o->batch;

	o->made_of[b->nframes] = o->next;
	b->frame[b->nframes++] = (struct rp_frame){
		.len = len,
		.seg = seg,
		.nseg = (uint16_t)(b->nsegs - seg),
		.vnet = *vnet,
	};
}

static bool completes_sums(uint64_t features)
{
	return features & RP_FEATURE(VIRTIO_NET_F_GUEST_CSUM);
}

/* What a receiver must be told of a frame whose checksum it completes. */
static struct virtio_net_hdr sum_only(const struct rp_frame *f)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = f->vnet.csum_start,
		.csum_offset = f->vnet.csum_offset,
	};
}

static enum made take_up(struct rp_offload *o, const struct rp_batch *from,
			 const struct rp_frame *f, struct virtio_net_hdr vnet)
{
	struct cursor c = first_byte(from, f);
	const uint16_t seg = o->batch.nsegs;

	if (!add_bytes(&o->batch, &c, f->len))
		return NO_ROOM;
	add_frame(o, seg, f->len, &vnet);
	return MADE;
}

/* The field holds the sum of the pseudo-header: what remains is to add, invert and store. */
static enum made complete_sum(struct rp_offload *o, struct rp_endpoint *from,
			      const struct rp_frame *f)
{
	const uint32_t start = f->vnet.csum_start, field = start + f->vnet.csum_offset;
	const struct virtio_net_hdr plain = { 0 };
	const uint16_t seg = o->batch.nsegs;
	struct cursor c = first_byte(from->batch, f), summed = c;
	uint8_t *at;
	uint16_t sum;

	if (!add_bytes(&o->batch, &c, field) || !(at = add_private(o, sizeof(sum))))
		return NO_ROOM;
	skip(&c, sizeof(sum));
	if (!add_bytes(&o->batch, &c, f->len - field - (uint32_t)sizeof(sum)))
		return NO_ROOM;
	skip(&summed, start);
	sum = (uint16_t)~rp_sum_fold(sum_bytes(summed, f->len - start));
	/* To UDP 0 means that there is no checksum; to others both are the same. */
	put_sum(at, sum ? sum : 0xffff);
	add_frame(o, seg, f->len, &plain);
	rp_count(&from->count->checksums, 1);
	return MADE;
}

enum {
	IPV4_MIN = 20,
	IPV4_LENGTH = 2, /* offsets in the header */
	IPV4_ID = 4,
	IPV4_PROTOCOL = 9,
	IPV4_SUM = 10,
	IPV6_BYTES = 40,
	IPV6_LENGTH = 4,
	IPV6_NEXT = 6,
	IPV6_EXTENSION_MIN = 8,
	TCP_MIN = 20,
	TCP_MAX = 60,
	TCP_SEQ = 4,
	TCP_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_SUM = 16,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80
};

/* A frame to be cut: our copy of its headers, and what all segments have in common. */
struct tso {
	uint8_t head[RP_OFFLOAD_HEAD]; /* zero where segments differ */
	uint32_t bytes;		       /* of it */
	uint32_t ip;		       /* where the headers begin */
	uint32_t tcp;
	bool ipv6;
	uint32_t payload;
	uint32_t size; /* of each segment's payload, but the last */
	uint32_t segments;
	uint32_t id; /* of the first segment */
	uint32_t seq;
	uint8_t flags;	 /* of the whole */
	uint64_t ip_sum; /* of head[], the fields that are zero left out */
	uint64_t tcp_sum;
	uint64_t pseudo_sum; /* of the pseudo-header, its length left out */
};

static bool is_vlan(uint16_t type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

/* Does an IPv4 header begin at @t->ip, and TCP behind it at @t->tcp? */
static bool is_tcp_over_ipv4(const struct tso *t)
{
	const uint8_t *ip = t->head + t->ip;

	return t->ip + IPV4_MIN <= t->tcp && ip[0] >> 4 == 4 && (ip[0] & 15) * 4 >= IPV4_MIN &&
	       t->ip + (ip[0] & 15) * 4u == t->tcp && ip[IPV4_PROTOCOL] == IPPROTO_TCP;
}

static bool is_extension(uint8_t header)
{
	return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING || header == IPPROTO_DSTOPTS;
}

static bool is_tcp_over_ipv6(const struct tso *t)
{
	uint32_t at = t->ip + IPV6_BYTES;
	uint8_t next;

	if (at > t->tcp || t->head[t->ip] >> 4 != 6)
		return false;
	for (next = t->head[t->ip + IPV6_NEXT]; is_extension(next);) {
		if (at + IPV6_EXTENSION_MIN > t->tcp)
			return false;
		next = t->head[at];
		at += (t->head[at + 1] + 1) * 8u;
	}
	return next == IPPROTO_TCP && at == t->tcp;
}

/* Copy the headers, and find IP and TCP in them where the virtio-net header says. */
static bool read_headers(struct tso *t, const struct rp_frame *f, struct cursor c)
{
	uint32_t type = 2 * ETH_ALEN, have = f->vnet.csum_start + TCP_MAX;

	t->tcp = f->vnet.csum_start;
	if (have > sizeof(t->head) || f->vnet.csum_offset != TCP_SUM || t->tcp + TCP_MIN > f->len)
		return false;
	if (have > f->len)
		have = f->len;
	read_bytes(c, t->head, have);
	while (type + 2 <= t->tcp && is_vlan(get16(t->head + type)))
		type += 4;
	t->ip = type + 2;
	if (t->ip > t->tcp)
		return false;
	t->ipv6 = get16(t->head + type) == ETH_P_IPV6;
	if (!t->ipv6 && get16(t->head + type) != ETH_P_IP)
		return false;
	if (t->ipv6 != ((f->vnet.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV6))
		return false;
	t->bytes = t->tcp + (t->head[t->tcp + TCP_OFFSET] >> 4) * 4u;
	return t->bytes >= t->tcp + TCP_MIN && t->bytes <= have &&
	       (t->ipv6 ? is_tcp_over_ipv6(t) : is_tcp_over_ipv4(t));
}

/* How many segments, and not more or smaller ones than a sender may ask for. */
static bool count_segments(struct tso *t, const struct rp_frame *f)
{
	const uint32_t options = t->bytes - t->tcp - TCP_MIN;

	t->payload = f->len - t->bytes;
	t->size = f->vnet.gso_size;
	t->segments = t->payload ? (t->payload + t->size - 1) / t->size : 1;
	return t->size + options >= RP_OFFLOAD_MSS_MIN &&
	       (uint64_t)t->segments * t->bytes + t->payload <= RP_BATCH_BYTES;
}

/* Take what differs from segment to segment out of the headers, and sum up what remains. */
static void take_out(struct tso *t, const struct rp_frame *f)
{
	uint8_t *ip = t->head + t->ip, *tcp = t->head + t->tcp;

	/* Whatever pseudo-header was summed up, behind whatever headers: only its length changes. */
	t->pseudo_sum = rp_sum(tcp + TCP_SUM, 2) + (uint16_t)~rp_sum_fold(word(f->len - t->tcp));
	t->seq = get32(tcp + TCP_SEQ);
	t->flags = tcp[TCP_FLAGS];
	put32(tcp + TCP_SEQ, 0);
	tcp[TCP_FLAGS] = 0;
	put16(tcp + TCP_SUM, 0);
	t->tcp_sum = rp_sum(tcp, t->bytes - t->tcp);
	if (t->ipv6)
		return;
	t->id = get16(ip + IPV4_ID);
	put16(ip + IPV4_LENGTH, 0);
	put16(ip + IPV4_ID, 0);
	put16(ip + IPV4_SUM, 0);
	t->ip_sum = rp_sum(ip, t->tcp - t->ip);
}

static void write_ip(const struct tso *t, uint8_t *ip, uint32_t segment, uint32_t len)
{
	const uint16_t id = (uint16_t)(t->id + segment);

	len += t->bytes - t->ip;
	if (t->ipv6) {
		put16(ip + IPV6_LENGTH, len - IPV6_BYTES);
		return;
	}
	put16(ip + IPV4_LENGTH, len);
	put16(ip + IPV4_ID, id);
	put_sum(ip + IPV4_SUM, (uint16_t)~rp_sum_fold(t->ip_sum + word(len) + word(id)));
}

/* @payload_sum: NULL: the receiver completes the checksum */
static void write_tcp(const struct tso *t, uint8_t *tcp, uint32_t segment, uint32_t len,
		      const uint64_t *payload_sum)
{
	const uint32_t seq = t->seq + segment * t->size;
	uint64_t sum = t->pseudo_sum + word(len + t->bytes - t->tcp);
	uint8_t flags = t->flags;

	if (segment)
		flags &= (uint8_t)~TCP_CWR;
	if (segment + 1 < t->segments)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	put32(tcp + TCP_SEQ, seq);
	tcp[TCP_FLAGS] = flags;
	if (payload_sum) {
		sum += t->tcp_sum + word(seq) + word(flags) + *payload_sum;
		put_sum(tcp + TCP_SUM, (uint16_t)~rp_sum_fold(sum));
	} else {
		put_sum(tcp + TCP_SUM, rp_sum_fold(sum));
	}
}

static bool cut(struct rp_offload *o, const struct tso *t, struct cursor *c,
		const struct virtio_net_hdr *vnet)
{
	const uint32_t segment = o->next.segment, left = t->payload - segment * t->size;
	const uint32_t len = left < t->size ? left : t->size;
	const uint16_t seg = o->batch.nsegs;
	const struct cursor payload = *c;
	uint8_t *head = add_private(o, t->bytes);
	uint64_t sum;

	if (!head || !add_bytes(&o->batch, c, len))
		return false;
	memcpy(head, t->head, t->bytes);
	write_ip(t, head + t->ip, segment, len);
	if (!vnet->flags)
		sum = sum_bytes(payload, len);
	write_tcp(t, head + t->tcp, segment, len, vnet->flags ? NULL : &sum);
	add_frame(o, seg, t->bytes + len, vnet);
	return true;
}

static enum made cut_all(struct rp_offload *o, struct rp_endpoint *from, const struct rp_frame *f,
			 uint64_t features)
{
	const struct virtio_net_hdr partial = sum_only(f), complete = { 0 };
	struct cursor c = first_byte(from->batch, f);
	struct tso t;

	if (!read_headers(&t, f, c) || !count_segments(&t, f))
		return UNFIT;
	if (o->next.segment >= t.segments)
		return UNFIT; /* the headers were others when the first segments were made */
	take_out(&t, f);
	skip(&c, t.bytes + o->next.segment * t.size);
	for (; o->next.segment < t.segments; o->next.segment++) {
		if (o->batch.nframes == RP_OFFLOAD_FRAMES ||
		    !cut(o, &t, &c, completes_sums(features) ? &partial : &complete))
			return NO_ROOM;
		rp_count(&from->count->segments, 1);
	}
	return MADE;
}

/* Like Linux, which cuts no frame that might be a segment itself. */
static bool is_cut(const struct rp_frame *f)
{
	return f->vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE &&
	       f->len > (uint32_t)f->vnet.csum_start + TCP_MIN + f->vnet.gso_size;
}

static enum made make(struct rp_offload *o, struct rp_endpoint *from, const struct rp_frame *f,
		      uint64_t features)
{
	if (o->batch.nframes == RP_OFFLOAD_FRAMES)
		return NO_ROOM;
	if (!o->next.segment && rp_vnet_agrees(&f->vnet, features))
		return take_up(o, from->batch, f, f->vnet);
	if (is_cut(f))
		return cut_all(o, from, f, features);
	return completes_sums(features) ? take_up(o, from->batch, f, sum_only(f)) :
					  complete_sum(o, from, f);
}

void rp_offload_from(struct rp_offload *o, const struct rp_batch *b, const uint16_t *order,
		     unsigned n, unsigned i)
{
	o->next = (struct rp_offload_place){
		.i = (uint16_t)i,
		.segment = i < n ? b->frame[order[i]].segment : 0,
	};
}

void rp_offload_make(struct rp_offload *o, struct rp_endpoint *from, const uint16_t *order,
		     unsigned n, uint64_t features)
{
	struct rp_batch *b = &o->batch;
	enum made made;

	b->nframes = b->nsegs = 0;
	o->heads = 0;
	while (o->next.i < n) {
		made = make(o, from, &from->batch->frame[order[o->next.i]], features);
		if (made == NO_ROOM && b->nframes)
			return;
		if (made == NO_ROOM) {
			/* Not even an empty batch has room. */
			rp_drop(from, RP_DROP_FRAGS, 1);
			b->nsegs = 0;
			o->heads = 0;
		} else if (made == UNFIT) {
			rp_drop(from, RP_DROP_HEADER, 1);
		}
		rp_offload_from(o, from->batch, order, n, o->next.i + 1u);
	}
}
