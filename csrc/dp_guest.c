/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The facade: records of the virtual machines that map a region. Their pages are
 * the guest's to write: the backend's words are written and never read back.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "abi/rp_barrier.h"
#include "dataplane.h"
#include "region.h"

static struct rp_guest *find(rp_dataplane *dp, int region, uint32_t guest, struct rp_err *err)
{
	const struct rp_region *r = rp_find_region(dp, region, err);

	if (r && guest < r->guests)
		return rp_region_guest_at(r, guest);
	if (r)
		rp_fail(err, ENOENT, "region %.63s has records of %u virtual machines, and no %u",
			r->name, r->guests, guest);
	return NULL;
}

static const struct rp_guest_request *request_of(const struct rp_guest *g)
{
	return (const struct rp_guest_request *)(g + 1);
}

int rp_guest_write(rp_dataplane *dp, int region, uint32_t guest, const struct rp_guest *record,
		   struct rp_err *err)
{
	const size_t head = offsetof(struct rp_guest, answered), port = sizeof(record->port);
	struct rp_guest *g;

	pthread_mutex_lock(&dp->lock);
	g = find(dp, region, guest, err);
	if (g) {
		rp_region_describe(dp->region[region]);
		/* The peer's id makes it valid: it comes last. */
		memcpy((uint8_t *)g + sizeof(g->peer), (const uint8_t *)record + sizeof(g->peer),
		       head - sizeof(g->peer));
		memcpy(g->port, record->port, port);
		rp_store_release(&g->peer, record->peer);
	}
	pthread_mutex_unlock(&dp->lock);
	return g ? 0 : -err->code;
}

static int take(const struct rp_guest_request *request, uint32_t answered,
		struct rp_guest_request *out, struct rp_err *err)
{
	const uint32_t sent = rp_load_acquire(&request->sent);

	if (sent == answered)
		return 0;
	memcpy(out, request, sizeof(*out));
	out->sent = sent;
	if (out->bytes > RP_GUEST_DATA_BYTES)
		return rp_fail(err, EPROTO, "a request of %u bytes; at most %d fit", out->bytes,
			       RP_GUEST_DATA_BYTES);
	return 1;
}

int rp_guest_take(rp_dataplane *dp, int region, uint32_t guest, uint32_t answered,
		  struct rp_guest_request *out, struct rp_err *err)
{
	const struct rp_guest *g;
	int ret;

	pthread_mutex_lock(&dp->lock);
	g = find(dp, region, guest, err);
	ret = g ? take(request_of(g), answered, out, err) : -err->code;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}

static int answer(struct rp_guest *g, uint32_t sent, const void *data, uint32_t bytes,
		  struct rp_err *err)
{
	if (bytes > RP_GUEST_DATA_BYTES)
		return rp_fail(err, EMSGSIZE, "an answer of %u bytes; at most %d fit", bytes,
			       RP_GUEST_DATA_BYTES);
	memcpy(g->answer, data, bytes);
	rp_store(&g->answer_bytes, bytes);
	rp_store_release(&g->answered, sent);
	return 0;
}

int rp_guest_answer(rp_dataplane *dp, int region, uint32_t guest, uint32_t sent, const void *data,
		    uint32_t bytes, struct rp_err *err)
{
	struct rp_guest *g;
	int ret;

	pthread_mutex_lock(&dp->lock);
	g = find(dp, region, guest, err);
	ret = g ? answer(g, sent, data, bytes, err) : -err->code;
	pthread_mutex_unlock(&dp->lock);
	return ret;
}
