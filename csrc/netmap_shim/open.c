/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Opening /dev/netmap: a connection to the backend.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "interpose.h"
#include "real.h"
#include "session.h"

static int open_device(int flags)
{
	int fd = rp_ask_connect(flags), error;

	if (fd < 0) {
		errno = -fd;
		return -1;
	}
	error = rp_session_adopt(fd);
	if (error) {
		rp_real()->close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
	if (path && strcmp(path, "/dev/netmap") == 0)
		return open_device(flags);
	return rp_real()->openat(dir, path, flags, mode);
}

/* The mode is there only if a file may be made. */
#define MODE_OF(flags, mode)                                \
	do {                                                \
		if ((flags) & (O_CREAT | __O_TMPFILE)) {    \
			va_list arguments;                  \
                                                            \
			va_start(arguments, flags);         \
			(mode) = va_arg(arguments, mode_t); \
			va_end(arguments);                  \
		}                                           \
	} while (0)

RP_EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(AT_FDCWD, path, flags, mode);
}

RP_EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

RP_EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(dir, path, flags, mode);
}

RP_EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(dir, path, flags | O_LARGEFILE, mode);
}

/* What programs call that were compiled with checks: a file that is made needs a mode. */
static int open_checked(int dir, const char *path, int flags)
{
	if (flags & (O_CREAT | __O_TMPFILE))
		abort();
	return open_any(dir, path, flags, 0);
}

RP_EXPORT int __open_2(const char *path, int flags)
{
	return open_checked(AT_FDCWD, path, flags);
}

RP_EXPORT int __open64_2(const char *path, int flags)
{
	return open_checked(AT_FDCWD, path, flags | O_LARGEFILE);
}

RP_EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return open_checked(dir, path, flags);
}

RP_EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return open_checked(dir, path, flags | O_LARGEFILE);
}
