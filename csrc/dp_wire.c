/* SPDX-License-Identifier: BSD-2-Clause */
/* The facade: the eventfds on which users of rings with CSBs kick and are called; relays. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane.h"
#include "front_rings.h"

/* Return: a descriptor of the port's own, or a negative errno with the reason in @err */
static int own_bell(int fd, struct rp_err *err)
{
	int own = fd < 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return own >= 0 ?
		       own :
		       rp_fail(err, errno, "cannot have an eventfd (%d): %s", fd, strerror(errno));
}

static int check(const struct rp_port *p, int dir, uint32_t ring, struct rp_err *err)
{
	const uint32_t n = dir == NETMAP_DIR_TX ? p->ntx : dir == NETMAP_DIR_RX ? p->nrx : 0;

	if (!p->csb)
		return rp_fail(err, EINVAL, "port %.63s has no communication blocks", p->name);
	if (ring >= n)
		return rp_fail(err, EINVAL, "port %.63s has no ring %u of direction %d", p->name,
			       ring, dir);
	return 0;
}

/* Both are watched for a moment, so no kick is missed. */
static int change_kick(rp_dataplane *dp, struct rp_port *p, uint32_t ring, int fd,
		       struct rp_err *err)
{
	struct rp_worker *w = p->worker >= 0 ? dp->worker[p->worker] : NULL;
	int ret;

	if (w) {
		ret = rp_worker_watch(w, fd, p->tx[ring]->record, err);
		if (ret < 0)
			return ret;
		rp_worker_unwatch(w, p->kick_fd[ring]);
		rp_worker_wake(w); /* it may have been kicked before it watched */
	}
	close(p->kick_fd[ring]);
	p->kick_fd[ring] = fd;
	return 0;
}

static int change_call(rp_dataplane *dp, struct rp_port *p, int dir, uint32_t ring, int fd,
		       struct rp_err *err)
{
	struct rp_endpoint *ep = dir == NETMAP_DIR_TX ? p->tx[ring] : p->rx[ring];
	rp_call_t old;
	int ret = rp_front_rings_set_call(ep, fd, &old, err);

	if (ret < 0)
		return ret;
	rp_quiet_wait(&dp->quiet); /* a closed descriptor's number may be another file's at once */
	rp_call_close(old);
	close(p->call_fd[dir][ring]);
	p->call_fd[dir][ring] = fd;
	if (p->own[dir][ring].resumed)
		ep->ops->notify(ep); /* a backend may have been killed before it called */
	return 0;
}

static int wire(rp_dataplane *dp, struct rp_port *p, int dir, uint32_t ring, int kick_fd,
		int call_fd, struct rp_err *err)
{
	int ret = check(p, dir, ring, err), kick = -1, call;

	if (ret < 0)
		return ret;
	call = own_bell(call_fd, err);
	if (call < 0)
		return call;
	if (dir == NETMAP_DIR_TX) {
		kick = own_bell(kick_fd, err);
		ret = kick < 0 ? kick : change_kick(dp, p, ring, kick, err);
	}
	if (ret < 0) {
		close(call);
		if (kick >= 0)
			close(kick);
		return ret;
	}
	ret = change_call(dp, p, dir, ring, call, err);
	if (ret < 0)
		close(call);
	return ret;
}

int rp_port_wire(rp_dataplane *dp, int port, int dir, uint32_t ring, int kick_fd, int call_fd,
		 struct rp_err *err)
{
	struct rp_port *p;
	int ret;

	pthread_mutex_lock(&dp->lock);
	p = rp_find_rings(dp, port, err);
	ret = p ? wire(dp, p, dir, ring, kick_fd, call_fd, err) : -err->code;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_relay_add(rp_dataplane *dp, int from_fd, int to_fd, struct rp_err *err)
{
	int ret;

	pthread_mutex_lock(&dp->lock);
	if (!dp->relays)
		dp->relays = rp_relays_new(err);
	ret = dp->relays ? rp_relays_add(dp->relays, from_fd, to_fd, err) : -err->code;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

int rp_relay_del(rp_dataplane *dp, int relay, struct rp_err *err)
{
	int ret = 0;

	pthread_mutex_lock(&dp->lock);
	if (!dp->relays || !rp_relays_del(dp->relays, relay))
		ret = rp_fail(err, ENOENT, "there is no relay %d", relay);
	pthread_mutex_unlock(&dp->lock);
	return ret;
}
