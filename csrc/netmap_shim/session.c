/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/rp_abi.h"
#include "ask.h"
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

/* The rings of @count records, found in the mapped region; TX rings first. */
static void find_rings(struct rp_session *s, const struct rp_nm_ring *record, unsigned count)
{
	uint8_t *base = rp_client_base(s->client);
	const struct rp_directory *directory = (const void *)base;

	s->nrings = 0;
	s->ntx = 0;
	s->alone = true;
	for (int dir = NETMAP_DIR_TX; dir >= NETMAP_DIR_RX; dir--) {
		for (unsigned i = 0; i < count; i++) {
			struct rp_nm_ring in;

			memcpy(&in, &record[i], sizeof(in));
			if (in.dir != dir)
				continue;
			s->alone &= in.peer_csb != RP_NO_CSB;
			s->ring[s->nrings++] = (struct rp_session_ring){
				.at = (void *)(base + in.ring_offset),
				.csb = (struct rp_csb *)(void *)(base +
								 directory->csb_pool.offset) +
				       in.csb,
				.number = i,
				.flags = in.flags,
			};
		}
		if (dir == NETMAP_DIR_TX)
			s->ntx = s->nrings;
	}
}

/* The descriptors that came with an answer are ours, out of the program's way. */
static void take_descriptors(struct rp_session *s, struct rp_reply *reply)
{
	for (unsigned i = 0; i < reply->nfds; i++)
		s->fd[i] = rp_fd_own(reply->fd[i]);
	s->nfds = reply->nfds;
	reply->nfds = 0;
}

static int attach(struct rp_session *s, struct rp_reply *reply)
{
	struct rp_nm_attachment a;

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
		s->nfds = 0;
		free(s->ring);
		s->ring = NULL;
		return errno;
	}
	for (unsigned i = 0; i < s->nfds; i++)
		rp_fd_keep(s->fd[i]);
	find_rings(s, (const void *)(rp_reply_attachment(reply) + sizeof(a)), a.nrings);
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

int rp_session_region(const struct rp_session *s)
{
	return rp_client_region_fd(s->client);
}

bool rp_session_may_map(const struct rp_session *s, uint64_t offset, uint64_t bytes)
{
	uint64_t all = rp_client_bytes(s->client);

	return bytes <= all && offset <= all - bytes;
}

int rp_session_map_over(struct rp_session *s, uint64_t address)
{
	void *at = (void *)(uintptr_t)address;

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
