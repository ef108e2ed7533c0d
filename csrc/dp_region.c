/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: regions. */
#include <errno.h>

#include "dataplane.h"

struct rp_region *rp_find_region(rp_dataplane *dp, int region, struct rp_err *err)
{
	if (region > 0 && region <= RP_MAX_REGIONS && dp->region[region])
		return dp->region[region];
	rp_fail(err, ENOENT, "there is no region %d", region);
	return NULL;
}

struct rp_region *rp_make_region(rp_dataplane *dp, const struct rp_region_config *cfg,
				 struct rp_err *err)
{
	int id = 1;

	while (id <= RP_MAX_REGIONS && dp->region[id])
		id++;
	if (id > RP_MAX_REGIONS) {
		rp_fail(err, ENOSPC, "there are %d regions already", RP_MAX_REGIONS);
		return NULL;
	}
	dp->region[id] = rp_region_new(cfg, err);
	if (dp->region[id])
		dp->region[id]->id = id;
	return dp->region[id];
}

static void free_region(rp_dataplane *dp, struct rp_region *r)
{
	dp->region[r->id] = NULL;
	rp_region_free(r);
}

void rp_use_region(struct rp_region *r)
{
	r->users++;
}

void rp_leave_region(rp_dataplane *dp, struct rp_region *r)
{
	if (--r->users == 0 && !r->kept)
		free_region(dp, r);
}

int rp_region_add(rp_dataplane *dp, const struct rp_region_config *cfg, struct rp_err *err)
{
	struct rp_region *r;
	int ret;

	pthread_mutex_lock(&dp->lock);
	r = rp_make_region(dp, cfg, err);
	if (r)
		r->kept = true;
	ret = r ? r->id : err ? -err->code : -EINVAL;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_region_del(rp_dataplane *dp, int region, struct rp_err *err)
{
	struct rp_region *r;
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	r = rp_find_region(dp, region, err);
	if (!r)
		ret = -ENOENT;
	else if (r->users)
		ret = rp_fail(err, EBUSY, "region %.63s has %u users: ports and opens of them",
			      r->name, r->users);
	else
		free_region(dp, r);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_region_pools(rp_dataplane *dp, int region, struct rp_pools_info *out, struct rp_err *err)
{
	struct rp_region *r;

	pthread_mutex_lock(&dp->lock);
	r = rp_find_region(dp, region, err);
	if (r)
		*out = (struct rp_pools_info){
			.fd = r->fd,
			.users = r->users,
			.bytes = r->bytes,
			.csb_pool = rp_pool_describe(&r->csbs),
			.if_pool = rp_pool_describe(&r->ifs),
			.ring_pool = rp_pool_describe(&r->rings),
			.buf_pool = rp_pool_describe(&r->bufs),
			.guest_pool = { RP_DIRECTORY_BYTES, r->guests, RP_GUEST_BYTES },
			.if_used = r->ifs.used,
			.ring_used = r->rings.used,
			.buf_used = r->bufs.used,
			.slots_max = r->slots_max,
		};
	pthread_mutex_unlock(&dp->lock);
	return r ? 0 : -ENOENT;
}
