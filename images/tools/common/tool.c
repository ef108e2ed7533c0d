/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tool.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t tool_stopped;

_Noreturn void tool_fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (error != 0)
		fprintf(stderr, ": %s", strerror(error));
	fputc('\n', stderr);
	exit(1);
}

double tool_number(const char *text, double min, double max)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	/* Written so that not-a-number fails too. */
	if (end == text || *end != '\0' || !(value >= min && value <= max)) {
		errno = 0;
		tool_fail("'%s' is not a number from %.0f to %.0f", text, min, max);
	}
	return value;
}

void tool_mac(const char *text, uint8_t mac[static ETH_ALEN])
{
	const char *at = text;

	for (int i = 0; i < ETH_ALEN; i++) {
		char *end = NULL;
		unsigned long byte = isxdigit((unsigned char)*at) ? strtoul(at, &end, 16) : 0;

		if (end == NULL || end - at > 2 || *end != (i < ETH_ALEN - 1 ? ':' : '\0')) {
			errno = 0;
			tool_fail("'%s' is not an Ethernet address", text);
		}
		mac[i] = (uint8_t)byte;
		at = end + 1;
	}
}

double tool_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void stop(int signal)
{
	(void)signal;
	tool_stopped = 1;
}

void tool_catch_signals(void)
{
	/* Without SA_RESTART: a wait ends, and the loop around it looks. */
	struct sigaction action = { .sa_handler = stop };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void tool_background(void)
{
	pid_t child = fork();
	int nothing;

	if (child < 0)
		tool_fail("fork");
	if (child > 0)
		_exit(0);
	setsid();
	nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		dup2(nothing, fd);
}

static void partial_name(char name[static PATH_MAX], const char *path)
{
	snprintf(name, PATH_MAX, "%s.partial", path);
}

FILE *tool_file(const char *path)
{
	char partial[PATH_MAX];
	FILE *file;

	partial_name(partial, path);
	file = fopen(partial, "w");
	if (file == NULL)
		tool_fail("%s", partial);
	return file;
}

void tool_file_done(FILE *file, const char *path)
{
	char partial[PATH_MAX];

	partial_name(partial, path);
	if (fclose(file) != 0 || rename(partial, path) != 0)
		tool_fail("%s", path);
}

int tool_interface(const char *name)
{
	unsigned int index = if_nametoindex(name);

	if (index == 0)
		tool_fail("%s", name);
	return (int)index;
}

int tool_packet_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		tool_fail("socket(AF_PACKET)");
	return fd;
}

void tool_bind(int fd, int ifindex, uint16_t ethertype)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_ifindex = ifindex,
		.sll_protocol = htons(ethertype),
	};

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		tool_fail("bind");
}
