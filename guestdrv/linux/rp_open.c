// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Opens of the port, and taking apart what the backend says about their rings. */
#include <linux/slab.h>

#include "rp_device.h"

#define INTERFACE 0 /* the number of the interface's open */

static bool valid_vector(const struct rp_device *d, s16 vector)
{
	return vector == -1 || (vector > 0 && vector < d->nvectors);
}

static bool open_ring(struct rp_open *o, struct rp_ring *r, const struct rp_nm_ring *in)
{
	const struct rp_view *v = &o->dev->view;

	if (in->dir > NETMAP_DIR_TX || !rp_csb_ring_open(&r->at, v, in->csb) ||
	    in->ring_offset != (u64)((u8 *)r->at.ring - v->base))
		return false;
	if (in->peer_csb != RP_NO_CSB &&
	    (!rp_csb_ring_open(&r->peer, v, in->peer_csb) || r->peer.slots != r->at.slots))
		return false;
	if (!valid_vector(o->dev, in->kick) || !valid_vector(o->dev, in->call) ||
	    !valid_vector(o->dev, in->peer_call))
		return false;
	r->open = o;
	r->dir = in->dir;
	r->index = in->index;
	r->flags = in->flags;
	r->kick = in->kick;
	r->call = in->call;
	r->peer_call = in->peer_call;
	r->kicked_at = RP_NOT_KICKED;
	init_waitqueue_head(&r->wait);
	INIT_LIST_HEAD(&r->on_vector);
	return true;
}

static bool inside_if_pool(const struct rp_device *d, u64 offset)
{
	const struct rp_pool_info *p = &d->if_pool;
	const u64 at = offset - p->offset;

	return offset >= p->offset && at % p->objsize == 0 && at / p->objsize < p->objtotal;
}

static void detach(struct rp_open *o)
{
	for (u32 i = 0; i < o->nrings; i++)
		rp_vector_remove(o->dev, &o->ring[i]);
}

static void forget_rings(struct rp_open *o)
{
	detach(o);
	kvfree(o->ring);
	o->ring = NULL;
	o->nrings = 0;
}

static int attach_rings(struct rp_open *o, const u8 *from, u32 n)
{
	struct rp_nm_ring in;
	int ret;

	for (u32 i = 0; i < n; i++) {
		struct rp_ring *r = &o->ring[i];

		memcpy(&in, from + i * sizeof(in), sizeof(in));
		if (!open_ring(o, r, &in))
			return -EPROTO;
		o->nrings = i + 1;
		ret = rp_vector_add(o->dev, r);
		if (ret)
			return ret;
	}
	return 0;
}

static int attach(struct rp_open *o, const u8 *from, u32 bytes)
{
	struct rp_nm_attachment a;
	int ret;

	if (o->ring) /* described once more */
		return 0;
	if (bytes < sizeof(a))
		return -EPROTO;
	memcpy(&a, from, sizeof(a));
	if (a.region_bytes != o->dev->bytes || !inside_if_pool(o->dev, a.nifp_offset) ||
	    !a.nrings || a.nrings > (bytes - sizeof(a)) / sizeof(struct rp_nm_ring))
		return -EPROTO;
	o->ring = kvcalloc(a.nrings, sizeof(*o->ring), GFP_KERNEL);
	if (!o->ring)
		return -ENOMEM;
	ret = attach_rings(o, from + sizeof(a), a.nrings);
	if (ret) {
		forget_rings(o);
		return ret;
	}
	o->nifp_offset = a.nifp_offset;
	o->reg_flags = a.reg_flags;
	o->reg_mode = a.reg_mode;
	o->mem_id = a.mem_id;
	return 0;
}

/* Open the port with a number from @first on and below @end. */
static struct rp_open *open_new(struct rp_device *d, u32 first, u32 end)
{
	struct rp_open *o = kzalloc(sizeof(*o), GFP_KERNEL);
	u32 number = first;

	if (!o)
		return ERR_PTR(-ENOMEM);
	mutex_init(&o->lock);
	o->dev = d;
	mutex_lock(&d->opens_lock);
	while (number < end && d->opens[number])
		number++;
	if (number < end && !d->leaving) {
		o->number = number;
		d->opens[number] = o;
	} else {
		kfree(o);
		o = ERR_PTR(d->leaving ? -ENODEV : -EMFILE);
	}
	mutex_unlock(&d->opens_lock);
	return o;
}

struct rp_open *rp_open_new(struct rp_device *d)
{
	return open_new(d, INTERFACE + 1, READ_ONCE(d->info.opens));
}

struct rp_open *rp_open_interface(struct rp_device *d)
{
	return open_new(d, INTERFACE, INTERFACE + 1);
}

void rp_open_close(struct rp_open *o)
{
	struct rp_device *d = o->dev;

	mutex_lock(&o->lock);
	o->lost = NULL;
	detach(o);
	if (!o->dead)
		rp_mailbox_tell(d, RP_GUEST_CLOSE, o->number, NULL, 0);
	mutex_unlock(&o->lock);
	mutex_lock(&d->opens_lock);
	if (d->opens[o->number] == o)
		d->opens[o->number] = NULL;
	mutex_unlock(&d->opens_lock);
	kvfree(o->ring);
	kfree(o);
}

/* o->lock and the mailbox's lock are held. */
static int call(struct rp_open *o, u16 op, const void *payload, u32 bytes, void *to, u32 room,
		u32 *got)
{
	const struct rp_nm_request head = {
		.magic = RP_NM_MAGIC, .version = RP_NM_VERSION, .op = op, .bytes = bytes
	};
	struct rp_answer answer;
	int ret;

	ret = rp_mailbox_ask(o->dev, RP_GUEST_CALL, o->number, &head, sizeof(head), payload, bytes,
			     &answer);
	if (ret)
		return ret;
	if (answer.bytes > room)
		return -EPROTO;
	memcpy(to, answer.payload, answer.bytes);
	*got = answer.bytes;
	if (!answer.error && answer.attachment_bytes)
		ret = attach(o, answer.attachment, answer.attachment_bytes);
	if (ret)
		dev_err(&o->dev->pdev->dev,
			"cannot use the rings that the backend describes: error %d\n", -ret);
	return ret ? ret : answer.error;
}

int rp_open_call(struct rp_open *o, u16 op, const void *payload, u32 bytes, void *answer, u32 room,
		 u32 *got)
{
	u32 none;
	int ret;

	if (!got)
		got = &none;
	*got = 0;
	mutex_lock(&o->lock);
	if (o->dead) {
		ret = -ENXIO;
	} else {
		mutex_lock(&o->dev->mailbox.lock);
		ret = call(o, op, payload, bytes, answer, room, got);
		mutex_unlock(&o->dev->mailbox.lock);
	}
	mutex_unlock(&o->lock);
	return ret;
}

int rp_open_offloads(struct rp_open *o, u64 features)
{
	int ret;

	mutex_lock(&o->lock);
	ret = o->dead ? -ENXIO :
			rp_mailbox_tell(o->dev, RP_GUEST_OFFLOADS, o->number, &features,
					sizeof(features));
	mutex_unlock(&o->lock);
	return ret;
}

struct rp_ring *rp_open_ring(const struct rp_open *o, u16 dir, u16 index)
{
	for (u32 i = 0; i < o->nrings; i++)
		if (o->ring[i].dir == dir && o->ring[i].index == index)
			return &o->ring[i];
	return NULL;
}

static void lose(struct rp_open *o)
{
	mutex_lock(&o->lock);
	if (!o->dead) {
		WRITE_ONCE(o->dead, true);
		detach(o);
		for (u32 i = 0; i < o->nrings; i++)
			wake_up_all(&o->ring[i].wait);
	}
	if (o->lost)
		o->lost(o);
	mutex_unlock(&o->lock);
}

void rp_device_lose_opens(struct rp_device *d)
{
	mutex_lock(&d->opens_lock);
	for (u32 i = 0; i < RP_GUEST_OPENS; i++)
		if (d->opens[i])
			lose(d->opens[i]);
	mutex_unlock(&d->opens_lock);
}
