// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The PCI device: QEMU's ivshmem-doorbell, if the memory behind it is a region of ours.
 *
 *    BAR 0   IVPosition: our id    Doorbell: peer << 16 | vector
 *    BAR 2   the region
 */
#include <linux/etherdevice.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "rp_device.h"

#define PCI_DEVICE_ID_IVSHMEM 0x1110

enum { RESTARTS = 3, RESTARTS_S = 5 };

enum { BAR_REGISTERS = 0, BAR_MEMORY = 2, REG_IVPOSITION = 8, REG_DOORBELL = 12 };

static LIST_HEAD(devices);
static DEFINE_MUTEX(devices_lock);

void rp_doorbell(struct rp_device *d, int vector)
{
	if (vector >= 0 && !rp_device_gone(d))
		writel(RP_GUEST_HOST << 16 | vector, d->regs + REG_DOORBELL);
}

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
		iounmap(d->regs);
	pci_dev_put(d->pdev);
	kfree(d);
}

void rp_device_put(struct rp_device *d)
{
	kref_put(&d->refs, release);
}

/*
 * Say hello; what was open is not any more. rtnl is held.
 * The record is read before, so that an epoch that begins meanwhile is seen later.
 */
static int begin(struct rp_device *d)
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
	ret = begin(d);
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

static int map(struct rp_device *d)
{
	struct pci_dev *pdev = d->pdev;

	d->regs = pci_iomap(pdev, BAR_REGISTERS, 0);
	if (!d->regs)
		return -ENOMEM;
	d->phys = pci_resource_start(pdev, BAR_MEMORY);
	d->bytes = pci_resource_len(pdev, BAR_MEMORY);
	d->base = memremap(d->phys, d->bytes, MEMREMAP_WB);
	if (!d->base)
		return -ENOMEM;
	d->peer = readl(d->regs + REG_IVPOSITION);
	return 0;
}

static int take_vectors(struct rp_device *d, u16 vectors)
{
	int ret;

	if (pci_msix_vec_count(d->pdev) < vectors) {
		dev_err(&d->pdev->dev,
			"the device has %d vectors, its port needs %u: start QEMU with vectors=%u\n",
			pci_msix_vec_count(d->pdev), vectors, vectors);
		return -EPROTO;
	}
	ret = pci_alloc_irq_vectors(d->pdev, vectors, vectors, PCI_IRQ_MSIX);
	if (ret < 0) {
		dev_err(&d->pdev->dev, "no %u interrupt vectors: error %d\n", vectors, -ret);
		return ret;
	}
	d->nvectors = vectors;
	ret = rp_vectors_init(d);
	if (!ret)
		ret = request_irq(pci_irq_vector(d->pdev, 0), rp_mailbox_interrupt, 0,
				  d->vector[0].name, d);
	if (ret)
		pci_free_irq_vectors(d->pdev);
	return ret;
}

static void leave_vectors(struct rp_device *d)
{
	free_irq(pci_irq_vector(d->pdev, 0), d);
	pci_free_irq_vectors(d->pdev);
}

/* The device is enabled and its BARs are ours. */
static int bind(struct rp_device *d)
{
	struct rp_port_info info;
	int ret;

	ret = map(d);
	if (ret)
		return ret;
	ret = rp_device_find_record(d);
	if (ret)
		return ret;
	ret = rp_device_read_info(d, &info);
	if (ret)
		return ret;
	pci_set_master(d->pdev);
	ret = take_vectors(d, info.vectors);
	if (ret)
		return ret;
	rtnl_lock();
	ret = begin(d);
	rtnl_unlock();
	if (!ret)
		ret = rp_netdev_add(d);
	if (ret) {
		WRITE_ONCE(d->gone, true);
		leave_vectors(d);
		cancel_delayed_work_sync(&d->look);
	}
	return ret;
}

static struct rp_device *new_device(struct pci_dev *pdev)
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
	if (!rp_mailbox_init(d))
		return d;
	rp_device_put(d);
	return NULL;
}

/* Other programs use devices of this kind, too. */
static bool is_ours(struct pci_dev *pdev)
{
	const resource_size_t bytes = pci_resource_len(pdev, BAR_MEMORY);
	struct rp_directory *directory;
	bool ours;

	if (!(pci_resource_flags(pdev, BAR_MEMORY) & IORESOURCE_MEM) || bytes < sizeof(*directory))
		return false;
	directory = memremap(pci_resource_start(pdev, BAR_MEMORY), sizeof(*directory), MEMREMAP_WB);
	if (!directory)
		return false;
	ours = rp_load(&directory->magic) == RP_DIRECTORY_MAGIC;
	memunmap(directory);
	return ours;
}

/*
 * On x86 the firmware makes memory below 4 GiB that is not RAM uncachable (MTRR), which no
 * mapping can better; above, there is nothing of the kind. So a region that it put below
 * moves up, if there is a place. Nobody uses it yet.
 */
static int move_above_4g(struct pci_dev *pdev)
{
	const struct resource *bar = &pdev->resource[BAR_MEMORY];

	if (!IS_ENABLED(CONFIG_X86_64) || !(bar->flags & IORESOURCE_MEM_64) ||
	    upper_32_bits(bar->start))
		return 0;
	pci_release_resource(pdev, BAR_MEMORY);
	return pci_assign_resource(pdev, BAR_MEMORY);
}

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct rp_device *d;
	int ret;

	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;
	ret = is_ours(pdev) ? move_above_4g(pdev) : -ENODEV;
	if (ret)
		goto disable;
	ret = pci_request_regions(pdev, RP_DRIVER_NAME);
	if (ret)
		goto disable;
	d = new_device(pdev);
	ret = d ? bind(d) : -ENOMEM;
	if (ret)
		goto release;
	pci_set_drvdata(pdev, d);
	mutex_lock(&devices_lock);
	list_add_tail(&d->all, &devices);
	mutex_unlock(&devices_lock);
	dev_info(&pdev->dev, "%s is port %s, %u tx and %u rx rings\n", d->netdev->name,
		 d->info.port, d->info.tx_rings, d->info.rx_rings);
	return 0;
release:
	if (d)
		rp_device_put(d);
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return ret;
}

static void remove(struct pci_dev *pdev)
{
	struct rp_device *d = pci_get_drvdata(pdev);

	mutex_lock(&devices_lock);
	list_del(&d->all);
	mutex_unlock(&devices_lock);
	rp_netdev_remove(d);
	WRITE_ONCE(d->leaving, true);
	rp_device_lose_opens(d); /* nobody registers anything after the reset */
	rp_mailbox_tell(d, RP_GUEST_RESET, 0, NULL, 0);
	WRITE_ONCE(d->gone, true);
	wake_up_all(&d->mailbox.wait);
	rp_device_lose_opens(d); /* and their mappings go */
	leave_vectors(d);
	cancel_delayed_work_sync(&d->look);
	pci_clear_master(pdev);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
	rp_device_put(d);
}

static int __maybe_unused rp_suspend(struct device *device)
{
	struct rp_device *d = dev_get_drvdata(device);

	cancel_delayed_work_sync(&d->look);
	rtnl_lock();
	rp_device_lose_opens(d);
	rp_netdev_halt(d);
	rp_mailbox_tell(d, RP_GUEST_RESET, 0, NULL, 0);
	rtnl_unlock();
	return 0;
}

static int __maybe_unused rp_resume(struct device *device)
{
	struct rp_device *d = dev_get_drvdata(device);
	int ret;

	d->peer = readl(d->regs + REG_IVPOSITION); /* another QEMU's, after hibernation */
	ret = rp_device_find_record(d);
	if (ret)
		return ret;
	rtnl_lock();
	ret = begin(d);
	if (!ret)
		rp_netdev_restart(d);
	rtnl_unlock();
	return ret;
}

static SIMPLE_DEV_PM_OPS(rp_pm_ops, rp_suspend, rp_resume);

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_DEVICE_ID_IVSHMEM) }, {}
};
MODULE_DEVICE_TABLE(pci, ids);

struct pci_driver rp_pci_driver = {
	.name = RP_DRIVER_NAME,
	.id_table = ids,
	.probe = probe,
	.remove = remove,
	.driver.pm = &rp_pm_ops,
};
