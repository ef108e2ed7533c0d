/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A program whose device goes while it has a port of it open.
 *
 *   gone PORT DRIVER DEVICE    where the driver is in /sys, and which of its devices it is
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "ports.h"

static const char *port, *driver, *device;
static sigjmp_buf back;

static void tell_driver(const char *file)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", driver, file);
	fd = open(path, O_WRONLY);
	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, device, strlen(device)), (ssize_t)strlen(device));
	close(fd);
}

static void faulted(int signal)
{
	siglongjmp(back, signal);
}

/* Return: the signal that reading there brings, or 0 */
static int touch(const volatile uint32_t *at)
{
	struct sigaction action = { .sa_handler = faulted }, before;
	int signal;

	sigaction(SIGBUS, &action, &before);
	signal = sigsetjmp(back, 1);
	if (!signal)
		*at;
	sigaction(SIGBUS, &before, NULL);
	return signal;
}

static void *unbind_later(void *nothing)
{
	rp_test_nap(100000000);
	tell_driver("unbind");
	return nothing;
}

TEST(a_sleeper_is_woken_and_the_memory_is_taken_away)
{
	struct nm_desc *d = open_port(port);
	const uint32_t *head = &rx_of(d)->head;
	pthread_t thread;

	EXPECT_EQ(touch(head), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, unbind_later, NULL), 0);
	for (int i = 0; i < 1000; i++) {
		short said;

		rx_of(d)->head = rx_of(d)->cur = rx_of(d)->tail;
		said = ask(d, POLLIN, 20000);
		if (said & POLLERR)
			break;
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(ask(d, POLLIN, 20000), POLLERR);
	EXPECT_ERRNO(ioctl(NETMAP_FD(d), NIOCTXSYNC), ENXIO);
	EXPECT_ERRNO(ioctl(NETMAP_FD(d), NIOCRXSYNC), ENXIO);
	EXPECT_EQ(touch(head), SIGBUS);
	tell_driver("bind");
	EXPECT_EQ(ask(d, POLLIN, 20000), POLLERR); /* what went does not come back */
	EXPECT_EQ(touch(head), SIGBUS);
	nm_close(d);
	nm_close(open_port(port));
}

__attribute__((constructor)) static void find_arguments(int argc, char **argv)
{
	if (argc != 4)
		exit(2);
	port = argv[1];
	driver = argv[2];
	device = argv[3];
	argv[1] = "";
}
