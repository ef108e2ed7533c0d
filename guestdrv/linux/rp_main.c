// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The module. */
#include <linux/module.h>

#include "rp_device.h"
#include "rp_netmap.h"

static int __init rp_init(void)
{
	int ret = rp_netmap_init();

	if (ret)
		return ret;
	ret = pci_register_driver(&rp_memdev_driver);
	if (ret)
		goto netmap;
	ret = pci_register_driver(&rp_pci_driver);
	if (ret)
		goto memdev;
	return 0;
memdev:
	pci_unregister_driver(&rp_memdev_driver);
netmap:
	rp_netmap_exit();
	return ret;
}
module_init(rp_init);

static void __exit rp_exit(void)
{
	pci_unregister_driver(&rp_pci_driver);
	pci_unregister_driver(&rp_memdev_driver);
	rp_netmap_exit();
}
module_exit(rp_exit);

MODULE_DESCRIPTION("Ringpass ports: netmap rings of the host as interface and netmap device");
MODULE_LICENSE("Dual BSD/GPL");
