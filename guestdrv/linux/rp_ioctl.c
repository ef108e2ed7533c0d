// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * NIOCCTRL. What the program points to is copied once, what the backend answers goes back
 * the same way; the backend checks requests, except what only this kernel knows.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "rp_netmap.h"
#include "rp_nmreq.h"
#include "rp_options.h"

#define API_MIN	 14
#define API_MAX	 15
#define BODY_MAX 64

/* Bytes of the requests' bodies; 0: it has none, or nobody knows the request. */
static const u8 body_bytes[] = {
	[NETMAP_REQ_REGISTER] = sizeof(struct nmreq_register),
	[NETMAP_REQ_PORT_INFO_GET] = 32,
	[NETMAP_REQ_VALE_ATTACH] = 64,
	[NETMAP_REQ_VALE_DETACH] = 8,
	[NETMAP_REQ_VALE_LIST] = 8,
	[NETMAP_REQ_PORT_HDR_SET] = 8,
	[NETMAP_REQ_PORT_HDR_GET] = 8,
	[NETMAP_REQ_VALE_NEWIF] = 16,
	[NETMAP_REQ_VALE_POLLING_ENABLE] = 16,
	[NETMAP_REQ_VALE_POLLING_DISABLE] = 16,
	[NETMAP_REQ_POOLS_INFO_GET] = 64,
	[NETMAP_REQ_SYNC_KLOOP_START] = sizeof(struct nmreq_sync_kloop_start),
	[NETMAP_REQ_CSB_ENABLE] = 0,
};

/* How a request and its answer travel; the options follow the body. */
struct wire {
	struct nmreq_header header;
	u32 body_bytes;
	u32 options_bytes;
	u8 data[RP_GUEST_DATA_BYTES - sizeof(struct rp_nm_request) - sizeof(struct nmreq_header) -
		2 * sizeof(u32)];
};

/* A request, copied from the program. */
struct call {
	struct nmreq_header header;
	u32 body_bytes;
	union {
		u8 body[BODY_MAX];
		struct nmreq_register reg;
		struct nmreq_sync_kloop_start kloop;
	};
	struct rp_options options;
	struct wire wire;
};

static int copy_call(struct call *c, const void __user *from)
{
	struct nmreq_header *h = &c->header;

	if (copy_from_user(h, from, sizeof(*h)))
		return -EFAULT;
	if (h->nr_version < API_MIN || h->nr_version > API_MAX || h->nr_reserved)
		return -EINVAL;
	h->nr_name[sizeof(h->nr_name) - 1] = '\0';
	if (h->nr_reqtype < ARRAY_SIZE(body_bytes))
		c->body_bytes = body_bytes[h->nr_reqtype];
	if (!c->body_bytes != !h->nr_body)
		return -EINVAL;
	if (copy_from_user(c->body, u64_to_user_ptr(h->nr_body), c->body_bytes))
		return -EFAULT;
	return rp_options_copy(&c->options, h->nr_options);
}

static int pack(struct call *c)
{
	struct wire *w = &c->wire;

	w->header = c->header;
	w->header.nr_body = c->header.nr_body != 0; /* the host learns no address */
	w->header.nr_options = c->header.nr_options != 0;
	w->body_bytes = c->body_bytes;
	memcpy(w->data, c->body, c->body_bytes);
	w->options_bytes = rp_options_pack(&c->options, w->data + c->body_bytes,
					   sizeof(w->data) - c->body_bytes);
	return c->options.n && !w->options_bytes ? -EMSGSIZE : 0;
}

static void unpack(struct call *c, u32 bytes)
{
	const struct wire *w = &c->wire;

	if (bytes < offsetof(struct wire, data) ||
	    w->body_bytes > bytes - offsetof(struct wire, data) ||
	    w->options_bytes > bytes - offsetof(struct wire, data) - w->body_bytes)
		return;
	/* The loop's parameters are between the program and this kernel. */
	if (w->body_bytes == c->body_bytes && c->header.nr_reqtype != NETMAP_REQ_SYNC_KLOOP_START)
		memcpy(c->body, w->data, w->body_bytes);
	rp_options_unpack(&c->options, w->data + w->body_bytes, w->options_bytes);
}

static int ask_backend(struct rp_file *f, struct call *c, struct rp_ask *ask)
{
	int err = pack(c);

	if (err)
		return err;
	ask->op = RP_NM_CTRL;
	ask->name = c->wire.header.nr_name;
	ask->data = &c->wire;
	ask->bytes = offsetof(struct wire, data) + c->wire.body_bytes + c->wire.options_bytes;
	ask->room = sizeof(c->wire);
	err = rp_file_ask(f, ask);
	unpack(c, ask->got);
	return err;
}

static int enable_csb(struct rp_file *f, void *csb)
{
	return rp_csb_enable(f, csb);
}

static int do_register(struct rp_file *f, struct call *c)
{
	int err = 0;
	void *csb = rp_options_find(&c->options, NETMAP_REQ_OPT_CSB, &err);
	const void *extmem = rp_options_find(&c->options, NETMAP_REQ_OPT_EXTMEM, &err);
	struct rp_ask ask = {
		.binds = true,
		.own = c->reg.nr_mode != NR_REG_NULL && !(c->reg.nr_flags & NR_MONITOR),
		.enable = csb ? enable_csb : NULL,
		.arg = csb,
	};

	if (!err && extmem) {
		pr_notice_ratelimited(
			"ringpass: option EXTMEM is refused: a guest's region is the memory of its device; map that\n");
		return -EOPNOTSUPP;
	}
	if (!err && csb)
		err = rp_csb_check(csb, 0);
	return err ? err : ask_backend(f, c, &ask);
}

static int do_csb_enable(struct rp_file *f, struct call *c)
{
	struct rp_ask ask = {};
	struct nmreq_option *csb;
	int err = 0;

	csb = rp_options_find(&c->options, NETMAP_REQ_OPT_CSB, &err);
	if (!csb)
		return -EINVAL;
	if (READ_ONCE(f->loop_runs))
		return -EBUSY;
	err = ask_backend(f, c, &ask);
	if (err)
		return err;
	err = rp_csb_enable(f, (void *)csb);
	csb->nro_status = -err;
	return err;
}

static int do_locked(struct rp_file *f, struct call *c)
{
	struct rp_ask ask = {};

	switch (c->header.nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		return do_register(f, c);
	case NETMAP_REQ_CSB_ENABLE:
		return f->open ? do_csb_enable(f, c) : -ENXIO;
	case NETMAP_REQ_SYNC_KLOOP_START:
		return f->open ? ask_backend(f, c, &ask) : -ENXIO;
	default:
		return ask_backend(f, c, &ask);
	}
}

static int carry_out(struct rp_file *f, struct call *c)
{
	int err;

	if (c->header.nr_reqtype == NETMAP_REQ_SYNC_KLOOP_STOP)
		return rp_kloop_stop(f);
	if (mutex_lock_killable(&f->control))
		return -EINTR;
	err = do_locked(f, c);
	mutex_unlock(&f->control);
	if (!err && c->header.nr_reqtype == NETMAP_REQ_SYNC_KLOOP_START)
		err = rp_kloop_start(f, &c->kloop, &c->options);
	return err;
}

int rp_ioctl_control(struct rp_file *f, void __user *arg)
{
	struct call *c = kvzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	int err;

	if (!c)
		return -ENOMEM;
	err = copy_call(c, arg);
	if (!err) {
		err = rp_options_return(&c->options, carry_out(f, c));
		if (!err &&
		    copy_to_user(u64_to_user_ptr(c->header.nr_body), c->body, c->body_bytes))
			err = -EFAULT;
	}
	kvfree(c);
	return err;
}

long rp_netmap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct rp_file *f = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case NIOCTXSYNC:
		return rp_file_txsync(f);
	case NIOCRXSYNC:
		return rp_file_rxsync(f);
	case NIOCCTRL:
		return rp_ioctl_control(f, user);
	case NIOCGINFO:
	case NIOCREGIF:
	case NIOCCONFIG:
		return rp_ioctl_legacy(f, cmd, user);
	default:
		return -ENOTTY;
	}
}
