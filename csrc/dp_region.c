/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: regions. */
#include <errno.h>
#include <sys/stat.h>

#include "dataplane.h"

struct rp_region *rp_find_region(rp_dataplane *dp, int region, struct rp_err *err)
{
	if (region > 0 && region <= RP_MAX_REGIONS && dp->region[region])
		return dp->region[region];
	rp_fail(err, ENOENT, "there is no region %d", region);
	return NULL;
}

/* Give a region, if there is one, its number. Return: it, or NULL */
static struct rp_region *enter(rp_dataplane *dp, struct rp_region *r, struct rp_err *err)
{
	int id = 1;

	if (!r)
		return NULL;
	while (id <= RP_MAX_REGIONS && dp->region[id])
		id++;
	if (id > RP_MAX_REGIONS) {
		rp_fail(err, ENOSPC, "there are %d regions already", RP_MAX_REGIONS);
		rp_region_free(r);
		return NULL;
	}
	r->id = id;
	dp->region[id] = r;
	return r;
}

struct rp_region *rp_make_region(rp_dataplane *dp, const struct rp_region_config *cfg,
				 struct rp_err *err)
{
	return enter(dp, rp_region_new(cfg, err), err);
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

/* Let a region stay that was asked for by itself. Return: its number, or a negative errno */
static int keep(struct rp_region *r, const struct rp_err *err)
{
	if (!r)
		return err ? -err->code : -EINVAL;
	r->kept = true;
	return r->id;
}

int rp_region_add(rp_dataplane *dp, const struct rp_region_config *cfg, struct rp_err *err)
{
	int ret;

	pthread_mutex_lock(&dp->lock);
	ret = keep(rp_make_region(dp, cfg, err), err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_region_resume(rp_dataplane *dp, const struct rp_region_config *cfg, int fd, int book_fd,
		     struct rp_err *err)
{
	int ret;

	pthread_mutex_lock(&dp->lock);
	ret = keep(enter(dp, rp_region_take_up(cfg, fd, book_fd, err), err), err);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

void rp_dataplane_settle(rp_dataplane *dp)
{
	pthread_mutex_lock(&dp->lock);
	for (int i = 1; i <= RP_MAX_REGIONS; i++) {
		if (dp->region[i] && dp->region[i]->resuming)
			rp_settle_region(dp, dp->region[i]);
	}
	/* All receivers first: what is sent at once finds them. */
	rp_let_rings_move(dp, NETMAP_DIR_RX);
	rp_let_rings_move(dp, NETMAP_DIR_TX);
	pthread_mutex_unlock(&dp->lock);
}

int rp_dataplane_abandon(rp_dataplane *dp, struct rp_err *err)
{
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	for (int i = 1; i <= RP_MAX_REGIONS && ret == 0; i++) {
		if (dp->region[i])
			ret = rp_region_abandon(dp->region[i], err);
	}
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

/* Is @fd the memory of another region than @r? */
static bool is_anothers(const rp_dataplane *dp, const struct rp_region *r, int fd)
{
	struct stat given, have;

	if (fstat(fd, &given) < 0)
		return false;
	for (int i = 1; i <= RP_MAX_REGIONS; i++) {
		if (dp->region[i] && dp->region[i] != r && fstat(dp->region[i]->fd, &have) == 0 &&
		    have.st_dev == given.st_dev && have.st_ino == given.st_ino)
			return true;
	}
	return false;
}

/* Return: the only user of a region, a port whose rings nobody has open; NULL: it is not so */
static struct rp_port *only_port(const rp_dataplane *dp, const struct rp_region *r)
{
	for (int id = 0; r->users == 1 && id < RP_MAX_PORTS; id++) {
		if (dp->port[id] && dp->port[id]->region == r)
			return rp_is_open(dp->port[id]) ? NULL : dp->port[id];
	}
	return NULL;
}

static int replace(rp_dataplane *dp, struct rp_region *r, int fd, struct rp_err *err)
{
	struct rp_port *p = only_port(dp, r);
	int ret;

	if (!p || p->ops->links || r->common)
		return rp_fail(err, EBUSY, "region %.63s is not a single port's that is closed",
			       r->name);
	if (rp_region_fits(r, fd, err) < 0)
		return -EINVAL;
	if (is_anothers(dp, r, fd))
		return rp_fail(err, EBUSY, "another region is in the memory for region %.63s",
			       r->name);
	rp_quiet_wait(&dp->quiet);
	ret = rp_region_replace(r, fd, err);
	if (ret == 0)
		rp_fill_region(dp, p);
	return ret;
}

int rp_region_hand_back(rp_dataplane *dp, int region, int fd, struct rp_err *err)
{
	struct rp_region *r;
	int ret;

	pthread_mutex_lock(&dp->lock);
	r = rp_find_region(dp, region, err);
	ret = r ? replace(dp, r, fd, err) : -ENOENT;
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
			.book_fd = r->book.fd,
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
