/* SPDX-License-Identifier: BSD-2-Clause */
#include "call.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "err.h"

enum {
	REQUESTS = 256,
	REAP_EVERY = 64 /* done requests keep their place until they are collected */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static aio_context_t context;
static int ready_fd = -1; /* always readable */
static uint32_t submitted;

static void open_context(void)
{
	ready_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ready_fd >= 0 && syscall(SYS_io_setup, REQUESTS, &context) < 0)
		context = 0; /* a kernel without AIO, or its limit is reached: write() must do */
}

static void reap(void)
{
	struct io_event done[REQUESTS];
	struct timespec now = { 0 };

	syscall(SYS_io_getevents, context, 0, REQUESTS, done, &now);
}

static void signal_eventfd(int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)ready_fd,
		.aio_buf = POLLIN,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list = &request;

	if (rp_add_fetch(&submitted, 1) % REAP_EVERY == 0)
		reap();
	if (syscall(SYS_io_submit, context, 1, &list) < 0 && errno == EAGAIN) {
		reap();
		syscall(SYS_io_submit, context, 1, &list);
	}
}

int rp_call_open(rp_call_t *call, int fd, struct rp_err *err)
{
	struct stat st;
	int own;

	*call = RP_CALL_NONE;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || (own = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
		return rp_fail(err, EBADF, "call descriptor %d: %s", fd, strerror(errno));
	pthread_once(&once, open_context);
	*call = (uint32_t)own << 1 | S_ISSOCK(st.st_mode);
	return 0;
}

void rp_call_close(rp_call_t call)
{
	if (call != RP_CALL_NONE)
		close((int)(call >> 1));
}

void rp_call_make(rp_call_t call)
{
	const uint64_t one = 1;
	int fd = (int)(call >> 1);
	bool is_socket = call & 1;

	if (call == RP_CALL_NONE)
		return;
	if (is_socket)
		send(fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (context)
		signal_eventfd(fd);
	else if (write(fd, &one, sizeof(one)) < 0)
		return;
}
