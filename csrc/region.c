/* SPDX-License-Identifier: BSD-2-Clause */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "err.h"

enum { PAGE = 4096, RING_ALIGN = 128, IF_BYTES = 1024 };
enum {
	SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
	OTHER_SEALS = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE /* who asks for them wants to read alone */
};

/* A slot's length has 16 bits. */
enum { BUF_BYTES_MAX = UINT16_MAX / 64 * 64 };

enum {
	DEFAULT_BUF_BYTES = 2048,
	DEFAULT_SLOTS = 1024,
	DEFAULT_IFS = 64,
	DEFAULT_RINGS = 64,
	DEFAULT_BUFS = 16384,
	MAX_IFS = 4096,
	MAX_RINGS = 4096,
	MAX_BUFS = 1000000, /* netmap's limit */
	MAX_GUESTS = 64
};

static_assert(sizeof(struct netmap_if) + sizeof(int64_t[4][RP_PORT_RINGS + 1]) <= IF_BYTES,
	      "a netmap_if names all rings of a port and of its host stack");

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static uint64_t power_of_two(uint64_t n)
{
	uint64_t p = PAGE;

	while (p < n)
		p *= 2;
	return p;
}

static uint32_t ring_bytes(uint32_t slots)
{
	return (uint32_t)round_up(sizeof(struct netmap_ring) + slots * sizeof(struct netmap_slot),
				  RING_ALIGN);
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

static int check(const struct rp_region_config *cfg, struct rp_err *err)
{
	if (cfg->slots_max && (cfg->slots_max < 2 || cfg->slots_max > RP_MAX_SLOTS))
		return rp_fail(err, EINVAL, "rings of %u slots; 2 to %d are allowed",
			       cfg->slots_max, RP_MAX_SLOTS);
	if (cfg->buf_bytes &&
	    (cfg->buf_bytes < 64 || cfg->buf_bytes > BUF_BYTES_MAX || cfg->buf_bytes % 64))
		return rp_fail(err, EINVAL,
			       "buffers of %u bytes; a multiple of 64 up to %d is allowed",
			       cfg->buf_bytes, BUF_BYTES_MAX);
	if (cfg->if_max > MAX_IFS || cfg->ring_max > MAX_RINGS || cfg->buf_max > MAX_BUFS)
		return rp_fail(err, EINVAL,
			       "%u interfaces, %u rings, %u buffers; a region has at most "
			       "%d, %d and %d",
			       cfg->if_max, cfg->ring_max, cfg->buf_max, MAX_IFS, MAX_RINGS,
			       MAX_BUFS);
	if (cfg->guests > MAX_GUESTS)
		return rp_fail(err, EINVAL, "%u virtual machines; a region is for at most %d",
			       cfg->guests, MAX_GUESTS);
	return 0;
}

/* Say where each pool begins. Return: the offset behind the last one. */
static uint64_t place(struct rp_region *r)
{
	struct rp_pool *const pools[] = { &r->csbs, &r->ifs, &r->rings, &r->bufs };
	uint64_t at = RP_DIRECTORY_BYTES + (uint64_t)r->guests * RP_GUEST_BYTES;

	for (unsigned i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		pools[i]->offset = at;
		at = round_up(at + (uint64_t)pools[i]->total * pools[i]->objsize, PAGE);
	}
	return at;
}

/* See that there are pages: once, for nothing takes them away again. */
static int commit(struct rp_region *r, uint64_t offset, uint64_t bytes, struct rp_err *err)
{
	const uint32_t end = (uint32_t)((offset + bytes + PAGE - 1) / PAGE);
	uint32_t page = (uint32_t)(offset / PAGE);

	while (page < end && rp_pool_taken(&r->pages, page))
		page++;
	if (page == end)
		return 0;
	if (fallocate(r->fd, 0, (off_t)offset, (off_t)bytes) < 0)
		return rp_fail(err, errno, "no memory for %llu more bytes of region %.63s: %s",
			       (unsigned long long)bytes, r->name, strerror(errno));
	while (page < end)
		rp_pool_mark(&r->pages, page++);
	return 0;
}

static int map(struct rp_region *r, struct rp_err *err)
{
	r->base = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->base == MAP_FAILED)
		return rp_fail(err, errno, "cannot map a region of %llu bytes: %s",
			       (unsigned long long)r->bytes, strerror(errno));
	return commit(r, 0, r->rings.offset, err);
}

static int make_memory(struct rp_region *r, struct rp_err *err)
{
	r->fd = memfd_create(r->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0 || ftruncate(r->fd, (off_t)r->bytes) < 0 ||
	    fcntl(r->fd, F_ADD_SEALS, SEALS) < 0)
		return rp_fail(err, errno, "cannot make a region of %llu bytes: %s",
			       (unsigned long long)r->bytes, strerror(errno));
	return map(r, err);
}

int rp_region_fits(const struct rp_region *r, int fd, struct rp_err *err)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	/* Files in memory only have seals. Others are not asked for more: theirs may not answer. */
	if (seals >= 0 && (seals & (SEALS | OTHER_SEALS)) == SEALS && fstat(fd, &st) == 0 &&
	    S_ISREG(st.st_mode) && (uint64_t)st.st_size == r->bytes && fstatfs(fd, &fs) == 0 &&
	    fs.f_type == TMPFS_MAGIC)
		return 0;
	return rp_fail(err, EINVAL,
		       "what was to be region %.63s is no sealed memfd of %llu bytes: its seals "
		       "forbid to shrink, to grow and to seal it, and nothing else",
		       r->name, (unsigned long long)r->bytes);
}

static int take_memory(struct rp_region *r, int fd, struct rp_err *err)
{
	int ret;

	r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (r->fd < 0)
		return rp_fail(err, errno, "a region is descriptor %d: %s", fd, strerror(errno));
	ret = rp_region_fits(r, r->fd, err);
	return ret < 0 ? ret : map(r, err);
}

/*
 * Write what differs: others read it meanwhile. A user may have written there, which harms nobody
 * who has the region open already, but the next one.
 */
void rp_region_describe(const struct rp_region *r)
{
	struct rp_directory d = {
		.magic = RP_DIRECTORY_MAGIC,
		.version = RP_DIRECTORY_VERSION,
		.region_bytes = r->bytes,
		.csb_pool = rp_pool_describe(&r->csbs),
		.if_pool = rp_pool_describe(&r->ifs),
		.ring_pool = rp_pool_describe(&r->rings),
		.buf_pool = rp_pool_describe(&r->bufs),
		.guest_pool = { RP_DIRECTORY_BYTES, r->guests, RP_GUEST_BYTES },
	};
	uint64_t word[sizeof(d) / sizeof(uint64_t)], *at = (uint64_t *)(void *)r->base;

	static_assert(sizeof(word) == sizeof(d), "a directory is whole words");
	memcpy(d.name, r->name, sizeof(d.name));
	memcpy(word, &d, sizeof(d));
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++) {
		if (rp_load(&at[i]) != word[i])
			rp_store(&at[i], word[i]);
	}
}

static struct rp_book_head layout(const struct rp_region *r)
{
	return (struct rp_book_head){
		.region_bytes = r->bytes,
		.ifs = rp_pool_describe(&r->ifs),
		.rings = rp_pool_describe(&r->rings),
		.bufs = rp_pool_describe(&r->bufs),
	};
}

static void open_pools(struct rp_region *r)
{
	rp_pool_open(&r->ifs, r->book.ifs_taken);
	rp_pool_open(&r->rings, r->book.rings_taken);
	rp_pool_open(&r->bufs, r->book.bufs_taken);
	for (uint32_t i = 0; i < NETMAP_BUF_RESERVED; i++)
		rp_pool_mark(&r->bufs, i);
}

static int make(struct rp_region *r, struct rp_err *err)
{
	const struct rp_book_head head = layout(r);
	int ret = rp_book_new(&r->book, &head, err);

	if (ret == 0)
		ret = make_memory(r, err);
	if (ret == 0)
		open_pools(r);
	return ret;
}

/* What is taken in a pool now, as a pool of its own. */
static int copy_pool(struct rp_pool *copy, const struct rp_pool *p, struct rp_err *err)
{
	uint64_t *taken = calloc(rp_pool_words(p->total), sizeof(*taken));

	if (!taken)
		return rp_fail(err, ENOMEM, "out of memory");
	memcpy(taken, p->taken, rp_pool_words(p->total) * sizeof(*taken));
	*copy = *p;
	rp_pool_open(copy, taken);
	return 0;
}

static int resume(struct rp_region *r, int fd, int book_fd, struct rp_err *err)
{
	const struct rp_book_head head = layout(r);
	int ret = rp_book_resume(&r->book, &head, book_fd, err);

	if (ret == 0)
		ret = take_memory(r, fd, err);
	if (ret < 0)
		return ret;
	open_pools(r);
	r->resuming = true;
	ret = copy_pool(&r->old_ifs, &r->ifs, err);
	return ret < 0 ? ret : copy_pool(&r->old_rings, &r->rings, err);
}

/* A region as it is to be, without its memory. */
static struct rp_region *draw(const struct rp_region_config *cfg, struct rp_err *err)
{
	struct rp_region *r;
	uint64_t need, *pages;

	if (check(cfg, err) < 0)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (!r) {
		rp_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	r->book.fd = -1;
	memcpy(r->name, cfg->name, sizeof(r->name) - 1);
	r->common = cfg->common;
	r->guests = cfg->guests;
	r->fd = -1;
	r->base = MAP_FAILED;
	r->slots_max = or_default(cfg->slots_max, DEFAULT_SLOTS);
	r->rings = (struct rp_pool){ .name = "rings",
				     .setting = "rings",
				     .objsize = ring_bytes(r->slots_max),
				     .total = or_default(cfg->ring_max, DEFAULT_RINGS) };
	r->csbs = (struct rp_pool){ .name = "communication blocks",
				    .setting = "rings",
				    .objsize = sizeof(struct rp_csb),
				    .total = r->rings.total };
	r->ifs = (struct rp_pool){ .name = "interfaces",
				   .setting = "interfaces",
				   .objsize = IF_BYTES,
				   .total = or_default(cfg->if_max, DEFAULT_IFS) };
	r->bufs = (struct rp_pool){ .name = "buffers",
				    .setting = "buffers",
				    .objsize = or_default(cfg->buf_bytes, DEFAULT_BUF_BYTES),
				    .total = or_default(cfg->buf_max, DEFAULT_BUFS) +
					     NETMAP_BUF_RESERVED };
	need = place(r);
	r->bytes = cfg->bytes ? cfg->bytes : power_of_two(need);
	r->pages.total = (uint32_t)(r->bytes / PAGE);
	if (r->bytes < need || r->bytes % PAGE)
		rp_fail(err, EINVAL,
			"%llu bytes of memory for pools of %llu bytes: make them smaller, or "
			"give a multiple of %d bytes that holds them",
			(unsigned long long)r->bytes, (unsigned long long)need, PAGE);
	else if ((pages = calloc(rp_pool_words(r->pages.total), sizeof(*pages))))
		rp_pool_open(&r->pages, pages);
	else
		rp_fail(err, ENOMEM, "out of memory");
	if (r->pages.taken)
		return r;
	rp_region_free(r);
	return NULL;
}

/* Open for use what has its memory, or not, if @ret is negative. */
static struct rp_region *finish(struct rp_region *r, int ret)
{
	if (ret < 0) {
		rp_region_free(r);
		return NULL;
	}
	rp_region_describe(r);
	r->view = (struct rp_view){ r->base, r->bytes, rp_pool_describe(&r->csbs),
				    rp_pool_describe(&r->rings), rp_pool_describe(&r->bufs) };
	return r;
}

struct rp_region *rp_region_new(const struct rp_region_config *cfg, struct rp_err *err)
{
	struct rp_region *r = draw(cfg, err);

	return r ? finish(r, make(r, err)) : NULL;
}

struct rp_region *rp_region_take_up(const struct rp_region_config *cfg, int fd, int book_fd,
				    struct rp_err *err)
{
	struct rp_region *r = draw(cfg, err);

	return r ? finish(r, resume(r, fd, book_fd, err)) : NULL;
}

static void forget_old(struct rp_region *r)
{
	free(r->old_ifs.taken);
	free(r->old_rings.taken);
	r->old_ifs = r->old_rings = (struct rp_pool){ 0 };
}

void rp_region_free(struct rp_region *r)
{
	if (!r)
		return;
	if (r->base != MAP_FAILED)
		munmap(r->base, r->bytes);
	if (r->fd >= 0)
		close(r->fd);
	rp_book_close(&r->book);
	forget_old(r);
	free(r->pages.taken);
	free(r);
}

/*
 * Replace the memory by that of @fd, all zeros. After a failure @r has the memory that it had, and
 * that of @fd may be zeros already. The last step alone may have unmapped the old memory before it
 * failed: for want of kernel memory, which the mapping that it gives up makes unlikely.
 */
static int replace_memory(struct rp_region *r, int fd, struct rp_err *err)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)r->bytes) < 0 ||
	    fallocate(fd, 0, 0, (off_t)r->rings.offset) < 0 ||
	    mmap(r->base, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED)
		return rp_fail(err, errno,
			       "region %.63s cannot be in memory that was handed back: %s", r->name,
			       strerror(errno));
	close(r->fd);
	r->fd = fd;
	memset(r->pages.taken, 0, rp_pool_words(r->pages.total) * sizeof(*r->pages.taken));
	rp_pool_open(&r->pages, r->pages.taken);
	return 0;
}

int rp_region_replace(struct rp_region *r, int fd, struct rp_err *err)
{
	const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct rp_region_keep nothing;
	int ret;

	if (own < 0)
		return rp_fail(err, errno, "a region is descriptor %d: %s", fd, strerror(errno));
	ret = replace_memory(r, own, err);
	if (ret < 0) {
		close(own);
		return ret;
	}
	rp_region_describe(r);
	/* Rings take buffers anew. Without memory for this, those that they had stay taken. */
	if (rp_region_keep_begin(&nothing, r))
		rp_region_keep_end(&nothing);
	return 0;
}

int rp_region_abandon(struct rp_region *r, struct rp_err *err)
{
	const int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;

	if (rp_book_abandon(&r->book, err) < 0)
		return -err->code;
	if (mmap(r->base, r->bytes, PROT_READ | PROT_WRITE, flags, r->fd, 0) == MAP_FAILED)
		return rp_fail(err, errno, "cannot map a region by itself: %s", strerror(errno));
	return 0;
}

static int exhausted(const struct rp_region *r, const struct rp_pool *p, uint32_t asked,
		     struct rp_err *err)
{
	return rp_fail(err, ENOMEM,
		       "region %.40s: %u %s asked for, %u of %u left; raise '%s' of the region",
		       r->name, asked, p->name, rp_pool_left(p), p->total, p->setting);
}

/* Commit the pages of @n buffers from @first on. */
static int commit_bufs(struct rp_region *r, uint32_t first, uint32_t n, struct rp_err *err)
{
	return commit(r, r->bufs.offset + (uint64_t)first * r->bufs.objsize,
		      (uint64_t)n * r->bufs.objsize, err);
}

/* Give each slot a buffer. A failure leaves those that it got in the slots; the others are 0. */
static int fill_slots(struct rp_region *r, struct netmap_ring *ring, uint32_t slots,
		      struct rp_err *err)
{
	uint32_t first = 0, n = 0;

	for (uint32_t i = 0; i < slots; i++) {
		uint32_t buf = (uint32_t)rp_pool_take(&r->bufs);

		ring->slot[i] = (struct netmap_slot){ .buf_idx = buf };
		if (n && buf != first + n) {
			int ret = commit_bufs(r, first, n, err);

			if (ret < 0)
				return ret;
			n = 0;
		}
		if (n++ == 0)
			first = buf;
	}
	return commit_bufs(r, first, n, err);
}

/* What a new ring says; its slots stay as they are. */
static void init_ring(struct rp_region *r, const struct rp_region_ring *in, uint16_t dir,
		      uint16_t ringid)
{
	const uint32_t tail = dir == NETMAP_DIR_TX ? in->slots - 1 : 0;
	struct netmap_ring *ring = rp_region_ring_at(r, in->obj);

	*ring = (struct netmap_ring){
		.buf_ofs = rp_region_bufs(r) - (uint8_t *)ring,
		.num_slots = in->slots,
		.nr_buf_size = r->bufs.objsize,
		.ringid = ringid,
		.dir = dir,
		.tail = tail,
	};
	*rp_region_csb_at(r, in->csb) = (struct rp_csb){
		.ktoa = { .hwtail = tail, .kern_need_kick = 1 },
		.ring_offset = (uint64_t)((uint8_t *)ring - r->base),
		.peer = RP_NO_CSB,
		.monitor = RP_NO_CSB,
	};
}

/*
 * What only the backend has to say of a ring, again: its user may have written there. Of the
 * words of a pipe nothing changes, for its ends went on without us; and nobody shows slots to
 * monitors until they are there again.
 */
static void renew_ring(struct rp_region *r, const struct rp_region_ring *in)
{
	struct netmap_ring *ring = rp_region_ring_at(r, in->obj);
	struct rp_csb *csb = rp_region_csb_at(r, in->csb);

	ring->buf_ofs = rp_region_bufs(r) - (uint8_t *)ring;
	ring->num_slots = in->slots;
	ring->nr_buf_size = r->bufs.objsize;
	ring->ringid = in->ringid;
	ring->dir = in->dir;
	ring->offset_mask = 0;
	rp_store(&csb->monitor, RP_NO_CSB);
	rp_store(&csb->lock, 0);
	rp_store(&csb->ktoa.kern_need_kick, 1);
	rp_store(&csb->ktoa.broken, 0);
	rp_store(&csb->ring_offset, (uint64_t)((uint8_t *)ring - r->base));
}

static bool is_of(const struct rp_book_ring *ring, const char *port, int dir, uint32_t ringid,
		  uint32_t slots)
{
	return ring->dir == dir && ring->ringid == ringid && ring->slots == slots &&
	       strncmp(ring->port, port, sizeof(ring->port)) == 0;
}

static bool take_up_ring(struct rp_region *r, const char *port, int dir, uint32_t ringid,
			 uint32_t slots, struct rp_region_ring *out)
{
	for (uint32_t i = 0; r->old_rings.used && i < r->old_rings.total; i++) {
		if (!rp_pool_taken(&r->old_rings, i) ||
		    !is_of(&r->book.rings[i], port, dir, ringid, slots))
			continue;
		rp_pool_give(&r->old_rings, i);
		*out = (struct rp_region_ring){ .obj = i,
						.csb = i,
						.slots = slots,
						.dir = (uint16_t)dir,
						.ringid = (uint16_t)ringid,
						.resumed = true };
		renew_ring(r, out);
		return true;
	}
	return false;
}

/* From here on the ring is this port's, also for another backend. */
static void enter_ring(struct rp_region *r, const struct rp_region_ring *ring, const char *port)
{
	struct rp_book_ring *entry = &r->book.rings[ring->obj];

	entry->slots = ring->slots;
	entry->dir = ring->dir;
	entry->ringid = ring->ringid;
	entry->lender = 0;
	rp_ring_state_reset(&entry->state, 0, 0);
	memcpy(entry->port, port, strnlen(port, sizeof(entry->port) - 1));
}

int rp_region_add_ring(struct rp_region *r, const char *port, int dir, uint32_t ringid,
		       uint32_t slots, struct rp_region_ring *out, struct rp_err *err)
{
	int64_t obj;
	int ret;

	if (slots < 2 || slots > r->slots_max)
		return rp_fail(
			err, EINVAL,
			"a ring of %u slots; region %.40s takes 2 to %u ('slots' of the region)",
			slots, r->name, r->slots_max);
	if (take_up_ring(r, port, dir, ringid, slots, out))
		return 0;
	if (rp_pool_left(&r->bufs) < slots)
		return exhausted(r, &r->bufs, slots, err);
	obj = rp_pool_take(&r->rings);
	if (obj < 0)
		return exhausted(r, &r->rings, 1, err);
	*out = (struct rp_region_ring){ .obj = (uint32_t)obj,
					.csb = (uint32_t)obj,
					.slots = slots,
					.dir = (uint16_t)dir,
					.ringid = (uint16_t)ringid };
	ret = commit(r, r->rings.offset + (uint64_t)out->obj * r->rings.objsize, r->rings.objsize,
		     err);
	if (ret < 0) {
		rp_pool_give(&r->rings, out->obj);
		return ret;
	}
	init_ring(r, out, out->dir, out->ringid);
	ret = fill_slots(r, rp_region_ring_at(r, out->obj), slots, err);
	if (ret < 0)
		rp_region_del_ring(r, out);
	else
		enter_ring(r, out, port);
	return ret;
}

static void give_buf(struct rp_region *r, uint32_t buf)
{
	if (buf >= NETMAP_BUF_RESERVED)
		rp_pool_give(&r->bufs, buf);
}

static void give_slots(struct rp_region *r, const struct rp_region_ring *ring)
{
	struct netmap_ring *at = rp_region_ring_at(r, ring->obj);

	for (uint32_t i = 0; i < ring->slots; i++) {
		give_buf(r, rp_load(&at->slot[i].buf_idx));
		rp_store(&at->slot[i].buf_idx, 0);
	}
}

bool rp_region_keep_begin(struct rp_region_keep *k, struct rp_region *r)
{
	*k = (struct rp_region_keep){ .region = r, .bufs = r->bufs };
	k->taken = calloc(rp_pool_words(r->bufs.total), sizeof(*k->taken));
	if (!k->taken)
		return false;
	rp_pool_open(&k->bufs, k->taken);
	for (int i = 0; i < NETMAP_BUF_RESERVED; i++)
		rp_pool_take(&k->bufs);
	return true;
}

void rp_region_keep_ring(struct rp_region_keep *k, const struct rp_region_ring *ring)
{
	const struct netmap_ring *at = rp_region_ring_at(k->region, ring->obj);

	for (uint32_t i = 0; i < ring->slots; i++)
		rp_pool_mark(&k->bufs, rp_load(&at->slot[i].buf_idx));
}

void rp_region_keep_end(struct rp_region_keep *k)
{
	for (uint32_t i = 0; i < k->bufs.total; i++) {
		if (!rp_pool_taken(&k->bufs, i))
			rp_pool_give(&k->region->bufs, i);
	}
	free(k->taken);
}

int rp_region_reset_ring(struct rp_region *r, const struct rp_region_ring *ring, struct rp_err *err)
{
	give_slots(r, ring);
	init_ring(r, ring, ring->dir, ring->ringid);
	if (rp_pool_left(&r->bufs) < ring->slots)
		return exhausted(r, &r->bufs, ring->slots, err);
	return fill_slots(r, rp_region_ring_at(r, ring->obj), ring->slots, err);
}

void rp_region_lend(struct rp_region *r, const struct rp_region_ring *to,
		    const struct rp_region_ring *from)
{
	struct netmap_ring *at = rp_region_ring_at(r, to->obj);
	uint32_t *lender = &r->book.rings[to->obj].lender;

	if (from && *lender == from->obj + 1)
		return; /* it was, before a restart */
	if (from && !*lender)
		give_slots(r, to);
	rp_store(lender, from ? from->obj + 1 : 0);
	for (uint32_t i = 0; i < to->slots; i++)
		at->slot[i].buf_idx = from ? rp_region_ring_at(r, from->obj)->slot[i].buf_idx : 0;
}

void rp_region_del_ring(struct rp_region *r, const struct rp_region_ring *ring)
{
	struct rp_book_ring *entry = &r->book.rings[ring->obj];

	memset(entry->port, 0, sizeof(entry->port));
	if (entry->lender)
		rp_region_lend(r, ring, NULL);
	give_slots(r, ring);
	rp_region_csb_at(r, ring->csb)->ring_offset = 0;
	rp_pool_give(&r->rings, ring->obj);
}

static bool take_up_own_if(struct rp_region *r, const char *port, uint32_t *nifp)
{
	for (uint32_t i = 0; r->old_ifs.used && i < r->old_ifs.total; i++) {
		*nifp = i;
		if (rp_pool_taken(&r->old_ifs, i) &&
		    strncmp(r->book.ifs[i].port, port, sizeof(r->book.ifs[i].port)) == 0)
			return rp_pool_give(&r->old_ifs, i);
	}
	return false;
}

int rp_region_add_if(struct rp_region *r, const char *port, struct rp_err *err)
{
	uint32_t old;
	int64_t i;

	if (port && take_up_own_if(r, port, &old))
		return (int)old;
	i = rp_pool_take(&r->ifs);
	if (i < 0)
		return exhausted(r, &r->ifs, 1, err);
	memset(rp_region_if_at(r, (uint32_t)i), 0, r->ifs.objsize);
	if (port)
		memcpy(r->book.ifs[i].port, port, strnlen(port, sizeof(r->book.ifs[i].port) - 1));
	return (int)i;
}

int rp_region_take_up_if(struct rp_region *r, uint64_t offset, struct rp_err *err)
{
	const uint64_t i = (offset - r->ifs.offset) / r->ifs.objsize;

	if (i >= r->old_ifs.total || rp_region_if_offset(r, (uint32_t)i) != offset ||
	    r->book.ifs[i].port[0] || !rp_pool_give(&r->old_ifs, (uint32_t)i))
		return rp_fail(err, EINVAL, "nobody had open a netmap_if at %llu of region %.63s",
			       (unsigned long long)offset, r->name);
	return (int)i;
}

void rp_region_del_if(struct rp_region *r, uint32_t nifp)
{
	memset(r->book.ifs[nifp].port, 0, sizeof(r->book.ifs[nifp].port));
	rp_pool_give(&r->ifs, nifp);
}

void rp_region_drop_old(struct rp_region *r)
{
	for (uint32_t i = 0; i < r->old_ifs.total; i++) {
		if (rp_pool_taken(&r->old_ifs, i))
			rp_region_del_if(r, i);
	}
	for (uint32_t i = 0; i < r->old_rings.total; i++) {
		const struct rp_region_ring ring = { .obj = i,
						     .csb = i,
						     .slots = r->book.rings[i].slots };

		if (rp_pool_taken(&r->old_rings, i))
			rp_region_del_ring(r, &ring);
	}
	forget_old(r);
	r->resuming = false;
}

static uint32_t *link_of(const struct rp_region *r, uint32_t buf)
{
	return (uint32_t *)(void *)(rp_region_bufs(r) + (uint64_t)buf * r->bufs.objsize);
}

uint32_t rp_region_add_extra(struct rp_region *r, uint32_t n, uint32_t *got)
{
	enum { AHEAD = 64 };
	uint32_t head = 0, ahead;

	for (*got = 0; *got < n; (*got)++) {
		int64_t buf = rp_pool_take(&r->bufs);

		if (buf < 0)
			break;
		/* Those that come next along with it: a system call for each one is dear. */
		ahead = r->bufs.total - (uint32_t)buf;
		if (commit_bufs(r, (uint32_t)buf, ahead < AHEAD ? ahead : AHEAD, NULL) < 0) {
			rp_pool_give(&r->bufs, (uint32_t)buf);
			break;
		}
		*link_of(r, (uint32_t)buf) = head;
		head = (uint32_t)buf;
	}
	return head;
}

void rp_region_del_extra(struct rp_region *r, uint32_t head)
{
	/* Each turn gives back one buffer that was taken, so the list ends, even if it is a ring. */
	while (head >= NETMAP_BUF_RESERVED && head < r->bufs.total && rp_pool_give(&r->bufs, head))
		head = rp_load(link_of(r, head));
}
