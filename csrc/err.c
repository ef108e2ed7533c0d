/* SPDX-License-Identifier: BSD-2-Clause */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>

int rp_fail(struct rp_err *err, int code, const char *fmt, ...)
{
	va_list args;

	if (err) {
		err->code = code;
		va_start(args, fmt);
		/* clang-tidy 14 loses track of va_start(). NOLINTNEXTLINE(clang-analyzer-valist.*) */
		vsnprintf(err->text, sizeof(err->text), fmt, args);
		va_end(args);
	}
	return -code;
}
