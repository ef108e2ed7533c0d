/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: poll(), ppoll(), select() and pselect() on netmap's descriptors.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/wait.h>

#include "ports.h"

TEST(a_new_port_can_send_and_has_nothing_to_receive)
{
	struct pair p = open_pipe();

	EXPECT_EQ(ask(p.a, POLLIN | POLLOUT, 0), POLLOUT);
	EXPECT_EQ(ask(p.a, POLLOUT | POLLWRNORM, 0), POLLOUT | POLLWRNORM);
	EXPECT_EQ(ask(p.b, POLLIN, 0), 0);
	close_pair(p);
}

TEST(the_timeout_is_kept)
{
	struct pair p = open_pipe();
	double start = seconds();

	EXPECT_EQ(ask(p.b, POLLIN, 30), 0);
	EXPECT(seconds() - start >= 0.029);
	close_pair(p);
}

TEST(any_poll_sends_what_is_pending)
{
	struct pair p = open_pipe();

	put(p.a, 1);
	EXPECT_EQ(ask(p.b, POLLIN, 0), 0);
	EXPECT_EQ(ask(p.a, 0, 0), 0);
	EXPECT_EQ(ask(p.b, POLLIN | POLLRDNORM, 0), POLLIN | POLLRDNORM);
	expect(p.b, 1);
	put(p.a, 2);
	EXPECT_EQ(ask(p.a, POLLIN, 0), 0);
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLIN);
	expect(p.b, 2);
	close_pair(p);
}

TEST(with_no_tx_poll_only_pollout_sends)
{
	struct pair p = open_pipe();

	nm_close(p.a);
	p.a = nm_open(name_of("vale0:p%d{%u", p.number), NULL, NETMAP_NO_TX_POLL, NULL);
	EXPECT(p.a);
	put(p.a, 1);
	EXPECT_EQ(ask(p.a, POLLIN, 0), 0);
	EXPECT_EQ(ask(p.b, POLLIN, 0), 0);
	EXPECT_EQ(ask(p.a, POLLOUT, 0), POLLOUT);
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLIN);
	expect(p.b, 1);
	close_pair(p);
}

/* One slot always stays empty, and a full pipe holds its sender back. */
TEST(a_full_pipe_is_not_writable_until_somebody_reads)
{
	struct pair p = open_pipe();
	uint32_t slots = tx_of(p.a)->num_slots;

	for (uint32_t i = 0; i < slots - 1; i++)
		put(p.a, i);
	EXPECT_EQ(nm_ring_space(tx_of(p.a)), 0);
	EXPECT_EQ(ask(p.a, POLLOUT, 0), 0);
	EXPECT_EQ(ask(p.a, POLLOUT, 5), 0);
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLIN);
	EXPECT_EQ(nm_ring_space(rx_of(p.b)), slots - 1);
	for (uint32_t i = 0; i < slots - 1; i++)
		expect(p.b, i);
	rx_of(p.b)->head = rx_of(p.b)->cur;
	rxsync(p.b);
	EXPECT_EQ(ask(p.a, POLLOUT, 0), POLLOUT);
	EXPECT_EQ(nm_ring_space(tx_of(p.a)), slots - 1);
	close_pair(p);
}

static void *send_later(void *d)
{
	rp_test_nap(20000000);
	put(d, 42);
	txsync(d);
	return NULL;
}

TEST(a_sleeper_is_woken_by_a_frame)
{
	struct pair p = open_pipe();
	pthread_t thread;
	double start = seconds();

	EXPECT_EQ(pthread_create(&thread, NULL, send_later, p.a), 0);
	EXPECT_EQ(ask(p.b, POLLIN, -1), POLLIN);
	EXPECT(seconds() - start >= 0.015);
	expect(p.b, 42);
	pthread_join(thread, NULL);
	close_pair(p);
}

static void *receive_later(void *d)
{
	rp_test_nap(20000000);
	EXPECT_EQ(ask(d, POLLIN, 0), POLLIN);
	expect(d, 0);
	rx_of(d)->head = rx_of(d)->cur;
	rxsync(d);
	return NULL;
}

TEST(a_sleeper_is_woken_by_room)
{
	struct pair p = open_pipe();
	pthread_t thread;

	for (uint32_t i = 0; i < tx_of(p.a)->num_slots - 1; i++)
		put(p.a, i);
	EXPECT_EQ(ask(p.a, POLLOUT, 0), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, receive_later, p.b), 0);
	EXPECT_EQ(ask(p.a, POLLOUT, -1), POLLOUT);
	pthread_join(thread, NULL);
	close_pair(p);
}

/* The worker of the backend is in between. */
TEST(frames_cross_a_switch)
{
	struct nm_desc *a = open_port(name_of("vale0:a%d", 0)),
		       *b = open_port(name_of("vale0:b%d", 0));

	for (uint32_t i = 0; i < 200; i++) {
		put(a, i);
		if (i % 3)
			txsync(a);
		else
			EXPECT_EQ(ask(a, 0, 0), 0);
		EXPECT_EQ(ask(b, POLLIN, 5000), POLLIN);
		expect(b, i);
	}
	nm_close(a);
	nm_close(b);
}

TEST(an_unbound_descriptor_has_an_error)
{
	int fd = open("/dev/netmap", O_RDWR);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	EXPECT(fd >= 0);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(p.revents, POLLERR);
	EXPECT_EQ(poll(&p, 1, -1), 1);
	close(fd);
}

/* The child learns of the rings, more than it has room for on its stack, when it polls. */
TEST(a_port_can_be_registered_elsewhere)
{
	enum { RINGS = 8, OTHERS = 31 };
	int fd = open("/dev/netmap", O_RDWR), ends[2], status;
	struct nmreq_register body = { .nr_mode = NR_REG_ALL_NIC,
				       .nr_tx_rings = RINGS,
				       .nr_rx_rings = RINGS };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_REGISTER,
				       .nr_body = (uintptr_t)&body };
	struct pollfd fds[OTHERS + 1];
	pid_t child;
	char byte;

	EXPECT(fd >= 0);
	EXPECT_EQ(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		EXPECT_EQ(read(ends[0], &byte, 1), 1);
		for (unsigned i = 0; i < OTHERS; i++)
			fds[i] = (struct pollfd){ .fd = -1 };
		fds[OTHERS] = (struct pollfd){ .fd = fd, .events = POLLIN };
		EXPECT_EQ(poll(fds, OTHERS + 1, 5), 0);
		_exit(0);
	}
	snprintf(header.nr_name, sizeof(header.nr_name), "%s", name_of("vale0:e%d", 0));
	EXPECT_EQ(ioctl(fd, NIOCCTRL, &header), 0);
	EXPECT_EQ(body.nr_rx_rings, RINGS);
	EXPECT_EQ(write(ends[1], "x", 1), 1);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

TEST(nonsense_in_a_ring_is_an_error_and_is_set_right)
{
	struct pair p = open_pipe();
	struct netmap_ring *ring = rx_of(p.b);

	ring->head = ring->cur = ring->num_slots + 5;
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLERR);
	EXPECT_EQ(ring->head, 0);
	EXPECT_EQ(ring->cur, 0);
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLIN);
	expect(p.b, 1);

	/* Within the ring, but beyond what it owns: refused until the program moves back. */
	ring->head = ring->cur = 9;
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLERR);
	ring->head = ring->cur = 1;
	put(p.a, 2);
	txsync(p.a);
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLIN);
	expect(p.b, 2);

	/* The ioctl says nothing. */
	tx_of(p.a)->cur = tx_of(p.a)->num_slots;
	txsync(p.a);
	EXPECT(tx_of(p.a)->cur < tx_of(p.a)->num_slots);
	close_pair(p);
}

/* Another program of the region may write it; nothing beyond the ring is touched for its sake. */
TEST(the_number_of_slots_is_that_of_the_beginning)
{
	struct pair p = open_pipe();
	uint32_t *slots = (uint32_t *)(uintptr_t)&rx_of(p.b)->num_slots, before = *slots;

	*slots = UINT32_MAX;
	rx_of(p.b)->cur = before;
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLERR);
	EXPECT_EQ(rx_of(p.b)->cur, 0);
	*slots = 1;
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(ask(p.b, POLLIN, 0), POLLIN);
	*slots = before;
	expect(p.b, 1);
	close_pair(p);
}

TEST(a_tail_that_the_program_wrote_is_restored)
{
	struct pair p = open_pipe();

	rx_of(p.b)->tail = 77;
	rxsync(p.b);
	EXPECT_EQ(rx_of(p.b)->tail, 0);
	close_pair(p);
}

TEST(other_descriptors_are_polled_as_ever)
{
	struct pair p = open_pipe();
	int ends[2];
	char byte = 0;
	struct pollfd fds[4] = { { .events = POLLIN }, { .fd = -1 }, { .fd = 9999, .events = 1 } };

	EXPECT_EQ(pipe(ends), 0);
	fds[0].fd = NETMAP_FD(p.b);
	fds[3] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	EXPECT_EQ(poll(fds, 4, 0), 1);
	EXPECT_EQ(fds[2].revents, POLLNVAL);
	fds[2].fd = -1;
	EXPECT_EQ(write(ends[1], &byte, 1), 1);
	EXPECT_EQ(poll(fds, 4, -1), 1);
	EXPECT_EQ(fds[0].revents, 0);
	EXPECT_EQ(fds[3].revents, POLLIN);
	put(p.a, 3);
	txsync(p.a);
	EXPECT_EQ(poll(fds, 4, -1), 2);
	EXPECT_EQ(fds[0].revents, POLLIN);
	EXPECT_EQ(fds[3].revents, POLLIN);
	close(ends[0]);
	close(ends[1]);
	close_pair(p);
}

TEST(select_says_what_poll_says)
{
	struct pair p = open_pipe();
	struct timeval timeout = { 0, 20000 };
	int fd = NETMAP_FD(p.b), closed = dup(STDIN_FILENO);
	fd_set r, w;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(fd, &r);
	FD_SET(fd, &w);
	EXPECT_EQ(select(fd + 1, &r, &w, NULL, NULL), 1);
	EXPECT(!FD_ISSET(fd, &r));
	EXPECT(FD_ISSET(fd, &w));

	FD_SET(fd, &r);
	EXPECT_EQ(select(fd + 1, &r, NULL, NULL, &timeout), 0);
	EXPECT(!FD_ISSET(fd, &r));
	EXPECT_EQ(timeout.tv_sec, 0);
	EXPECT_EQ(timeout.tv_usec, 0);

	put(p.a, 1);
	txsync(p.a);
	FD_SET(fd, &r);
	timeout.tv_sec = 10;
	EXPECT_EQ(select(fd + 1, &r, NULL, NULL, &timeout), 1);
	EXPECT(FD_ISSET(fd, &r));
	EXPECT(timeout.tv_sec >= 5);
	expect(p.b, 1);

	FD_ZERO(&r);
	FD_SET(fd, &r);
	FD_SET(closed, &r);
	close(closed);
	EXPECT_ERRNO(select(closed + 1, &r, NULL, NULL, &timeout), EBADF);
	close_pair(p);
}

TEST(ppoll_and_pselect_wait_with_the_signals_that_were_asked_for)
{
	struct pair p = open_pipe();
	struct pollfd one = { .fd = NETMAP_FD(p.b), .events = POLLIN };
	const struct timespec soon = { 0, 10000000 };
	sigset_t mask;
	fd_set r;

	sigemptyset(&mask);
	EXPECT_EQ(ppoll(&one, 1, &soon, &mask), 0);
	FD_ZERO(&r);
	FD_SET(one.fd, &r);
	EXPECT_EQ(pselect(one.fd + 1, &r, NULL, NULL, &soon, &mask), 0);
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(ppoll(&one, 1, NULL, &mask), 1);
	close_pair(p);
}

static void nothing(int signal)
{
	(void)signal;
}

static void *interrupt(void *thread)
{
	rp_test_nap(20000000);
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

TEST(a_signal_interrupts)
{
	struct pair p = open_pipe();
	struct pollfd one = { .fd = NETMAP_FD(p.b), .events = POLLIN };
	struct sigaction action = { .sa_handler = nothing };
	pthread_t self = pthread_self(), thread;

	EXPECT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, interrupt, &self), 0);
	EXPECT_ERRNO(poll(&one, 1, 30000), EINTR);
	pthread_join(thread, NULL);
	close_pair(p);
}
