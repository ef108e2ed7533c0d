/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef _NET_NETMAP_USER_H_
#define _NET_NETMAP_USER_H_
/*
 * DOC: Finding one's way in a mapped region, and a small library on top of it.
 *
 *   struct netmap_if *nifp = NETMAP_IF(mem, req.nr_offset);
 *   struct netmap_ring *ring = NETMAP_RXRING(nifp, 0);
 *   while (!nm_ring_empty(ring)) {
 *           struct netmap_slot *slot = &ring->slot[ring->head];
 *           consume(NETMAP_BUF(ring, slot->buf_idx), slot->len);
 *           ring->head = ring->cur = nm_ring_next(ring, ring->head);
 *   }
 *
 * With NETMAP_WITH_LIBS defined before, also nm_open() and its like, for
 * programs that want a descriptor to send and receive with:
 *
 *   struct nm_desc *d = nm_open("vale0:me", NULL, 0, NULL);
 *   nm_inject(d, frame, bytes);
 *   buf = nm_nextpkt(d, &hdr);
 *   nm_close(d);
 */
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>

#ifndef likely
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#include <net/netmap.h>

#define _NETMAP_OFFSET(type, base, offset) ((type)(void *)((char *)(base) + (offset)))

#define NETMAP_IF(base, offset)		   _NETMAP_OFFSET(struct netmap_if *, base, offset)

#define NETMAP_TXRING(nifp, index) \
	_NETMAP_OFFSET(struct netmap_ring *, nifp, (nifp)->ring_ofs[index])

#define NETMAP_RXRING(nifp, index)                 \
	_NETMAP_OFFSET(struct netmap_ring *, nifp, \
		       (nifp)->ring_ofs[(index) + (nifp)->ni_tx_rings + (nifp)->ni_host_tx_rings])

#define NETMAP_BUF(ring, index) \
	((char *)(ring) + (ring)->buf_ofs + (size_t)(index) * (ring)->nr_buf_size)

#define NETMAP_BUF_IDX(ring, buf) \
	(((char *)(buf) - ((char *)(ring) + (ring)->buf_ofs)) / (ring)->nr_buf_size)

/* Where a frame begins in its buffer: of ports that were opened with offsets. */
#define NETMAP_ROFFSET(ring, slot) ((slot)->ptr & (ring)->offset_mask)

#define NETMAP_WOFFSET(ring, slot, offset)                                \
	do {                                                              \
		(slot)->ptr = ((slot)->ptr & ~(ring)->offset_mask) |      \
			      ((uint64_t)(offset) & (ring)->offset_mask); \
	} while (0)

#define NETMAP_BUF_OFFSET(ring, slot) \
	(NETMAP_BUF(ring, (slot)->buf_idx) + NETMAP_ROFFSET(ring, slot))

/* nm_ring_next() - the slot after @i */
static inline uint32_t nm_ring_next(struct netmap_ring *ring, uint32_t i)
{
	return unlikely(i + 1 == ring->num_slots) ? 0 : i + 1;
}

/* nm_ring_space() - how many slots from cur on are the program's */
static inline uint32_t nm_ring_space(struct netmap_ring *ring)
{
	uint32_t cur = ring->cur, tail = ring->tail;

	return tail >= cur ? tail - cur : tail + ring->num_slots - cur;
}

/* nm_ring_empty() - tell whether the program has no slot from head on */
static inline int nm_ring_empty(struct netmap_ring *ring)
{
	return ring->head == ring->tail;
}

/* nm_tx_pending() - tell whether frames that were given away are not sent yet */
static inline int nm_tx_pending(struct netmap_ring *ring)
{
	return nm_ring_next(ring, ring->tail) != ring->head;
}

#ifdef NETMAP_WITH_LIBS
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ND() says nothing; D() says where, when and what; RD() does at most @lps times a second. */
#ifndef ND
#define ND(...) \
	do {    \
	} while (0)
#define D(format, ...)                                                                          \
	do {                                                                                    \
		struct timeval nm_now_;                                                         \
                                                                                                \
		gettimeofday(&nm_now_, NULL);                                                   \
		fprintf(stderr, "%03d.%06d %s [%d] " format "\n", (int)(nm_now_.tv_sec % 1000), \
			(int)nm_now_.tv_usec, __func__, __LINE__, ##__VA_ARGS__);               \
	} while (0)
#define RD(lps, format, ...)                           \
	do {                                           \
		static time_t nm_second_;              \
		static int nm_said_;                   \
		struct timeval nm_today_;              \
                                                       \
		gettimeofday(&nm_today_, NULL);        \
		if (nm_second_ != nm_today_.tv_sec) {  \
			nm_second_ = nm_today_.tv_sec; \
			nm_said_ = 0;                  \
		}                                      \
		if (nm_said_++ < (lps))                \
			D(format, ##__VA_ARGS__);      \
	} while (0)
#endif

struct nm_desc;

/* A frame, as libpcap would describe it: the first three fields are its header. */
struct nm_pkthdr {
	struct timeval ts;
	uint32_t caplen;
	uint32_t len;

	uint64_t flags; /* NM_MORE_PKTS */
	struct nm_desc *d;
	struct netmap_slot *slot;
	uint8_t *buf;
};
#define NM_MORE_PKTS 1 /* nm_dispatch() has another one at hand */

struct nm_stat {
	u_int ps_recv;
	u_int ps_drop;
	u_int ps_ifdrop;
};

#define NM_ERRBUF_SIZE 512

struct nm_desc {
	struct nm_desc *self; /* itself: so it is known to be one */
	int fd;
	void *mem;
	uint32_t memsize;
	int done_mmap; /* mem is to be unmapped at the end */
	struct netmap_if *const nifp;
	uint16_t first_tx_ring, last_tx_ring, cur_tx_ring;
	uint16_t first_rx_ring, last_rx_ring, cur_rx_ring;
	struct nmreq req;
	struct nm_pkthdr hdr;

	/* All rings of the port have buffers from here to there. */
	struct netmap_ring *const some_ring;
	void *const buf_start;
	void *const buf_end;

	int snaplen;
	int promisc;
	int to_ms;
	char *errbuf;

	uint32_t if_flags;
	uint32_t if_reqcap;
	uint32_t if_curcap;

	struct nm_stat st;
	char msg[NM_ERRBUF_SIZE]; /* what went wrong */
};

#define P2NMD(p)	  ((const struct nm_desc *)(p))
#define IS_NETMAP_DESC(d) ((d) && P2NMD(d)->self == P2NMD(d))
#define NETMAP_FD(d)	  (P2NMD(d)->fd)

typedef void (*nm_cb_t)(u_char *arg, const struct nm_pkthdr *hdr, const u_char *buf);

/* How nm_open() is to use its last argument. */
enum {
	NM_OPEN_NO_MMAP = 0x040000, /* share its mapping, if it is of the same region */
	NM_OPEN_IFNAME = 0x080000,  /* its name, mode and rings */
	NM_OPEN_ARG1 = 0x100000,
	NM_OPEN_ARG2 = 0x200000,
	NM_OPEN_ARG3 = 0x400000,
	NM_OPEN_RING_CFG = 0x800000, /* its counts of rings and slots */
};

/**
 * nm_pkt_copy() - copy a frame between buffers
 *
 * Up to 1024 bytes it copies whole lines of 64 bytes, so both need room up to
 * the next multiple, as buffers of a region have.
 */
static inline void nm_pkt_copy(const void *from, void *to, int bytes)
{
	int rounded = bytes < 1024 ? (bytes + 63) & ~63 : bytes;

	memcpy(to, from, (size_t)rounded);
}

/* --- names: "netmap:eth0-3/xR@2", "vale0:a", "vale0:a{1" ------------------ */

static inline int nm_refuse(char *err, const char *why)
{
	snprintf(err, NM_ERRBUF_SIZE, "%s", why);
	errno = EINVAL;
	return -1;
}

/* Take a decimal number of at most @max. */
static inline int nm_parse_number(const char **text, unsigned long max, unsigned long *value)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return -1;
	errno = 0;
	*value = strtoul(*text, &end, 10);
	*text = end;
	return errno || *value > max ? -1 : 0;
}

static inline int nm_parse_flag(char letter, uint32_t *flags)
{
	switch (letter) {
	case 'x':
		*flags |= NR_EXCLUSIVE;
		return 0;
	case 'z':
		*flags |= NR_ZCOPY_MON;
		return 0;
	case 't':
		*flags |= NR_MONITOR_TX;
		return 0;
	case 'r':
		*flags |= NR_MONITOR_RX;
		return 0;
	case 'R':
		*flags |= NR_RX_RINGS_ONLY;
		return 0;
	case 'T':
		*flags |= NR_TX_RINGS_ONLY;
		return 0;
	default:
		return -1;
	}
}

/* What follows the name and begins with / or @. */
static inline int nm_parse_flags(const char *at, struct nm_desc *d, char *err)
{
	unsigned long number;

	while (*at) {
		if (*at == '/') {
			at++;
			if (!*at || *at == '@' || *at == '/')
				return nm_refuse(err, "no flag after /");
			for (; *at && *at != '@'; at++) {
				if (nm_parse_flag(*at, &d->req.nr_flags))
					return nm_refuse(err, "no such flag: use x, z, t, r, R, T");
			}
		} else if (*at == '@') {
			at++;
			if (d->req.nr_arg2)
				return nm_refuse(err, "two memory ids");
			if (nm_parse_number(&at, UINT16_MAX, &number) || number == 0)
				return nm_refuse(err, "a memory id is a number from 1 to 65535");
			d->req.nr_arg2 = (uint16_t)number;
		} else {
			return nm_refuse(err, "unexpected text after the name");
		}
	}
	return 0;
}

/**
 * nm_parse() - read a name
 * @ifname: as nm_open() takes it
 * @d: its req gets name, mode, ring and flags
 * @err: of NM_ERRBUF_SIZE bytes, what is wrong with it
 *
 * Return: 0, or -1 with errno EINVAL
 */
static inline int nm_parse(const char *ifname, struct nm_desc *d, char *err)
{
	const char *name = ifname, *at;
	unsigned long number = 0;
	uint32_t mode = NR_REG_ALL_NIC;
	int is_vale = strncmp(ifname, "vale", 4) == 0;

	if (!is_vale) {
		if (strncmp(ifname, "netmap:", 7) != 0)
			return nm_refuse(err, "a port's name begins with netmap: or vale");
		name += 7;
	} else if (!strchr(ifname, ':')) {
		return nm_refuse(err, "a port of a switch is named valeX:Y");
	}
	at = name + strcspn(name, "-*^{}/@");
	if ((size_t)(at - name) >= sizeof(d->req.nr_name))
		return nm_refuse(err, "the name has more than 15 characters");
	memset(d->req.nr_name, 0, sizeof(d->req.nr_name));
	memcpy(d->req.nr_name, name, (size_t)(at - name));

	switch (*at) {
	case '-':
	case '{':
	case '}':
		mode = *at == '-' ? NR_REG_ONE_NIC :
		       *at == '{' ? NR_REG_PIPE_MASTER :
				    NR_REG_PIPE_SLAVE;
		at++;
		if (nm_parse_number(&at, NETMAP_RING_MASK - 1, &number))
			return nm_refuse(err, "a number from 0 to 4094 follows -, { and }");
		break;
	case '*':
		mode = NR_REG_NIC_SW;
		at++;
		break;
	case '^':
		mode = NR_REG_SW;
		at++;
		break;
	default:
		break;
	}
	d->req.nr_ringid = (uint16_t)(number | (mode == NR_REG_SW      ? NETMAP_SW_RING :
						mode == NR_REG_ONE_NIC ? NETMAP_HW_RING :
									 0));
	d->req.nr_flags = mode;
	return nm_parse_flags(at, d, err);
}

/* --- descriptors ---------------------------------------------------------- */

/**
 * nm_mmap() - map the region of a descriptor, or share that of @parent
 *
 * Return: 0, or -1 with errno
 */
static inline int nm_mmap(struct nm_desc *d, const struct nm_desc *parent)
{
	struct netmap_if *nifp;
	struct netmap_ring *ring;

	if (d->done_mmap)
		return 0;
	if (IS_NETMAP_DESC(parent) && parent->mem && parent->req.nr_arg2 == d->req.nr_arg2) {
		d->memsize = parent->memsize;
		d->mem = parent->mem;
	} else {
		d->memsize = d->req.nr_memsize;
		d->mem = mmap(NULL, d->memsize, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
		if (d->mem == MAP_FAILED) {
			d->mem = NULL;
			return -1;
		}
		d->done_mmap = 1;
	}
	nifp = NETMAP_IF(d->mem, d->req.nr_offset);
	ring = d->req.nr_flags & NR_TX_RINGS_ONLY ? NETMAP_TXRING(nifp, d->first_tx_ring) :
						    NETMAP_RXRING(nifp, d->first_rx_ring);
	/* They are const for everybody else. */
	*(struct netmap_if **)(uintptr_t)&d->nifp = nifp;
	*(struct netmap_ring **)(uintptr_t)&d->some_ring = ring;
	*(void **)(uintptr_t)&d->buf_start = NETMAP_BUF(ring, 0);
	*(void **)(uintptr_t)&d->buf_end = (char *)d->mem + d->memsize;
	return 0;
}

/* nm_close() - unbind, unmap and free; Return: 0, or EINVAL if it is no descriptor */
static inline int nm_close(struct nm_desc *d)
{
	if (!IS_NETMAP_DESC(d))
		return EINVAL;
	if (d->done_mmap)
		munmap(d->mem, d->memsize);
	if (d->fd != -1)
		close(d->fd);
	d->self = NULL;
	free(d);
	return 0;
}

/* Which rings of each direction the mode bound; a direction may have none. */
static inline void nm_set_rings(struct nm_desc *d)
{
	uint16_t tx = d->req.nr_tx_rings, rx = d->req.nr_rx_rings;
	uint16_t ring = d->req.nr_ringid & NETMAP_RING_MASK;

	switch (d->req.nr_flags & NR_REG_MASK) {
	case NR_REG_SW:
		d->first_tx_ring = d->last_tx_ring = tx;
		d->first_rx_ring = d->last_rx_ring = rx;
		break;
	case NR_REG_NIC_SW:
		d->first_tx_ring = d->first_rx_ring = 0;
		d->last_tx_ring = tx;
		d->last_rx_ring = rx;
		break;
	case NR_REG_ONE_NIC:
		d->first_tx_ring = d->last_tx_ring = ring;
		d->first_rx_ring = d->last_rx_ring = ring;
		break;
	case NR_REG_PIPE_MASTER:
	case NR_REG_PIPE_SLAVE:
		d->first_tx_ring = d->last_tx_ring = 0;
		d->first_rx_ring = d->last_rx_ring = 0;
		break;
	default:
		d->first_tx_ring = d->first_rx_ring = 0;
		d->last_tx_ring = tx - 1;
		d->last_rx_ring = rx - 1;
		break;
	}
	if (d->req.nr_flags & NR_RX_RINGS_ONLY)
		d->first_tx_ring = d->last_tx_ring + 1;
	if (d->req.nr_flags & NR_TX_RINGS_ONLY)
		d->first_rx_ring = d->last_rx_ring + 1;
	d->cur_tx_ring = d->first_tx_ring;
	d->cur_rx_ring = d->first_rx_ring;
}

/* What the program asks for beyond the name: in @req, in @flags, by the example of @parent. */
static inline int nm_set_request(struct nm_desc *d, const char *ifname, const struct nmreq *req,
				 uint64_t flags, const struct nm_desc *parent, char *err)
{
	const uint32_t modifiers = NR_ZCOPY_MON | NR_MONITOR_TX | NR_MONITOR_RX | NR_EXCLUSIVE |
				   NR_RX_RINGS_ONLY | NR_TX_RINGS_ONLY | NR_ACCEPT_VNET_HDR;
	uint16_t ringid_flags = (uint16_t)(flags & (NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL));

	if (req)
		d->req = *req;
	if (parent && (flags & NM_OPEN_IFNAME)) {
		memcpy(d->req.nr_name, parent->req.nr_name, sizeof(d->req.nr_name));
		d->req.nr_ringid = parent->req.nr_ringid;
		d->req.nr_flags = parent->req.nr_flags;
	} else if (ifname) {
		d->req.nr_arg2 = 0; /* the name says it, or nobody does */
		if (nm_parse(ifname, d, err))
			return -1;
		if (req && req->nr_arg2)
			d->req.nr_arg2 = req->nr_arg2;
	}
	d->req.nr_version = NETMAP_API;
	d->req.nr_ringid =
		(uint16_t)((d->req.nr_ringid & ~(NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL)) |
			   ringid_flags);
	if (req)
		d->req.nr_flags |= req->nr_flags & modifiers;
	d->req.nr_flags |= (uint32_t)flags & modifiers & ~(uint32_t)ringid_flags;
	if (!parent)
		return 0;
	if (flags & NM_OPEN_ARG1)
		d->req.nr_arg1 = parent->req.nr_arg1;
	if (flags & (NM_OPEN_ARG2 | NM_OPEN_NO_MMAP))
		d->req.nr_arg2 = parent->req.nr_arg2;
	if (flags & NM_OPEN_ARG3)
		d->req.nr_arg3 = parent->req.nr_arg3;
	if (flags & NM_OPEN_RING_CFG) {
		d->req.nr_tx_slots = parent->req.nr_tx_slots;
		d->req.nr_rx_slots = parent->req.nr_rx_slots;
		d->req.nr_tx_rings = parent->req.nr_tx_rings;
		d->req.nr_rx_rings = parent->req.nr_rx_rings;
	}
	return 0;
}

/**
 * nm_open() - open /dev/netmap, bind it to a port, map the region
 * @ifname: such as "netmap:eth0-3/x" or "vale0:a{1"; NULL: all is in @req
 * @req: NULL, or what else to ask for: slots, rings, extra buffers (nr_arg3)
 * @flags: NM_OPEN_*, NETMAP_NO_TX_POLL, NETMAP_DO_RX_POLL, NR_*
 * @arg: NULL, or a descriptor to take over from
 *
 * Return: a descriptor, or NULL with errno
 */
static inline struct nm_desc *nm_open(const char *ifname, const struct nmreq *req, uint64_t flags,
				      const struct nm_desc *arg)
{
	const struct nm_desc *parent = IS_NETMAP_DESC(arg) ? arg : NULL;
	char why[NM_ERRBUF_SIZE] = "";
	struct nm_desc *d = (struct nm_desc *)calloc(1, sizeof(*d));
	int error;

	if (!d) {
		errno = ENOMEM;
		return NULL;
	}
	d->self = d;
	d->fd = open("/dev/netmap", O_RDWR);
	if (d->fd < 0) {
		snprintf(why, sizeof(why), "cannot open /dev/netmap");
		goto fail;
	}
	if (nm_set_request(d, ifname, req, flags, parent, why))
		goto fail;
	if (ioctl(d->fd, NIOCREGIF, &d->req)) {
		snprintf(why, sizeof(why), "NIOCREGIF failed: %s", strerror(errno));
		goto fail;
	}
	nm_set_rings(d);
	if ((!(flags & NM_OPEN_NO_MMAP) || parent) &&
	    nm_mmap(d, flags & NM_OPEN_NO_MMAP ? parent : NULL)) {
		snprintf(why, sizeof(why), "mmap failed: %s", strerror(errno));
		goto fail;
	}
	return d;
fail:
	error = errno;
	if (why[0])
		D("%s: %s", ifname ? ifname : d->req.nr_name, why);
	nm_close(d);
	errno = error;
	return NULL;
}

/* --- frames --------------------------------------------------------------- */

/* How many slots from head on hold the frame of @size bytes, 0 if there are too few. */
static inline uint32_t nm_slots_for(struct netmap_ring *ring, size_t size)
{
	uint32_t needed = (uint32_t)((size + ring->nr_buf_size - 1) / ring->nr_buf_size);

	if (needed == 0)
		needed = 1;
	return nm_ring_space(ring) < needed ? 0 : needed;
}

/* Put a frame into @n slots of a TX ring, which has them. */
static inline void nm_put(struct netmap_ring *ring, const void *buf, size_t size, uint32_t n)
{
	const char *from = (const char *)buf;
	uint32_t i = ring->head;

	while (n--) {
		struct netmap_slot *slot = &ring->slot[i];
		size_t bytes = size < ring->nr_buf_size ? size : ring->nr_buf_size;

		memcpy(NETMAP_BUF(ring, slot->buf_idx), from, bytes);
		slot->len = (uint16_t)bytes;
		slot->flags = n ? NS_MOREFRAG : 0;
		from += bytes;
		size -= bytes;
		i = nm_ring_next(ring, i);
	}
	ring->head = ring->cur = i;
}

/**
 * nm_inject() - put a frame into the first TX ring that has room
 *
 * It leaves with the next NIOCTXSYNC or poll(); if all rings are full, they are
 * synchronized once.
 *
 * Return: the frame's bytes, or 0 if there is no room
 */
static inline int nm_inject(struct nm_desc *d, const void *buf, size_t size)
{
	uint16_t rings = (uint16_t)(d->last_tx_ring - d->first_tx_ring + 1);

	for (int attempt = 0; attempt < 2; attempt++) {
		uint16_t index = d->cur_tx_ring;

		for (uint16_t tried = 0; tried < rings; tried++) {
			struct netmap_ring *ring;
			uint32_t needed;

			if (index > d->last_tx_ring)
				index = d->first_tx_ring;
			ring = NETMAP_TXRING(d->nifp, index);
			needed = nm_slots_for(ring, size);
			if (needed) {
				nm_put(ring, buf, size, needed);
				d->cur_tx_ring = index;
				return (int)size;
			}
			index++;
		}
		ioctl(d->fd, NIOCTXSYNC);
	}
	return 0;
}

/* Take the next frame of an RX ring. Of one in several slots: the first one's bytes, all its length. */
static inline void nm_take(struct nm_desc *d, uint16_t index, struct nm_pkthdr *hdr)
{
	struct netmap_ring *ring = NETMAP_RXRING(d->nifp, index);
	struct netmap_slot *slot = &ring->slot[ring->cur];

	hdr->ts = ring->ts;
	hdr->len = hdr->caplen = slot->len;
	hdr->flags = 0;
	hdr->d = d;
	hdr->slot = slot;
	hdr->buf = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
	d->cur_rx_ring = index;
	ring->cur = nm_ring_next(ring, ring->cur);
	while ((slot->flags & NS_MOREFRAG) && ring->cur != ring->tail) {
		slot = &ring->slot[ring->cur];
		hdr->len += slot->len;
		ring->cur = nm_ring_next(ring, ring->cur);
	}
}

/* The RX ring that has a frame, from the current one on; -1: none has. */
static inline int nm_ready_rx(struct nm_desc *d)
{
	uint16_t rings = (uint16_t)(d->last_rx_ring - d->first_rx_ring + 1);
	uint16_t index = d->cur_rx_ring;

	for (uint16_t tried = 0; tried < rings; tried++, index++) {
		struct netmap_ring *ring;

		if (index > d->last_rx_ring)
			index = d->first_rx_ring;
		ring = NETMAP_RXRING(d->nifp, index);
		if (nm_ring_space(ring))
			return index;
		ring->head = ring->cur; /* all of it was looked at */
	}
	return -1;
}

/**
 * nm_dispatch() - call @cb for frames that are in the RX rings
 * @cnt: for at most so many; 0 or less: for all of them
 *
 * Return: how many
 */
static inline int nm_dispatch(struct nm_desc *d, int cnt, nm_cb_t cb, u_char *arg)
{
	int done = 0, index;

	while ((cnt <= 0 || done < cnt) && (index = nm_ready_rx(d)) >= 0) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, index);
		struct nm_pkthdr hdr;

		nm_take(d, (uint16_t)index, &hdr);
		if (nm_ring_space(ring) && (cnt <= 0 || done + 1 < cnt))
			hdr.flags = NM_MORE_PKTS;
		cb(arg, &hdr, hdr.buf);
		ring->head = ring->cur;
		done++;
	}
	return done;
}

/**
 * nm_nextpkt() - take the next frame from the RX rings
 * @hdr: describes it
 *
 * The frame stays valid until the next call.
 *
 * Return: its first byte, or NULL if there is none
 */
static inline u_char *nm_nextpkt(struct nm_desc *d, struct nm_pkthdr *hdr)
{
	int index;

	if (d->first_rx_ring > d->last_rx_ring)
		return NULL;
	/* The frame of the last call, if any, is the program's no more. */
	NETMAP_RXRING(d->nifp, d->cur_rx_ring)->head = NETMAP_RXRING(d->nifp, d->cur_rx_ring)->cur;
	index = nm_ready_rx(d);
	if (index < 0)
		return NULL;
	nm_take(d, (uint16_t)index, hdr);
	return hdr->buf;
}

#endif /* NETMAP_WITH_LIBS */
#endif
