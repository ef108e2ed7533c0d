// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Binding a device, whichever transport it is of, and letting it go. */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>

#include "abi/rp_ptnet.h"
#include "rp_device.h"

#define PCI_DEVICE_ID_IVSHMEM 0x1110

int rp_pci_move_above_4g(struct pci_dev *pdev, int bar)
{
	const struct resource *at = &pdev->resource[bar];

	if (!IS_ENABLED(CONFIG_X86_64) || !(at->flags & IORESOURCE_MEM_64) ||
	    upper_32_bits(at->start))
		return 0;
	pci_release_resource(pdev, bar);
	return pci_assign_resource(pdev, bar);
}

static int map(struct rp_device *d)
{
	const struct rp_transport *t = d->transport;
	const int pairs = pci_msix_vec_count(d->pdev);

	if (pairs < 1 || pci_resource_len(d->pdev, t->registers) < t->register_bytes ||
	    !(pci_resource_flags(d->memory, t->memory) & IORESOURCE_MEM))
		return -ENODEV;
	d->regs = pci_iomap(d->pdev, t->registers, 0);
	if (!d->regs)
		return -ENOMEM;
	d->phys = pci_resource_start(d->memory, t->memory);
	d->bytes = pci_resource_len(d->memory, t->memory);
	d->base = memremap(d->phys, d->bytes, MEMREMAP_WB);
	if (!d->base)
		return -ENOMEM;
	d->pairs = pairs;
	d->peer = t->peer(d);
	return t->check(d);
}

static int take_vectors(struct rp_device *d, u16 vectors)
{
	const struct rp_transport *t = d->transport;
	int entries, ret;

	if (d->pairs < vectors) {
		dev_err(&d->pdev->dev, "the device has %u vectors, its port needs %u: %s\n",
			d->pairs, vectors, t->more_vectors);
		return -EPROTO;
	}
	/* The mailbox's may be behind all others. */
	entries = max(t->entry(d, 0), t->entry(d, vectors - 1)) + 1;
	ret = pci_alloc_irq_vectors(d->pdev, entries, entries, PCI_IRQ_MSIX);
	if (ret < 0) {
		dev_err(&d->pdev->dev, "no %d interrupt vectors: error %d\n", entries, -ret);
		return ret;
	}
	d->nvectors = vectors;
	ret = rp_vectors_init(d);
	if (!ret)
		ret = request_irq(rp_vector_irq(d, 0), rp_mailbox_interrupt, 0, d->vector[0].name,
				  d);
	if (ret)
		pci_free_irq_vectors(d->pdev);
	return ret;
}

static void leave_vectors(struct rp_device *d)
{
	free_irq(rp_vector_irq(d, 0), d);
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
	ret = rp_device_begin(d);
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

static int bind_new(struct pci_dev *pdev, const struct rp_transport *transport)
{
	struct pci_dev *memory = transport->find_memory(pdev);
	struct rp_device *d;
	int ret;

	if (IS_ERR(memory))
		return PTR_ERR(memory);
	ret = pci_request_regions(pdev, RP_DRIVER_NAME);
	if (ret)
		goto put_memory;
	d = rp_device_new(pdev, transport, memory);
	ret = d ? bind(d) : -ENOMEM;
	if (ret) {
		if (d)
			rp_device_put(d);
		pci_release_regions(pdev);
		goto put_memory;
	}
	pci_set_drvdata(pdev, d);
	rp_device_publish(d);
	dev_info(&pdev->dev, "%s is port %s, %u tx and %u rx rings\n", d->netdev->name,
		 d->info.port, d->info.tx_rings, d->info.rx_rings);
put_memory:
	pci_dev_put(memory);
	return ret;
}

enum { IVSHMEM, PTNET };
static const struct rp_transport *const transports[] = {
	[IVSHMEM] = &rp_ivshmem,
	[PTNET] = &rp_ptnet,
};

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = pci_enable_device(pdev);

	if (ret)
		return ret;
	ret = bind_new(pdev, transports[id->driver_data]);
	if (ret)
		pci_disable_device(pdev);
	return ret;
}

static void remove(struct pci_dev *pdev)
{
	struct rp_device *d = pci_get_drvdata(pdev);

	rp_device_withdraw(d);
	if (!pci_device_is_present(pdev)) /* pulled out: nobody answers any more */
		WRITE_ONCE(d->gone, true);
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

	d->peer = d->transport->peer(d); /* another QEMU's, after hibernation */
	ret = rp_device_find_record(d);
	if (ret)
		return ret;
	rtnl_lock();
	ret = rp_device_begin(d);
	if (!ret)
		rp_netdev_restart(d);
	rtnl_unlock();
	return ret;
}

static SIMPLE_DEV_PM_OPS(rp_pm_ops, rp_suspend, rp_resume);

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_DEVICE_ID_IVSHMEM),
	  .driver_data = IVSHMEM },
	{ PCI_DEVICE(RP_PTNET_VENDOR, RP_PTNET_DEVICE), .driver_data = PTNET },
	{}
};
MODULE_DEVICE_TABLE(pci, ids);

struct pci_driver rp_pci_driver = {
	.name = RP_DRIVER_NAME,
	.id_table = ids,
	.probe = probe,
	.remove = remove,
	.driver.pm = &rp_pm_ops,
};
