/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FAKE_QUEUE_H
#define RP_FAKE_QUEUE_H
/*
 * DOC: A virtqueue from the driver's side, by the rules of VIRTIO 1.2.
 *
 * What a driver does is the same for every format: add buffers, kick, take
 * them back. How the rings say so is the format's business: fake_split.c has
 * section 2.7, fake_packed.c section 2.8. Nothing is hidden: a test that wants
 * to misbehave adds descriptors of its own, or writes into the rings.
 *
 * Each buffer in the queue has a head, 0 to size - 1, for which there is some
 * memory and an indirect table. In a split ring the head is the number of the
 * first descriptor; in a packed one it is hidden behind an id without pattern,
 * so that a device that takes an id for an index is found out.
 */
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "fake_ram.h"
#include "ringpass.h"

enum {
	FAKE_TABLE = 256, /* entries of an indirect table */
	FAKE_NOTHING = -1,
	FAKE_RINGS = 2,	 /* the first of these formats: split and packed */
	FAKE_FORMATS = 4 /* each also in order */
};

/**
 * fake_choose_format() - what fake_features() says from now on
 *
 * Return: its name
 */
const char *fake_choose_format(unsigned i);

/* fake_features() - all that the data plane offers, for queues of the chosen format */
uint64_t fake_features(void);

/* TEST_RINGS() - a test that runs with split and packed rings; TEST_FORMATS() - also in order */
#define TEST_RINGS(test)   TEST_EACH(test, FAKE_RINGS, fake_choose_format)
#define TEST_FORMATS(test) TEST_EACH(test, FAKE_FORMATS, fake_choose_format)

/* One descriptor's worth of memory. */
struct fake_piece {
	uint64_t addr;
	uint32_t len;
};

/* A descriptor as no format has it: behind NEXT follows the next one of the same chain. */
struct fake_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; /* VRING_DESC_F_ */
};

/* How a buffer is divided into descriptors: the first, then all others. 0: as long as can be. */
struct fake_layout {
	uint32_t first;
	uint32_t then;
	bool indirect;
};

struct fake_chain {
	uint16_t descriptors; /* of the ring; 0: not in the queue */
	uint32_t bytes;	      /* that the device may write */
	/* Of its head's buffer: */
	uint32_t buf_bytes; /* 0: it is made of something else */
	struct fake_layout layout;
};

/* How far a driver has come since the reset, in both units that formats count in. */
struct fake_count {
	uint32_t chains;
	uint32_t descriptors; /* of the ring */
};

struct fake_split {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

struct fake_packed {
	struct vring_packed_desc *desc;
	struct vring_packed_desc_event *driver; /* calls: the driver writes it */
	struct vring_packed_desc_event *device; /* kicks */
	uint16_t first_flags;			/* of the first descriptor that is not published */
};

struct fake_queue {
	const struct fake_ops *ops;
	struct fake_ram *ram;
	uint32_t size;
	uint32_t buf_bytes;
	bool event_idx;
	bool in_order;
	uint64_t desc_addr;
	uint64_t driver_addr;
	uint64_t device_addr;
	uint64_t table_addr; /* an indirect table for each head */
	uint64_t buf_addr;   /* a buffer of buf_bytes for each head */
	uint32_t start;	     /* the ring's position at the reset */
	uint32_t base;	     /* where the device starts: SET_VRING_BASE's value */
	struct fake_count added;
	struct fake_count published;
	struct fake_count kicked; /* at the last decision to kick */
	struct fake_count taken;
	uint32_t nfree;		  /* descriptors */
	uint16_t *free;		  /* a stack: of them when split, of heads when packed */
	struct fake_chain *chain; /* by head */
	uint16_t *order;	  /* heads as they were added: a ring */
	uint32_t batch;		  /* in order: chains that one used entry stood for, to be taken */
	uint32_t batch_len;	  /* that the device wrote into the last of them */
	union {
		struct fake_split split;
		struct fake_packed packed;
	};
	int kick_fd;
	int call_fd;
};

/* What a format is. */
struct fake_ops {
	void (*open)(struct fake_queue *q);
	void (*reset)(struct fake_queue *q); /* empty, at q->start */
	int (*head)(const struct fake_queue *q);
	/* Behind what was added: @n descriptors of the ring, as they are. */
	void (*put)(struct fake_queue *q, uint16_t head, const struct fake_desc *d, unsigned n);
	void (*table)(void *table, const struct fake_desc *d, unsigned n);
	void (*publish)(struct fake_queue *q);
	bool (*kick_wanted)(const struct fake_queue *q); /* for [kicked, published) */
	/* The used entry behind @taken ones. False: none yet. */
	bool (*used)(const struct fake_queue *q, struct fake_count taken, uint16_t *head,
		     uint32_t *len);
	void (*give_back)(struct fake_queue *q, uint16_t head);
	void (*arm)(struct fake_queue *q);
	void (*disarm)(struct fake_queue *q);
	uint32_t (*base)(const struct fake_queue *q, uint32_t avail, uint32_t used);
};

extern const struct fake_ops fake_split;
extern const struct fake_ops fake_packed;

/**
 * fake_queue_open() - lay out an empty queue in guest memory
 * @size:	entries: a power of two in a split ring
 * @buf_bytes:	of the buffer that each head has
 */
void fake_queue_open(struct fake_queue *q, struct fake_ram *ram, uint32_t size, uint32_t buf_bytes,
		     uint64_t features);
void fake_queue_close(struct fake_queue *q);

/* fake_queue_config() - what the data plane needs to know of it */
struct rp_vring_config fake_queue_config(const struct fake_queue *q);

/**
 * fake_queue_reset() - empty, as after a reset of the device: all chains are the driver's again
 * @start:	entries that have passed through the ring before; 0 for a new device
 */
void fake_queue_reset(struct fake_queue *q, uint32_t start);

/* fake_queue_base() - GET_VRING_BASE when, since the reset, so many entries were taken and used */
static inline uint32_t fake_queue_base(const struct fake_queue *q, uint32_t avail, uint32_t used)
{
	return q->ops->base(q, avail, used);
}

/* fake_queue_head() - the head that the next chain will have; FAKE_NOTHING when all are used */
int fake_queue_head(const struct fake_queue *q);

static inline uint64_t fake_queue_buf_addr(const struct fake_queue *q, unsigned head)
{
	return q->buf_addr + (uint64_t)head * q->buf_bytes;
}

static inline uint8_t *fake_queue_buf(const struct fake_queue *q, unsigned head)
{
	return fake_ram_at(q->ram, fake_queue_buf_addr(q, head));
}

static inline uint64_t fake_queue_table_addr(const struct fake_queue *q, unsigned head)
{
	return q->table_addr + (uint64_t)head * FAKE_TABLE * sizeof(struct vring_desc);
}

/**
 * fake_queue_add() - make a chain available; fake_queue_kick() publishes it
 * @flags:	VRING_DESC_F_WRITE for all of its descriptors, or 0
 * @indirect:	in an indirect table, of at most FAKE_TABLE entries
 *
 * Return: its head, or FAKE_NOTHING when there are not enough descriptors
 */
int fake_queue_add(struct fake_queue *q, const struct fake_piece *piece, unsigned n, uint16_t flags,
		   bool indirect);

/**
 * fake_queue_add_buf() - the first @bytes of the next head's own buffer, divided by @layout
 *
 * The last piece lies first, so that nobody takes two of them for one; fill it,
 * and read it after fake_queue_take(), with these two.
 */
int fake_queue_add_buf(struct fake_queue *q, uint32_t bytes, uint16_t flags,
		       struct fake_layout layout);
void fake_queue_put(struct fake_queue *q, unsigned head, uint32_t at, const void *from, uint32_t n);
void fake_queue_get(struct fake_queue *q, unsigned head, uint32_t at, void *to, uint32_t n);

/**
 * fake_queue_add_raw() - @n descriptors as they are, whatever rule they break
 *
 * A split chain whose last descriptor has a next one is a loop: that is its
 * first. Return: its head, or FAKE_NOTHING when there are not enough of them
 */
int fake_queue_add_raw(struct fake_queue *q, const struct fake_desc *d, unsigned n);

/* fake_queue_add_table() - an indirect table of descriptors as they are, and one to it */
int fake_queue_add_table(struct fake_queue *q, const struct fake_desc *d, unsigned n);

/* fake_queue_publish() - the device may see what was added */
void fake_queue_publish(struct fake_queue *q);

/* fake_queue_kick() - publish what was added; kick if the device asked for it. Return: if it did */
bool fake_queue_kick(struct fake_queue *q);

/* fake_queue_kick_wanted() - does the device ask for one, for what was published since the last? */
static inline bool fake_queue_kick_wanted(const struct fake_queue *q)
{
	return q->ops->kick_wanted(q);
}

/* fake_queue_used() - used chains that may be taken back */
unsigned fake_queue_used(const struct fake_queue *q);

/* fake_queue_done() - has the device used all that was published? */
bool fake_queue_done(const struct fake_queue *q);

/**
 * fake_queue_take() - take back the next used chain
 * @len:	bytes that the device wrote; may be NULL
 *
 * Return: its head, or FAKE_NOTHING
 */
int fake_queue_take(struct fake_queue *q, uint32_t *len);

/* fake_queue_arm() - ask for a call at the next used chain. False: there is one already */
bool fake_queue_arm(struct fake_queue *q);
/* fake_queue_disarm() - ask for none. Split with event indexes: for none before the index wraps */
void fake_queue_disarm(struct fake_queue *q);

/* fake_queue_called() - wait @timeout_ms at most for a call; take all that there are */
bool fake_queue_called(struct fake_queue *q, int timeout_ms);

#endif
