/* SPDX-License-Identifier: BSD-2-Clause */
#include "book.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "pool.h"

static uint64_t bits(uint32_t total)
{
	return rp_pool_words(total) * sizeof(uint64_t);
}

static uint64_t size_of(const struct rp_book_head *h)
{
	const uint64_t rings = h->rings.objtotal, ifs = h->ifs.objtotal;

	return sizeof(struct rp_ring_state) + rings * sizeof(struct rp_book_ring) +
	       ifs * sizeof(struct rp_book_if) + bits(h->ifs.objtotal) + bits(h->rings.objtotal) +
	       bits(h->bufs.objtotal);
}

static_assert(sizeof(struct rp_book_head) <= sizeof(struct rp_ring_state),
	      "the head fits where a ring's state does, so that all records are aligned");

static int map(struct rp_book *b, const struct rp_book_head *h, struct rp_err *err)
{
	uint8_t *at;

	b->base = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	if (b->base == MAP_FAILED) {
		b->base = NULL;
		return rp_fail(err, errno, "cannot map a region's book: %s", strerror(errno));
	}
	at = b->base + sizeof(struct rp_ring_state);
	b->rings = (struct rp_book_ring *)(void *)at;
	at += h->rings.objtotal * sizeof(*b->rings);
	b->ifs = (struct rp_book_if *)(void *)at;
	at += h->ifs.objtotal * sizeof(*b->ifs);
	b->ifs_taken = (uint64_t *)(void *)at;
	at += bits(h->ifs.objtotal);
	b->rings_taken = (uint64_t *)(void *)at;
	at += bits(h->rings.objtotal);
	b->bufs_taken = (uint64_t *)(void *)at;
	return 0;
}

static struct rp_book_head signed_head(const struct rp_book_head *head)
{
	struct rp_book_head h = *head;

	h.magic = RP_BOOK_MAGIC;
	h.version = RP_BOOK_VERSION;
	return h;
}

int rp_book_new(struct rp_book *b, const struct rp_book_head *head, struct rp_err *err)
{
	const struct rp_book_head h = signed_head(head);
	int ret;

	b->bytes = size_of(&h);
	b->fd = memfd_create("ringpass-book", MFD_CLOEXEC);
	if (b->fd < 0 || fallocate(b->fd, 0, 0, (off_t)b->bytes) < 0)
		return rp_fail(err, errno, "no memory for a region's book of %llu bytes: %s",
			       (unsigned long long)b->bytes, strerror(errno));
	ret = map(b, &h, err);
	if (b->base)
		memcpy(b->base, &h, sizeof(h));
	return ret;
}

int rp_book_resume(struct rp_book *b, const struct rp_book_head *head, int fd, struct rp_err *err)
{
	const struct rp_book_head h = signed_head(head);
	struct stat st;
	int ret;

	b->bytes = size_of(&h);
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (b->fd < 0 || fstat(b->fd, &st) < 0)
		return rp_fail(err, errno, "a region's book is descriptor %d: %s", fd,
			       strerror(errno));
	if ((uint64_t)st.st_size != b->bytes)
		return rp_fail(err, EINVAL, "the region's book has %llu bytes, not %llu",
			       (unsigned long long)st.st_size, (unsigned long long)b->bytes);
	ret = map(b, &h, err);
	if (b->base && memcmp(b->base, &h, sizeof(h)) != 0)
		ret = rp_fail(err, EINVAL, "the region's book is of another layout");
	return ret;
}

int rp_book_abandon(struct rp_book *b, struct rp_err *err)
{
	if (mmap(b->base, b->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, b->fd, 0) ==
	    MAP_FAILED)
		return rp_fail(err, errno, "cannot map a book by itself: %s", strerror(errno));
	return 0;
}

void rp_book_close(struct rp_book *b)
{
	if (b->base)
		munmap(b->base, b->bytes);
	if (b->fd >= 0)
		close(b->fd);
}
