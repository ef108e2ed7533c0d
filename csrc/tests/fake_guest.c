/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_guest.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "vnet.h"

void fake_ram_open(struct fake_ram *ram, uint64_t span)
{
	*ram = (struct fake_ram){ .span = span, .next = FAKE_RAM_BASE };
	ram->base = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	EXPECT(ram->base != MAP_FAILED);
}

void fake_ram_close(struct fake_ram *ram)
{
	for (uint32_t i = 0; i < ram->n; i++)
		close(ram->region[i].fd);
	munmap(ram->base, ram->span);
}

unsigned fake_ram_plug(struct fake_ram *ram, uint64_t addr, uint64_t bytes, uint64_t file_skip)
{
	struct fake_region *r = &ram->region[ram->n];
	uint8_t *at = fake_ram_at(ram, addr);

	EXPECT(ram->n < FAKE_REGIONS);
	EXPECT(addr - FAKE_RAM_BASE + bytes <= ram->span);
	r->fd = memfd_create("fake-ram", MFD_CLOEXEC);
	EXPECT(r->fd >= 0);
	EXPECT_EQ(ftruncate(r->fd, (off_t)(file_skip + bytes)), 0);
	EXPECT(mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r->fd,
		    (off_t)file_skip) == at);
	r->slot = (struct rp_mem_slot){
		.guest_addr = addr,
		.bytes = bytes,
		.user_addr = FAKE_USER_BASE * (ram->n + 1) + (addr - FAKE_RAM_BASE),
		.mmap_offset = file_skip,
	};
	return ram->n++;
}

uint64_t fake_ram_alloc(struct fake_ram *ram, uint64_t bytes, uint64_t align)
{
	uint64_t addr = (ram->next + align - 1) / align * align;

	ram->next = addr + bytes;
	EXPECT(ram->next - FAKE_RAM_BASE <= ram->span);
	return addr;
}

uint64_t fake_ram_user(const struct fake_ram *ram, uint64_t addr)
{
	for (uint32_t i = 0; i < ram->n; i++) {
		const struct rp_mem_slot *s = &ram->region[i].slot;

		if (addr - s->guest_addr < s->bytes)
			return s->user_addr + (addr - s->guest_addr);
	}
	return 0;
}

int fake_ram_share(const struct fake_ram *ram, rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_mem_slot slots[FAKE_REGIONS];
	int32_t fds[FAKE_REGIONS];

	for (uint32_t i = 0; i < ram->n; i++) {
		slots[i] = ram->region[i].slot;
		fds[i] = ram->region[i].fd;
	}
	return rp_vhost_mem_set(dp, port, slots, fds, ram->n, err);
}

void fake_queue_open(struct fake_queue *q, struct fake_ram *ram, uint32_t size, uint32_t buf_bytes,
		     uint64_t features)
{
	*q = (struct fake_queue){
		.ram = ram,
		.size = size,
		.buf_bytes = buf_bytes,
		.event_idx = features & RP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
		.desc_addr = fake_ram_alloc(ram, size * sizeof(struct vring_desc), 16),
		.avail_addr = fake_ram_alloc(ram, 6 + 2 * size, 2),
		.used_addr = fake_ram_alloc(ram, 6 + 8 * size, 4),
		.table_addr = fake_ram_alloc(
			ram, (uint64_t)size * FAKE_TABLE * sizeof(struct vring_desc), 16),
		.buf_addr = fake_ram_alloc(ram, (uint64_t)size * buf_bytes, 64),
		.free = calloc(size, sizeof(*q->free)),
		.length = calloc(size, sizeof(*q->length)),
		.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	q->desc = fake_ram_at(ram, q->desc_addr);
	q->avail = fake_ram_at(ram, q->avail_addr);
	q->used = fake_ram_at(ram, q->used_addr);
	EXPECT(q->free && q->length && q->kick_fd >= 0 && q->call_fd >= 0);
}

void fake_queue_close(struct fake_queue *q)
{
	close(q->kick_fd);
	close(q->call_fd);
	free(q->free);
	free(q->length);
}

struct rp_vring_config fake_queue_config(const struct fake_queue *q)
{
	return (struct rp_vring_config){
		.size = q->size,
		.base = q->base,
		.desc_user_addr = fake_ram_user(q->ram, q->desc_addr),
		.avail_user_addr = fake_ram_user(q->ram, q->avail_addr),
		.used_user_addr = fake_ram_user(q->ram, q->used_addr),
		.kick_fd = q->kick_fd,
		.call_fd = q->call_fd,
	};
}

void fake_queue_reset(struct fake_queue *q)
{
	memset(q->desc, 0, q->size * sizeof(*q->desc));
	memset(q->avail, 0, 6 + 2 * q->size);
	memset(q->used, 0, 6 + 8 * q->size);
	q->avail_idx = q->kicked = q->used_idx = q->base = 0;
	q->nfree = q->size;
	for (uint32_t i = 0; i < q->size; i++)
		q->free[i] = (uint16_t)(q->size - 1 - i);
}

int fake_queue_head(const struct fake_queue *q)
{
	return q->nfree ? q->free[q->nfree - 1] : FAKE_NOTHING;
}

static void make_available(struct fake_queue *q, uint16_t head, uint16_t descriptors)
{
	q->length[head] = descriptors;
	rp_store(&q->avail->ring[q->avail_idx & (q->size - 1)], head);
	q->avail_idx++;
}

static void add_indirect(struct fake_queue *q, const struct fake_piece *piece, unsigned n,
			 uint16_t flags)
{
	uint16_t head = q->free[--q->nfree];
	uint64_t addr = q->table_addr + (uint64_t)head * FAKE_TABLE * sizeof(struct vring_desc);
	struct vring_desc *table = fake_ram_at(q->ram, addr);

	EXPECT(n <= FAKE_TABLE);
	for (unsigned i = 0; i < n; i++)
		table[i] = (struct vring_desc){
			.addr = piece[i].addr,
			.len = piece[i].len,
			.flags = flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			.next = (uint16_t)(i + 1),
		};
	q->desc[head] = (struct vring_desc){
		.addr = addr,
		.len = n * (uint32_t)sizeof(struct vring_desc),
		.flags = VRING_DESC_F_INDIRECT,
	};
	make_available(q, head, 1);
}

int fake_queue_add(struct fake_queue *q, const struct fake_piece *piece, unsigned n, uint16_t flags,
		   bool indirect)
{
	int head = fake_queue_head(q);

	if (indirect && q->nfree) {
		add_indirect(q, piece, n, flags);
		return head;
	}
	if (n > q->nfree)
		return FAKE_NOTHING;
	for (unsigned i = 0; i < n; i++) {
		uint16_t at = q->free[--q->nfree];

		q->desc[at] = (struct vring_desc){
			.addr = piece[i].addr,
			.len = piece[i].len,
			.flags = flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			.next = i + 1 < n ? q->free[q->nfree - 1] : 0,
		};
	}
	make_available(q, (uint16_t)head, (uint16_t)n);
	return head;
}

int fake_queue_add_buf(struct fake_queue *q, uint32_t bytes, uint16_t flags,
		       struct fake_layout layout)
{
	const unsigned max = layout.indirect ? FAKE_TABLE : q->size;
	uint32_t part = layout.first ? layout.first : layout.then;
	struct fake_piece *piece;
	unsigned n = 0;
	uint64_t addr;
	int head;

	EXPECT(bytes && bytes <= q->buf_bytes);
	if (!q->nfree)
		return FAKE_NOTHING;
	piece = calloc(max, sizeof(*piece));
	EXPECT(piece);
	addr = fake_queue_buf_addr(q, (unsigned)fake_queue_head(q));
	while (bytes) {
		uint32_t len = part && part < bytes ? part : bytes;

		EXPECT(n < max);
		piece[n++] = (struct fake_piece){ addr, len };
		addr += len;
		bytes -= len;
		part = layout.then;
	}
	head = fake_queue_add(q, piece, n, flags, layout.indirect);
	free(piece);
	return head;
}

bool fake_queue_kick(struct fake_queue *q)
{
	const uint64_t one = 1;
	uint16_t from = q->kicked;
	bool wanted;

	rp_store_release(&q->avail->idx, q->avail_idx);
	/* Pairs with the device's: it arms, fences, looks at avail.idx again. */
	rp_fence_full();
	q->kicked = q->avail_idx;
	if (q->event_idx)
		wanted = vring_need_event(rp_load((__virtio16 *)&q->used->ring[q->size]),
					  q->avail_idx, from);
	else
		wanted = !(rp_load(&q->used->flags) & VRING_USED_F_NO_NOTIFY);
	if (wanted)
		EXPECT_EQ(write(q->kick_fd, &one, sizeof(one)), sizeof(one));
	return wanted;
}

static void free_chain(struct fake_queue *q, uint16_t head)
{
	uint16_t at = head;

	EXPECT(q->length[head]);
	for (uint16_t i = 0; i < q->length[head]; i++) {
		q->free[q->nfree++] = at;
		at = q->desc[at].next;
	}
	q->length[head] = 0;
	EXPECT(q->nfree <= q->size);
}

int fake_queue_take(struct fake_queue *q, uint32_t *len)
{
	uint16_t there = (uint16_t)(rp_load_acquire(&q->used->idx) - q->used_idx);
	const struct vring_used_elem *e = &q->used->ring[q->used_idx & (q->size - 1)];

	if (!there)
		return FAKE_NOTHING;
	EXPECT(there <= q->size);
	EXPECT(e->id < q->size);
	if (len)
		*len = e->len;
	q->used_idx++;
	free_chain(q, (uint16_t)e->id);
	return (int)e->id;
}

bool fake_queue_arm(struct fake_queue *q)
{
	if (q->event_idx)
		rp_store(&q->avail->ring[q->size], q->used_idx);
	else
		rp_store(&q->avail->flags, 0);
	rp_fence_full();
	return rp_load(&q->used->idx) == q->used_idx;
}

void fake_queue_disarm(struct fake_queue *q)
{
	if (q->event_idx)
		rp_store(&q->avail->ring[q->size], (uint16_t)(q->used_idx - 1));
	else
		rp_store(&q->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

bool fake_queue_called(struct fake_queue *q, int timeout_ms)
{
	struct pollfd p = { .fd = q->call_fd, .events = POLLIN };
	uint64_t calls;

	return poll(&p, 1, timeout_ms) == 1 &&
	       read(q->call_fd, &calls, sizeof(calls)) == sizeof(calls);
}

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
		g->features = rp_vhost_offered();
	g->features &= ~(RP_FEATURE(VIRTIO_F_RING_PACKED) | RP_FEATURE(VIRTIO_F_IN_ORDER));
	g->header_bytes = g->features & (RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
					 RP_FEATURE(VIRTIO_F_VERSION_1)) ?
				  sizeof(struct virtio_net_hdr_mrg_rxbuf) :
				  sizeof(struct virtio_net_hdr);
	fake_ram_open(&g->ram, span / 4096 * 4096);
	fake_ram_plug(&g->ram, FAKE_RAM_BASE, g->ram.span, 0);
	fake_queue_open(&g->rx, &g->ram, size, rx_bytes, g->features);
	fake_queue_open(&g->tx, &g->ram, size, tx_bytes, g->features);
	fake_queue_reset(&g->rx);
	fake_queue_reset(&g->tx);
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
	uint32_t base;

	EXPECT_OK(rp_vhost_ring_stop(g->dp, g->port, 0, &base, &err), err);
	g->rx.base = (uint16_t)base;
	EXPECT_OK(rp_vhost_ring_stop(g->dp, g->port, 1, &base, &err), err);
	g->tx.base = (uint16_t)base;
}

bool fake_guest_send(struct fake_guest *g, const struct virtio_net_hdr *header, const void *frame,
		     uint32_t len, struct fake_layout layout)
{
	struct virtio_net_hdr_mrg_rxbuf full = { 0 };
	int head = fake_queue_head(&g->tx);
	uint8_t *buf;

	if (head == FAKE_NOTHING)
		return false;
	if (header)
		full.hdr = *header;
	buf = fake_queue_buf(&g->tx, (unsigned)head);
	EXPECT(g->header_bytes + len <= g->tx.buf_bytes);
	memcpy(buf, &full, g->header_bytes);
	memcpy(buf + g->header_bytes, frame, len);
	return fake_queue_add_buf(&g->tx, g->header_bytes + len, 0, layout) != FAKE_NOTHING;
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
		const uint8_t *buf = fake_queue_buf(&g->rx, head < 0 ? 0 : (unsigned)head);

		if (head == FAKE_NOTHING) {
			EXPECT_EQ(i, 0); /* all buffers of a frame are published at once */
			return false;
		}
		EXPECT(len >= skip && len <= g->rx.buf_bytes);
		if (i == 0)
			memcpy(&frame->header, buf, skip);
		buffers = frame->header.num_buffers;
		EXPECT(frame->len + len - skip <= sizeof(frame->data));
		memcpy(frame->data + frame->len, buf + skip, len - skip);
		frame->len += len - skip;
	}
	return true;
}
