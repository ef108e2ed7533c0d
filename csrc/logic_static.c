/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A switch that does not learn: each address is at the port that the user
 * says, whoever claims to have it.
 *
 *     52:54:00:00:00:01=vm1 52:54:00:00:00:02=vm2 unknown=flood
 *
 * A frame to several goes to all; one to an address that is not in the table
 * nowhere, or with `unknown=flood` to all, too. A table with open addressing,
 * twice as large as it must be; a port that is not there now has no number.
 */
#include <stdio.h>
#include <stdlib.h>

#include "abi/rp_barrier.h"
#include "logic.h"
#include "logic_words.h"

enum { MAC_BYTES = 6 };

struct place {
	uint64_t mac;  /* its bytes as they lie in memory; 0: free */
	uint16_t dest; /* RP_LOGIC_DROP: the port is not there */
	char port[RP_WORD_BYTES];
};

struct table {
	uint32_t mask; /* places less one; a power of two of them */
	uint16_t unknown;
	struct place place[];
};

/* Return: the place of @mac, or the free one where it would be */
static struct place *find(struct table *t, uint64_t mac)
{
	uint32_t i = (uint32_t)(mac * UINT64_C(0x9e3779b97f4a7c15) >> 32) & t->mask;

	while (t->place[i].mac && t->place[i].mac != mac)
		i = (i + 1) & t->mask;
	return &t->place[i];
}

/* The value of a hexadecimal digit, or -1. */
static int digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The address of one station, six bytes with colons between, or 0. */
static uint64_t parse_mac(const char *text)
{
	uint8_t byte[8] = { 0 };
	uint64_t mac;

	for (unsigned i = 0; i < MAC_BYTES; i++, text += 3) {
		const int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);

		if (low < 0 || text[2] != (i + 1 < MAC_BYTES ? ':' : '\0'))
			return 0;
		byte[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(&mac, byte, sizeof(mac));
	return byte[0] & 1 ? 0 : mac;
}

/* Return: whether @w says something that can be true */
static bool take_word(struct table *t, const struct rp_word *w, char *why)
{
	const uint64_t mac = parse_mac(w->key);
	struct place *p;

	if (strcmp(w->key, "unknown") == 0 && strcmp(w->value, "flood") == 0) {
		t->unknown = RP_LOGIC_FLOOD;
	} else if (strcmp(w->key, "unknown") == 0 && strcmp(w->value, "drop") == 0) {
		t->unknown = RP_LOGIC_DROP;
	} else if (!mac || !w->value[0]) {
		snprintf(why, RP_LOGIC_WHY,
			 "'%.40s=%.40s' is not MAC=PORT, with the address of one machine, nor "
			 "unknown=drop or unknown=flood",
			 w->key, w->value);
		return false;
	} else {
		p = find(t, mac);
		if (p->mac) {
			snprintf(why, RP_LOGIC_WHY, "address %s is there twice", w->key);
			return false;
		}
		*p = (struct place){ .mac = mac, .dest = RP_LOGIC_DROP };
		memcpy(p->port, w->value, sizeof(p->port));
	}
	return true;
}

static int static_init(void **state, const char *config, char *why)
{
	const char *at = config;
	struct rp_word word;
	uint32_t words = 1, places = 2;
	struct table *t;

	while (rp_next_word(&at, &word))
		words++;
	while (places < 2 * words)
		places *= 2;
	t = calloc(1, sizeof(*t) + places * sizeof(t->place[0]));
	if (!t) {
		snprintf(why, RP_LOGIC_WHY, "out of memory");
		return -1;
	}
	t->mask = places - 1;
	t->unknown = RP_LOGIC_DROP;
	for (at = config; rp_next_word(&at, &word);) {
		if (!take_word(t, &word, why)) {
			free(t);
			return -1;
		}
	}
	*state = t;
	return 0;
}

static void static_port(void *state, const char *name, uint16_t number, int up)
{
	struct table *t = state;

	for (uint32_t i = 0; i <= t->mask; i++) {
		if (t->place[i].mac && rp_is_port(name, t->place[i].port))
			rp_store(&t->place[i].dest, up ? number : RP_LOGIC_DROP);
	}
}

static void static_lookup(void *state, struct rp_logic_batch *b)
{
	struct table *t = state;

	for (uint32_t i = 0; i < b->n; i++) {
		uint64_t mac = 0;
		const struct place *p;

		memcpy(&mac, b->frame[i].data, MAC_BYTES);
		p = find(t, mac);
		if (mac & 1)
			b->dest[i] = RP_LOGIC_FLOOD;
		else
			b->dest[i] = p->mac && mac ? rp_load(&p->dest) : t->unknown;
	}
}

const struct rp_logic rp_logic_static = {
	.version = RP_LOGIC_VERSION,
	.bytes = sizeof(struct rp_logic),
	.init = static_init,
	.exit = free,
	.port = static_port,
	.lookup = static_lookup,
};
