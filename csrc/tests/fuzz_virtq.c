/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Two guests write what they like into their memories, rings included,
 * between the syncs of a switch.
 *
 * Input: a byte of features and formats; one for the size of the queues,
 * whether they are used in order, and whether B takes what A may send; two for
 * the positions they start at (as SET_VRING_BASE has them); then steps:
 *
 *   0 at at n bytes...    guest A writes n bytes at a guest address below 65536
 *   1 at at n bytes...    guest B
 *   2, 3                  sync what A, B sent
 *   4, 5                  A, B stop and start their rings
 *   6                     host 2 speaks on B: frames for it go there alone
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bare.h"
#include "fdb.h"
#include "front_vhost.h"
#include "guestmem.h"
#include "virtq.h"
#include "vnet.h"

enum {
	GUESTS = 2,
	/* In region 0, where the steps find them: */
	RX_DESC = 0x000,
	RX_AVAIL = 0x400,
	RX_USED = 0x480,
	TX_DESC = 0x800,
	TX_AVAIL = 0xc00,
	TX_USED = 0xc80,
	STEPS = 64
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct guest {
	struct rp_port *port;
	struct rp_guestmem *mem;
};

static struct bare b;
static struct guest guest[GUESTS];

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static uint16_t take16(struct input *in)
{
	uint16_t low = take(in);

	return (uint16_t)(low | take(in) << 8);
}

static void set_up(void)
{
	bare_open(&b);
	for (unsigned i = 0; i < GUESTS; i++) {
		guest[i].port = bare_add(&b, NULL, 0);
		guest[i].port->mem = guest[i].mem = bare_memory();
	}
}

static void write_memory(const struct guest *g, struct input *in)
{
	uint16_t addr = take16(in);
	uint8_t n = take(in);
	uint32_t hint = 0;

	for (; n; n--, addr++) {
		uint32_t one = 1;
		uint8_t *at = rp_guestmem_at(g->mem, &hint, addr, &one);
		uint8_t byte = take(in);

		if (at)
			*at = byte;
	}
}

/* Indexes beyond the ring are refused, and are not worth an input. */
static uint32_t legal_base(const struct guest *g, uint32_t size, uint16_t base)
{
	if (!(g->port->features & RP_FEATURE(VIRTIO_F_RING_PACKED)))
		return base;
	return (base & 0x8000u) | ((base & 0x7fffu) & (size - 1));
}

static void start(const struct guest *g, uint32_t size, uint32_t rx_base, uint32_t tx_base)
{
	const struct rp_vring_config rx = { size, rx_base, RX_DESC, RX_AVAIL, RX_USED, -1, -1 };
	const struct rp_vring_config tx = { size, tx_base, TX_DESC, TX_AVAIL, TX_USED, -1, -1 };
	struct rp_err err;

	if (rp_front_vhost_start(g->port->rx[0], &rx, &err) < 0 ||
	    rp_front_vhost_start(g->port->tx[0], &tx, &err) < 0)
		abort(); /* they always lie in memory */
	g->port->tx[0]->live = g->port->rx[0]->live = !rp_port_broken(g->port);
}

static void stop(const struct guest *g)
{
	g->port->tx[0]->live = g->port->rx[0]->live = 0;
	rp_front_vhost_stop(g->port->rx[0]);
	rp_front_vhost_stop(g->port->tx[0]);
}

static void restart(const struct guest *g, uint32_t size)
{
	stop(g);
	start(g, size, rp_front_vhost_base(g->port->rx[0]), rp_front_vhost_base(g->port->tx[0]));
}

static void step(struct input *in, uint32_t queue_size)
{
	const uint8_t what = take(in) % 7;
	const struct guest *g = &guest[what % 2];

	if (what < 2)
		write_memory(g, in);
	else if (what < 4)
		bare_txsync(&b, g->port);
	else if (what < 6)
		restart(g, queue_size);
	else
		rp_fdb_learn(&b.sw.fdb, UINT64_C(0x020000000002), guest[1].port->sw_port, 0);
	bare_check(&b);
}

static uint64_t choose_features(uint8_t chosen, bool packed, bool in_order)
{
	static const uint64_t features[] = {
		RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
		RP_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
		RP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
		RP_FEATURE(VIRTIO_F_VERSION_1),
		RP_VNET_FEATURES,
	};
	uint64_t all = (packed ? RP_FEATURE(VIRTIO_F_RING_PACKED) : 0) |
		       (in_order ? RP_FEATURE(VIRTIO_F_IN_ORDER) : 0);

	for (unsigned f = 0; f < sizeof(features) / sizeof(features[0]); f++)
		all |= chosen & 1 << f ? features[f] : 0;
	return all;
}

/* Its memory is zero, but for the used indexes of split rings. */
static void clear_memory(const struct guest *g, uint16_t base)
{
	uint8_t *r0 = g->mem->region[0].host;

	for (unsigned r = 0; r < g->mem->n; r++)
		memset(g->mem->region[r].host, 0, g->mem->region[r].bytes);
	if (g->port->features & RP_FEATURE(VIRTIO_F_RING_PACKED))
		return;
	memcpy(r0 + RX_USED + 2, &base, sizeof(base));
	memcpy(r0 + TX_USED + 2, &base, sizeof(base));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	const uint8_t chosen = take(&in);
	const uint8_t queues = take(&in);
	const uint32_t queue_size = 1u << (queues & 0x1f) % 7; /* up to 64 */
	const uint16_t base = take16(&in);

	if (!b.n)
		set_up();
	bare_reset(&b);
	for (unsigned i = 0; i < GUESTS; i++) {
		const struct guest *g = &guest[i];
		uint32_t at;

		g->port->features = choose_features(chosen, chosen & 0x20 << i, queues & 0x80);
		if (i && queues & 0x40) /* software does what A left undone */
			g->port->features &= ~RP_VNET_FEATURES;
		g->port->longest = rp_port_longest(i && queues & 0x20 ? 500 : 0);
		g->port->hold_ns = chosen & 0x80 ? 1000 : 0;
		at = legal_base(g, queue_size, base);
		clear_memory(g, base);
		start(g, queue_size, at, at);
	}
	for (unsigned n = 0; in.left && n < STEPS; n++)
		step(&in, queue_size);
	stop(&guest[0]);
	stop(&guest[1]);
	return 0;
}
