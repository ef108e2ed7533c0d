/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Programs whose backend dies. It is the peer of their connection, and they kill it.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ports.h"

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void kill_backend(const struct nm_desc *d)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	EXPECT_EQ(getsockopt(NETMAP_FD(d), SOL_SOCKET, SO_PEERCRED, &peer, &bytes), 0);
	EXPECT(peer.pid > 1 && peer.pid != getpid());
	EXPECT_EQ(kill(peer.pid, SIGKILL), 0);
}

TEST(a_dead_backend_is_an_error_and_a_pipe_goes_on)
{
	struct nm_desc *port = open_port(name_of("vale0:o%d", 0));
	struct pair p = open_pipe();
	struct epoll_event event = { .events = EPOLLIN };
	struct pollfd both[2] = { { .fd = NETMAP_FD(p.b), .events = POLLIN },
				  { .fd = NETMAP_FD(port), .events = POLLIN } };
	int set = epoll_create1(0);
	double start;

	EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, NETMAP_FD(port), &event), 0);
	EXPECT_EQ(ask(port, POLLIN, 0), 0);
	kill_backend(port);
	EXPECT_EQ(ask(port, POLLIN, -1), POLLERR);
	EXPECT_EQ(poll(both, 2, -1), 1);
	EXPECT_EQ(both[0].revents, 0);
	EXPECT_EQ(both[1].revents, POLLERR);
	EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
	EXPECT_EQ(event.events, EPOLLERR);

	start = cpu_seconds();
	EXPECT_EQ(ask(p.b, POLLIN, 100), 0);
	EXPECT(cpu_seconds() - start < 0.02);
	put(p.a, 7);
	txsync(p.a);
	EXPECT_EQ(ask(p.b, POLLIN, 1000), POLLIN);
	expect(p.b, 7);
	close(set);
	nm_close(port);
	close_pair(p);
}
