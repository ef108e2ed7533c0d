/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: ioctl(): netmap's numbers, on netmap's descriptors.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

#include "control.h"
#include "include/net/netmap.h"
#include "interpose.h"
#include "real.h"

static bool is_netmap(unsigned long request)
{
	switch ((uint32_t)request) { /* programs that keep it in an int extend its sign */
	case NIOCCTRL:
	case NIOCGINFO:
	case NIOCREGIF:
	case NIOCCONFIG:
	case NIOCTXSYNC:
	case NIOCRXSYNC:
		return true;
	default:
		return false;
	}
}

static int carry_out(struct rp_session *s, int fd, uint32_t request, uint64_t argument)
{
	switch (request) {
	case NIOCTXSYNC:
		return rp_session_txsync(s, fd);
	case NIOCRXSYNC:
		return rp_session_rxsync(s, fd);
	case NIOCCTRL:
		return rp_control(s, fd, argument);
	case NIOCCONFIG:
		return rp_control_config(s, fd, argument);
	default:
		return rp_control_legacy(s, fd, request, argument);
	}
}

RP_EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct rp_session *s;
	va_list arguments;
	void *argument;
	int error;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	s = is_netmap(request) ? rp_session_of(fd) : NULL;
	if (!s)
		return rp_real()->ioctl(fd, request, argument);
	error = carry_out(s, fd, (uint32_t)request, (uint64_t)(uintptr_t)argument);
	rp_session_put(s);
	if (error)
		errno = error;
	return error ? -1 : 0;
}
