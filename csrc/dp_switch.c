/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: switches. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "dataplane.h"
#include "logic.h"

struct rp_switch *rp_find_switch(rp_dataplane *dp, int sw, struct rp_err *err)
{
	if (sw >= 0 && sw < RP_MAX_SWITCHES && dp->sw[sw])
		return dp->sw[sw];
	rp_fail(err, ENOENT, "there is no switch %d", sw);
	return NULL;
}

int rp_switch_add(rp_dataplane *dp, const struct rp_switch_config *cfg, struct rp_err *err)
{
	struct rp_switch *sw = calloc(1, sizeof(*sw));
	int id = 0;

	if (sw)
		sw->members = calloc(1, sizeof(*sw->members));
	if (!sw || !sw->members) {
		free(sw);
		return rp_fail(err, ENOMEM, "out of memory");
	}
	pthread_mutex_lock(&dp->lock);
	while (id < RP_MAX_SWITCHES && dp->sw[id])
		id++;
	if (id == RP_MAX_SWITCHES) {
		free(sw->members);
		free(sw);
		id = rp_fail(err, ENOSPC, "there are %d switches already", RP_MAX_SWITCHES);
	} else {
		memcpy(sw->name, cfg->name, sizeof(sw->name));
		sw->fdb.table = &dp->state->fdb[id];
		sw->fdb.ageing_s = cfg->ageing_s;
		rp_fdb_clear(&sw->fdb);
		dp->sw[id] = sw;
	}
	pthread_mutex_unlock(&dp->lock);
	return id;
}

int rp_switch_set_ageing(rp_dataplane *dp, int sw, uint32_t ageing_s, struct rp_err *err)
{
	struct rp_switch *s;

	pthread_mutex_lock(&dp->lock);
	s = rp_find_switch(dp, sw, err);
	if (s)
		rp_store(&s->fdb.ageing_s, ageing_s);
	pthread_mutex_unlock(&dp->lock);
	return s ? 0 : -ENOENT;
}

/* After each change every lookup that has not seen it ends: a logic may build on that. */
static void tell_logic(rp_dataplane *dp, const struct rp_port *p, int up)
{
	if (!p->sw->logic)
		return;
	rp_logic_port(p->sw->logic, p, up);
	rp_quiet_wait(&dp->quiet);
}

/* Tell a new logic of all ports, let it take over, and wait until nobody asks the old one. */
static void replace_logic(rp_dataplane *dp, struct rp_switch *s, struct rp_switch_logic *now)
{
	struct rp_switch_logic *old = s->logic;

	for (uint32_t i = 0; i < s->members->n; i++)
		rp_logic_port(now, s->members->list[i], 1);
	if (!old || !now || !old->library || !now->library)
		rp_fdb_clear(&s->fdb);
	rp_store_release(&s->logic, now);
	rp_quiet_wait(&dp->quiet);
	rp_logic_close(old);
}

int rp_switch_set_logic(rp_dataplane *dp, int sw, int kind, int fd, const char *config,
			struct rp_err *err)
{
	struct rp_switch_logic *now = NULL;
	struct rp_switch *s;
	int ret = -ENOENT;

	pthread_mutex_lock(&dp->lock);
	s = rp_find_switch(dp, sw, err);
	if (s)
		ret = rp_logic_open(&now, kind, fd, config, err);
	if (ret == 0)
		replace_logic(dp, s, now);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_switch_del(rp_dataplane *dp, int sw, struct rp_err *err)
{
	struct rp_switch *s;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	s = rp_find_switch(dp, sw, err);
	if (!s) {
		ret = -ENOENT;
	} else if (s->members->n) {
		ret = rp_fail(err, EBUSY, "switch %.63s still has %u ports", s->name,
			      s->members->n);
	} else {
		dp->sw[sw] = NULL;
		rp_logic_close(s->logic);
		free(s->members);
		free(s);
	}
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_switch_fdb(rp_dataplane *dp, int sw, struct rp_fdb_row *rows, uint32_t max,
		  struct rp_err *err)
{
	uint32_t n = 0, kept = 0;
	struct rp_switch *s;

	pthread_mutex_lock(&dp->lock);
	s = rp_find_switch(dp, sw, err);
	if (s)
		n = rp_fdb_rows(&s->fdb, rp_now_s(), rows, max);
	for (uint32_t i = 0; i < n; i++) {
		const struct rp_port *p =
			rows[i].port < RP_MAX_PORTS ? s->members->by_number[rows[i].port] : NULL;

		if (!p)
			continue;
		rows[kept] = rows[i];
		rows[kept++].port = p->id;
	}
	pthread_mutex_unlock(&dp->lock);
	return s ? (int)kept : -ENOENT;
}

static int replace_members(rp_dataplane *dp, struct rp_switch *sw, struct rp_port *p, bool in,
			   struct rp_err *err)
{
	struct rp_members *old = sw->members, *now = calloc(1, sizeof(*now));

	if (!now)
		return rp_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < old->n; i++) {
		if (old->list[i] != p)
			now->list[now->n++] = old->list[i];
	}
	if (in)
		now->list[now->n++] = p;
	for (uint32_t i = 0; i < now->n; i++)
		now->by_number[now->list[i]->sw_port] = now->list[i];
	rp_store_release(&sw->members, now);
	rp_quiet_wait(&dp->quiet);
	free(old);
	return 0;
}

int rp_switch_join(rp_dataplane *dp, struct rp_switch *sw, struct rp_port *p, struct rp_err *err)
{
	int ret;

	p->sw = sw;
	p->sw_port = 0;
	while (sw->members->by_number[p->sw_port])
		p->sw_port++; /* as many numbers as ports there can be */
	ret = replace_members(dp, sw, p, true, err);
	if (ret == 0)
		tell_logic(dp, p, 1);
	return ret;
}

int rp_switch_part(rp_dataplane *dp, struct rp_switch *sw, struct rp_port *p, struct rp_err *err)
{
	int ret;

	tell_logic(dp, p, 0);
	ret = replace_members(dp, sw, p, false, err);
	if (ret == 0)
		rp_fdb_forget(&sw->fdb, p->sw_port);
	else
		tell_logic(dp, p, 1);
	return ret;
}

static int announce(rp_dataplane *dp, struct rp_port *p, const uint8_t *mac, struct rp_err *err)
{
	rp_caller *c = rp_caller_new(dp, err);
	int ret;

	if (!c)
		return err ? -err->code : -ENOMEM;
	rp_quiet_enter(&dp->quiet, c->quiet);
	c->now_s = rp_now_s();
	ret = rp_announce(c, p, mac);
	rp_quiet_leave(c->quiet);
	rp_caller_free(c);
	return ret < 0 ? rp_fail(err, -ret, "out of memory") : 0;
}

int rp_port_announce(rp_dataplane *dp, int port, const uint8_t mac[6], struct rp_err *err)
{
	struct rp_port *p;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_port(dp, port, err);
	if (!p)
		ret = -ENOENT;
	else if (p->sw) /* elsewhere nobody listens */
		ret = announce(dp, p, mac, err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}
