/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: What becomes of netmap's descriptors: copied, inherited, passed, closed.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "ports.h"

/* Is this port, which is registered exclusively, free again? The backend sees the close soon. */
static void expect_free(const char *name)
{
	struct nm_desc *d = NULL;

	for (int i = 0; !d && i < 1000; i++) {
		d = nm_open(name, NULL, NR_EXCLUSIVE, NULL);
		if (!d)
			rp_test_nap(1000000);
	}
	EXPECT(d);
	nm_close(d);
}

static void expect_busy(const char *name)
{
	EXPECT(!nm_open(name, NULL, NR_EXCLUSIVE, NULL));
	EXPECT_EQ(errno, EBUSY);
}

/* Wait for a child that must end well. */
static void expect_success(pid_t child)
{
	int status;

	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT(WIFEXITED(status));
	EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(a_port_is_bound_until_its_last_descriptor_goes)
{
	const char *name = name_of("vale0:x%d", 0);
	struct nm_desc *d = nm_open(name, NULL, NR_EXCLUSIVE, NULL);
	int copies[4];

	EXPECT(d);
	copies[0] = dup(d->fd);
	copies[1] = fcntl(d->fd, F_DUPFD, 50);
	copies[2] = fcntl(d->fd, F_DUPFD_CLOEXEC, 50);
	copies[3] = dup2(d->fd, 77);
	EXPECT(copies[1] >= 50);
	EXPECT_EQ(copies[3], 77);
	EXPECT_EQ(close(d->fd), 0);
	d->fd = -1;
	for (unsigned i = 0; i < 4; i++) {
		struct pollfd one = { .fd = copies[i], .events = POLLOUT };

		expect_busy(name);
		EXPECT_EQ(ioctl(copies[i], NIOCTXSYNC), 0);
		EXPECT_EQ(poll(&one, 1, 0), 1);
		EXPECT_EQ(one.revents, POLLOUT);
		EXPECT_EQ(close(copies[i]), 0);
	}
	nm_close(d);
	expect_free(name);
}

TEST(another_file_in_its_place_is_just_a_file)
{
	struct pair p = open_pipe();
	int ends[2], old = dup(NETMAP_FD(p.a));
	struct pollfd one = { .fd = old, .events = POLLIN };

	EXPECT_EQ(pipe(ends), 0);
	EXPECT_EQ(dup2(ends[0], old), old);
	EXPECT_EQ(poll(&one, 1, 0), 0);
	EXPECT_ERRNO(ioctl(old, NIOCTXSYNC), ENOTTY);
	close(old);
	close(ends[0]);
	close(ends[1]);
	close_pair(p);
}

TEST(a_copy_that_fails_leaves_the_port)
{
	struct pair p = open_pipe();
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(0);

	EXPECT_EQ(epoll_ctl(set, EPOLL_CTL_ADD, NETMAP_FD(p.b), &event), 0);
	EXPECT_ERRNO(dup2(-1, NETMAP_FD(p.b)), EBADF);
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(epoll_wait(set, &event, 1, 1000), 1);
	expect(p.b, 1);
	close(set);
	close_pair(p);
}

TEST(what_is_closed_is_closed)
{
	struct nm_desc *d = open_port(name_of("vale0:x%d", 0));
	int fd = d->fd;

	EXPECT_EQ(close(fd), 0);
	EXPECT_ERRNO(close(fd), EBADF);
	EXPECT_ERRNO(ioctl(fd, NIOCTXSYNC), EBADF);
	d->fd = -1;
	nm_close(d);
}

/* A program that becomes a daemon closes all that it does not know; it does not know ours. */
static void use_after(void (*close_others)(int keep))
{
	struct pair p = open_pipe();

	close_others(NETMAP_FD(p.b));
	put(p.a, 1);
	txsync(p.a);
	EXPECT_EQ(ask(p.b, POLLIN, 100), POLLIN);
	EXPECT_EQ(ask(p.b, POLLOUT, 1), POLLOUT);
	expect(p.b, 1);
	close_pair(p);
}

static void close_one_by_one(int keep)
{
	for (int fd = keep + 1; fd < 2000; fd++)
		close(fd);
}

static void close_from(int keep)
{
	closefrom(keep + 1);
}

static void close_in_range(int keep)
{
	EXPECT_EQ(close_range((unsigned)keep + 1, 5000, 0), 0);
}

TEST(closing_unknown_descriptors_one_by_one_spares_ours)
{
	use_after(close_one_by_one);
}

TEST(closefrom_spares_ours)
{
	use_after(close_from);
}

TEST(close_range_spares_ours)
{
	use_after(close_in_range);
}

TEST(a_child_goes_on_with_the_port)
{
	struct pair p = open_pipe();
	pid_t child = fork();

	if (child == 0) {
		put(p.a, 5);
		txsync(p.a);
		EXPECT_EQ(ask(p.a, POLLIN, 5000), POLLIN);
		expect(p.a, 6);
		_exit(0);
	}
	EXPECT_EQ(ask(p.b, POLLIN, 5000), POLLIN);
	expect(p.b, 5);
	put(p.b, 6);
	txsync(p.b);
	expect_success(child);
	close_pair(p);
}

TEST(a_port_stays_bound_while_a_child_has_it)
{
	const char *name = name_of("vale0:x%d", 0);
	struct nm_desc *d = nm_open(name, NULL, NR_EXCLUSIVE, NULL);
	int ends[2];
	pid_t child;
	char byte;

	EXPECT(d);
	EXPECT_EQ(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		close(ends[1]);
		EXPECT_EQ(read(ends[0], &byte, 1), 0); /* until the parent has looked */
		_exit(0);
	}
	close(ends[0]);
	nm_close(d);
	expect_busy(name);
	close(ends[1]);
	expect_success(child);
	expect_free(name);
}

struct busy {
	int fd;
	int stop;
};

static void *sync_all_the_time(void *argument)
{
	struct busy *busy = argument;

	while (!__atomic_load_n(&busy->stop, __ATOMIC_RELAXED))
		EXPECT_EQ(ioctl(busy->fd, NIOCRXSYNC), 0);
	return NULL;
}

/* The thread that syncs is not in the child, so the ring must not wait for it there. */
TEST(a_child_does_not_inherit_what_threads_were_at)
{
	struct pair p = open_pipe();

	for (unsigned i = 0; i < 30; i++) {
		struct busy busy = { .fd = NETMAP_FD(p.b) };
		pthread_t thread;
		int ends[2];
		pid_t child;
		char byte;

		EXPECT_EQ(pipe(ends), 0);
		EXPECT_EQ(pthread_create(&thread, NULL, sync_all_the_time, &busy), 0);
		rp_test_nap(200000);
		child = fork();
		if (child == 0) {
			EXPECT_EQ(read(ends[0], &byte, 1), 1); /* until only we sync */
			rx_of(p.b)->tail = 77;
			rxsync(p.b);
			EXPECT_EQ(rx_of(p.b)->tail, 0);
			_exit(0);
		}
		__atomic_store_n(&busy.stop, 1, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		EXPECT_EQ(write(ends[1], "x", 1), 1);
		expect_success(child);
		close(ends[0]);
		close(ends[1]);
	}
	close_pair(p);
}

static void send_fd(int to, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	char byte = 0;
	struct iovec piece = { &byte, 1 };
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	EXPECT_EQ(sendmsg(to, &message, 0), 1);
}

static int receive_fd(int from)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec piece = { &byte, 1 };
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	int fd;

	EXPECT_EQ(recvmsg(from, &message, 0), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* The receiver never opened the device: it has a descriptor, and is told where the netmap_if is. */
TEST(a_descriptor_can_be_passed)
{
	int sockets[2], fd;
	uint64_t where[2];
	struct netmap_if *nifp;
	struct netmap_ring *ring;
	struct pollfd one;
	void *memory;
	pid_t child;

	EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	child = fork();
	if (child == 0) {
		struct pair p = open_pipe();

		put(p.a, 9);
		txsync(p.a);
		where[0] = p.b->req.nr_offset;
		where[1] = p.b->req.nr_memsize;
		send_fd(sockets[1], NETMAP_FD(p.b));
		EXPECT_EQ(write(sockets[1], where, sizeof(where)), (ssize_t)sizeof(where));
		close(NETMAP_FD(p.b));
		EXPECT_EQ(read(sockets[1], &fd, 1), 1); /* until the parent is done */
		_exit(0);
	}
	fd = receive_fd(sockets[0]);
	EXPECT_EQ(read(sockets[0], where, sizeof(where)), (ssize_t)sizeof(where));
	one = (struct pollfd){ .fd = fd, .events = POLLIN };
	EXPECT_EQ(poll(&one, 1, 5000), 1);
	EXPECT_EQ(one.revents, POLLIN);
	EXPECT_EQ(mmap(NULL, where[1] + 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	memory = mmap(NULL, where[1], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(memory != MAP_FAILED);
	nifp = NETMAP_IF(memory, where[0]);
	ring = NETMAP_RXRING(nifp, 0);
	EXPECT_EQ(nm_ring_space(ring), 1);
	EXPECT_EQ(NETMAP_BUF(ring, ring->slot[0].buf_idx)[20], 9);
	EXPECT_EQ(ioctl(fd, NIOCRXSYNC), 0);
	EXPECT_EQ(write(sockets[0], "x", 1), 1);
	expect_success(child);
	munmap(memory, where[1]);
	close(fd);
	close(sockets[0]);
	close(sockets[1]);
}

TEST(a_descriptor_outlives_exec)
{
	struct pair p = open_pipe();
	char number[16];
	pid_t child;

	snprintf(number, sizeof(number), "%d", NETMAP_FD(p.b));
	setenv("TEST_INHERITED", number, 1);
	put(p.a, 4);
	txsync(p.a);
	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", "self", "this_is_the_program_after_exec", (char *)NULL);
		_exit(127);
	}
	expect_success(child);
	unsetenv("TEST_INHERITED");
	close_pair(p);
}

TEST(this_is_the_program_after_exec)
{
	const char *number = getenv("TEST_INHERITED");
	struct pollfd one = { .events = POLLIN };

	if (!number)
		return; /* nobody ran us for this */
	one.fd = atoi(number);
	EXPECT_EQ(poll(&one, 1, 5000), 1);
	EXPECT_EQ(one.revents, POLLIN);
	EXPECT_EQ(ioctl(one.fd, NIOCRXSYNC), 0);
	EXPECT(mmap(NULL, 4096, PROT_READ, MAP_SHARED, one.fd, 0) != MAP_FAILED);
}

TEST(a_mapping_is_a_window_of_the_region)
{
	struct pair p = open_pipe();
	int fd = open("/dev/netmap", O_RDWR);
	const uint32_t bytes = p.a->req.nr_memsize;
	char *window;

	EXPECT_EQ(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	window = mmap(NULL, 8192, PROT_READ, MAP_SHARED, NETMAP_FD(p.a), 4096);
	EXPECT(window != MAP_FAILED);
	EXPECT_EQ(memcmp(window, (char *)p.a->mem + 4096, 8192), 0);
	EXPECT_EQ(mmap(NULL, 8192, PROT_READ, MAP_SHARED, NETMAP_FD(p.a), bytes - 4096),
		  MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	munmap(window, 8192);
	close(fd);
	close_pair(p);
}
