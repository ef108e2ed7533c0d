/* SPDX-License-Identifier: BSD-2-Clause */
#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "real.h"

enum { MAX_PIECES = 8 };

/* As ringpass.paths.runtime_dir(). */
static bool socket_address(struct sockaddr_un *address)
{
	const char *chosen = getenv("RINGPASS_RUNTIME_DIR");
	const char *session = getenv("XDG_RUNTIME_DIR");
	int n;

	address->sun_family = AF_UNIX;
	if (chosen && *chosen)
		n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/netmap.sock",
			     chosen);
	else if (geteuid() == 0)
		n = snprintf(address->sun_path, sizeof(address->sun_path),
			     "/run/ringpass/netmap.sock");
	else if (session && *session)
		n = snprintf(address->sun_path, sizeof(address->sun_path),
			     "%s/ringpass/netmap.sock", session);
	else
		return false;
	return n > 0 && (size_t)n < sizeof(address->sun_path);
}

bool rp_ask_verbose(void)
{
	const char *verbose = getenv("RINGPASS_NETMAP_VERBOSE");

	return verbose && *verbose && *verbose != '0';
}

static void say(const char *what, const char *why)
{
	if (rp_ask_verbose())
		fprintf(stderr, "ringpass: %s: %s\n", what, why);
}

int rp_ask_connect(int flags)
{
	struct sockaddr_un address;
	int fd, error;

	if (!socket_address(&address)) {
		say("/dev/netmap", "there is no place for the backend's socket: set "
				   "RINGPASS_RUNTIME_DIR to the backend's runtime directory");
		return -ENOENT;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		if (flags & O_NONBLOCK)
			rp_real()->fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
		return fd;
	}
	error = errno == ECONNREFUSED ? ENOENT : errno; /* the backend left its socket behind */
	rp_real()->close(fd);
	say(address.sun_path,
	    error == ENOENT ? "no backend listens here: start one: `ringpass up FILE.toml`" :
			      strerror(error));
	return -error;
}

bool rp_ask_is_ours(int fd)
{
	struct sockaddr_un ours, peer;
	socklen_t bytes = sizeof(peer);
	int saved = errno;
	bool same;

	memset(&peer, 0, sizeof(peer));
	same = getpeername(fd, (struct sockaddr *)&peer, &bytes) == 0 &&
	       peer.sun_family == AF_UNIX && socket_address(&ours) &&
	       strncmp(peer.sun_path, ours.sun_path, sizeof(peer.sun_path)) == 0;
	errno = saved;
	return same;
}

/* The program may have made the connection non-blocking; a full queue is the backend's to empty. */
static int send_all(int conn, const struct msghdr *message)
{
	for (;;) {
		struct pollfd room = { .fd = conn, .events = POLLOUT };

		if (sendmsg(conn, message, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EAGAIN)
			rp_real()->ppoll(&room, 1, NULL, NULL);
		else if (errno != EINTR)
			return errno == EBADF ? EBADF : EIO;
	}
}

static int send_request(int conn, enum rp_nm_op op, const struct iovec *payload, unsigned n,
			int answer_to)
{
	struct rp_nm_request request = { .magic = RP_NM_MAGIC,
					 .version = RP_NM_VERSION,
					 .op = (uint16_t)op };
	struct iovec pieces[1 + MAX_PIECES] = { { &request, sizeof(request) } };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr message = { .msg_iov = pieces,
				  .msg_iovlen = 1 + n,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	for (unsigned i = 0; i < n; i++) {
		pieces[1 + i] = payload[i];
		request.bytes += (uint32_t)payload[i].iov_len;
	}
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &answer_to, sizeof(int));
	return send_all(conn, &message);
}

static void take_descriptors(struct msghdr *message, struct rp_reply *reply)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		unsigned n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(reply->fd, CMSG_DATA(c), n * sizeof(int));
		reply->nfds = n;
	}
}

static int receive_answer(int from, struct rp_reply *reply)
{
	struct iovec piece = { &reply->message, sizeof(reply->message) };
	union {
		char bytes[CMSG_SPACE(RP_NM_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr message = { .msg_iov = &piece,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	const struct rp_nm_answer *head = &reply->message.head;
	ssize_t n;

	do {
		n = rp_real()->recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return EIO;
	take_descriptors(&message, reply);
	if ((size_t)n < sizeof(*head) || head->magic != RP_NM_MAGIC ||
	    message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
	    head->bytes + (uint64_t)head->attachment_bytes + sizeof(*head) != (uint64_t)n)
		return EIO;
	reply->error = head->error;
	reply->bytes = head->bytes;
	reply->attached = head->attachment_bytes;
	return 0;
}

static int ask(int conn, enum rp_nm_op op, const struct iovec *payload, unsigned n,
	       struct rp_reply *reply)
{
	int pair[2], error;

	reply->nfds = 0;
	reply->bytes = reply->attached = 0;
	if (n > MAX_PIECES || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return n > MAX_PIECES ? EINVAL : errno;
	error = send_request(conn, op, payload, n, pair[1]);
	rp_real()->close(pair[1]);
	if (!error)
		error = receive_answer(pair[0], reply);
	rp_real()->close(pair[0]);
	if (!error)
		error = reply->error;
	if (error)
		rp_reply_close(reply);
	return error;
}

int rp_ask(int conn, enum rp_nm_op op, const struct iovec *payload, unsigned n,
	   struct rp_reply *reply)
{
	struct rp_nm_answer *head = &reply->message.head;
	int error;

	head->text[0] = 0;
	error = ask(conn, op, payload, n, reply);
	head->text[sizeof(head->text) - 1] = 0;
	if (error == EIO && !head->text[0])
		say("/dev/netmap", "the backend is gone: start it again, then the program");
	else if (error)
		say("/dev/netmap", head->text);
	return error;
}

int rp_ask_quietly(int conn, enum rp_nm_op op, struct rp_reply *reply)
{
	return ask(conn, op, NULL, 0, reply);
}

const uint8_t *rp_reply_payload(const struct rp_reply *reply)
{
	return reply->message.data;
}

const uint8_t *rp_reply_attachment(const struct rp_reply *reply)
{
	return reply->message.data + reply->bytes;
}

void rp_reply_close(struct rp_reply *reply)
{
	for (unsigned i = 0; i < reply->nfds; i++)
		rp_real()->close(reply->fd[i]);
	reply->nfds = 0;
}
