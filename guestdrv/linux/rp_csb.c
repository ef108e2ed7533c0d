/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* DOC: Rings and their CSBs, as processes on the host have them: one source for both. */
#include "csb.c"
