// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * QEMU's ivshmem-doorbell, if the memory behind it is a region of ours.
 *
 *    BAR 0   IVPosition: our id    Doorbell: peer << 16 | vector
 *    BAR 2   the region
 */
#include <linux/io.h>

#include "rp_device.h"

enum { BAR_REGISTERS = 0, BAR_MEMORY = 2 };
enum { REG_IVPOSITION = 8, REG_DOORBELL = 12, REG_BYTES = 16 };

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

static struct pci_dev *find_memory(struct pci_dev *pdev)
{
	int ret = is_ours(pdev) ? rp_pci_move_above_4g(pdev, BAR_MEMORY) : -ENODEV;

	return ret ? ERR_PTR(ret) : pci_dev_get(pdev);
}

static int check(struct rp_device *d)
{
	return 0;
}

static u32 peer(const struct rp_device *d)
{
	return readl(d->regs + REG_IVPOSITION);
}

static void doorbell(const struct rp_device *d, u16 pair)
{
	writel(RP_GUEST_HOST << 16 | pair, d->regs + REG_DOORBELL);
}

static u16 entry(const struct rp_device *d, u16 pair)
{
	return pair;
}

const struct rp_transport rp_ivshmem = {
	.more_vectors = "start QEMU with vectors= so many",
	.registers = BAR_REGISTERS,
	.register_bytes = REG_BYTES,
	.memory = BAR_MEMORY,
	.find_memory = find_memory,
	.check = check,
	.peer = peer,
	.doorbell = doorbell,
	.entry = entry,
};
