// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The ptnet-pci of QEMU's -netdev ringpass. Of its registers only those that are ours are used:
 * rings are opened through the mailbox, as with every device (rp_ptnet.h, rp_guest.h).
 */
#include <linux/device.h>
#include <linux/io.h>

#include "abi/rp_ptnet.h"
#include "rp_compat.h"
#include "rp_device.h"

#define MEMORY_FUNCTION 1

static bool is_memdev(const struct pci_dev *pdev)
{
	return pdev->vendor == RP_PTNET_VENDOR && pdev->device == RP_PTNET_MEMDEV_DEVICE;
}

/*
 * Function 1 outlives us while it is bound: the link has the kernel unbind and suspend us first,
 * and probe us again when it is back.
 */
static int depend_on(struct pci_dev *pdev, struct pci_dev *memory)
{
	if (!device_link_add(&pdev->dev, &memory->dev, DL_FLAG_AUTOPROBE_CONSUMER))
		return -EINVAL;
	return rp_memdev_ready(memory) ? 0 : -EPROBE_DEFER;
}

static struct pci_dev *find_memory(struct pci_dev *pdev)
{
	struct pci_dev *memory =
		pci_get_slot(pdev->bus, PCI_DEVFN(PCI_SLOT(pdev->devfn), MEMORY_FUNCTION));
	int ret;

	if (!memory || !is_memdev(memory)) {
		dev_err(&pdev->dev, "function 1 of its slot is not the memory: give it a slot\n");
		ret = -ENODEV;
	} else {
		ret = depend_on(pdev, memory);
	}
	if (!ret)
		return memory;
	pci_dev_put(memory);
	return ERR_PTR(ret);
}

static u32 get(const struct rp_device *d, enum rp_ptnet_register at)
{
	return ioread32(d->regs + at);
}

static int unusable(const struct rp_device *d, const char *why)
{
	dev_err(&d->pdev->dev, "the device cannot be used: %s\n", why);
	return -EPROTO;
}

/* Is @regs, of function 1, about the region that was mapped, and is that the one of function 0? */
static int check_memory(const struct rp_device *d, const void __iomem *regs)
{
	const u64 high = ioread32(regs + RP_PTMEM_SIZE_HI);

	if ((high << 32 | ioread32(regs + RP_PTMEM_SIZE_LO)) != d->bytes)
		return unusable(d, "its memory has another size than it says");
	if (ioread32(regs + RP_PTMEM_MEMID) != get(d, RP_PTNET_HOSTMEMID))
		return unusable(d, "the memory beside it is that of another device");
	return 0;
}

static int check(struct rp_device *d)
{
	void __iomem *regs;
	int ret;

	if (get(d, RP_PTNET_MAGIC) != RP_PTNET_MAGIC_VALUE)
		return unusable(d, "it is not QEMU's of this release");
	if (get(d, RP_PTNET_PAIRS) != d->pairs)
		return unusable(d, "it has not as many interrupt vectors as it says");
	if (pci_resource_len(d->memory, RP_PTNET_IO_BAR) < RP_PTMEM_IO_BYTES)
		return unusable(d, "its memory has no registers");
	regs = pci_iomap(d->memory, RP_PTNET_IO_BAR, 0);
	if (!regs)
		return -ENOMEM;
	ret = check_memory(d, regs);
	pci_iounmap(d->memory, regs);
	return ret;
}

static u32 peer(const struct rp_device *d)
{
	return get(d, RP_PTNET_PEER);
}

static void doorbell(const struct rp_device *d, u16 pair)
{
	iowrite32(pair, d->regs + RP_PTNET_DOORBELL);
}

/* netmap's order: rings come first. */
static u16 entry(const struct rp_device *d, u16 pair)
{
	return (pair ? pair : d->pairs) - 1;
}

/* mac= of the device, and set_link of QEMU's monitor. */
static void override(const struct rp_device *d, struct rp_port_info *info)
{
	put_unaligned_be16(get(d, RP_PTNET_MAC_HI), info->mac);
	put_unaligned_be32(get(d, RP_PTNET_MAC_LO), info->mac + 2);
	if (get(d, RP_PTNET_LINK_DOWN))
		info->link = false;
}

const struct rp_transport rp_ptnet = {
	.more_vectors = "plug it in again, for its port grew",
	.registers = RP_PTNET_IO_BAR,
	.register_bytes = RP_PTNET_IO_BYTES,
	.memory = RP_PTNET_MEM_BAR,
	.find_memory = find_memory,
	.check = check,
	.peer = peer,
	.doorbell = doorbell,
	.entry = entry,
	.override = override,
};
