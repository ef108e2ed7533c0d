/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_ERR_H
#define RP_ERR_H

#include "ringpass.h"

/**
 * rp_fail() - say why a call of the facade failed
 * @err:	filled; may be NULL
 * @code:	positive errno
 * @fmt:	the reason, as a sentence without its full stop
 *
 * Return: -@code, so that callers can return rp_fail(...)
 */
int rp_fail(struct rp_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

#endif
