/* SPDX-License-Identifier: BSD-2-Clause */
#include "driver.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RX_VRING, TX_VRING, PAGE = 4096 };

/* Where a queue's parts are in its share of the memory. */
struct layout {
	uint64_t driver;
	uint64_t device;
	uint64_t bufs;
	uint64_t bytes;
};

static uint64_t up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Each area on cache lines of its own; large enough for either format. */
static struct layout lay_out(uint64_t size)
{
	struct layout l = { .driver = up(size * sizeof(struct vring_desc), 64) };

	l.device = up(l.driver + sizeof(struct vring_avail) + (size + 1) * sizeof(uint16_t), 64);
	l.bufs = up(l.device + sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) +
			    sizeof(uint16_t),
		    PAGE);
	l.bytes = up(l.bufs + size * BENCH_BUF_BYTES, PAGE);
	return l;
}

/* An address is the same for the driver, the device and the front end: the offset. */
static void prepare(struct bench_queue *q, uint8_t *memory, uint64_t begin, uint64_t features,
		    uint16_t flags, uint32_t size)
{
	const struct layout l = lay_out(size);

	*q = (struct bench_queue){
		.desc = (void *)(memory + begin),
		.avail = (void *)(memory + begin + l.driver),
		.used = (void *)(memory + begin + l.device),
		.bufs = memory + begin + l.bufs,
		.size = size,
		.len = BENCH_BUF_BYTES,
		.flags = flags,
		.packed = features & UINT64_C(1) << VIRTIO_F_RING_PACKED,
		.in_order = features & UINT64_C(1) << VIRTIO_F_IN_ORDER,
	};
	if (q->packed)
		q->driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (uint32_t i = 0; i < size; i++) {
		const uint64_t addr = begin + l.bufs + (uint64_t)i * BENCH_BUF_BYTES;

		if (q->packed)
			q->ring[i].addr = addr;
		else
			q->desc[i] = (struct vring_desc){ addr, q->len, flags, 0 };
		if (!q->packed)
			q->avail->ring[i] = (uint16_t)i;
	}
}

static int start(struct bench_driver *d, uint32_t vring, uint64_t begin, struct rp_err *err)
{
	const struct layout l = lay_out(d->tx.size);
	const struct rp_vring_config cfg = {
		.size = d->tx.size,
		.base = d->tx.packed ? 0x80008000 : 0, /* both wrap counters begin as 1 */
		.desc_user_addr = begin,
		.avail_user_addr = begin + l.driver,
		.used_user_addr = begin + l.device,
		.kick_fd = -1,
		.call_fd = -1,
	};
	const int ret = rp_vhost_ring_start(d->dp, d->port, vring, &cfg, err);

	return ret < 0 ? ret : rp_vhost_ring_enable(d->dp, d->port, vring, 1, err);
}

static int connect(struct bench_driver *d, uint64_t features, int32_t fd, struct rp_err *err)
{
	const struct rp_mem_slot slot = { .bytes = d->bytes };
	int ret = rp_vhost_features(d->dp, d->port, features, err);

	if (ret == 0)
		ret = rp_vhost_mem_set(d->dp, d->port, &slot, &fd, 1, err);
	if (ret == 0)
		ret = start(d, RX_VRING, d->bytes / 2, err);
	if (ret == 0)
		ret = start(d, TX_VRING, 0, err);
	return ret;
}

int bench_driver_open(struct bench_driver *d, rp_dataplane *dp, int port, uint64_t features,
		      uint32_t size, struct rp_err *err)
{
	const uint64_t half = lay_out(size).bytes;
	int fd = memfd_create("ringpass-bench", MFD_CLOEXEC), ret;

	*d = (struct bench_driver){ .dp = dp, .port = port, .bytes = 2 * half };
	features |= UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF;
	if (fd < 0 || ftruncate(fd, (off_t)d->bytes) < 0)
		d->memory = MAP_FAILED;
	else
		d->memory = mmap(NULL, d->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
				 fd, 0);
	if (d->memory == MAP_FAILED) {
		d->memory = NULL;
		ret = rp_bench_fail(err, errno, "no memory for a driver of port %d: %s", port,
				    strerror(errno));
	} else {
		prepare(&d->tx, d->memory, 0, features, 0, size);
		prepare(&d->rx, d->memory, half, features, VRING_DESC_F_WRITE, size);
		bench_offer(&d->rx, size);
		ret = connect(d, features, fd, err);
	}
	if (fd >= 0)
		close(fd);
	if (ret < 0)
		bench_driver_close(d);
	return ret;
}

void bench_driver_close(struct bench_driver *d)
{
	struct rp_err ignored;
	uint32_t base;

	if (!d->memory)
		return;
	rp_vhost_ring_stop(d->dp, d->port, TX_VRING, &base, &ignored);
	rp_vhost_ring_stop(d->dp, d->port, RX_VRING, &base, &ignored);
	munmap(d->memory, d->bytes);
	d->memory = NULL;
}
