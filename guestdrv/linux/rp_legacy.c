// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* NIOCGINFO, NIOCREGIF and NIOCCONFIG: fixed structs, there and back. */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "rp_netmap.h"
#include "rp_nmreq.h"

union body {
	struct nmreq req;
	struct nm_ifreq config;
};

/* May rings be registered, and are they the port's own? */
static void classify(struct rp_ask *ask, const struct nmreq *r)
{
	const u32 mode = r->nr_flags & NR_REG_MASK;

	ask->binds = r->nr_cmd == 0;
	ask->own = mode != NR_REG_PIPE_MASTER && mode != NR_REG_PIPE_SLAVE && mode != NR_REG_NULL &&
		   !(r->nr_flags & NR_MONITOR);
}

static int round_trip(struct rp_file *f, unsigned int cmd, union body *body)
{
	struct rp_ask ask = {
		.op = cmd == NIOCGINFO ? RP_NM_GINFO :
		      cmd == NIOCREGIF ? RP_NM_REGIF :
					 RP_NM_CONFIG,
		.name = body->req.nr_name, /* both begin with it */
		.data = body,
		.bytes = _IOC_SIZE(cmd),
		.room = sizeof(*body),
	};
	char name[sizeof(body->req.nr_name)];
	int err;

	body->req.nr_name[sizeof(name) - 1] = '\0';
	memcpy(name, body->req.nr_name, sizeof(name));
	if (cmd == NIOCREGIF)
		classify(&ask, &body->req);
	if (mutex_lock_killable(&f->control))
		return -EINTR;
	err = rp_file_ask(f, &ask);
	mutex_unlock(&f->control);
	memcpy(body->req.nr_name, name, sizeof(name)); /* which the backend knows as another one */
	return !err && ask.got < ask.bytes ? -EPROTO : err;
}

int rp_ioctl_legacy(struct rp_file *f, unsigned int cmd, void __user *arg)
{
	union body *body = kzalloc(sizeof(*body), GFP_KERNEL);
	int err;

	if (!body)
		return -ENOMEM;
	err = copy_from_user(body, arg, _IOC_SIZE(cmd)) ? -EFAULT : round_trip(f, cmd, body);
	if (!err && copy_to_user(arg, body, _IOC_SIZE(cmd)))
		err = -EFAULT;
	kfree(body);
	return err;
}
