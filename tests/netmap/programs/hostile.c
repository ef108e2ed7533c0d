/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A program that means no good to /dev/netmap.
 *
 *   hostile SEED SECONDS PORT...
 *
 * Children do at random what a program can do, with arguments of all kinds, and are killed in
 * the middle of it. What is tried is the kernel: it must not mind.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/netmap_user.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 6, CHILDREN = 3, OPTIONS = 4, PAGE = 4096, MAPPED = 1 << 22 };

struct file {
	int fd;
	uint8_t *memory; /* of the region, or NULL */
	size_t bytes;
	uint64_t nifp; /* offset */
};

static struct file files[FILES];
static const char **ports;
static unsigned nports;
static uint8_t *edge; /* the last page before nothing */
static uint64_t state;

static uint64_t any(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return state >> 24;
}

static uint64_t below(uint64_t n)
{
	return any() % n;
}

/* An address where @bytes may be, or begin and not end, or where nothing is. */
static uint64_t address(size_t bytes)
{
	static uint8_t place[8][PAGE];

	switch (below(8)) {
	case 0:
		return below(2) ? 0 : below(PAGE);
	case 1:
		return (uintptr_t)edge + PAGE - below(bytes + 1);
	case 2:
		return UINT64_C(0xffff888000000000) + below(1 << 20);
	case 3:
		return any() << 16 | any();
	default:
		return (uintptr_t)place[below(8)];
	}
}

static uint32_t number(void)
{
	static const uint32_t some[] = { 0, 1, 2, 14, 64, 4095, 65535, INT32_MAX, UINT32_MAX };

	return below(2) ? some[below(sizeof(some) / sizeof(some[0]))] : (uint32_t)below(16);
}

static void name(char *to, size_t room)
{
	if (below(16) == 0)
		memset(to, (int)below(256), room);
	else
		snprintf(to, room, "%s", ports[below(nports)]);
}

/* A list of options, which may bite its tail. */
static uint64_t options(void)
{
	static struct {
		struct nmreq_option head;
		uint64_t rest[24];
	} list[OPTIONS];
	const unsigned n = (unsigned)below(OPTIONS + 1);

	for (unsigned i = 0; i < n; i++) {
		list[i].head = (struct nmreq_option){ .nro_reqtype = number(),
						      .nro_size = below(4) ? below(300) : any() };
		if (below(4))
			list[i].head.nro_reqtype = 1 + (uint32_t)below(5);
		if (i + 1 < n)
			list[i].head.nro_next = (uintptr_t)&list[i + 1];
		else if (below(8) == 0)
			list[i].head.nro_next = below(2) ? address(24) : (uintptr_t)&list[0];
		for (unsigned k = 0; k < 24; k++)
			list[i].rest[k] = below(2) ? address(128) & ~UINT64_C(63) : any();
	}
	return n ? (uintptr_t)&list[0] : 0;
}

static void map(struct file *f, uint64_t nifp, uint64_t bytes)
{
	void *memory;

	if (f->memory)
		return;
	f->bytes = bytes < MAPPED ? bytes : MAPPED;
	memory = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	f->memory = memory == MAP_FAILED ? NULL : memory;
	f->nifp = nifp;
}

static void do_register(struct file *f)
{
	struct nmreq_register body = { .nr_mode = NR_REG_ALL_NIC };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_body = (uintptr_t)&body };

	name(header.nr_name, sizeof(header.nr_name));
	if (below(4) == 0) {
		body.nr_mode = number();
		body.nr_ringid = (uint16_t)number();
		body.nr_flags = any() & 0x3ffff;
		body.nr_extra_bufs = number();
		body.nr_tx_slots = number();
		body.nr_mem_id = (uint16_t)number();
		header.nr_options = options();
	}
	if (ioctl(f->fd, NIOCCTRL, &header) == 0)
		map(f, body.nr_offset, body.nr_memsize);
}

/* A request of any kind; to run a loop is to be killed in it. */
static void do_control(const struct file *f)
{
	struct nmreq_header header = { .nr_version = (uint16_t)(below(8) ? NETMAP_API : number()),
				       .nr_reqtype = (uint16_t)(below(8) ? below(17) : number()),
				       .nr_reserved = below(16) ? 0 : number() };

	name(header.nr_name, sizeof(header.nr_name));
	header.nr_options = below(2) ? options() : address(24);
	header.nr_body = below(4) ? address(64) : 0;
	ioctl(f->fd, NIOCCTRL, below(4) ? (uintptr_t)&header : address(sizeof(header)));
}

static void do_older(const struct file *f)
{
	static const unsigned long requests[] = { NIOCGINFO, NIOCREGIF, NIOCCONFIG };
	struct nmreq r = { .nr_version = NETMAP_API,
			   .nr_cmd = (uint16_t)(below(2) ? 0 : number()),
			   .nr_flags = number() };

	name(r.nr_name, sizeof(r.nr_name));
	ioctl(f->fd, requests[below(3)], below(4) ? (uintptr_t)&r : address(sizeof(r)));
}

static void do_csb(const struct file *f)
{
	static uint8_t csb[2][64 * 64] __attribute__((aligned(64)));
	struct nmreq_opt_csb option = { .nro_opt = { .nro_reqtype = NETMAP_REQ_OPT_CSB },
					.csb_atok = (uintptr_t)csb[0],
					.csb_ktoa = (uintptr_t)csb[1] };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_CSB_ENABLE,
				       .nr_options = (uintptr_t)&option };
	struct nmreq_sync_kloop_start start = { .sleep_us = (uint32_t)below(200) };

	ioctl(f->fd, NIOCCTRL, &header);
	header.nr_reqtype = NETMAP_REQ_SYNC_KLOOP_START;
	header.nr_body = (uintptr_t)&start;
	header.nr_options = 0;
	memset(csb, (int)below(256), below(sizeof(csb)));
	if (below(4) == 0)
		ioctl(f->fd, NIOCCTRL, &header);
}

static void do_poll(const struct file *f)
{
	struct pollfd p = { .fd = f->fd, .events = (short)any() };
	struct epoll_event event = { .events = (uint32_t)(POLLIN | POLLOUT | below(2) * EPOLLET) };
	int set = epoll_create1(0);

	poll(&p, 1, (int)below(3));
	epoll_ctl(set, EPOLL_CTL_ADD, f->fd, &event);
	epoll_wait(set, &event, 1, (int)below(3));
	close(set);
}

/* What a program may write, and the kernel reads: a ring and its slots. */
static void scribble(const struct file *f)
{
	struct netmap_if *nifp;
	struct netmap_ring *ring;

	if (!f->memory || f->nifp + PAGE > f->bytes)
		return;
	nifp = (struct netmap_if *)(void *)(f->memory + f->nifp);
	ring = (struct netmap_ring *)(void *)((uint8_t *)nifp + nifp->ring_ofs[below(4)]);
	if ((uint8_t *)ring < f->memory || (uint8_t *)ring + 2 * PAGE > f->memory + f->bytes)
		return;
	switch (below(6)) {
	case 0:
		ring->head = number();
		break;
	case 1:
		ring->cur = number();
		break;
	case 2:
		ring->tail = number();
		break;
	case 3:
		*(uint32_t *)(uintptr_t)&ring->num_slots = number();
		break;
	case 4:
		ring->head = ring->cur = ring->tail;
		break;
	default:
		ring->slot[below(64)] = (struct netmap_slot){ .buf_idx = number(),
							      .len = (uint16_t)number(),
							      .flags = (uint16_t)any(),
							      .ptr = address(64) };
	}
}

static void do_memory(struct file *f)
{
	void *at = mmap(NULL, PAGE * (1 + below(64)), below(2) ? PROT_READ : PROT_READ | PROT_WRITE,
			below(4) ? MAP_SHARED : MAP_PRIVATE, f->fd,
			(off_t)(PAGE * (below(2) ? below(64) : any() >> 12)));

	if (at != MAP_FAILED) {
		*(volatile uint8_t *)at;
		munmap(at, PAGE);
	}
	if (f->memory && below(16) == 0) {
		munmap(f->memory, f->bytes);
		f->memory = NULL;
	}
}

static void reopen(struct file *f)
{
	if (f->memory)
		munmap(f->memory, f->bytes);
	close(f->fd);
	*f = (struct file){ .fd = open("/dev/netmap", O_RDWR) };
}

static void misbehave(void)
{
	for (;;) {
		struct file *f = &files[below(FILES)];

		switch (below(12)) {
		case 0:
			reopen(f);
			break;
		case 1:
			do_register(f);
			break;
		case 2:
			do_control(f);
			break;
		case 3:
			do_older(f);
			break;
		case 4:
			do_csb(f);
			break;
		case 5:
			do_poll(f);
			break;
		case 6:
			do_memory(f);
			break;
		case 7:
			ioctl(f->fd, (unsigned long)any(), address(256));
			break;
		case 8:
			ioctl(f->fd, below(2) ? NIOCTXSYNC : NIOCRXSYNC, address(8));
			break;
		default:
			scribble(f);
			break;
		}
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static pid_t start_child(void)
{
	pid_t child;

	any();
	child = fork();
	if (child == 0)
		misbehave();
	state += 77;
	return child;
}

int main(int argc, char **argv)
{
	const double end = now() + (argc > 3 ? atof(argv[2]) : 0);
	pid_t child[CHILDREN] = { 0 };
	unsigned killed = 0;

	if (argc < 4)
		return 2;
	state = strtoull(argv[1], NULL, 0);
	ports = (const char **)argv + 3;
	nports = (unsigned)argc - 3;
	edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(edge + PAGE, PAGE, PROT_NONE);
	for (unsigned i = 0; i < FILES; i++)
		reopen(&files[i]);
	while (now() < end) {
		const struct timespec nap = { .tv_nsec = 1000000 + (long)below(40000000) };
		pid_t *victim = &child[below(CHILDREN)];

		if (*victim > 0) {
			kill(*victim, SIGKILL);
			waitpid(*victim, NULL, 0);
			killed++;
		}
		*victim = start_child();
		nanosleep(&nap, NULL);
	}
	for (unsigned i = 0; i < CHILDREN; i++) {
		if (child[i] > 0) {
			kill(child[i], SIGKILL);
			waitpid(child[i], NULL, 0);
		}
	}
	printf("killed %u\n", killed);
	return 0;
}
