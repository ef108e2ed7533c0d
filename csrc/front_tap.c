/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Endpoints on a TAP device: the host's own stack is at the other side.
 *
 * A read gives one frame behind its virtio-net header, a write takes one: what
 * the stack leaves to hardware, checksums and segmentation, stays undone until
 * a receiver needs it done, and long segments cross as one frame.
 */
#include "front_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"
#include "vnet.h"

enum {
	BUF_BYTES = 4096,
	FRAME_SLOTS = (RP_FRAME_MAX + BUF_BYTES - 1) / BUF_BYTES,
	/* A batch lies here, frame behind frame. Pages are there once they were used. */
	INBOX_BYTES = RP_BATCH_BYTES + RP_FRAME_MAX,
	ALIGN = 64
};

struct tap_queue {
	struct rp_kernel_queue q;
	uint8_t *memory; /* inbox, then the buffers of q.out */
	size_t bytes;
};

static struct tap_queue *of(struct rp_endpoint *ep)
{
	return (struct tap_queue *)rp_kernel_ring(ep)->queue; /* q is its first member */
}

/* Read one frame to @at. Return: its length, 0 when there is none */
static uint32_t read_frame(struct rp_endpoint *ep, uint8_t *at, struct virtio_net_hdr *vnet)
{
	struct iovec part[] = { { vnet, sizeof(*vnet) }, { at, RP_FRAME_MAX } };
	ssize_t n = readv(of(ep)->q.fd, part, 2);

	if (n > (ssize_t)sizeof(*vnet))
		return (uint32_t)n - (uint32_t)sizeof(*vnet);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		rp_port_break(ep->port, "the interface was removed");
	return 0;
}

static unsigned tap_pull(struct rp_endpoint *ep)
{
	struct rp_batch *b = ep->batch;
	uint32_t at = 0, len;
	unsigned taken = 0;

	rp_kernel_retry(ep);
	b->nframes = b->nsegs = b->held = 0;
	b->bytes = 0;
	while (taken < RP_BATCH && at < RP_BATCH_BYTES) {
		struct rp_frame *f = &b->frame[b->nframes];

		*f = (struct rp_frame){ .seg = b->nsegs, .nseg = 1 };
		len = f->len = read_frame(ep, of(ep)->memory + at, &f->vnet);
		if (!len)
			break;
		taken++;
		if (len < RP_ETH_MIN || !rp_vnet_check(&f->vnet, ep->port->features, len)) {
			rp_refuse(ep, len < RP_ETH_MIN ? RP_DROP_SHORT : RP_DROP_HEADER);
			continue;
		}
		b->seg[b->nsegs++] = (struct rp_seg){ of(ep)->memory + at, len };
		b->bytes += len;
		b->nframes++;
		at += (len + ALIGN - 1) / ALIGN * ALIGN;
	}
	return taken;
}

static bool tap_pending(struct rp_endpoint *ep)
{
	return rp_load(&of(ep)->q.out.stuck) || rp_kernel_readable(&of(ep)->q);
}

static void write_frames(struct rp_endpoint *ep, uint32_t to)
{
	struct rp_outq *out = &of(ep)->q.out;
	struct iovec part[1 + FRAME_SLOTS];

	while (out->sent != to) {
		const uint32_t n = rp_outq_frame(out, out->sent);

		part[0] = (struct iovec){ &out->slot[rp_outq_at(out, out->sent)].vnet,
					  sizeof(struct virtio_net_hdr) };
		for (uint32_t i = 0; i < n; i++)
			part[1 + i] =
				(struct iovec){ rp_outq_buf(out, out->sent + i),
						out->slot[rp_outq_at(out, out->sent + i)].len };
		if (writev(of(ep)->q.fd, part, (int)(1 + n)) < 0)
			/* An interface that is down takes nothing, and says EIO. */
			rp_kernel_lost(ep, errno == EIO ? RP_DROP_DOWN : RP_DROP_HEADER);
		out->sent += n;
		rp_store_release(&ep->state->released, out->sent);
	}
}

static void tap_notify(struct rp_endpoint *ep)
{
	rp_outq_send(&of(ep)->q.out, ep, write_frames);
}

static const struct rp_endpoint_ops tap_ops = {
	.pull = tap_pull,
	.complete = rp_kernel_nothing,
	.pending = tap_pending,
	.arm = rp_kernel_nothing,
	.disarm = rp_kernel_nothing,
	.lease = rp_kernel_lease,
	.publish = rp_outq_publish,
	.notify = tap_notify,
	.retry = rp_kernel_retry,
	.free = rp_kernel_free,
};

static void tap_close(struct rp_kernel_queue *q)
{
	struct tap_queue *t = (struct tap_queue *)q;

	if (t->memory != MAP_FAILED)
		munmap(t->memory, t->bytes);
	rp_outq_free(&q->out);
	if (q->fd >= 0)
		close(q->fd);
	free(t);
}

struct rp_kernel_queue *rp_front_tap_open(const struct rp_kernel_queue_config *cfg, int fd,
					  struct rp_err *err)
{
	struct tap_queue *t = calloc(1, sizeof(*t));

	if (!t) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	t->bytes = INBOX_BYTES + (size_t)cfg->slots * BUF_BYTES;
	t->memory = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	t->q.ops = &tap_ops;
	t->q.free = tap_close;
	t->q.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (t->q.fd < 0)
		rp_fail(err, errno, "TAP descriptor %d: %s", fd, strerror(errno));
	else if (t->memory == MAP_FAILED || rp_outq_init(&t->q.out, t->memory + INBOX_BYTES,
							 cfg->slots, BUF_BYTES, FRAME_SLOTS) < 0)
		rp_fail(err, ENOMEM, "out of memory for the queue of a TAP device");
	else
		return &t->q;
	tap_close(&t->q);
	return NULL;
}
