/* SPDX-License-Identifier: BSD-2-Clause */
#include "usermem.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void *pointer(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

int rp_copy_in(void *to, uint64_t from, size_t bytes)
{
	/* cppcheck-suppress ctuuninitvar ; it is what is written to */
	struct iovec here = { to, bytes }, there = { pointer(from), bytes };
	ssize_t done;

	if (bytes == 0)
		return 0;
	done = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
	if (done == (ssize_t)bytes)
		return 0;
	if (done < 0 && errno != EFAULT) { /* not allowed here: then do without the check */
		memcpy(to, pointer(from), bytes);
		return 0;
	}
	return EFAULT;
}

int rp_copy_out(uint64_t to, const void *from, size_t bytes)
{
	struct iovec here = { pointer((uint64_t)(uintptr_t)from), bytes };
	struct iovec there = { pointer(to), bytes };
	ssize_t done;

	if (bytes == 0)
		return 0;
	done = process_vm_writev(getpid(), &here, 1, &there, 1, 0);
	if (done == (ssize_t)bytes)
		return 0;
	if (done < 0 && errno != EFAULT) {
		memcpy(pointer(to), from, bytes);
		return 0;
	}
	return EFAULT;
}
