/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A switch that spreads flows: every frame goes to one port, which a hash
 * of its flow picks.
 *
 *     (no text)        from any port to one of all others
 *     uplink=NAME      from an uplink to one of the other ports, and from these
 *                      to one of the uplinks; there may be several
 *
 * Both directions of a flow have one hash: IP addresses, with the protocol and
 * the ports of TCP, UDP and SCTP where they are in every packet, which they are
 * not in fragments; of what is not IP the Ethernet addresses and type.
 */
#include <stdio.h>
#include <stdlib.h>

#include "abi/rp_barrier.h"
#include "logic.h"
#include "logic_words.h"

enum {
	ETH_HEADER = 14,
	VLAN_TAG = 4,
	MAX_TAGS = 2,
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	L4_PORTS = 4,
	MAX_UPLINKS = 16
};

/* Ports among which to choose. */
struct group {
	uint32_t n;
	uint16_t port[RP_LOGIC_PORTS];
};

/* What lookups see. There are two, for lookups use the one while the other is made anew. */
struct ports {
	struct group all;
	struct group uplinks;
	struct group others;
	uint8_t is_uplink[RP_LOGIC_PORTS];
};

struct spreader {
	uint32_t nuplinks;
	char uplink[MAX_UPLINKS][RP_WORD_BYTES];
	struct ports *ports; /* one of these two */
	struct ports two[2];
};

static uint32_t be16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static uint64_t load64(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static uint32_t load32(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* Every bit of the result depends on every bit of @x (the finalizer of SplitMix64). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The same for (a, b) and (b, a). Two of them: pairs with one sum, or one difference in bits. */
static uint64_t pair(uint64_t hash, uint64_t a, uint64_t b)
{
	return mix(hash ^ mix(a + b) ^ (a ^ b));
}

static uint64_t add_ports(uint64_t hash, uint32_t protocol, const uint8_t *l4, const uint8_t *end)
{
	enum { TCP = 6, UDP = 17, SCTP = 132 };

	hash = mix(hash ^ protocol);
	if ((protocol != TCP && protocol != UDP && protocol != SCTP) || end - l4 < L4_PORTS)
		return hash;
	return pair(hash, be16(l4), be16(l4 + 2));
}

static uint64_t hash_ip4(const uint8_t *ip, const uint8_t *end)
{
	enum { FRAGMENT = 0x3fff }; /* more of them, or an offset */
	const uint64_t hash = pair(4, load32(ip + 12), load32(ip + 16));
	const uint32_t header = (ip[0] & 15u) * 4;

	if (be16(ip + 6) & FRAGMENT)
		return mix(hash ^ ip[9]);
	return add_ports(hash, ip[9], ip + (header < IP4_HEADER ? IP4_HEADER : header), end);
}

static uint64_t hash_ip6(const uint8_t *ip, const uint8_t *end)
{
	const uint64_t from = mix(load64(ip + 8)) + load64(ip + 16);
	const uint64_t to = mix(load64(ip + 24)) + load64(ip + 32);

	return add_ports(pair(6, from, to), ip[6], ip + IP6_HEADER, end);
}

static uint64_t hash_flow(const struct rp_logic_frame *f)
{
	enum { IP4 = 0x0800, IP6 = 0x86dd, VLAN = 0x8100, VLAN_OUTER = 0x88a8 };
	uint8_t head[RP_LOGIC_HEAD]; /* the sender may change its own between two looks */
	const uint32_t here = f->here < sizeof(head) ? f->here : sizeof(head);
	const uint8_t *end = head + here, *l3 = head + ETH_HEADER;
	uint32_t type;

	memcpy(head, f->data, here);
	type = be16(l3 - 2);
	for (unsigned tags = 0; (type == VLAN || type == VLAN_OUTER) && tags < MAX_TAGS; tags++) {
		if (end - l3 < VLAN_TAG)
			break;
		l3 += VLAN_TAG;
		type = be16(l3 - 2);
	}
	if (type == IP4 && end - l3 >= IP4_HEADER)
		return hash_ip4(l3, end);
	if (type == IP6 && end - l3 >= IP6_HEADER)
		return hash_ip6(l3, end);
	return mix(pair(type, load32(head) | (uint64_t)be16(head + 4) << 32,
			load32(head + 6) | (uint64_t)be16(head + 10) << 32));
}

/* One of @n, evenly. */
static uint32_t scale(uint64_t hash, uint32_t n)
{
	return (uint32_t)((hash >> 32) * n >> 32);
}

/* One of a group, but not @source. */
static uint16_t pick(const struct group *g, uint64_t hash, uint16_t source)
{
	uint32_t at = 0, i;

	while (at < g->n && g->port[at] != source)
		at++;
	if (at == g->n)
		return g->n ? g->port[scale(hash, g->n)] : (uint16_t)RP_LOGIC_DROP;
	if (g->n == 1)
		return RP_LOGIC_DROP;
	i = scale(hash, g->n - 1);
	return g->port[i < at ? i : i + 1];
}

static void hash_lookup(void *state, struct rp_logic_batch *b)
{
	const struct spreader *s = state;
	const struct ports *ports = rp_load_acquire(&s->ports);

	for (uint32_t i = 0; i < b->n; i++) {
		const struct rp_logic_frame *f = &b->frame[i];
		const struct group *g = &ports->all;

		if (s->nuplinks)
			g = ports->is_uplink[f->source] ? &ports->others : &ports->uplinks;
		b->dest[i] = pick(g, hash_flow(f), f->source);
	}
}

static int hash_init(void **state, const char *config, char *why)
{
	struct spreader *s = calloc(1, sizeof(*s));
	struct rp_word word;

	if (!s) {
		snprintf(why, RP_LOGIC_WHY, "out of memory");
		return -1;
	}
	while (rp_next_word(&config, &word)) {
		if (strcmp(word.key, "uplink") != 0 || !word.value[0] ||
		    s->nuplinks == MAX_UPLINKS) {
			snprintf(why, RP_LOGIC_WHY, "'%s=%s' is not one of at most %d uplink=PORT",
				 word.key, word.value, MAX_UPLINKS);
			free(s);
			return -1;
		}
		memcpy(s->uplink[s->nuplinks++], word.value, sizeof(word.value));
	}
	s->ports = &s->two[0];
	*state = s;
	return 0;
}

static bool is_uplink(const struct spreader *s, const char *name)
{
	for (uint32_t i = 0; i < s->nuplinks; i++) {
		if (rp_is_port(name, s->uplink[i]))
			return true;
	}
	return false;
}

static void put(struct group *g, uint16_t port, int in)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->n; i++) {
		if (g->port[i] != port)
			g->port[n++] = g->port[i];
	}
	if (in)
		g->port[n++] = port;
	g->n = n;
}

/* All lookups that began before the last change have ended: nobody uses the older of the two. */
static void hash_port(void *state, const char *name, uint16_t number, int up)
{
	struct spreader *s = state;
	struct ports *next = s->ports == &s->two[0] ? &s->two[1] : &s->two[0];
	const bool uplink = is_uplink(s, name);

	*next = *s->ports;
	put(&next->all, number, up);
	put(&next->uplinks, number, up && uplink);
	put(&next->others, number, up && !uplink);
	next->is_uplink[number] = uplink;
	rp_store_release(&s->ports, next);
}

const struct rp_logic rp_logic_hash = {
	.version = RP_LOGIC_VERSION,
	.bytes = sizeof(struct rp_logic),
	.init = hash_init,
	.exit = free,
	.port = hash_port,
	.lookup = hash_lookup,
};
