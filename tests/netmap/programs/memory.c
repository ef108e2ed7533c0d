/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Memory of the program's own: extmem, NS_INDIRECT; and the older requests.
 */
#include "ports.h"

/* A port that is registered in memory of the program's own: the request, with all that hangs on it. */
struct own {
	uint64_t bytes;
	char *memory;
	struct nmreq_register body;
	struct nmreq_opt_extmem option;
	struct nmreq_header header;
	int fd;
};

/* own_open() - prepare to register the port @name in @bytes of memory */
static void own_open(struct own *o, uint64_t bytes, const char *name)
{
	*o = (struct own){
		.bytes = bytes,
		.memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_SHARED, -1,
			       0),
		.body = { .nr_mode = NR_REG_ALL_NIC },
		.option = { .nro_opt = { .nro_reqtype = NETMAP_REQ_OPT_EXTMEM },
			    .nro_info = { .nr_memsize = bytes } },
		.header = { .nr_version = NETMAP_API,
			    .nr_reqtype = NETMAP_REQ_REGISTER,
			    .nr_options = (uintptr_t)&o->option,
			    .nr_body = (uintptr_t)&o->body },
		.fd = open("/dev/netmap", O_RDWR),
	};
	EXPECT(o->memory != MAP_FAILED);
	o->option.nro_usrptr = (uintptr_t)o->memory;
	snprintf(o->header.nr_name, sizeof(o->header.nr_name), "%s", name);
}

static void own_close(struct own *o)
{
	close(o->fd);
	munmap(o->memory, o->bytes);
}

TEST(the_region_lies_where_the_program_wants_it)
{
	struct nm_desc *peer = open_port(name_of("vale0:m%d", 0));
	struct pollfd one = { .events = POLLIN };
	struct netmap_ring *ring;
	const char *frame;
	struct own own;

	own_open(&own, 32 << 20, name_of("vale0:e%d", 0));
	own.option.nro_usrptr += 8;
	EXPECT_ERRNO(ioctl(own.fd, NIOCCTRL, &own.header), EINVAL);
	own.option.nro_usrptr -= 8;
	EXPECT_EQ(ioctl(own.fd, NIOCCTRL, &own.header), 0);
	EXPECT_EQ(own.option.nro_opt.nro_status, 0);
	EXPECT_EQ(own.body.nr_memsize, own.bytes);
	EXPECT_EQ(mmap(NULL, 4096, PROT_READ, MAP_SHARED, own.fd, 0), MAP_FAILED);
	ring = NETMAP_RXRING(NETMAP_IF(own.memory, own.body.nr_offset), 0);
	put(peer, 3);
	txsync(peer);
	one.fd = own.fd;
	EXPECT_EQ(poll(&one, 1, 5000), 1);
	EXPECT_EQ(one.revents, POLLIN);
	frame = NETMAP_BUF(ring, ring->slot[ring->cur].buf_idx);
	EXPECT(frame > own.memory && frame < own.memory + own.bytes);
	EXPECT_EQ(frame[20], 3);
	nm_close(peer);
	own_close(&own);
}

TEST(a_port_that_is_open_does_not_move_to_the_programs_memory)
{
	struct nm_desc *first = open_port(name_of("vale0:h%d", 0));
	struct own own;

	own_open(&own, 1 << 20, name_of("vale0:h%d", 0));
	memset(own.memory, 0x5a, own.bytes);
	/* Small pools, so that a region of this size can be made. */
	own.option.nro_info.nr_buf_pool_objtotal = 64;
	own.option.nro_info.nr_ring_pool_objtotal = 4;
	own.option.nro_info.nr_ring_pool_objsize = 256 + 16 * 16;
	EXPECT_ERRNO(ioctl(own.fd, NIOCCTRL, &own.header), EBUSY);
	EXPECT_EQ(own.option.nro_opt.nro_status, EBUSY);
	for (uint64_t i = 0; i < own.bytes; i++)
		EXPECT_EQ(own.memory[i], 0x5a);
	nm_close(first);
	own_close(&own);
}

TEST(an_indirect_slot_is_sent_from_the_programs_memory)
{
	struct nm_desc *a = open_port(name_of("vale0:i%d", 0));
	struct nm_desc *b = open_port(name_of("vale0:j%d", 0));
	struct netmap_ring *ring = tx_of(a);
	uint8_t frame[FRAME];
	uint32_t number = 7;

	memset(frame, 7, sizeof(frame));
	memset(frame, 0xff, 6);
	memset(frame + 6, 0x02, 6);
	memcpy(frame + 14, &number, sizeof(number));
	ring->slot[0].ptr = (uintptr_t)frame;
	ring->slot[0].len = FRAME;
	ring->slot[0].flags = NS_INDIRECT;
	ring->head = ring->cur = 1;
	txsync(a);
	EXPECT_EQ(ask(b, POLLIN, 5000), POLLIN);
	expect(b, 7);

	/* An address that is not there costs the frame, and nothing else. */
	ring->slot[1].ptr = 16;
	ring->slot[1].len = FRAME;
	ring->slot[1].flags = NS_INDIRECT;
	ring->head = ring->cur = 2;
	put(a, 8);
	txsync(a);
	EXPECT_EQ(ask(b, POLLIN, 5000), POLLIN);
	expect(b, 8);
	nm_close(a);
	nm_close(b);
}

TEST(the_older_requests_answer_as_ever)
{
	struct nmreq r = { .nr_version = NETMAP_API };
	int fd = open("/dev/netmap", O_RDWR);

	snprintf(r.nr_name, sizeof(r.nr_name), "%s", name_of("vale0:o%d", 0));
	EXPECT_EQ(ioctl(fd, NIOCGINFO, &r), 0);
	EXPECT_EQ(r.nr_version, NETMAP_API);
	r.nr_arg2 = 0; /* the region of a port that was made for the question, and went */
	r.nr_version = 3;
	EXPECT_ERRNO(ioctl(fd, NIOCREGIF, &r), EINVAL);
	r.nr_version = NETMAP_API;
	EXPECT_ERRNO(ioctl(fd, NIOCTXSYNC), ENXIO);
	EXPECT_ERRNO(ioctl(fd, NIOCRXSYNC), ENXIO);
	EXPECT_EQ(ioctl(fd, NIOCREGIF, &r), 0);
	EXPECT(r.nr_memsize > 0);
	EXPECT(r.nr_tx_slots > 0);
	EXPECT_EQ(r.nr_tx_rings, 1);
	EXPECT_EQ(ioctl(fd, NIOCTXSYNC), 0);
	EXPECT_ERRNO(ioctl(fd, NIOCREGIF, &r), EBUSY);
	close(fd);
}
