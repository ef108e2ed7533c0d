/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_guest.h"

#include <string.h>

#include "check.h"
#include "vnet.h"

static uint32_t or_else(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

void fake_guest_open(struct fake_guest *g, const struct fake_guest_config *cfg)
{
	const uint32_t size = or_else(cfg->queue_size, 256);
	const uint32_t tx_bytes = or_else(cfg->tx_buf_bytes, 2048);
	const uint32_t rx_bytes = or_else(cfg->rx_buf_bytes, 2048);
	const uint64_t span = (uint64_t)size * (tx_bytes + rx_bytes + 32 * FAKE_TABLE + 64) + 65536;

	*g = (struct fake_guest){ .port = -1, .features = cfg->features };
	if (!g->features)
		g->features = fake_features();
	g->header_bytes = g->features & (RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
					 RP_FEATURE(VIRTIO_F_VERSION_1)) ?
				  sizeof(struct virtio_net_hdr_mrg_rxbuf) :
				  sizeof(struct virtio_net_hdr);
	fake_ram_open(&g->ram, span / 4096 * 4096);
	fake_ram_plug(&g->ram, FAKE_RAM_BASE, g->ram.span, 0);
	fake_queue_open(&g->rx, &g->ram, size, rx_bytes, g->features);
	fake_queue_open(&g->tx, &g->ram, size, tx_bytes, g->features);
}

void fake_guest_close(struct fake_guest *g)
{
	fake_queue_close(&g->rx);
	fake_queue_close(&g->tx);
	fake_ram_close(&g->ram);
}

void fake_guest_connect(struct fake_guest *g, rp_dataplane *dp, int port)
{
	const struct rp_vring_config rx = fake_queue_config(&g->rx);
	const struct rp_vring_config tx = fake_queue_config(&g->tx);
	struct rp_err err;

	g->dp = dp;
	g->port = port;
	EXPECT_OK(rp_vhost_features(dp, port, g->features, &err), err);
	EXPECT_OK(fake_ram_share(&g->ram, dp, port, &err), err);
	EXPECT_OK(rp_vhost_ring_start(dp, port, 0, &rx, &err), err);
	EXPECT_OK(rp_vhost_ring_start(dp, port, 1, &tx, &err), err);
	EXPECT_OK(rp_vhost_ring_enable(dp, port, 0, 1, &err), err);
	EXPECT_OK(rp_vhost_ring_enable(dp, port, 1, 1, &err), err);
}

void fake_guest_disconnect(struct fake_guest *g)
{
	struct rp_err err;

	EXPECT_OK(rp_vhost_ring_stop(g->dp, g->port, 0, &g->rx.base, &err), err);
	EXPECT_OK(rp_vhost_ring_stop(g->dp, g->port, 1, &g->tx.base, &err), err);
}

bool fake_guest_send(struct fake_guest *g, const struct virtio_net_hdr *header, const void *frame,
		     uint32_t len, struct fake_layout layout)
{
	struct virtio_net_hdr_mrg_rxbuf full = { 0 };
	int head;

	if (header)
		full.hdr = *header;
	head = fake_queue_add_buf(&g->tx, g->header_bytes + len, 0, layout);
	if (head == FAKE_NOTHING)
		return false;
	fake_queue_put(&g->tx, (unsigned)head, 0, &full, g->header_bytes);
	fake_queue_put(&g->tx, (unsigned)head, g->header_bytes, frame, len);
	return true;
}

unsigned fake_guest_sent(struct fake_guest *g)
{
	unsigned n = 0;

	while (fake_queue_take(&g->tx, NULL) != FAKE_NOTHING)
		n++;
	return n;
}

unsigned fake_guest_post(struct fake_guest *g, unsigned n, uint32_t bytes,
			 struct fake_layout layout)
{
	unsigned i = 0;

	while (i < n && fake_queue_add_buf(&g->rx, bytes, VRING_DESC_F_WRITE, layout) >= 0)
		i++;
	fake_queue_kick(&g->rx);
	return i;
}

bool fake_guest_receive(struct fake_guest *g, struct fake_frame *frame)
{
	unsigned buffers = 1;

	frame->len = 0;
	frame->header = (struct virtio_net_hdr_mrg_rxbuf){ .num_buffers = 1 };
	for (unsigned i = 0; i < buffers; i++) {
		uint32_t len, skip = i == 0 ? g->header_bytes : 0;
		int head = fake_queue_take(&g->rx, &len);

		if (head == FAKE_NOTHING) {
			EXPECT_EQ(i, 0); /* all buffers of a frame are published at once */
			return false;
		}
		EXPECT(len >= skip && len <= g->rx.buf_bytes);
		if (i == 0)
			fake_queue_get(&g->rx, (unsigned)head, 0, &frame->header, skip);
		buffers = frame->header.num_buffers;
		EXPECT(frame->len + len - skip <= sizeof(frame->data));
		fake_queue_get(&g->rx, (unsigned)head, skip, frame->data + frame->len, len - skip);
		frame->len += len - skip;
	}
	return true;
}
