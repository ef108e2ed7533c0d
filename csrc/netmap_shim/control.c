/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ask.h"
#include "csb_mode.h"
#include "kloop.h"
#include "options.h"
#include "usermem.h"

/* Bytes of a request's body; 0: it has none, or nobody knows the request. */
static uint32_t body_size(uint16_t type)
{
	switch (type) {
	case NETMAP_REQ_REGISTER:
		return sizeof(struct nmreq_register);
	case NETMAP_REQ_PORT_INFO_GET:
		return sizeof(struct nmreq_port_info_get);
	case NETMAP_REQ_VALE_ATTACH:
		return sizeof(struct nmreq_vale_attach);
	case NETMAP_REQ_VALE_DETACH:
		return sizeof(struct nmreq_vale_detach);
	case NETMAP_REQ_VALE_LIST:
		return sizeof(struct nmreq_vale_list);
	case NETMAP_REQ_PORT_HDR_SET:
	case NETMAP_REQ_PORT_HDR_GET:
		return sizeof(struct nmreq_port_hdr);
	case NETMAP_REQ_VALE_NEWIF:
		return sizeof(struct nmreq_vale_newif);
	case NETMAP_REQ_VALE_POLLING_ENABLE:
	case NETMAP_REQ_VALE_POLLING_DISABLE:
		return sizeof(struct nmreq_vale_polling);
	case NETMAP_REQ_POOLS_INFO_GET:
		return sizeof(struct nmreq_pools_info);
	case NETMAP_REQ_SYNC_KLOOP_START:
		return sizeof(struct nmreq_sync_kloop_start);
	default:
		return 0;
	}
}

enum { BODY_MAX = 64 };

/* A request, copied from the program. */
struct call {
	struct nmreq_header header;
	uint32_t body_bytes;
	uint8_t body[BODY_MAX] __attribute__((aligned(8)));
	struct rp_options options;
	uint8_t wire[RP_NM_MESSAGE_BYTES]; /* the options, as they travel */
	struct rp_reply reply;
};

static int copy_call(struct call *c, uint64_t argument)
{
	if (rp_copy_in(&c->header, argument, sizeof(c->header)))
		return EFAULT;
	if (c->header.nr_version < NETMAP_MIN_API || c->header.nr_version > NETMAP_MAX_API)
		return EINVAL;
	c->body_bytes = body_size(c->header.nr_reqtype);
	if ((c->body_bytes == 0) != (c->header.nr_body == 0))
		return EINVAL;
	if (rp_copy_in(c->body, c->header.nr_body, c->body_bytes))
		return EFAULT;
	return rp_options_copy(&c->options, c->header.nr_options);
}

/* Each option behind its size. Return: bytes */
static uint32_t pack_options(struct call *c)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < c->options.n; i++) {
		const struct rp_option *option = &c->options.at[i];
		const uint32_t head[2] = { option->bytes, 0 };

		memcpy(c->wire + at, head, sizeof(head));
		memcpy(c->wire + at + sizeof(head), option->copy, option->bytes);
		at += (uint32_t)sizeof(head) + option->bytes;
	}
	return at;
}

/* What the backend made of the options. */
static void unpack_options(struct call *c, const uint8_t *from, uint32_t bytes)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < c->options.n; i++) {
		struct rp_option *option = &c->options.at[i];
		uint32_t size;

		if (bytes - at < 8)
			return;
		memcpy(&size, from + at, sizeof(size));
		at += 8;
		/* Of an option that failed there is only the head, with its status. */
		if ((size != option->bytes && size != sizeof(*option->copy)) || bytes - at < size)
			return;
		memcpy(option->copy, from + at, size);
		option->copy->nro_next = option->next;
		at += size;
	}
}

static void take_answer(struct call *c)
{
	const uint8_t *payload = rp_reply_payload(&c->reply);
	uint32_t sizes[2], at = sizeof(c->header);

	if (c->reply.bytes < at + sizeof(sizes))
		return;
	memcpy(sizes, payload + at, sizeof(sizes));
	at += sizeof(sizes);
	if (c->reply.bytes - at < sizes[0] || c->reply.bytes - at - sizes[0] < sizes[1])
		return;
	if (sizes[0] == c->body_bytes)
		memcpy(c->body, payload + at, sizes[0]);
	unpack_options(c, payload + at + sizes[0], sizes[1]);
}

static int ask_backend(struct rp_session *s, int fd, struct call *c)
{
	uint32_t sizes[2] = { c->body_bytes, pack_options(c) };
	const struct iovec pieces[] = { { &c->header, sizeof(c->header) },
					{ sizes, sizeof(sizes) },
					{ c->body, c->body_bytes },
					{ c->wire, sizes[1] } };
	int error = rp_ask(fd, RP_NM_CTRL, pieces, 4, &c->reply);

	take_answer(c);
	if (!error && c->reply.attached)
		error = rp_session_attach(s, &c->reply);
	rp_reply_close(&c->reply);
	return error;
}

static int do_register(struct rp_session *s, int fd, struct call *c)
{
	int error = 0;
	const struct nmreq_opt_csb *csb =
		(const void *)rp_options_find(&c->options, NETMAP_REQ_OPT_CSB, &error);
	const struct nmreq_opt_extmem *extmem =
		(const void *)rp_options_find(&c->options, NETMAP_REQ_OPT_EXTMEM, &error);
	const uint64_t memory = extmem ? extmem->nro_usrptr : 0;
	const uint64_t bytes = extmem ? extmem->nro_info.nr_memsize : 0;

	if (extmem && memory % (uint64_t)sysconf(_SC_PAGESIZE))
		error = EINVAL;
	if (!error && csb)
		error = rp_csb_mode_check(csb, 0);
	if (!error)
		error = ask_backend(s, fd, c);
	if (!error && extmem)
		error = rp_session_map_over(s, memory, bytes);
	if (!error && csb)
		error = rp_csb_mode_enable(s, csb);
	return error;
}

/* The backend checks what needs its knowledge; then this process does the work. */
static int do_here(struct rp_session *s, int fd, struct call *c)
{
	int error = ask_backend(s, fd, c);

	if (!error && !rp_session_bound(s, fd))
		error = ENXIO;
	if (error)
		return error;
	switch (c->header.nr_reqtype) {
	case NETMAP_REQ_SYNC_KLOOP_START:
		return rp_kloop_start(s, (const void *)c->body, &c->options);
	case NETMAP_REQ_SYNC_KLOOP_STOP:
		return rp_kloop_stop(s);
	default:
		return rp_csb_mode_request(s, &c->options);
	}
}

static int carry_out(struct rp_session *s, int fd, struct call *c)
{
	switch (c->header.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		return do_register(s, fd, c);
	case NETMAP_REQ_SYNC_KLOOP_START:
	case NETMAP_REQ_SYNC_KLOOP_STOP:
	case NETMAP_REQ_CSB_ENABLE:
		return do_here(s, fd, c);
	default:
		return ask_backend(s, fd, c);
	}
}

int rp_control(struct rp_session *s, int fd, uint64_t argument)
{
	struct call *c = calloc(1, sizeof(*c));
	int error;

	if (!c)
		return ENOMEM;
	error = copy_call(c, argument);
	if (!error) {
		error = carry_out(s, fd, c);
		error = rp_options_return(&c->options, error);
		if (!error && rp_copy_out(c->header.nr_body, c->body, c->body_bytes))
			error = EFAULT;
	}
	free(c);
	return error;
}
