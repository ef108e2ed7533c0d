/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef RP_TRANSPORT_H
#define RP_TRANSPORT_H
/*
 * DOC: The PCI devices that a region of ours can lie behind, and how they differ.
 *
 *                 registers          the region          MSI-X entry of a pair
 *    rp_ivshmem   BAR 0, memory      BAR 2               the pair
 *    rp_ptnet     BAR 0, I/O         BAR 1 of function   that of its ring; the mailbox's
 *                                    1 of the slot       is the last
 *
 * Nothing above knows which of them a device is.
 */
#include <linux/pci.h>

struct rp_device;
struct rp_port_info;

struct rp_transport {
	const char *more_vectors; /* how a device gets more of them, for people */
	int registers;		  /* BAR with them */
	unsigned int register_bytes;
	int memory; /* BAR of the region */

	/*
	 * Return: the function that has the region, enabled, with one reference more; ERR_PTR:
	 * -ENODEV when the device is not ours, -EPROBE_DEFER. May sleep
	 */
	struct pci_dev *(*find_memory)(struct pci_dev *pdev);
	/* Do device and region belong together? Return: 0, or -EPROTO with a message in the log */
	int (*check)(struct rp_device *d);
	u32 (*peer)(const struct rp_device *d); /* our id */
	void (*doorbell)(const struct rp_device *d, u16 pair);
	u16 (*entry)(const struct rp_device *d, u16 pair);
	/* What QEMU's user wants otherwise than the backend says; may be NULL */
	void (*override)(const struct rp_device *d, struct rp_port_info *info);
};

extern const struct rp_transport rp_ivshmem;
extern const struct rp_transport rp_ptnet;
/* Binds function 1 of ptnet's, without which function 0 waits: to be registered first. */
extern struct pci_driver rp_memdev_driver;
bool rp_memdev_ready(struct pci_dev *pdev);

/**
 * rp_pci_move_above_4g() - see to it that @bar is where memory can be mapped write-back
 *
 * On x86 the firmware makes memory below 4 GiB that is not RAM uncachable (MTRR), which no
 * mapping can better; above, there is nothing of the kind. So a region that it put below
 * moves up, if there is a place. Nobody may use it yet.
 */
int rp_pci_move_above_4g(struct pci_dev *pdev, int bar);

#endif
