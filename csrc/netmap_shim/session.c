/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/rp_abi.h"
#include "ask.h"
#include "csb.h"
#include "kloop.h"
#include "real.h"
#include "rp_barrier.h"

static void release(struct rp_object *o)
{
	struct rp_session *s = (struct rp_session *)o;

	rp_kloop_free(s);
	for (unsigned i = 0; i < s->nfds; i++)
		rp_fd_clear(s->fd[i]); /* rp_client_close() closes them */
	rp_client_close(s->client);
	free(s->ring);
	memset((char *)s + sizeof(s->object), 0, sizeof(*s) - sizeof(s->object));
}

int rp_session_adopt(int fd)
{
	struct rp_session *s =
		(struct rp_session *)rp_object_new(RP_OBJECT_SESSION, sizeof(*s), release);
	int error;

	if (!s)
		return ENOMEM;
	error = rp_fd_set(fd, &s->object);
	rp_object_put(&s->object); /* the table refers to it now */
	return error;
}

struct rp_session *rp_session_of(int fd)
{
	struct rp_object *o = rp_fd_get(fd, RP_OBJECT_SESSION);

	if (!o && rp_ask_is_ours(fd) && rp_session_adopt(fd) == 0)
		o = rp_fd_get(fd, RP_OBJECT_SESSION);
	return (struct rp_session *)o;
}

void rp_session_put(struct rp_session *s)
{
	rp_object_put(&s->object);
}

/* The ring of a record. Return: false when the region has none there */
static bool find_ring(struct rp_session *s, const struct rp_view *view, const struct rp_nm_ring *in,
		      unsigned number)
{
	struct rp_csb_ring at;

	if (!rp_csb_ring_open(&at, view, in->csb))
		return false;
	s->ring[s->nrings++] = (struct rp_session_ring){ .at = at.ring,
							 .csb = at.csb,
							 .slots = at.slots,
							 .number = number,
							 .flags = in->flags };
	s->alone &= in->peer_csb != RP_NO_CSB;
	return true;
}

/* The rings of @count records, found in the mapped region; TX rings first. */
static bool find_rings(struct rp_session *s, const struct rp_nm_ring *record, unsigned count)
{
	struct rp_view view;

	s->nrings = 0;
	s->ntx = 0;
	s->alone = true;
	if (!rp_view_open(&view, rp_client_base(s->client), rp_client_bytes(s->client)))
		return false;
	s->bufs = view.bufs.objtotal;
	s->buf_bytes = view.bufs.objsize;
	for (int dir = NETMAP_DIR_TX; dir >= NETMAP_DIR_RX; dir--) {
		for (unsigned i = 0; i < count; i++) {
			struct rp_nm_ring in;

			memcpy(&in, &record[i], sizeof(in));
			if (in.dir == dir && !find_ring(s, &view, &in, i))
				return false;
		}
		if (dir == NETMAP_DIR_TX)
			s->ntx = s->nrings;
	}
	return true;
}

/* The descriptors that came with an answer are ours, out of the program's way. */
static void take_descriptors(struct rp_session *s, struct rp_reply *reply)
{
	for (unsigned i = 0; i < reply->nfds; i++)
		s->fd[i] = rp_fd_own(reply->fd[i]);
	s->nfds = reply->nfds;
	reply->nfds = 0;
}

/* Undo what attach() did so far. */
static void detach(struct rp_session *s)
{
	rp_client_close(s->client); /* with its descriptors */
	s->client = NULL;
	s->nfds = 0;
	free(s->ring);
	s->ring = NULL;
}

static int attach(struct rp_session *s, struct rp_reply *reply)
{
	struct rp_nm_attachment a;
	int error;

	if (reply->attached < sizeof(a))
		return EIO;
	memcpy(&a, rp_reply_attachment(reply), sizeof(a));
	s->ring = calloc(a.nrings ? a.nrings : 1, sizeof(*s->ring));
	if (!s->ring)
		return ENOMEM;
	take_descriptors(s, reply);
	for (unsigned i = 0; i < s->nfds; i++)
		rp_fd_clear(s->fd[i]); /* the client may close them now */
	s->client = rp_client_open(rp_reply_attachment(reply), reply->attached, s->fd, s->nfds);
	if (!s->client) {
		error = errno;
		detach(s);
		return error;
	}
	if (!find_rings(s, (const void *)(rp_reply_attachment(reply) + sizeof(a)), a.nrings)) {
		detach(s);
		return EPROTO;
	}
	for (unsigned i = 0; i < s->nfds; i++)
		rp_fd_keep(s->fd[i]);
	s->reg_flags = a.reg_flags;
	rp_store_release(&s->bound, 1);
	return 0;
}

static void lock(struct rp_session *s)
{
	while (!rp_claim(&s->busy))
		rp_cpu_relax();
}

int rp_session_attach(struct rp_session *s, struct rp_reply *reply)
{
	int error;

	lock(s);
	error = s->bound ? 0 : attach(s, reply);
	rp_store_release(&s->busy, 0);
	return error;
}

bool rp_session_bound(struct rp_session *s, int fd)
{
	struct rp_reply *reply;

	if (rp_load_acquire(&s->bound))
		return true;
	reply = malloc(sizeof(*reply));
	if (!reply)
		return false;
	if (rp_ask_quietly(fd, RP_NM_DESCRIBE, reply) == 0) {
		rp_session_attach(s, reply);
		rp_reply_close(reply);
	}
	free(reply);
	return rp_load_acquire(&s->bound);
}

int rp_session_broken(struct rp_session *s, int fd)
{
	struct rp_reply *reply;

	if (!rp_ask_verbose() || !rp_claim(&s->told))
		return EIO;
	reply = malloc(sizeof(*reply));
	if (reply && rp_ask(fd, RP_NM_CHECK, NULL, 0, reply) == 0)
		rp_reply_close(reply); /* it was repaired meanwhile */
	free(reply);
	return EIO;
}

int rp_session_region(const struct rp_session *s)
{
	return rp_client_region_fd(s->client);
}

bool rp_session_may_map(const struct rp_session *s, uint64_t offset, uint64_t bytes)
{
	uint64_t all = rp_client_bytes(s->client);

	return bytes <= all && offset <= all - bytes;
}

int rp_session_map_over(struct rp_session *s, uint64_t address, uint64_t bytes)
{
	void *at = (void *)(uintptr_t)address;

	if (bytes != rp_client_bytes(s->client))
		return EBUSY; /* what lies behind is the program's */
	if (rp_real()->mmap(at, rp_client_bytes(s->client), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, rp_session_region(s), 0) == MAP_FAILED)
		return errno;
	s->extmem = true;
	return 0;
}

unsigned rp_session_rings(const struct rp_session *s)
{
	return s->nrings;
}

static void unlock_all(struct rp_object *o)
{
	struct rp_session *s = (struct rp_session *)o;

	rp_store(&s->busy, 0);
	if (!rp_load(&o->refs) || !s->bound)
		return; /* a thread may have been taking it apart */
	for (unsigned i = 0; i < s->nrings; i++)
		rp_store(&s->ring[i].busy, 0);
}

void rp_session_forked(void)
{
	rp_object_each(RP_OBJECT_SESSION, unlock_all);
}
