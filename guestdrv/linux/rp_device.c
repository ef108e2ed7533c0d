// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A port in the guest: who has it, and its beginnings with the backend, each with a hello. */
#include <linux/io.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "rp_device.h"

enum { RESTARTS = 3, RESTARTS_S = 5 };

static LIST_HEAD(devices);
static DEFINE_MUTEX(devices_lock);

static bool has_name(const struct rp_device *d, const char *name, size_t len)
{
	const char *own = d->netdev ? d->netdev->name : "";

	return (strlen(own) == len && !memcmp(own, name, len)) ||
	       (strlen(d->info.port) == len && !memcmp(d->info.port, name, len));
}

struct rp_device *rp_device_get(const char *name, size_t len)
{
	struct rp_device *d, *found = NULL;

	mutex_lock(&devices_lock);
	if (!len && list_is_singular(&devices)) {
		found = list_first_entry(&devices, struct rp_device, all);
		rp_device_hold(found);
	}
	list_for_each_entry(d, &devices, all) {
		if (!has_name(d, name, len))
			continue;
		found = d;
		rp_device_hold(d);
		break;
	}
	mutex_unlock(&devices_lock);
	return found;
}

void rp_device_publish(struct rp_device *d)
{
	mutex_lock(&devices_lock);
	list_add_tail(&d->all, &devices);
	mutex_unlock(&devices_lock);
}

void rp_device_withdraw(struct rp_device *d)
{
	mutex_lock(&devices_lock);
	list_del(&d->all);
	mutex_unlock(&devices_lock);
}

void rp_device_hold(struct rp_device *d)
{
	kref_get(&d->refs);
}

static void release(struct kref *refs)
{
	struct rp_device *d = container_of(refs, struct rp_device, refs);

	rp_mailbox_exit(d);
	rp_vectors_exit(d);
	if (d->base)
		memunmap(d->base);
	if (d->regs)
		pci_iounmap(d->pdev, d->regs);
	pci_dev_put(d->memory);
	pci_dev_put(d->pdev);
	kfree(d);
}

void rp_device_put(struct rp_device *d)
{
	kref_put(&d->refs, release);
}

void rp_doorbell(struct rp_device *d, int pair)
{
	if (pair >= 0 && !rp_device_gone(d))
		d->transport->doorbell(d, pair);
}

/* The record is read before the hello, so that an epoch that begins meanwhile is seen later. */
int rp_device_begin(struct rp_device *d)
{
	struct rp_port_info now;
	int ret;

	WRITE_ONCE(d->stale, false);
	ret = rp_device_read_info(d, &now);
	if (!ret) {
		d->info = now;
		ret = rp_mailbox_hello(d);
	}
	if (ret)
		WRITE_ONCE(d->stale, true); /* try again when vector 0 comes */
	return ret;
}

/* Everything that was open is lost; begin anew and have the interface work again. */
static void restart(struct rp_device *d)
{
	int ret;

	rp_device_lose_opens(d);
	rp_netdev_halt(d);
	ret = rp_device_begin(d);
	if (ret)
		dev_warn(&d->pdev->dev, "cannot begin anew with the backend: error %d\n", -ret);
	else
		rp_netdev_restart(d);
}

void rp_device_look(struct rp_device *d, unsigned long delay)
{
	if (delay)
		queue_delayed_work(system_freezable_wq, &d->look, delay);
	else
		mod_delayed_work(system_freezable_wq, &d->look, 0);
}

/* Vector 0 came, or the backend does not know us any more. */
static void look(struct work_struct *work)
{
	struct rp_device *d = container_of(to_delayed_work(work), struct rp_device, look);
	struct rp_port_info now;

	rtnl_lock();
	if (rp_device_gone(d) || rp_load(&d->record->peer) != d->peer ||
	    rp_device_read_info(d, &now))
		goto out;
	if (READ_ONCE(d->stale) || now.epoch != d->info.epoch) {
		if (__ratelimit(&d->restarts))
			restart(d);
		else /* it begins anew all the time: leave the guest some */
			rp_device_look(d, HZ);
		goto out;
	}
	if (now.link != d->info.link || now.mtu != d->info.mtu) {
		d->info.link = now.link;
		d->info.mtu = now.mtu;
		rp_netdev_changed(d);
	}
	if (xchg(&d->nudged, false))
		rp_vectors_nudge(d);
out:
	rtnl_unlock();
}

struct rp_device *rp_device_new(struct pci_dev *pdev, const struct rp_transport *transport,
				struct pci_dev *memory)
{
	struct rp_device *d = kzalloc(sizeof(*d), GFP_KERNEL);

	if (!d)
		return NULL;
	kref_init(&d->refs);
	INIT_LIST_HEAD(&d->all);
	INIT_DELAYED_WORK(&d->look, look);
	ratelimit_state_init(&d->restarts, RESTARTS_S * HZ, RESTARTS);
	ratelimit_set_flags(&d->restarts, RATELIMIT_MSG_ON_RELEASE);
	mutex_init(&d->opens_lock);
	d->pdev = pci_dev_get(pdev);
	d->memory = pci_dev_get(memory);
	d->transport = transport;
	if (!rp_mailbox_init(d))
		return d;
	rp_device_put(d);
	return NULL;
}
