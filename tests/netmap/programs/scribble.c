/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A program that writes at random over all that it maps, and goes on with its syncs.
 *
 *   scribble SEED SECONDS PORT
 *
 * All of it: interfaces, rings, slots. What is the kernel's (directory, mailbox, CSBs) it must not
 * find.
 */
#include <fcntl.h>
#include <net/netmap_user.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* KERNEL: what is not for programs has the directory, a record of two pages and CSBs at least. */
enum { WRITES = 2000, FRONT = 1 << 17, PAGE = 4096, KERNEL = 4 * PAGE };

static uint64_t state;
static sigjmp_buf back;

static void faulted(int signal)
{
	siglongjmp(back, signal);
}

static bool reaches(const volatile uint32_t *at)
{
	if (sigsetjmp(back, 1))
		return false;
	*at;
	return true;
}

/* Return: where the pages for programs begin; those before are for the kernel, and cannot be had */
static uint64_t find_begin(const uint32_t *memory, uint64_t nifp)
{
	uint64_t at = 0;

	signal(SIGBUS, faulted);
	while (at < nifp && !reaches(memory + at / sizeof(*memory)))
		at += PAGE;
	return at;
}

static uint64_t any(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return state >> 20;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Most of what matters lies before the buffers. */
static void scribble(uint32_t *memory, uint64_t begin, uint64_t bytes)
{
	volatile unsigned i = 0;

	sigsetjmp(back, 1); /* what lies behind the last buffer cannot be had either */
	while (i++ < WRITES) {
		const uint64_t span = any() % 4 ? FRONT : bytes - begin;
		const uint64_t at = (begin + any() % span) / sizeof(*memory);

		memory[at] = (uint32_t)(any() % 2 ? any() % 1024 : any());
	}
}

int main(int argc, char **argv)
{
	struct nmreq_register body = { .nr_mode = NR_REG_ALL_NIC };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_body = (uintptr_t)&body };
	struct pollfd p = { .fd = open("/dev/netmap", O_RDWR) };
	double end = now();
	uint64_t begin;
	void *memory;

	if (argc != 4)
		return 2;
	state = strtoull(argv[1], NULL, 0);
	end += atof(argv[2]);
	snprintf(header.nr_name, sizeof(header.nr_name), "%s", argv[3]);
	if (p.fd < 0 || ioctl(p.fd, NIOCCTRL, &header))
		return 1;
	memory = mmap(NULL, body.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
	if (memory == MAP_FAILED || body.nr_memsize < 2 * FRONT)
		return 1;
	begin = find_begin(memory, body.nr_offset);
	if (begin < KERNEL || begin > body.nr_offset)
		return 1;
	while (now() < end) {
		scribble(memory, begin, body.nr_memsize);
		ioctl(p.fd, NIOCTXSYNC);
		ioctl(p.fd, NIOCRXSYNC);
		p.events = (short)(any() % 2 ? POLLIN : POLLIN | POLLOUT);
		poll(&p, 1, (int)(any() % 2));
	}
	printf("done\n");
	return 0;
}
