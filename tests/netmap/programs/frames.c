/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A netmap program on the other side of the one that is tried.
 *
 *   frames send PORT           send what comes on standard input: a frame a line, in hexadecimal
 *   frames receive PORT COUNT  print so many frames, in the same form
 *   frames exchange PORT       both at once
 *
 * "ready" on standard error says that the port is open.
 */
#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>
#include <poll.h>

enum { LONGEST = 65536 };

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static size_t parse(const char *line, uint8_t *frame)
{
	size_t n = 0;
	unsigned byte;

	while (n < LONGEST && sscanf(line + 2 * n, "%2x", &byte) == 1)
		frame[n++] = (uint8_t)byte;
	return n;
}

/* Send the frame of the next line. Return: -1 when there is none */
static int send_line(struct nm_desc *d)
{
	static char line[2 * LONGEST + 2];
	static uint8_t frame[LONGEST];
	struct pollfd p = { .fd = NETMAP_FD(d), .events = POLLOUT };
	size_t n;

	if (!fgets(line, sizeof(line), stdin))
		return -1;
	n = parse(line, frame);
	while (nm_inject(d, frame, n) == 0) {
		if (poll(&p, 1, -1) < 0)
			return fail("poll");
	}
	return ioctl(p.fd, NIOCTXSYNC) ? fail("NIOCTXSYNC") : 0;
}

static void print(const uint8_t *frame, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		printf("%02x", frame[i]);
	putchar('\n');
	fflush(stdout);
}

static int receive(struct nm_desc *d, int count)
{
	struct pollfd p = { .fd = NETMAP_FD(d), .events = POLLIN };

	while (count > 0) {
		struct nm_pkthdr header;
		const uint8_t *frame = nm_nextpkt(d, &header);

		if (!frame) {
			if (poll(&p, 1, -1) < 0)
				return fail("poll");
			continue;
		}
		print(frame, header.caplen);
		count--;
	}
	return 0;
}

/* Send a line whenever there is one, print a frame whenever there is one. */
static int exchange(struct nm_desc *d)
{
	struct pollfd p[] = { { .fd = NETMAP_FD(d), .events = POLLIN },
			      { .fd = STDIN_FILENO, .events = POLLIN } };
	struct nm_pkthdr header;
	const uint8_t *frame;

	setvbuf(stdin, NULL, _IONBF, 0); /* poll() sees what was not read */
	while (!(p[1].revents & POLLHUP)) {
		if (poll(p, 2, -1) < 0)
			return fail("poll");
		if (p[1].revents & POLLIN && send_line(d) < 0)
			return 0;
		while ((frame = nm_nextpkt(d, &header)))
			print(frame, header.caplen);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct nm_desc *d = argc >= 3 ? nm_open(argv[2], NULL, 0, NULL) : NULL;
	int status;

	if (!d)
		return fail("nm_open");
	fprintf(stderr, "ready\n");
	if (strcmp(argv[1], "send") == 0) {
		while ((status = send_line(d)) == 0)
			;
	} else if (strcmp(argv[1], "exchange") == 0) {
		status = exchange(d);
	} else {
		status = receive(d, argc > 3 ? atoi(argv[3]) : 1);
	}
	nm_close(d);
	return status > 0;
}
