/* SPDX-License-Identifier: BSD-2-Clause */
#include "fdb.h"

#include <string.h>

enum { PORT_SHIFT = 48, HASH_BITS = 12 };

static_assert(1 << HASH_BITS == RP_FDB_BUCKETS, "the hash picks a bucket");

static struct rp_fdb_entry *bucket_of(const struct rp_fdb *f, uint64_t mac)
{
	/* Fibonacci hashing: the upper bits of the product depend on all of the MAC. */
	return f->table->entry[mac * UINT64_C(0x9e3779b97f4a7c15) >> (64 - HASH_BITS)];
}

/* Another thread's clock may be a moment ahead of the caller's. */
static uint32_t age_of(const struct rp_fdb_entry *e, uint32_t now_s)
{
	int32_t age = (int32_t)(now_s - rp_load(&e->seen_s));

	return age > 0 ? (uint32_t)age : 0;
}

static bool expired(const struct rp_fdb *f, const struct rp_fdb_entry *e, uint32_t now_s)
{
	uint32_t ageing = rp_load(&f->ageing_s);

	return ageing && age_of(e, now_s) >= ageing;
}

/* The entry of a MAC in its bucket, or RP_FDB_WAYS; @key as it was read, once. */
static unsigned find(const struct rp_fdb_entry *bucket, uint64_t mac, uint64_t *key)
{
	unsigned i;

	for (i = 0; i < RP_FDB_WAYS; i++) {
		*key = rp_load(&bucket[i].key);
		if ((*key & RP_MAC_MASK) == mac)
			break;
	}
	return i;
}

int rp_fdb_lookup(const struct rp_fdb *f, uint64_t mac, uint32_t now_s)
{
	const struct rp_fdb_entry *bucket = bucket_of(f, mac);
	uint64_t key;
	unsigned i = find(bucket, mac, &key);

	if (i == RP_FDB_WAYS || mac == 0 || expired(f, &bucket[i], now_s))
		return RP_FDB_UNKNOWN;
	return (int)(key >> PORT_SHIFT);
}

/* A free entry, or the one that was silent for longest. */
static unsigned make_room(const struct rp_fdb_entry *bucket, uint32_t now_s)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < RP_FDB_WAYS; i++) {
		if (!bucket[i].key)
			return i;
		if (age_of(&bucket[i], now_s) > age_of(&bucket[oldest], now_s))
			oldest = i;
	}
	return oldest;
}

static void insert(struct rp_fdb *f, struct rp_fdb_entry *bucket, uint64_t mac, uint64_t key,
		   uint32_t now_s)
{
	uint64_t found;
	unsigned i;

	rp_lock_take(&f->lock);
	i = find(bucket, mac, &found);
	if (i == RP_FDB_WAYS)
		i = make_room(bucket, now_s);
	rp_store(&bucket[i].seen_s, now_s);
	rp_store_release(&bucket[i].key, key);
	rp_lock_release(&f->lock);
}

void rp_fdb_learn(struct rp_fdb *f, uint64_t mac, uint16_t port, uint32_t now_s)
{
	uint64_t key = mac | (uint64_t)port << PORT_SHIFT;
	struct rp_fdb_entry *bucket = bucket_of(f, mac);
	uint64_t found;
	unsigned i;

	if (mac == 0 || (mac & RP_MAC_MULTICAST))
		return;
	i = find(bucket, mac, &found);
	if (i == RP_FDB_WAYS) {
		insert(f, bucket, mac, key, now_s);
		return;
	}
	if (rp_load(&bucket[i].seen_s) != now_s)
		rp_store(&bucket[i].seen_s, now_s);
	if (found != key)
		rp_store(&bucket[i].key, key);
}

static void remove_where(struct rp_fdb *f, bool all, uint16_t port)
{
	rp_lock_take(&f->lock);
	for (unsigned b = 0; b < RP_FDB_BUCKETS; b++) {
		for (unsigned i = 0; i < RP_FDB_WAYS; i++) {
			struct rp_fdb_entry *e = &f->table->entry[b][i];
			uint64_t key = rp_load(&e->key);

			if (key && (all || key >> PORT_SHIFT == port))
				rp_store(&e->key, 0);
		}
	}
	rp_lock_release(&f->lock);
}

void rp_fdb_forget(struct rp_fdb *f, uint16_t port)
{
	remove_where(f, false, port);
}

void rp_fdb_clear(struct rp_fdb *f)
{
	remove_where(f, true, 0);
}

uint32_t rp_fdb_rows(const struct rp_fdb *f, uint32_t now_s, struct rp_fdb_row *rows, uint32_t max)
{
	uint32_t n = 0;

	for (unsigned b = 0; b < RP_FDB_BUCKETS; b++) {
		for (unsigned i = 0; i < RP_FDB_WAYS && n < max; i++) {
			const struct rp_fdb_entry *e = &f->table->entry[b][i];
			uint64_t key = rp_load_acquire(&e->key);

			if (!key || expired(f, e, now_s))
				continue;
			memcpy(rows[n].mac, &key, sizeof(rows[n].mac));
			rows[n].port = (int32_t)(key >> PORT_SHIFT);
			rows[n].age_s = age_of(e, now_s);
			n++;
		}
	}
	return n;
}
