/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* DOC: Pipes, as processes on the host have them: one source for both. */
#include "pipe.c"
