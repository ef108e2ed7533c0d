/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: epoll sets with netmap's descriptors in them.
 */
#include <sys/epoll.h>

#include "ports.h"

static int change(int set, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data = { .u64 = data } };

	return epoll_ctl(set, op, fd, &event);
}

TEST(a_set_tells_of_frames)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0);

	EXPECT_EQ(change(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN, 17), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 10), 0);
	put(p.a, 1);
	txsync(p.a);
	for (int i = 0; i < 3; i++) { /* level-triggered */
		EXPECT_EQ(epoll_wait(set, events, 4, 1000), 1);
		EXPECT_EQ(events[0].events, EPOLLIN);
		EXPECT_EQ(events[0].data.u64, 17);
	}
	expect(p.b, 1);
	rx_of(p.b)->head = rx_of(p.b)->cur;
	EXPECT_EQ(epoll_pwait(set, events, 4, 0, NULL), 0);
	close(set);
	close_pair(p);
}

TEST(waiting_on_a_set_sends_what_is_pending)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0);

	EXPECT_EQ(change(set, EPOLL_CTL_ADD, NETMAP_FD(p.a), EPOLLIN, 1), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN, 2), 0);
	put(p.a, 1);
	EXPECT_EQ(epoll_wait(set, events, 4, 1000), 1);
	EXPECT_EQ(events[0].data.u64, 2);
	expect(p.b, 1);
	close(set);
	close_pair(p);
}

TEST(members_change_and_go)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0), fd = NETMAP_FD(p.a);

	EXPECT_ERRNO(change(set, EPOLL_CTL_MOD, fd, EPOLLIN, 1), ENOENT);
	EXPECT_ERRNO(change(set, EPOLL_CTL_DEL, fd, 0, 0), ENOENT);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1), 0);
	EXPECT_ERRNO(change(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1), EEXIST);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_MOD, fd, EPOLLOUT, 5), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 1);
	EXPECT_EQ(events[0].events, EPOLLOUT);
	EXPECT_EQ(events[0].data.u64, 5);
	EXPECT_EQ(change(set, EPOLL_CTL_DEL, fd, 0, 0), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, fd, EPOLLOUT, 6), 0);
	nm_close(p.a);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 0);
	EXPECT_ERRNO(change(fd, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN, 1), EBADF);
	EXPECT_ERRNO(change(STDERR_FILENO, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN, 1), EINVAL);
	close(set);
	nm_close(p.b);
}

/*
 * Nothing more is told of an edge. In a guest an interrupt that was on its way may tell of it once
 * more, as with the kernel's own files; a level would be told of for ever.
 */
static void expect_told(int set)
{
	struct epoll_event events[4];
	unsigned again = 0;

	while (epoll_wait(set, events, 4, 5) != 0)
		EXPECT(++again < 3);
}

TEST(edges_are_told_once)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0);

	EXPECT_EQ(change(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN | EPOLLET, 1), 0);
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(epoll_wait(set, events, 4, 5000), 1);
	expect_told(set);
	put(p.a, 2);
	txsync(p.a);
	EXPECT_EQ(epoll_wait(set, events, 4, 5000), 1);
	expect_told(set);
	close(set);
	close_pair(p);
}

TEST(one_shot_members_are_told_once_until_they_are_changed)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0), fd = NETMAP_FD(p.a);

	EXPECT_EQ(change(set, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLONESHOT, 1), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 1);
	EXPECT_EQ(epoll_wait(set, events, 4, 5), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLONESHOT, 2), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 0), 1);
	EXPECT_EQ(events[0].data.u64, 2);
	close(set);
	close_pair(p);
}

TEST(the_kernels_members_are_told_beside_ours)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0), ends[2], seen = 0;
	char byte = 0;

	EXPECT_EQ(pipe(ends), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 1), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN, 2), 0);
	EXPECT_EQ(write(ends[1], &byte, 1), 1);
	EXPECT_EQ(epoll_wait(set, events, 4, 1000), 1);
	EXPECT_EQ(events[0].data.u64, 1);
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(epoll_wait(set, events, 4, 1000), 2);
	for (int i = 0; i < 4; i++) { /* neither starves where there is room for one */
		EXPECT_EQ(epoll_wait(set, events, 1, 1000), 1);
		seen |= (int)events[0].data.u64;
	}
	EXPECT_EQ(seen, 3);
	EXPECT_ERRNO(epoll_wait(set, events, 0, 0), EINVAL);
	close(set);
	close(ends[0]);
	close(ends[1]);
	close_pair(p);
}

TEST(adding_a_port_takes_no_event_of_another_member)
{
	struct pair p = open_pipe();
	struct epoll_event events[4];
	int set = epoll_create1(0), ends[2];
	char byte = 0;

	EXPECT_EQ(pipe(ends), 0);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLONESHOT, 1), 0);
	EXPECT_EQ(write(ends[1], &byte, 1), 1);
	EXPECT_EQ(change(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), EPOLLIN, 2), 0);
	EXPECT_EQ(epoll_wait(set, events, 4, 1000), 1);
	EXPECT_EQ(events[0].data.u64, 1);
	close(set);
	close(ends[0]);
	close(ends[1]);
	close_pair(p);
}
