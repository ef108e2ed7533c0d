/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Random trials: a guest that maps a region writes what it likes into all of it,
 * at any moment and from two of its processors, while others exchange frames.
 *
 *   evil   a port, both ends of a pipe, a copying and a zero-copy monitor, in one region,
 *          which it opens and closes, with a virtio-net header or without
 *   one    sends to two: every frame arrives, whole and in order
 *   two    gets what the evil one floods, too
 *   apart  on another switch: its region never changes
 *
 * Mostly the evil guest does what a driver does, so that its lies come while frames
 * move. It breaks its port again and again, and has it anew with its next open.
 *
 * RINGPASS_TRIAL_SECONDS says how long: half a second if it is not set.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "abi/rp_guest.h"
#include "check.h"
#include "dataplane.h"
#include "fake_guest.h"
#include "frames.h"
#include "packets.h"
#include "vnet.h"
#include "world.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

enum {
	SLOTS = 32,
	ONE = 0x5a17, /* hosts; the evil one never learns of this one */
	TWO = 0x5b29,
	EVIL = 9,
	FRAME = 200,
	SCRIBBLERS = 2,
	EXTRA = 16,
	MOST_RINGS = 16,
	PATIENCE_S = 60
};

enum part { PORT, LEFT, RIGHT, COPIES, SWAPS, PARTS };

static const char *const names[PARTS] = { "evil", "left", "right", "copies", "swaps" };

static struct world w;
static struct fake_guest one, two;
static struct ring_user apart;
static uint8_t *as_it_was; /* the region of apart */
static int region, port[PARTS], binding[PARTS];
static uint32_t stop;

/* What the evil guest knows of its region. */
struct ring_place {
	struct netmap_ring *ring;
	struct rp_csb *csb;
};

static struct evil {
	uint8_t *base;
	struct rp_pools_info pools;
	struct ring_place place[MOST_RINGS]; /* those of PORT come first: tx, rx */
	uint32_t rings;
	int kick_fd[MOST_RINGS];
} evil;

static uint64_t acts, lies; /* of the scribblers */

static uint32_t random_from(uint64_t *seed, uint32_t n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % n;
}

static uint64_t random_word(uint64_t *seed)
{
	const uint64_t high = random_from(seed, 1u << 31);

	return high << 33 ^ (uint64_t)random_from(seed, 1u << 31) << 8 ^ random_from(seed, 256);
}

/* What is nearly right. */
static uint32_t strange(uint64_t *seed)
{
	static const uint32_t numbers[] = { 0,	    1,	    SLOTS - 1, SLOTS,	  SLOTS + 1,
					    0x7fff, 0xffff, INT32_MAX, UINT32_MAX };
	const uint32_t i = random_from(seed, sizeof(numbers) / sizeof(numbers[0]) + 1);

	return i ? numbers[i - 1] : (uint32_t)random_word(seed);
}

static uint32_t buffer(uint64_t *seed)
{
	return NETMAP_BUF_RESERVED +
	       random_from(seed, evil.pools.buf_pool.objtotal - NETMAP_BUF_RESERVED);
}

static uint8_t *buffer_at(uint32_t buf_idx)
{
	return evil.base + evil.pools.buf_pool.offset +
	       (uint64_t)buf_idx * evil.pools.buf_pool.objsize;
}

/* A frame to somebody, sometimes behind a virtio-net header. */
static uint32_t write_frame(uint64_t *seed, uint8_t *at)
{
	static const unsigned to[] = { TWO, TWO, EVIL, HOST_BROADCAST };
	struct packet p = PACKET_TCP4;
	struct virtio_net_hdr_mrg_rxbuf header = { 0 };
	uint32_t skip = random_from(seed, 2) ? sizeof(header) : 0;

	p.from = EVIL;
	p.to = to[random_from(seed, 4)];
	p.payload = random_from(seed, 1800);
	header.hdr = packet_vnet(&p, random_from(seed, 3) ? 0 : (uint16_t)random_from(seed, 1500));
	if (random_from(seed, 4) == 0)
		((uint8_t *)&header)[random_from(seed, sizeof(header))] =
			(uint8_t)random_from(seed, 256);
	memcpy(at, &header, skip);
	return skip + packet_make(at + skip, &p, 0, false);
}

static void kick(uint32_t i)
{
	const uint64_t one_more = 1;

	if (evil.kick_fd[i] >= 0 && write(evil.kick_fd[i], &one_more, sizeof(one_more)) < 0)
		return; /* full: it is awake */
}

/* As a driver does: new slots, up to the end of what it owns. */
static void send(uint64_t *seed, uint32_t i)
{
	const struct ring_place *r = &evil.place[i];
	const uint32_t tail = rp_load_acquire(&r->csb->ktoa.hwtail) % SLOTS;
	uint32_t head = rp_load(&r->csb->atok.head) % SLOTS;

	for (uint32_t n = random_from(seed, SLOTS); n && head != tail; n--) {
		struct netmap_slot *s = &r->ring->slot[head];
		const uint32_t buf_idx = buffer(seed);

		rp_store(&s->buf_idx, buf_idx);
		rp_store(&s->len,
			 (uint16_t)(random_from(seed, 3) ? write_frame(seed, buffer_at(buf_idx)) :
							   random_from(seed, 2049)));
		rp_store(&s->flags, (uint16_t)(random_from(seed, 4) ? 0 : NS_MOREFRAG));
		head = (head + 1) % SLOTS;
	}
	rp_store(&r->ring->head, head);
	rp_store_release(&r->csb->atok.head, head);
	if (random_from(seed, 2))
		kick(i);
}

static void receive(uint64_t *seed, uint32_t i)
{
	const struct ring_place *r = &evil.place[i];
	const uint32_t tail = rp_load_acquire(&r->csb->ktoa.hwtail) % SLOTS;

	rp_store(&r->csb->atok.appl_need_kick, random_from(seed, 2));
	rp_store(&r->ring->head, tail);
	rp_store_release(&r->csb->atok.head, tail);
}

static void lie_in_slot(uint64_t *seed, struct netmap_slot *s)
{
	switch (random_from(seed, 4)) {
	case 0:
		rp_store(&s->buf_idx, random_from(seed, 2) ? strange(seed) : buffer(seed));
		break;
	case 1:
		rp_store(&s->len, (uint16_t)strange(seed));
		break;
	case 2:
		rp_store(&s->flags, (uint16_t)random_word(seed));
		break;
	default:
		rp_store(&s->ptr, random_word(seed));
	}
}

static void lie_in_csb(uint64_t *seed, struct rp_csb *csb)
{
	const uint32_t number = strange(seed);

	switch (random_from(seed, 10)) {
	case 0:
		rp_store(&csb->atok.head, number);
		break;
	case 1:
		rp_store(&csb->ktoa.hwcur, number);
		break;
	case 2:
		rp_store(&csb->ktoa.hwtail, number);
		break;
	case 3:
		rp_store(&csb->ktoa.kern_need_kick, number);
		break;
	case 4:
		rp_store(&csb->peer,
			 random_from(seed, 2) ? number : random_from(seed, 2 * MOST_RINGS));
		break;
	case 5:
		rp_store(&csb->monitor,
			 random_from(seed, 2) ? number : random_from(seed, 2 * MOST_RINGS));
		break;
	case 6:
		rp_store(&csb->lock, random_from(seed, 2));
		break;
	case 7:
		rp_store(&csb->mark, number);
		break;
	case 8:
		rp_store(&csb->ring_offset, random_word(seed) % (2 * evil.pools.bytes));
		break;
	default:
		rp_store(&csb->frames, random_word(seed));
	}
}

static void lie_in_ring(uint64_t *seed, struct netmap_ring *ring)
{
	uint32_t *const word[] = { &ring->head, &ring->cur, &ring->tail,
				   (uint32_t *)&ring->num_slots };

	rp_store(word[random_from(seed, 4)], strange(seed));
}

/* Anything anywhere, all parts of the region alike. */
static void scribble(uint64_t *seed)
{
	const uint64_t start[] = { 0,
				   evil.pools.guest_pool.offset,
				   evil.pools.csb_pool.offset,
				   evil.pools.if_pool.offset,
				   evil.pools.ring_pool.offset,
				   evil.pools.buf_pool.offset };
	const uint64_t at = start[random_from(seed, 6)] + random_from(seed, 1 << 16);
	uint64_t *word = (uint64_t *)(void *)(evil.base + at % evil.pools.bytes / 8 * 8);

	rp_store(word, random_from(seed, 2) ? random_word(seed) : strange(seed));
}

static void lie(uint64_t *seed)
{
	const struct ring_place *r = &evil.place[random_from(seed, evil.rings)];

	switch (random_from(seed, 4)) {
	case 0:
		lie_in_slot(seed, &r->ring->slot[random_from(seed, SLOTS)]);
		break;
	case 1:
		lie_in_csb(seed, r->csb);
		break;
	case 2:
		lie_in_ring(seed, r->ring);
		break;
	default:
		scribble(seed);
	}
	rp_add_fetch(&lies, 1);
}

static void *scribble_forever(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg * UINT64_C(0x9e3779b97f4a7c15);

	while (!rp_load(&stop)) {
		const uint32_t i = random_from(&seed, evil.rings);

		if (random_from(&seed, 300) == 0)
			lie(&seed);
		else if (random_from(&seed, 2))
			send(&seed, random_from(&seed, 2) ? 0 : i);
		else
			receive(&seed, random_from(&seed, 2) ? 1 : i);
		if (random_from(&seed, 20) == 0)
			kick(i); /* for nothing */
		if (random_from(&seed, 10) == 0)
			sched_yield(); /* there may be one processor only */
		rp_add_fetch(&acts, 1);
	}
	return NULL;
}

static void add_part(enum part part, int kind, int worker)
{
	struct rp_port_config cfg = world_rings_config(&w, names[part]);

	cfg.kind = kind;
	cfg.worker = worker;
	cfg.region = region;
	cfg.csb = 1;
	cfg.tx_slots = cfg.rx_slots = SLOTS;
	cfg.full = RP_FULL_DROP;
	port[part] = world_add_port(&w, &cfg);
	binding[part] = -1;
}

static void know(enum part part)
{
	struct rp_port_rings rings;
	struct rp_csb *csb = (struct rp_csb *)(void *)(evil.base + evil.pools.csb_pool.offset);
	struct rp_err err;

	EXPECT_OK(rp_port_rings(w.dp, port[part], &rings, &err), err);
	for (unsigned dir = 0; dir < 2; dir++) {
		const struct rp_ring_info *r = dir ? &rings.rx[0] : &rings.tx[0];

		EXPECT(evil.rings < MOST_RINGS);
		evil.kick_fd[evil.rings] = r->kick_fd;
		evil.place[evil.rings++] = (struct ring_place){
			(struct netmap_ring *)(void *)(evil.base + r->ring_offset), csb + r->csb
		};
	}
}

static void open_evil(void)
{
	const struct rp_region_config cfg = { .name = "evil",
					      .guests = 1,
					      .slots_max = SLOTS,
					      .if_max = 32,
					      .ring_max = MOST_RINGS,
					      .buf_max = 1024 };
	struct rp_err err;

	region = rp_region_add(w.dp, &cfg, &err);
	EXPECT_OK(region, err);
	EXPECT_OK(rp_region_pools(w.dp, region, &evil.pools, &err), err);
	evil.base =
		mmap(NULL, evil.pools.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, evil.pools.fd, 0);
	EXPECT(evil.base != MAP_FAILED);
	add_part(PORT, RP_KIND_VALE, w.worker);
	add_part(LEFT, RP_KIND_LINK, -1);
	add_part(RIGHT, RP_KIND_LINK, -1);
	add_part(COPIES, RP_KIND_MONITOR, w.worker);
	add_part(SWAPS, RP_KIND_MONITOR, w.worker);
	EXPECT_OK(rp_port_link(w.dp, port[LEFT], port[RIGHT], &err), err);
	evil.rings = 0;
	for (unsigned i = 0; i < PARTS; i++)
		know((enum part)i);
}

/* What no frame may be read from, nor written to. The guest's own mapping is another one. */
static void poison(bool on)
{
	const struct rp_region *r = w.dp->region[region];
	uint8_t *bufs = r->base + r->bufs.offset;
	const uint64_t all = (uint64_t)r->bufs.total * r->bufs.objsize;

	if (on) {
		ASAN_POISON_MEMORY_REGION(bufs, NETMAP_BUF_RESERVED * r->bufs.objsize);
		ASAN_POISON_MEMORY_REGION(bufs + all, r->base + r->bytes - bufs - all);
	} else {
		ASAN_UNPOISON_MEMORY_REGION(r->base, r->bytes);
	}
}

static void open_others(void)
{
	const struct rp_switch_config sw = { .name = "vale1" };
	const struct fake_guest_config plain = { .queue_size = 64 };
	struct rp_port_config cfg = world_rings_config(&w, "apart");
	struct rp_region_info info;
	struct rp_err err;

	fake_guest_open(&one, &plain);
	fake_guest_open(&two, &plain);
	fake_guest_connect(&one, w.dp, world_add_vhost(&w, "one"));
	fake_guest_connect(&two, w.dp, world_add_vhost(&w, "two"));
	world_set_full(&w, two.port, RP_FULL_HOLD, WORLD_FOREVER_US); /* the evil one floods it */
	cfg.sw = rp_switch_add(w.dp, &sw, &err);
	EXPECT_OK(cfg.sw, err);
	ring_user_open(&apart, &w, world_add_port(&w, &cfg));
	EXPECT_OK(rp_port_region(w.dp, apart.port, &info, &err), err);
	as_it_was = malloc(info.bytes);
	EXPECT(as_it_was);
	memcpy(as_it_was, apart.base, info.bytes);
	/* Whoever says that it is host TWO does not get its frames. */
	EXPECT_OK(rp_switch_set_logic(w.dp, w.sw, RP_SWITCH_STATIC, -1,
				      "02:00:00:00:5a:17=one 02:00:00:00:5b:29=two "
				      "02:00:00:00:00:09=evil unknown=flood",
				      &err),
		  err);
}

static bool fresh(uint32_t number, uint32_t *got)
{
	static struct fake_frame frame;

	while (fake_guest_receive(&two, &frame)) {
		uint8_t mac[6];

		fake_guest_post(&two, 1, 2048, FAKE_PLAIN);
		frame_mac(mac, ONE);
		if (frame.len < FRAME_HEAD || memcmp(frame.data + 6, mac, sizeof(mac)) != 0)
			continue;
		EXPECT_EQ(frame.len, FRAME);
		EXPECT_EQ(frame_number(frame.data), number + (*got)++);
		EXPECT(frame_whole(frame.data, frame.len));
	}
	return true;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Some frames from one to two, and one to everybody. */
static void exchange(uint32_t *number)
{
	enum { FRAMES = 8 };
	const double end = now_s() + PATIENCE_S;
	uint8_t frame[FRAME];
	uint32_t got = 0;

	for (unsigned i = 0; i < FRAMES; i++) {
		frame_make(frame, sizeof(frame), TWO, ONE, *number + i);
		EXPECT(fake_guest_send(&one, NULL, frame, sizeof(frame), FAKE_PLAIN));
	}
	fake_queue_kick(&one.tx);
	frame_make(frame, sizeof(frame), HOST_BROADCAST, TWO, 0);
	EXPECT(fake_guest_send(&two, NULL, frame, sizeof(frame), FAKE_PLAIN));
	fake_queue_kick(&two.tx);
	while (got < FRAMES || !fake_queue_done(&one.tx) || !fake_queue_done(&two.tx)) {
		fresh(*number, &got);
		EXPECT(got <= FRAMES);
		EXPECT(now_s() < end);
		sched_yield();
	}
	EXPECT_EQ(fake_guest_sent(&one), FRAMES);
	EXPECT_EQ(fake_guest_sent(&two), 1);
	*number += FRAMES;
}

static void close_part(enum part part)
{
	struct rp_err err;

	if (binding[part] >= 0)
		EXPECT_OK(rp_binding_del(w.dp, binding[part], &err), err);
	binding[part] = -1;
}

static void open_part(uint64_t *seed, enum part part)
{
	const struct rp_bind_config cfg = { .port = port[part],
					    .host_port = -1,
					    .tx_n = 1,
					    .rx_n = 1,
					    .extra_bufs = random_from(seed, EXTRA) };
	static const uint32_t headers[] = { 0, 10, 12 };
	const uint32_t header = headers[random_from(seed, 3)];
	struct rp_bind_info info;
	struct rp_err err;

	/* Refused where a zero-copy monitor is, or for a monitor. */
	rp_port_vnet(w.dp, port[part], header, header ? RP_VNET_FEATURES & random_word(seed) : 0,
		     &err);
	binding[part] = rp_binding_add(w.dp, &cfg, &info, &err);
	EXPECT_OK(binding[part], err);
}

static void change_monitor(uint64_t *seed)
{
	const bool swaps = random_from(seed, 2);
	const int monitor = port[swaps ? SWAPS : COPIES];
	const enum part of[] = { PORT, LEFT, RIGHT };
	struct rp_err err;

	/* Refused if there is nothing to detach, or if what is to be attached does not suit. */
	if (rp_monitor_detach(w.dp, monitor, &err) == 0)
		return;
	rp_monitor_attach(w.dp, monitor, port[of[random_from(seed, 3)]],
			  swaps ? RP_MONITOR_ZCOPY : RP_MONITOR_TX | RP_MONITOR_RX, &err);
}

/* What the control plane does with a guest's record, which the guest scribbles over. */
static void use_mailbox(uint32_t peer)
{
	const struct rp_guest record = { .peer = peer, .version = RP_GUEST_VERSION };
	static struct rp_guest_request request;
	struct rp_err err;

	EXPECT_OK(rp_guest_write(w.dp, region, 0, &record, &err), err);
	if (rp_guest_take(w.dp, region, 0, 0, &request, &err) == 1) {
		EXPECT(request.bytes <= RP_GUEST_DATA_BYTES);
		EXPECT_OK(rp_guest_answer(w.dp, region, 0, request.sent, request.data,
					  request.bytes, &err),
			  err);
	}
}

/* Something that the control plane may do at any moment. Return: if a broken port was mended */
static bool control(uint64_t *seed)
{
	const enum part part = (enum part)random_from(seed, PARTS);
	const bool broken = world_broken(&w, port[part]);
	struct rp_port_status status;
	struct rp_err err;

	switch (random_from(seed, 5)) {
	case 0:
		change_monitor(seed);
		break;
	case 1:
		use_mailbox(random_from(seed, 3));
		break;
	case 2:
		rp_dataplane_beat(w.dp);
		EXPECT_OK(rp_port_status(w.dp, port[part], &status, &err), err);
		EXPECT((status.state == RP_PORT_BROKEN) == (status.reason[0] != '\0'));
		break;
	case 3:
		rp_port_txsync(w.caller, port[random_from(seed, 2) ? LEFT : RIGHT], 0);
		rp_port_rxsync(w.caller, port[random_from(seed, 2) ? LEFT : RIGHT], 0);
		break;
	default:
		if (binding[part] >= 0)
			close_part(part);
		else
			open_part(seed, part);
	}
	return broken && !world_broken(&w, port[part]);
}

/* A guest whose port broke is started anew: it closes, and opens again. */
static bool mend(uint64_t *seed, enum part part)
{
	struct rp_err err;

	if (!world_broken(&w, port[part]))
		return false;
	close_part(part);
	EXPECT_OK(rp_port_repair(w.dp, port[part], &err), err);
	open_part(seed, part);
	return true;
}

static double duration_s(void)
{
	const char *seconds = getenv("RINGPASS_TRIAL_SECONDS");

	return seconds ? strtod(seconds, NULL) : 0.5;
}

/* Neither too tame nor too wild. */
static bool meant_something(unsigned mended)
{
	return mended > 5 && rp_load(&world_count(&w, port[PORT], NETMAP_DIR_TX)->frames) > 100 &&
	       rp_load(&world_count(&w, port[PORT], NETMAP_DIR_RX)->frames) > 10;
}

static void close_all(void)
{
	struct rp_pools_info left;
	struct rp_region_info info;
	struct rp_err err;

	EXPECT_OK(rp_port_region(w.dp, apart.port, &info, &err), err);
	EXPECT_EQ(memcmp(apart.base, as_it_was, info.bytes), 0);
	EXPECT_EQ(world_all_drops(&w, one.port, NETMAP_DIR_TX), 0);
	free(as_it_was);
	poison(false);
	if (binding[PORT] < 0)
		open_part(&(uint64_t){ 1 }, PORT);
	for (unsigned i = PORT + 1; i < PARTS; i++)
		world_del_port(&w, port[i]);
	close_part(PORT); /* the last open goes: buffers that nobody names any more are found */
	world_del_port(&w, port[PORT]);
	EXPECT_OK(rp_region_pools(w.dp, region, &left, &err), err);
	EXPECT_EQ(left.if_used, 0);
	EXPECT_EQ(left.ring_used, 0);
	EXPECT_EQ(left.buf_used, NETMAP_BUF_RESERVED);
	munmap(evil.base, evil.pools.bytes);
	ring_user_close(&apart);
	world_close(&w);
	fake_guest_close(&one);
	fake_guest_close(&two);
}

TEST(a_guest_that_writes_what_it_likes_into_its_region_harms_nobody)
{
	const double begin = now_s(), end = begin + duration_s();
	uint64_t seed = (uint64_t)(begin * 1e6);
	pthread_t thread[SCRIBBLERS];
	unsigned mended = 0;
	uint32_t number = 0;

	rp_test_note("seed %llu", (unsigned long long)seed);
	alarm((unsigned)duration_s() + 2 * PATIENCE_S); /* longer than other tests may take */
	world_open(&w);
	open_evil();
	open_others();
	fake_guest_post(&two, 64, 2048, FAKE_PLAIN);
	for (unsigned i = 0; i < PARTS; i++)
		open_part(&seed, (enum part)i);
	poison(true);
	stop = 0;
	for (uintptr_t i = 0; i < SCRIBBLERS; i++)
		EXPECT_EQ(pthread_create(&thread[i], NULL, scribble_forever, (void *)(i + 1)), 0);
	while (now_s() < end || (!meant_something(mended) && now_s() < end + PATIENCE_S)) {
		exchange(&number);
		mended += control(&seed);
		for (unsigned i = 0; i < PARTS; i++)
			mended += mend(&seed, (enum part)i);
	}
	EXPECT(meant_something(mended));
	/* It stops in the middle of what it did. */
	rp_store(&stop, 1);
	for (unsigned i = 0; i < SCRIBBLERS; i++)
		pthread_join(thread[i], NULL);
	exchange(&number);
	if (getenv("RINGPASS_TRIAL_SECONDS"))
		fprintf(stderr, "%u frames arrived, %u breaks, %llu acts, %llu of them lies\n",
			number, mended, (unsigned long long)acts, (unsigned long long)lies);
	close_all();
}
