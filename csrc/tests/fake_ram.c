/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_ram.h"

#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

void fake_ram_open(struct fake_ram *ram, uint64_t span)
{
	*ram = (struct fake_ram){ .span = span, .next = FAKE_RAM_BASE };
	ram->base = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	EXPECT(ram->base != MAP_FAILED);
}

void fake_ram_close(struct fake_ram *ram)
{
	for (uint32_t i = 0; i < ram->n; i++)
		close(ram->region[i].fd);
	munmap(ram->base, ram->span);
}

unsigned fake_ram_plug(struct fake_ram *ram, uint64_t addr, uint64_t bytes, uint64_t file_skip)
{
	struct fake_region *r = &ram->region[ram->n];
	uint8_t *at = fake_ram_at(ram, addr);

	EXPECT(ram->n < FAKE_REGIONS);
	EXPECT(addr - FAKE_RAM_BASE + bytes <= ram->span);
	r->fd = memfd_create("fake-ram", MFD_CLOEXEC);
	EXPECT(r->fd >= 0);
	EXPECT_EQ(ftruncate(r->fd, (off_t)(file_skip + bytes)), 0);
	EXPECT(mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r->fd,
		    (off_t)file_skip) == at);
	r->slot = (struct rp_mem_slot){
		.guest_addr = addr,
		.bytes = bytes,
		.user_addr = FAKE_USER_BASE * (ram->n + 1) + (addr - FAKE_RAM_BASE),
		.mmap_offset = file_skip,
	};
	return ram->n++;
}

uint64_t fake_ram_alloc(struct fake_ram *ram, uint64_t bytes, uint64_t align)
{
	uint64_t addr = (ram->next + align - 1) / align * align;

	ram->next = addr + bytes;
	EXPECT(ram->next - FAKE_RAM_BASE <= ram->span);
	return addr;
}

uint64_t fake_ram_user(const struct fake_ram *ram, uint64_t addr)
{
	for (uint32_t i = 0; i < ram->n; i++) {
		const struct rp_mem_slot *s = &ram->region[i].slot;

		if (addr - s->guest_addr < s->bytes)
			return s->user_addr + (addr - s->guest_addr);
	}
	return 0;
}

int fake_ram_share(const struct fake_ram *ram, rp_dataplane *dp, int port, struct rp_err *err)
{
	struct rp_mem_slot slots[FAKE_REGIONS];
	int32_t fds[FAKE_REGIONS];

	for (uint32_t i = 0; i < ram->n; i++) {
		slots[i] = ram->region[i].slot;
		fds[i] = ram->region[i].fd;
	}
	return rp_vhost_mem_set(dp, port, slots, fds, ram->n, err);
}
