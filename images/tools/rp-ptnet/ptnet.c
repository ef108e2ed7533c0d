/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "ptnet.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tool.h"

#define DEVICES "/sys/bus/pci/devices/"

enum { PAGE = 4096 };

/* Vendor and device, as netmap has them and as QEMU's device has them by default. */
static const unsigned long IDS[][2] = { { 0x1b36, 0x000d }, { 0x1af4, 0x10f0 } };

enum registers {
	PTFEAT = 0,
	PTCTL = 4,
	MAC_LO = 8,
	MAC_HI = 12,
	NIFP_OFS = 24,
	NUM_TX_RINGS = 28,
	NUM_RX_RINGS = 32,
	NUM_TX_SLOTS = 36,
	NUM_RX_SLOTS = 40,
	VNET_HDR_LEN = 44,
	HOSTMEMID = 48,
	CSB_GH_BAH = 52,
	CSB_GH_BAL = 56,
	CSB_HG_BAH = 60,
	CSB_HG_BAL = 64,
	KICK_BASE = 128,
	IO_BYTES = 256
};

enum { F_VNET_HDR = 1, CREATE = 1, DELETE = 2 };

enum memdev_registers { MEMSIZE_LO = 0, MEMSIZE_HI = 4, MEMID = 8, MEMDEV_IO_BYTES = 128 };

/* Records of 64 bytes in a page, and kick registers. */
enum { MOST_RINGS = (IO_BYTES - KICK_BASE) / 4 };

static _Noreturn void refuse(const struct ptnet *p, const char *why)
{
	errno = 0;
	tool_fail("%s: %s", p->address, why);
}

static void attribute(char *path, size_t room, const char *address, const char *name)
{
	snprintf(path, room, DEVICES "%s/%s", address, name);
}

static unsigned long read_number(const char *address, const char *name)
{
	char path[256];
	unsigned long value;
	FILE *file;

	attribute(path, sizeof(path), address, name);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lx", &value) != 1)
		tool_fail("%s", path);
	fclose(file);
	return value;
}

static bool is_ptnet(const char *address)
{
	const unsigned long vendor = read_number(address, "vendor");
	const unsigned long device = read_number(address, "device");

	for (unsigned i = 0; i < sizeof(IDS) / sizeof(*IDS); i++) {
		if (IDS[i][0] == vendor && IDS[i][1] == device)
			return true;
	}
	return false;
}

static void find(struct ptnet *p, const char *address)
{
	glob_t found;

	if (glob(DEVICES "*", 0, NULL, &found) != 0)
		tool_fail(DEVICES);
	for (size_t i = 0; i < found.gl_pathc && !p->address[0]; i++) {
		const char *name = found.gl_pathv[i] + strlen(DEVICES);

		if ((!address || strcmp(name, address) == 0) && is_ptnet(name))
			snprintf(p->address, sizeof(p->address), "%s", name);
	}
	globfree(&found);
	if (!p->address[0]) {
		errno = 0;
		tool_fail("there is no ptnet device%s%s", address ? " at " : "",
			  address ? address : "");
	}
}

static void enable(const char *address)
{
	char path[256];
	int fd;

	attribute(path, sizeof(path), address, "driver");
	if (access(path, F_OK) == 0) {
		errno = EBUSY;
		tool_fail("%s: a driver has it", address);
	}
	attribute(path, sizeof(path), address, "enable");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		tool_fail("%s", path);
	close(fd);
}

/* Return: the first I/O port of BAR 0, which this process may use from now on */
static uint16_t take_ports(const char *address, unsigned bytes)
{
	const unsigned long first = read_number(address, "resource"); /* its first word */

	if (first == 0 || first > 0x10000u - bytes) {
		errno = 0;
		tool_fail("%s: BAR 0 is no I/O", address);
	}
	if (ioperm(first, bytes, 1) != 0)
		tool_fail("ioperm");
	return (uint16_t)first;
}

static uint32_t get(const struct ptnet *p, enum registers at)
{
	return inl((uint16_t)(p->io + at));
}

static void set(const struct ptnet *p, enum registers at, uint32_t value)
{
	outl(value, (uint16_t)(p->io + at));
}

static void map_memory(struct ptnet *p)
{
	char address[sizeof(p->address)], path[256];
	uint16_t io;
	int fd;

	memcpy(address, p->address, sizeof(address));
	address[strlen(address) - 1] = '1'; /* the other function */
	enable(address);
	io = take_ports(address, MEMDEV_IO_BYTES);
	if (inl((uint16_t)(io + MEMID)) != get(p, HOSTMEMID))
		refuse(p, "the memory beside it is another one");
	p->memory_bytes =
		(uint64_t)inl((uint16_t)(io + MEMSIZE_HI)) << 32 | inl((uint16_t)(io + MEMSIZE_LO));
	attribute(path, sizeof(path), address, "resource1");
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		tool_fail("%s", path);
	p->memory = mmap(NULL, p->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p->memory == MAP_FAILED)
		tool_fail("mmap");
	close(fd);
}

/* Return: where a page of ours is in the guest's memory */
static uint64_t physical(const void *page)
{
	const off_t at = (off_t)((uintptr_t)page / PAGE * sizeof(uint64_t));
	const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
		tool_fail("/proc/self/pagemap");
	close(fd);
	entry &= (1ULL << 55) - 1; /* the page's number, if we may see it */
	if (entry == 0) {
		errno = EPERM;
		tool_fail("/proc/self/pagemap");
	}
	return entry * PAGE;
}

static void take_csbs(struct ptnet *p)
{
	p->csb = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->csb == MAP_FAILED)
		tool_fail("mmap");
	memset(p->csb, 0, 2 * PAGE);
	ptnet_lock(p);
}

static void give_csbs(const struct ptnet *p)
{
	const uint64_t atok = physical(p->csb), ktoa = physical((uint8_t *)p->csb + PAGE);

	set(p, CSB_GH_BAH, (uint32_t)(atok >> 32));
	set(p, CSB_GH_BAL, (uint32_t)atok);
	set(p, CSB_HG_BAH, (uint32_t)(ktoa >> 32));
	set(p, CSB_HG_BAL, (uint32_t)ktoa);
}

static void take_back_csbs(const struct ptnet *p)
{
	for (enum registers at = CSB_GH_BAH; at <= CSB_HG_BAL; at += CSB_GH_BAL - CSB_GH_BAH)
		set(p, at, 0);
}

static void read_mac(struct ptnet *p)
{
	const uint32_t low = get(p, MAC_LO), high = get(p, MAC_HI);

	p->mac[0] = (uint8_t)(high >> 8);
	p->mac[1] = (uint8_t)high;
	for (unsigned i = 0; i < 4; i++)
		p->mac[2 + i] = (uint8_t)(low >> (24 - 8 * i));
}

static struct ptnet_ring *rings(struct ptnet *p, uint32_t count, uint32_t first, bool tx)
{
	struct netmap_if *nifp = (void *)(p->memory + get(p, NIFP_OFS));
	struct ptnet_ring *made = calloc(count, sizeof(*made));

	for (uint32_t i = 0; i < count; i++) {
		struct ptnet_ring *r = &made[i];

		r->ring = tx ? NETMAP_TXRING(nifp, i) : NETMAP_RXRING(nifp, i);
		r->atok = (struct nm_csb_atok *)p->csb + first + i;
		r->ktoa = (struct nm_csb_ktoa *)((uint8_t *)p->csb + PAGE) + first + i;
		r->kick = (uint16_t)(p->io + KICK_BASE + 4 * (first + i));
		r->kicks = &p->kicks;
		r->slots = get(p, tx ? NUM_TX_SLOTS : NUM_RX_SLOTS);
		r->buffers = (uint8_t *)NETMAP_BUF(r->ring, 0);
		r->buffer_bytes = r->ring->nr_buf_size;
		if (r->ring->num_slots != r->slots)
			refuse(p, "a ring has not as many slots as the device says");
	}
	return made;
}

static void describe(struct ptnet *p, bool header)
{
	set(p, PTFEAT, header ? F_VNET_HDR : 0);
	if (header && !(get(p, PTFEAT) & F_VNET_HDR))
		refuse(p, "its port has no virtio-net headers");
	p->tx_rings = get(p, NUM_TX_RINGS);
	p->rx_rings = get(p, NUM_RX_RINGS);
	if (!p->tx_rings || !p->rx_rings || p->tx_rings > MOST_RINGS ||
	    p->rx_rings > MOST_RINGS - p->tx_rings)
		refuse(p, "it has no rings, or too many");
	read_mac(p);
}

static void start(struct ptnet *p, bool header)
{
	uint32_t error;

	for (uint32_t i = 0; i < p->tx_rings + p->rx_rings; i++)
		((struct nm_csb_ktoa *)((uint8_t *)p->csb + PAGE))[i].kern_need_kick = 1;
	set(p, VNET_HDR_LEN, header ? PTNET_HEADER_BYTES : 0);
	p->header = get(p, VNET_HDR_LEN);
	set(p, PTCTL, CREATE);
	error = get(p, PTCTL);
	if (error) {
		errno = (int)error;
		tool_fail("%s: it does not start", p->address);
	}
}

/* The device says where the rings are: at first, and after it was stopped and started. */
static void pull(struct ptnet_ring *r)
{
	r->head = ptnet_ring_update(r);
	nm_sync_kloop_appl_write(r->atok, r->head, r->head);
}

struct ptnet *ptnet_open(const char *address, bool header)
{
	struct ptnet *p = calloc(1, sizeof(*p));

	find(p, address);
	enable(p->address);
	p->io = take_ports(p->address, IO_BYTES);
	describe(p, header);
	take_csbs(p);
	give_csbs(p);
	map_memory(p);
	start(p, header);
	p->tx = rings(p, p->tx_rings, 0, true);
	p->rx = rings(p, p->rx_rings, p->tx_rings, false);
	for (uint32_t i = 0; i < p->tx_rings; i++)
		pull(&p->tx[i]);
	for (uint32_t i = 0; i < p->rx_rings; i++)
		pull(&p->rx[i]);
	return p;
}

void ptnet_lock(const struct ptnet *p)
{
	if (mlock(p->csb, 2 * PAGE) != 0)
		tool_fail("mlock");
}

void ptnet_close(struct ptnet *p)
{
	set(p, PTCTL, DELETE);
	take_back_csbs(p);
	munmap(p->memory, p->memory_bytes);
	munmap(p->csb, 2 * PAGE);
	free(p->tx);
	free(p->rx);
	free(p);
}

struct netmap_slot *ptnet_ring_slot(const struct ptnet_ring *r, uint8_t **buffer)
{
	struct netmap_slot *slot = &r->ring->slot[r->head];

	*buffer = r->buffers + (uint64_t)slot->buf_idx * r->buffer_bytes;
	return slot;
}

void ptnet_ring_next(struct ptnet_ring *r)
{
	r->head = r->head + 1 == r->slots ? 0 : r->head + 1;
}

void ptnet_ring_publish(struct ptnet_ring *r)
{
	nm_sync_kloop_appl_write(r->atok, r->head, r->head);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* it sleeps after it has looked */
	if (__atomic_load_n(&r->ktoa->kern_need_kick, __ATOMIC_RELAXED)) {
		outl(0, r->kick);
		++*r->kicks;
	}
}

uint32_t ptnet_ring_update(struct ptnet_ring *r)
{
	uint32_t hwtail, hwcur;

	nm_sync_kloop_appl_read(r->ktoa, &hwtail, &hwcur);
	if (hwtail >= r->slots || hwcur >= r->slots) {
		errno = EPROTO;
		tool_fail("a ring's indexes");
	}
	r->tail = hwtail;
	return hwcur;
}
