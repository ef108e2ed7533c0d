// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Function 1 of a ptnet slot, which has the region. It has a driver so that the kernel knows
 * who owns it, and so that function 0 is unbound first and suspended first (rp_ptnet.c).
 */
#include <linux/module.h>

#include "abi/rp_ptnet.h"
#include "rp_device.h"

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = pci_enable_device(pdev);

	if (ret)
		return ret;
	ret = rp_pci_move_above_4g(pdev, RP_PTNET_MEM_BAR);
	if (!ret)
		ret = pci_request_regions(pdev, RP_DRIVER_NAME);
	if (ret)
		pci_disable_device(pdev);
	else
		pci_set_drvdata(pdev, &rp_memdev_driver);
	return ret;
}

static void remove(struct pci_dev *pdev)
{
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

static const struct pci_device_id memdev_ids[] = {
	{ PCI_DEVICE(RP_PTNET_VENDOR, RP_PTNET_MEMDEV_DEVICE) }, {}
};
MODULE_DEVICE_TABLE(pci, memdev_ids);

struct pci_driver rp_memdev_driver = {
	.name = RP_DRIVER_NAME "-memdev",
	.id_table = memdev_ids,
	.probe = probe,
	.remove = remove,
};

bool rp_memdev_ready(struct pci_dev *pdev)
{
	return pci_get_drvdata(pdev) == &rp_memdev_driver;
}
