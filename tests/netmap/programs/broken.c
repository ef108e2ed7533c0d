/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Ports that break while programs have them open: those that wait wake up, and all are told.
 *
 * Monitors, for they break as soon as the port goes that they monitor.
 */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "ports.h"

/* A port of a switch, and its monitor. */
static struct pair open_monitored(void)
{
	static unsigned ports;
	struct pair p = { .number = ports++ };
	char name[80];

	p.a = open_port(name_of("vale0:m%d.%u", p.number));
	snprintf(name, sizeof(name), "%s/rt", name_of("vale0:m%d.%u", p.number));
	p.b = open_port(name);
	return p;
}

static void *close_later(void *d)
{
	rp_test_nap(20000000);
	nm_close(d);
	return NULL;
}

TEST(a_sleeper_is_told_that_the_port_which_it_monitors_has_gone)
{
	struct pair p = open_monitored();
	pthread_t thread;

	EXPECT_EQ(ask(p.b, POLLIN, 0), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, close_later, p.a), 0);
	EXPECT_EQ(ask(p.b, POLLIN, -1), POLLERR);
	pthread_join(thread, NULL);
	EXPECT_ERRNO(ioctl(NETMAP_FD(p.b), NIOCRXSYNC), EIO);
	EXPECT_ERRNO(ioctl(NETMAP_FD(p.b), NIOCTXSYNC), EIO);
	nm_close(p.b);
}

TEST(what_came_before_is_there_to_be_read)
{
	struct pair p = open_monitored();

	put(p.a, 4);
	txsync(p.a);
	nm_close(p.a);
	rxsync(p.b);
	EXPECT_EQ(ask(p.b, POLLIN, -1), POLLIN);
	expect(p.b, 4);
	EXPECT_EQ(ask(p.b, POLLIN, -1), POLLERR);
	nm_close(p.b);
}

TEST(select_tells_of_it)
{
	struct pair p = open_monitored();
	fd_set readable;

	nm_close(p.a);
	FD_ZERO(&readable);
	FD_SET(NETMAP_FD(p.b), &readable);
	EXPECT_EQ(select(NETMAP_FD(p.b) + 1, &readable, NULL, NULL, NULL), 1);
	EXPECT(FD_ISSET(NETMAP_FD(p.b), &readable));
	EXPECT_ERRNO(ioctl(NETMAP_FD(p.b), NIOCRXSYNC), EIO);
	nm_close(p.b);
}

TEST(a_set_of_edges_tells_of_it_once)
{
	struct pair p = open_monitored();
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int set = epoll_create1(0);

	EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), &event), 0);
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
	EXPECT_EQ(event.events, EPOLLIN);
	expect(p.b, 1);
	nm_close(p.a);
	EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
	EXPECT_EQ(event.events, EPOLLERR);
	EXPECT_EQ(epoll_wait(set, &event, 1, 5), 0);
	close(set);
	nm_close(p.b);
}

/* The backend reads slots, and finds one that names no buffer: the program's own fault. */
TEST(who_breaks_its_own_port_is_told)
{
	struct nm_desc *d = open_port(name_of("vale0:b%d", 0));
	struct netmap_ring *ring = tx_of(d);

	put(d, 1);
	ring->slot[0].buf_idx = 0;
	while (ioctl(NETMAP_FD(d), NIOCTXSYNC) == 0)
		rp_test_nap(1000000);
	EXPECT_EQ(errno, EIO);
	EXPECT_EQ(ask(d, POLLIN, -1), POLLERR);
	EXPECT_EQ(ask(d, POLLOUT, -1), POLLERR);
	nm_close(d);
	d = open_port(name_of("vale0:b%d", 0));
	EXPECT_EQ(ask(d, POLLOUT, -1), POLLOUT);
	EXPECT_EQ(ask(d, POLLIN, 0), 0);
	nm_close(d);
}
