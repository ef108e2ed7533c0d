/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Endpoints on packet sockets, which any network interface can have.
 *
 * The socket gives and takes a virtio-net header with each frame, so checksums
 * and segments that software left undone, such as those that come over a veth
 * pair, are known as what they are. A VLAN tag that the kernel took out of the
 * frame is told beside it, and put back:
 *
 *    | room for a tag | addresses | type, payload      as it is received
 *    | addresses      | tag       | type, payload      as it was on the wire
 */
#include "front_packet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "vnet.h"

enum {
	BUF_BYTES = 4096,
	FRAME_SLOTS = (RP_FRAME_MAX + BUF_BYTES - 1) / BUF_BYTES,
	MESSAGES = 64, /* to a system call */
	VLAN_TAG = 4,
	ADDRESSES = 12,
	INBOX_BYTES = VLAN_TAG + RP_FRAME_MAX + 60, /* a multiple of 64; of each message */
	CONTROL_BYTES = CMSG_SPACE(sizeof(struct tpacket_auxdata))
};

static_assert(INBOX_BYTES % 64 == 0, "buffers begin on cache lines");

struct packet_queue {
	struct rp_kernel_queue q;
	uint8_t *memory; /* a buffer for each message, then those of q.out */
	size_t bytes;
	struct mmsghdr in[MESSAGES];
	struct iovec in_part[MESSAGES][2];
	struct virtio_net_hdr in_vnet[MESSAGES];
	_Alignas(struct cmsghdr) uint8_t in_control[MESSAGES][CONTROL_BYTES];
	struct mmsghdr send[MESSAGES];
	struct iovec send_part[MESSAGES][1 + FRAME_SLOTS];
};

static struct packet_queue *of(struct rp_endpoint *ep)
{
	return (struct packet_queue *)rp_kernel_ring(ep)->queue; /* q is its first member */
}

static void prepare_messages(struct packet_queue *p)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		p->in_part[i][0] = (struct iovec){ &p->in_vnet[i], sizeof(p->in_vnet[i]) };
		p->in_part[i][1] = (struct iovec){ p->memory + (size_t)i * INBOX_BYTES + VLAN_TAG,
						   RP_FRAME_MAX };
		p->in[i].msg_hdr = (struct msghdr){ .msg_iov = p->in_part[i],
						    .msg_iovlen = 2,
						    .msg_control = p->in_control[i] };
	}
}

/* The VLAN tag that the kernel took out of a frame, as it was on the wire; 0: none */
static uint32_t vlan_tag(struct msghdr *m)
{
	enum { TPID_8021Q = 0x8100 };
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	struct tpacket_auxdata aux;
	uint16_t tpid;

	if (!c || c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
		return 0;
	memcpy(&aux, CMSG_DATA(c), sizeof(aux));
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return 0;
	tpid = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : TPID_8021Q;
	return __builtin_bswap16(tpid) | (uint32_t)__builtin_bswap16(aux.tp_vlan_tci) << 16;
}

/* Make a frame of message @i, of @bytes. False: it is malformed, and counted. */
static bool make_frame(struct rp_endpoint *ep, unsigned i, uint32_t bytes)
{
	struct packet_queue *p = of(ep);
	struct rp_batch *b = ep->batch;
	struct rp_frame *f = &b->frame[b->nframes];
	uint8_t *at = p->in_part[i][1].iov_base;
	const uint32_t tag = vlan_tag(&p->in[i].msg_hdr);

	if (bytes < sizeof(f->vnet) + RP_ETH_MIN) {
		rp_refuse(ep, RP_DROP_SHORT);
		return false;
	}
	*f = (struct rp_frame){ .len = bytes - (uint32_t)sizeof(f->vnet),
				.seg = b->nsegs,
				.nseg = 1,
				.vnet = p->in_vnet[i] };
	if (tag) {
		memmove(at - VLAN_TAG, at, ADDRESSES);
		at -= VLAN_TAG;
		memcpy(at + ADDRESSES, &tag, VLAN_TAG);
		f->len += VLAN_TAG;
		if (f->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			f->vnet.csum_start += VLAN_TAG;
	}
	if ((p->in[i].msg_hdr.msg_flags & MSG_TRUNC) ||
	    !rp_vnet_check(&f->vnet, ep->port->features, f->len)) {
		rp_refuse(ep, RP_DROP_HEADER);
		return false;
	}
	b->seg[b->nsegs] = (struct rp_seg){ at, f->len };
	return true;
}

/* Count frames that found no room in the socket's buffer: those since it was last asked. */
static void count_missed(struct rp_endpoint *ep)
{
	struct tpacket_stats since = { 0 };
	socklen_t bytes = sizeof(since);

	if (getsockopt(of(ep)->q.fd, SOL_PACKET, PACKET_STATISTICS, &since, &bytes) == 0 &&
	    since.tp_drops)
		rp_drop(ep, RP_DROP_MISSED, since.tp_drops);
}

static unsigned packet_pull(struct rp_endpoint *ep)
{
	struct packet_queue *p = of(ep);
	struct rp_batch *b = ep->batch;
	int n;

	b->nframes = b->nsegs = b->held = 0;
	b->bytes = 0;
	rp_kernel_retry(ep);
	for (unsigned i = 0; i < MESSAGES; i++)
		p->in[i].msg_hdr.msg_controllen = CONTROL_BYTES;
	n = recvmmsg(p->q.fd, p->in, MESSAGES, MSG_DONTWAIT, NULL);
	if (n < 0) {
		/* EINVAL: a frame whose offloads the header has no words for; it is gone. */
		if (errno == EINVAL)
			rp_refuse(ep, RP_DROP_HEADER);
		return errno == EINVAL ? 1 : 0;
	}
	if (n == MESSAGES)
		count_missed(ep); /* it may have run over: else only before the worker sleeps */
	for (unsigned i = 0; i < (unsigned)n; i++) {
		if (!make_frame(ep, i, p->in[i].msg_len))
			continue;
		b->bytes += b->frame[b->nframes].len;
		b->nsegs++;
		b->nframes++;
	}
	return (unsigned)n;
}

static bool packet_pending(struct rp_endpoint *ep)
{
	count_missed(ep);
	return rp_load(&of(ep)->q.out.stuck) || rp_kernel_readable(&of(ep)->q);
}

/* Describe frames from q.out.sent up to @to at most. Return: how many */
static unsigned gather(struct packet_queue *p, uint32_t to)
{
	struct rp_outq *out = &p->q.out;
	uint32_t at = out->sent;
	unsigned i;

	for (i = 0; i < MESSAGES && at != to; i++) {
		const uint32_t n = rp_outq_frame(out, at);

		p->send_part[i][0] = (struct iovec){ &out->slot[rp_outq_at(out, at)].vnet,
						     sizeof(struct virtio_net_hdr) };
		for (uint32_t k = 0; k < n; k++, at++)
			p->send_part[i][1 + k] =
				(struct iovec){ rp_outq_buf(out, at),
						out->slot[rp_outq_at(out, at)].len };
		p->send[i].msg_hdr =
			(struct msghdr){ .msg_iov = p->send_part[i], .msg_iovlen = 1 + n };
	}
	return i;
}

/* Why the kernel does not take a frame; errno of a send. */
static enum rp_drop refusal(int error)
{
	switch (error) {
	case ENETDOWN:
	case ENXIO:
		return RP_DROP_DOWN;
	case ENOBUFS:
		return RP_DROP_FULL;
	case EMSGSIZE:
		return RP_DROP_MTU;
	default:
		return RP_DROP_HEADER;
	}
}

static void send_frames(struct rp_endpoint *ep, uint32_t to)
{
	struct packet_queue *p = of(ep);
	struct rp_outq *out = &p->q.out;

	while (out->sent != to) {
		int n = sendmmsg(p->q.fd, p->send, gather(p, to), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			rp_outq_stuck(out);
			return;
		}
		if (n < 0)
			rp_kernel_lost(ep, refusal(errno));
		for (int i = 0; i < (n < 0 ? 1 : n); i++)
			out->sent += rp_outq_frame(out, out->sent);
		rp_store_release(&ep->state->released, out->sent);
	}
}

static void packet_notify(struct rp_endpoint *ep)
{
	rp_outq_send(&of(ep)->q.out, ep, send_frames);
}

static const struct rp_endpoint_ops packet_ops = {
	.pull = packet_pull,
	.complete = rp_kernel_nothing,
	.pending = packet_pending,
	.arm = rp_kernel_nothing,
	.disarm = rp_kernel_nothing,
	.lease = rp_kernel_lease,
	.publish = rp_outq_publish,
	.notify = packet_notify,
	.retry = rp_kernel_retry,
	.free = rp_kernel_free,
};

static void packet_close(struct rp_kernel_queue *q)
{
	struct packet_queue *p = (struct packet_queue *)q;

	if (p->memory != MAP_FAILED)
		munmap(p->memory, p->bytes);
	rp_outq_free(&q->out);
	if (q->fd >= 0)
		close(q->fd);
	free(p);
}

struct rp_kernel_queue *rp_front_packet_open(const struct rp_kernel_queue_config *cfg, int fd,
					     struct rp_err *err)
{
	const size_t inbox = (size_t)MESSAGES * INBOX_BYTES;
	struct packet_queue *p = calloc(1, sizeof(*p));

	if (!p) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	p->bytes = inbox + (size_t)cfg->slots * BUF_BYTES;
	p->memory = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	p->q.ops = &packet_ops;
	p->q.free = packet_close;
	p->q.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (p->q.fd < 0) {
		rp_fail(err, errno, "packet socket %d: %s", fd, strerror(errno));
	} else if (p->memory == MAP_FAILED || rp_outq_init(&p->q.out, p->memory + inbox, cfg->slots,
							   BUF_BYTES, FRAME_SLOTS) < 0) {
		rp_fail(err, ENOMEM, "out of memory for the queue of a packet socket");
	} else {
		prepare_messages(p);
		return &p->q;
	}
	packet_close(&p->q);
	return NULL;
}
