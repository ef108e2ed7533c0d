/* SPDX-License-Identifier: BSD-2-Clause */
#include "quiet.h"

#include <time.h>

void rp_quiet_init(struct rp_quiet *q)
{
	q->now = 1;
	for (unsigned i = 0; i < RP_MAX_THREADS; i++)
		q->thread[i] = (struct rp_quiet_thread){ 0 };
}

struct rp_quiet_thread *rp_quiet_join(struct rp_quiet *q)
{
	for (unsigned i = 0; i < RP_MAX_THREADS; i++) {
		if (rp_claim(&q->thread[i].used))
			return &q->thread[i];
	}
	return NULL;
}

void rp_quiet_part(struct rp_quiet_thread *t)
{
	rp_store(&t->seen, 0);
	rp_store_release(&t->used, 0);
}

void rp_quiet_wait(struct rp_quiet *q)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	uint64_t now = rp_add_fetch(&q->now, 1);

	rp_fence_full();
	for (unsigned i = 0; i < RP_MAX_THREADS; i++) {
		for (;;) {
			uint64_t seen = rp_load_acquire(&q->thread[i].seen);

			if (seen == 0 || seen >= now)
				break;
			nanosleep(&pause, NULL);
		}
	}
}
