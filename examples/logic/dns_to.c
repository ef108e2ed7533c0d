/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames to UDP port 53 go to one port, all others where a learning bridge sends them:
 *
 *     ringpass switch logic vale0 ./dns_to.c --config vale0:resolver
 */
#include <rp_logic.h>
#include <stdio.h>
#include <string.h>

static char resolver[64];
static uint16_t resolver_port = RP_LOGIC_DROP; /* while it is not there */

static int init(void **state, const char *config, char *why)
{
	snprintf(resolver, sizeof(resolver), "%s", config);
	if (!*config)
		snprintf(why, RP_LOGIC_WHY, "name a port: --config vale0:resolver");
	return *config ? 0 : -1;
}

static void port(void *state, const char *name, uint16_t number, int up)
{
	if (strcmp(name, resolver) == 0)
		__atomic_store_n(&resolver_port, up ? number : RP_LOGIC_DROP, __ATOMIC_RELAXED);
}

static int is_dns(const struct rp_logic_frame *f)
{
	static const uint8_t ipv4[] = { 0x08, 0x00, 0x45 }, udp = 17, dns[] = { 0, 53 };

	return f->len >= 42 && !memcmp(f->data + 12, ipv4, sizeof(ipv4)) && f->data[23] == udp &&
	       !memcmp(f->data + 36, dns, sizeof(dns));
}

static void lookup(void *state, struct rp_logic_batch *b)
{
	const uint16_t to = __atomic_load_n(&resolver_port, __ATOMIC_RELAXED);

	for (uint32_t i = 0; i < b->n; i++)
		b->dest[i] = is_dns(&b->frame[i]) ? to : RP_LOGIC_LEARN;
}

RP_LOGIC(.init = init, .port = port, .lookup = lookup);
