/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PORTS_H
#define PORTS_H
/*
 * DOC: What the test programs have in common: ports with names of their own, and numbered frames.
 *
 * All are ordinary netmap programs: nothing here knows of the backend.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>

#include "check.h"

enum { FRAME = 60 };

/* name_of() - @format with the number of this process for its first %d, and that of the test for its second */
static inline const char *name_of(const char *format, unsigned test)
{
	static char names[8][64];
	static unsigned next;
	char *name = names[next++ % 8];

	snprintf(name, sizeof(names[0]), format, (int)getpid() % 100000, test % 100);
	return name;
}

static inline struct nm_desc *open_port(const char *name)
{
	struct nm_desc *d = nm_open(name, NULL, 0, NULL);

	if (!d)
		rp_test_fail(__FILE__, __LINE__, "cannot open %s: %s", name, strerror(errno));
	return d;
}

/* A pair of ports that hear nobody else: the two ends of a pipe. */
struct pair {
	struct nm_desc *a;
	struct nm_desc *b;
	unsigned number;
};

static inline struct pair open_pipe(void)
{
	static unsigned pipes;
	struct pair p = { .number = pipes++ };

	p.a = open_port(name_of("vale0:p%d{%u", p.number));
	p.b = open_port(name_of("vale0:p%d}%u", p.number));
	return p;
}

static inline void close_pair(struct pair p)
{
	nm_close(p.a);
	nm_close(p.b);
}

static inline struct netmap_ring *tx_of(const struct nm_desc *d)
{
	return NETMAP_TXRING(d->nifp, d->first_tx_ring);
}

static inline struct netmap_ring *rx_of(const struct nm_desc *d)
{
	return NETMAP_RXRING(d->nifp, d->first_rx_ring);
}

/* Put the frame number @n into the tx ring: a broadcast. */
static inline void put(struct nm_desc *d, uint32_t n)
{
	uint8_t frame[FRAME];

	memset(frame, (int)n, sizeof(frame));
	memset(frame, 0xff, 6);
	memset(frame + 6, 0x02, 6);
	memcpy(frame + 14, &n, sizeof(n));
	EXPECT_EQ(nm_inject(d, frame, sizeof(frame)), FRAME);
}

/* Take the next frame, which is number @n. */
static inline void expect(struct nm_desc *d, uint32_t n)
{
	struct nm_pkthdr header;
	const uint8_t *frame = nm_nextpkt(d, &header);
	uint32_t got;

	EXPECT(frame);
	EXPECT_EQ(header.len, FRAME);
	memcpy(&got, frame + 14, sizeof(got));
	EXPECT_EQ(got, n);
	for (unsigned i = 18; i < FRAME; i++)
		EXPECT_EQ(frame[i], (uint8_t)n);
}

/* Poll one port. Return: revents */
static inline short ask(const struct nm_desc *d, short events, int timeout)
{
	struct pollfd p = { .fd = NETMAP_FD(d), .events = events };
	int ready = poll(&p, 1, timeout);

	EXPECT(ready >= 0);
	EXPECT_EQ(ready, p.revents != 0);
	return p.revents;
}

static inline void txsync(const struct nm_desc *d)
{
	EXPECT_EQ(ioctl(NETMAP_FD(d), NIOCTXSYNC), 0);
}

static inline void rxsync(const struct nm_desc *d)
{
	EXPECT_EQ(ioctl(NETMAP_FD(d), NIOCRXSYNC), 0);
}

static inline double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* EXPECT_ERRNO() - a call fails with -1 and this errno */
#define EXPECT_ERRNO(call, number)        \
	do {                              \
		errno = 0;                \
		EXPECT_EQ((call), -1);    \
		EXPECT_EQ(errno, number); \
	} while (0)

#endif
