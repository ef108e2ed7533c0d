/* SPDX-License-Identifier: BSD-2-Clause */
#include "logic_for_tests.h"

#include <stdio.h>
#include <string.h>

#ifdef OTHER_VERSION /* than that of the header */
#define RP_LOGIC_VERSION OTHER_VERSION
#endif

static int init(void **state, const char *config, char *why)
{
	void *at;

	if (strcmp(config, "silent") == 0)
		return -1;
	if (sscanf(config, "%p", &at) != 1) {
		memset(why, 'x', RP_LOGIC_WHY); /* without an end */
		return -1;
	}
	*state = at;
	((struct wanted *)at)->inits++;
	return 0;
}

static void leave(void *state)
{
	((struct wanted *)state)->exits++;
}

static void port(void *state, const char *name, uint16_t number, int up)
{
	struct wanted *w = state;

	w->up[number] = (uint32_t)up;
	snprintf(w->name[number], sizeof(w->name[number]), "%s", name);
}

static void look_at(struct wanted *w, const struct rp_logic_frame *f)
{
	const uint32_t promised = f->len < RP_LOGIC_HEAD ? f->len : RP_LOGIC_HEAD;

	w->frames++;
	w->again += f->flags & RP_LOGIC_AGAIN;
	w->short_heads += f->here < promised;
	for (uint32_t i = 0; i < promised; i++)
		w->sum += f->data[i];
}

static void lookup(void *state, struct rp_logic_batch *b)
{
	struct wanted *w = state;

	w->lookups++;
	for (uint32_t i = 0; i < b->n; i++) {
		look_at(w, &b->frame[i]);
		if (!w->nothing)
			b->dest[i] = w->dest;
	}
	b->set = &w->set;
	b->nsets = w->nsets;
	if (w->scribble)
		*b = (struct rp_logic_batch){ .n = UINT32_MAX, .nsets = UINT32_MAX };
}

RP_LOGIC(.init = init, .exit = leave, .port = port, .lookup = lookup);
