/* SPDX-License-Identifier: BSD-2-Clause */
#include "logic.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "port.h"

static_assert((int)RP_LOGIC_PORTS == (int)RP_MAX_PORTS && (int)RP_LOGIC_BATCH == (int)RP_BATCH &&
		      (int)RP_LOGIC_THREADS == (int)RP_MAX_THREADS,
	      "what a logic was promised");

/* What dlopen() says, without the name of the file, which tells nobody anything. */
static const char *reason(const char *path)
{
	const char *text = dlerror();
	const size_t n = strlen(path);

	return strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

/* Return: what the file @fd offers, or NULL with the reason in @err */
static const struct rp_logic *load(struct rp_switch_logic *l, int fd, struct rp_err *err)
{
	const struct rp_logic *ops = NULL;
	char path[32];

	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (l->fd < 0) {
		rp_fail(err, errno, "cannot keep its file: %s", strerror(errno));
		return NULL;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->fd);
	if (!(l->library = dlopen(path, RTLD_NOW | RTLD_LOCAL)))
		rp_fail(err, EINVAL, "%s", reason(path));
	else if (!(ops = dlsym(l->library, "rp_logic")))
		rp_fail(err, EINVAL, "it has no RP_LOGIC(), so it offers nothing");
	return ops;
}

static int check(const struct rp_logic *ops, struct rp_err *err)
{
	if (ops->version != RP_LOGIC_VERSION || ops->bytes != sizeof(*ops))
		return rp_fail(err, EINVAL, "it is for version %u of rp_logic.h, and this is %d",
			       ops->version, RP_LOGIC_VERSION);
	return ops->lookup ? 0 : rp_fail(err, EINVAL, "it has no lookup in its RP_LOGIC()");
}

static int init(struct rp_switch_logic *l, const char *config, struct rp_err *err)
{
	char why[RP_LOGIC_WHY] = "";

	if (!l->ops->init || l->ops->init(&l->state, config, why) == 0)
		return 0;
	why[sizeof(why) - 1] = '\0';
	return rp_fail(err, EINVAL, "%s", why[0] ? why : "its init refused, and gave no reason");
}

static void unload(struct rp_switch_logic *l)
{
	if (l->library)
		dlclose(l->library);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

int rp_logic_open(struct rp_switch_logic **out, int kind, int fd, const char *config,
		  struct rp_err *err)
{
	static const struct rp_logic *const built_in[] = {
		[RP_SWITCH_STATIC] = &rp_logic_static,
		[RP_SWITCH_HASH] = &rp_logic_hash,
		[RP_SWITCH_FILE] = NULL,
	};
	struct rp_switch_logic *l;

	*out = NULL;
	if (kind < RP_SWITCH_BRIDGE || kind > RP_SWITCH_FILE)
		return rp_fail(err, EINVAL, "there is no switch logic %d", kind);
	if (kind == RP_SWITCH_BRIDGE)
		return config[0] ? rp_fail(err, EINVAL, "a learning bridge takes no text") : 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return rp_fail(err, ENOMEM, "out of memory");
	l->fd = -1;
	l->ops = built_in[kind];
	if (!l->ops)
		l->ops = load(l, fd, err);
	if (!l->ops || check(l->ops, err) < 0 || init(l, config, err) < 0) {
		unload(l);
		return -EINVAL;
	}
	*out = l;
	return 0;
}

void rp_logic_close(struct rp_switch_logic *l)
{
	if (!l)
		return;
	if (l->ops->exit)
		l->ops->exit(l->state);
	unload(l);
}

void rp_logic_port(const struct rp_switch_logic *l, const struct rp_port *p, int up)
{
	if (l && l->ops->port)
		l->ops->port(l->state, p->name, p->sw_port, up);
}
