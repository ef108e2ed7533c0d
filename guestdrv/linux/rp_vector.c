// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Vectors: interrupts that say that a ring moved, and asking for them. An interrupt is
 * requested while a ring uses its vector, so what is not open costs the guest's
 * processors none.
 */
#include <linux/slab.h>

#include "rp_device.h"

int rp_vectors_init(struct rp_device *d)
{
	mutex_init(&d->vectors_lock);
	d->vector = kvcalloc(d->nvectors, sizeof(*d->vector), GFP_KERNEL);
	if (!d->vector)
		return -ENOMEM;
	for (u16 i = 0; i < d->nvectors; i++) {
		spin_lock_init(&d->vector[i].lock);
		spin_lock_init(&d->vector[i].arm_lock);
		INIT_LIST_HEAD(&d->vector[i].rings);
		snprintf(d->vector[i].name, sizeof(d->vector[i].name), "%s-%s-%u", RP_DRIVER_NAME,
			 pci_name(d->pdev), i);
	}
	return 0;
}

void rp_vectors_exit(struct rp_device *d)
{
	kvfree(d->vector);
	d->vector = NULL;
}

int rp_vector_irq(const struct rp_device *d, u16 pair)
{
	return pci_irq_vector(d->pdev, d->transport->entry(d, pair));
}

static void call(struct rp_ring *r)
{
	/* Sees what was set before it: the owner. */
	rp_called_fn *called = smp_load_acquire(&r->called);

	if (called)
		called(r);
	else
		wake_up(&r->wait);
}

static void call_all(struct rp_vector *v)
{
	struct rp_ring *r;

	list_for_each_entry(r, &v->rings, on_vector)
		call(r);
}

static irqreturn_t vector_interrupt(int irq, void *vector)
{
	struct rp_vector *v = vector;

	spin_lock(&v->lock);
	call_all(v);
	spin_unlock(&v->lock);
	return IRQ_HANDLED;
}

/* Ask for calls of a CSB while somebody sleeps who has its ring open. v->arm_lock is held. */
static void ask_for_calls(struct rp_vector *v, struct rp_csb *csb)
{
	const struct rp_ring *r;
	bool armed = false;

	list_for_each_entry(r, &v->rings, on_vector)
		armed |= r->armed && r->at.csb == csb;
	rp_store(&csb->atok.appl_need_kick, armed);
}

/* A ring without a vector is never called; one that was removed has no CSB any more. */
static void count_sleepers(struct rp_ring *r, int more)
{
	struct rp_vector *v;
	unsigned long flags;

	if (r->call < 0)
		return;
	v = &r->open->dev->vector[r->call];
	spin_lock_irqsave(&v->arm_lock, flags);
	r->armed += more;
	if (!list_empty(&r->on_vector))
		ask_for_calls(v, r->at.csb);
	spin_unlock_irqrestore(&v->arm_lock, flags);
}

void rp_ring_arm(struct rp_ring *r)
{
	count_sleepers(r, 1);
	rp_fence_full();
}

void rp_ring_disarm(struct rp_ring *r)
{
	count_sleepers(r, -1);
}

int rp_vector_add(struct rp_device *d, struct rp_ring *r)
{
	struct rp_vector *v;
	int ret = 0;

	if (r->call < 0)
		return 0;
	v = &d->vector[r->call];
	mutex_lock(&d->vectors_lock);
	if (list_empty(&v->rings))
		ret = request_irq(rp_vector_irq(d, r->call), vector_interrupt, 0, v->name, v);
	if (!ret) {
		spin_lock_irq(&v->lock);
		spin_lock(&v->arm_lock);
		list_add_tail(&r->on_vector, &v->rings);
		spin_unlock(&v->arm_lock);
		spin_unlock_irq(&v->lock);
	}
	mutex_unlock(&d->vectors_lock);
	return ret;
}

void rp_vector_remove(struct rp_device *d, struct rp_ring *r)
{
	struct rp_vector *v;

	if (list_empty(&r->on_vector))
		return;
	v = &d->vector[r->call];
	mutex_lock(&d->vectors_lock);
	spin_lock_irq(&v->lock);
	spin_lock(&v->arm_lock);
	list_del_init(&r->on_vector);
	ask_for_calls(v, r->at.csb);
	spin_unlock(&v->arm_lock);
	spin_unlock_irq(&v->lock);
	if (list_empty(&v->rings))
		free_irq(rp_vector_irq(d, r->call), v);
	mutex_unlock(&d->vectors_lock);
}

void rp_vectors_nudge(struct rp_device *d)
{
	struct rp_ring *r;

	mutex_lock(&d->vectors_lock);
	for (u16 i = 1; i < d->nvectors; i++) {
		struct rp_vector *v = &d->vector[i];

		spin_lock_irq(&v->lock);
		list_for_each_entry(r, &v->rings, on_vector)
			rp_doorbell(d, r->kick);
		call_all(v);
		spin_unlock_irq(&v->lock);
	}
	mutex_unlock(&d->vectors_lock);
}
