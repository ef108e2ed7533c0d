/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef RP_PTNET_H
#define RP_PTNET_H
/*
 * DOC: Registers of the passthrough device, ptnet-pci, and of its memory device.
 *
 * The first 68 bytes and the kicks are those of netmap's ptnet, so that its drivers can
 * drive the device; what lies between is ours. Two functions of one PCI slot:
 *
 *    function 0, ptnet-pci                       function 1, ptnet-memdev
 *    BAR 0   I/O, these registers                BAR 0   I/O, size, id and pools
 *    BAR 2   MSI-X                               BAR 1   the region, prefetchable
 *
 * netmap has a vector and a kick a ring, tx rings first. The backend has pairs of a
 * doorbell and a vector, pair 0 being that of the mailbox (rp_guest.h). So that both
 * agree, ring n is given pair n + 1:
 *
 *    MSI-X entry       0        1      ...   pairs - 2    pairs - 1
 *    vector of pair    1        2      ...   pairs - 1    0
 *    kick register     0        1      ...   (32 of them)
 *    RP_PTNET_DOORBELL takes the number of any pair
 *
 * All registers have 32 bits, little-endian, and are accessed as such. What is not
 * written here reads 0; writes to it do nothing.
 */
#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

enum rp_ptnet_pci {
	RP_PTNET_VENDOR = 0x1af4,
	RP_PTNET_DEVICE = 0x10f0,
	RP_PTNET_MEMDEV_DEVICE = 0x10f1,
	RP_PTNET_NETMAP_VENDOR = 0x1b36, /* with netmap-ids=on */
	RP_PTNET_NETMAP_DEVICE = 0x000d,
	RP_PTNET_NETMAP_MEMDEV_DEVICE = 0x000c,
	RP_PTNET_IO_BAR = 0,
	RP_PTNET_MEM_BAR = 1,
	RP_PTNET_MSIX_BAR = 2
};

enum rp_ptnet_register {
	RP_PTNET_PTFEAT = 0,  /* W: features wanted, R: granted; RP_PTNET_F_* */
	RP_PTNET_PTCTL = 4,   /* W: RP_PTNET_CREATE, _DELETE; R: 0 or a positive errno of it */
	RP_PTNET_MAC_LO = 8,  /* bytes 2..5, the first one highest */
	RP_PTNET_MAC_HI = 12, /* bytes 0, 1 */
	RP_PTNET_CSBBAH = 16, /* of older drivers; ignored */
	RP_PTNET_CSBBAL = 20,
	RP_PTNET_NIFP_OFS = 24,
	RP_PTNET_NUM_TX_RINGS = 28,
	RP_PTNET_NUM_RX_RINGS = 32,
	RP_PTNET_NUM_TX_SLOTS = 36,
	RP_PTNET_NUM_RX_SLOTS = 40,
	RP_PTNET_VNET_HDR_LEN = 44, /* W: 0 or 12; R: what it is */
	RP_PTNET_HOSTMEMID = 48,
	RP_PTNET_CSB_GH_BAH = 52, /* guest to host: address of the nm_csb_atok array */
	RP_PTNET_CSB_GH_BAL = 56, /* this one takes effect */
	RP_PTNET_CSB_HG_BAH = 60, /* host to guest: nm_csb_ktoa */
	RP_PTNET_CSB_HG_BAL = 64, /* this one takes effect */
	RP_PTNET_MAGIC = 68,	  /* ours from here on: R: RP_PTNET_MAGIC_VALUE */
	RP_PTNET_PEER = 72,	  /* R: whose record in the region (rp_guest.h) is ours */
	RP_PTNET_PAIRS = 76,	  /* R: how many there are */
	RP_PTNET_DOORBELL = 80,	  /* W: rings that of a pair */
	RP_PTNET_LINK_DOWN = 84,  /* R: 1: QEMU has no backend, or no link; vector 0 tells of it */
	RP_PTNET_KICK_BASE = 128, /* + 4 * ring */
	RP_PTNET_IO_BYTES = 256
};

enum rp_ptnet_values {
	RP_PTNET_F_VNET_HDR = 1,
	RP_PTNET_CREATE = 1,
	RP_PTNET_DELETE = 2,
	RP_PTNET_KICKS = 32,		  /* registers from RP_PTNET_KICK_BASE on */
	RP_PTNET_MAGIC_VALUE = 0x746e7072 /* "rpnt" */
};

enum rp_ptnet_memdev_register {
	RP_PTMEM_SIZE_LO = 0,
	RP_PTMEM_SIZE_HI = 4,
	RP_PTMEM_MEMID = 8,
	RP_PTMEM_IF_POOL_OFS = 64,
	RP_PTMEM_IF_POOL_OBJNUM = 68,
	RP_PTMEM_IF_POOL_OBJSZ = 72,
	RP_PTMEM_RING_POOL_OFS = 76,
	RP_PTMEM_RING_POOL_OBJNUM = 80,
	RP_PTMEM_RING_POOL_OBJSZ = 84,
	RP_PTMEM_BUF_POOL_OFS = 88,
	RP_PTMEM_BUF_POOL_OBJNUM = 92,
	RP_PTMEM_BUF_POOL_OBJSZ = 96,
	RP_PTMEM_IO_BYTES = 128
};

#endif
