/* SPDX-License-Identifier: BSD-2-Clause */
/* Zero-copy monitors: of ports of a switch and of pipes, of which there may be several. */
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "frames.h"
#include "world.h"

enum { SLOTS = 64, RINGS_MAX = 32 };

static struct world w;
static struct ring_user a, b; /* hosts 1 and 2, of a switch or of a pipe */
static int region;
static bool is_pipe;
static uint8_t frame[FRAME_MAX];

static struct rp_port_config config(const char *name, int kind)
{
	struct rp_port_config cfg = world_rings_config(&w, name);

	cfg.kind = kind;
	cfg.region = region;
	cfg.csb = kind != RP_KIND_VALE; /* pipes and monitors have them wherever they are */
	cfg.tx_slots = cfg.rx_slots = SLOTS;
	return cfg;
}

static int bind_rings(const struct ring_user *u)
{
	const struct rp_bind_config cfg = {
		.port = u->port, .host_port = -1, .tx_n = 1, .rx_n = 1
	};
	struct rp_bind_info info;
	struct rp_err err;
	int binding = rp_binding_add(w.dp, &cfg, &info, &err);

	EXPECT_OK(binding, err);
	return binding;
}

static void open_port(struct ring_user *u, const char *name, int kind)
{
	const struct rp_port_config cfg = config(name, kind);

	ring_user_open(u, &w, world_add_port(&w, &cfg));
}

static void open_region(void)
{
	const struct rp_region_config cfg = { .name = "shared",
					      .slots_max = SLOTS,
					      .if_max = RINGS_MAX,
					      .ring_max = RINGS_MAX,
					      .buf_max = RINGS_MAX * SLOTS };
	struct rp_err err;

	world_open(&w);
	region = rp_region_add(w.dp, &cfg, &err);
	EXPECT_OK(region, err);
}

static void drain(struct ring_user *u)
{
	while (ring_get(u, frame))
		;
	EXPECT_EQ(ring_rxsync(u), 0);
}

static void send(struct ring_user *from, unsigned host, uint32_t number, uint32_t len)
{
	frame_make(frame, len, 3 - host, host, number);
	EXPECT(ring_send(from, frame, len) >= 0);
}

static void open_switch(void)
{
	open_region();
	is_pipe = false;
	open_port(&a, "a", RP_KIND_VALE);
	open_port(&b, "b", RP_KIND_VALE);
	send(&a, 1, 0, 60);
	send(&b, 2, 0, 60);
	drain(&a);
	drain(&b);
}

static void open_pipe(void)
{
	struct rp_err err;

	open_region();
	is_pipe = true;
	open_port(&a, "a", RP_KIND_LINK);
	open_port(&b, "b", RP_KIND_LINK);
	EXPECT_OK(rp_port_link(w.dp, a.port, b.port, &err), err);
}

/*
 * Every buffer is in one slot: nobody lost one, and nobody has one twice. The
 * receiving ring of a pipe has its sender's.
 */
static void expect_buffers_once(const struct ring_user *user, unsigned n)
{
	static uint8_t seen[RINGS_MAX * SLOTS + NETMAP_BUF_RESERVED];

	memset(seen, 0, sizeof(seen));
	for (unsigned u = 0; u < n; u++) {
		for (unsigned i = 0; i < (is_pipe && u < 2 ? SLOTS : 2 * SLOTS); i++) {
			const struct netmap_ring *ring = i < SLOTS ? user[u].tx : user[u].rx;
			uint32_t buf;

			EXPECT(ring);
			buf = ring->slot[i % SLOTS].buf_idx;
			EXPECT(buf >= NETMAP_BUF_RESERVED && buf < sizeof(seen));
			EXPECT_EQ(seen[buf]++, 0);
		}
	}
}

static void close_all(const struct ring_user *monitor, unsigned n)
{
	struct ring_user all[8] = { a, b };

	for (unsigned i = 0; i < n; i++)
		all[2 + i] = monitor[i];
	expect_buffers_once(all, 2 + n);
	for (unsigned i = 0; i < 2 + n; i++)
		ring_user_close(&all[i]);
	world_close(&w);
}

static void open_monitor(struct ring_user *m, int parent)
{
	struct rp_err err;

	open_port(m, "monitor", RP_KIND_MONITOR);
	bind_rings(m); /* what has CSBs is live while it is open */
	EXPECT_OK(rp_monitor_attach(w.dp, m->port, parent, RP_MONITOR_ZCOPY, &err), err);
}

static void expect_shown(struct ring_user *m, uint32_t number, uint32_t len, uint16_t flags)
{
	const struct netmap_slot *slot;

	EXPECT_EQ(ring_rxsync(m), 0);
	slot = &m->rx->slot[m->rx->head];
	EXPECT_EQ(ring_get(m, frame), len);
	EXPECT_EQ(slot->flags & NS_TXMON, flags);
	EXPECT_EQ(frame_number(frame), number);
	EXPECT(frame_whole(frame, len));
}

static uint64_t lost(const struct ring_user *m)
{
	return *(const uint64_t *)(const void *)m->rx->sem;
}

TEST(what_a_port_of_a_switch_is_done_with_is_shown)
{
	struct ring_user m;

	open_switch();
	open_monitor(&m, a.port);
	send(&a, 1, 1, 60);
	expect_shown(&m, 1, 60, NS_TXMON);
	EXPECT(a.tx->slot[(a.tx->head + SLOTS - 1) % SLOTS].flags & NS_BUF_CHANGED);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT(frame_whole(frame, 60));

	send(&b, 2, 2, 1500);
	EXPECT_EQ(ring_get(&a, frame), 1500);
	EXPECT_EQ(ring_get(&m, frame), 0); /* a has not given it back */
	EXPECT_EQ(ring_rxsync(&a), 0);
	expect_shown(&m, 2, 1500, 0);
	close_all(&m, 1);
}

TEST(what_goes_through_a_pipe_is_shown_to_monitors_of_both_ends)
{
	struct ring_user m[2];

	open_pipe();
	open_monitor(&m[0], a.port);
	open_monitor(&m[1], b.port);
	send(&a, 1, 1, 60);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(ring_rxsync(&b), 0);
	send(&b, 2, 2, 1000);
	EXPECT_EQ(ring_get(&a, frame), 1000);
	EXPECT_EQ(ring_rxsync(&a), 0);

	expect_shown(&m[0], 1, 60, NS_TXMON);
	expect_shown(&m[0], 2, 1000, 0);
	EXPECT_EQ(ring_get(&m[0], frame), 0); /* which gives them back */
	expect_shown(&m[1], 1, 60, 0);
	expect_shown(&m[1], 2, 1000, NS_TXMON);
	close_all(m, 2);
}

TEST(monitors_of_one_port_get_its_frames_one_after_another)
{
	struct ring_user m[3];
	struct rp_err err;

	open_switch();
	for (unsigned i = 0; i < 3; i++)
		open_monitor(&m[i], a.port);
	send(&a, 1, 7, 60);
	for (unsigned i = 0; i < 3; i++) {
		expect_shown(&m[i], 7, 60, NS_TXMON);
		EXPECT_EQ(ring_get(&m[i], frame), 0);
	}
	/* And without the one in the middle. */
	EXPECT_OK(rp_monitor_detach(w.dp, m[1].port, &err), err);
	send(&a, 1, 8, 60);
	for (unsigned i = 0; i < 3; i += 2) {
		expect_shown(&m[i], 8, 60, NS_TXMON);
		EXPECT_EQ(ring_get(&m[i], frame), 0);
	}
	EXPECT_EQ(ring_get(&m[1], frame), 0);
	close_all(m, 3);
}

TEST(a_full_monitor_loses_the_oldest_and_nobody_waits)
{
	struct ring_user m;

	open_switch();
	open_monitor(&m, a.port);
	for (uint32_t i = 0; i < SLOTS - 13; i++)
		send(&a, 1, i, 60);
	drain(&b);
	for (uint32_t i = 0; i < 20; i++) {
		frame_make(frame, 60, 2, 1, 1000 + i);
		ring_put(&a, frame, 60);
	}
	EXPECT_EQ(ring_txsync(&a), 20);
	EXPECT_EQ(lost(&m), 8);
	rp_dataplane_beat(w.dp);
	EXPECT_EQ(world_count(&w, m.port, NETMAP_DIR_RX)->frames, SLOTS - 1);
	EXPECT_EQ(world_drops(&w, m.port, NETMAP_DIR_RX, RP_DROP_FULL), 8);
	for (uint32_t i = 0; i < SLOTS - 13; i++)
		expect_shown(&m, i, 60, NS_TXMON);
	for (uint32_t i = 8; i < 20; i++)
		expect_shown(&m, 1000 + i, 60, NS_TXMON);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_TX), 0);
	close_all(&m, 1);
}

TEST(long_frames_are_shown_whole_or_not_at_all)
{
	struct ring_user m;

	open_switch();
	open_monitor(&m, a.port);
	for (uint32_t i = 0; i < 12; i++) {
		send(&a, 1, i, 10000); /* five slots each: no room for the last two's beginnings */
		drain(&b);
	}
	frame_make(frame, 10000, 2, 1, 100);
	ring_put(&a, frame, 10000);
	frame_make(frame, 60, 2, 1, 101);
	ring_put(&a, frame, 60);
	EXPECT_EQ(ring_txsync(&a), 6);
	EXPECT_EQ(lost(&m), 1);
	for (uint32_t i = 0; i < 12; i++)
		expect_shown(&m, i, 10000, NS_TXMON);
	expect_shown(&m, 101, 60, NS_TXMON);
	close_all(&m, 1);
}

TEST(a_slot_tells_when_it_was_given_back_and_keeps_that)
{
	struct ring_user m[2];

	open_switch();
	open_monitor(&m[0], a.port);
	open_monitor(&m[1], a.port);
	send(&a, 1, 1, 60);
	EXPECT(m[0].rx->slot[0].ptr > UINT64_C(1) << 60);
	expect_shown(&m[0], 1, 60, NS_TXMON);
	EXPECT_EQ(ring_rxsync(&m[0]), 0);
	EXPECT_EQ(m[1].rx->slot[0].ptr, m[0].rx->slot[0].ptr);
	close_all(m, 2);
}

TEST(words_of_a_hostile_user_cost_frames_and_nothing_else)
{
	static const uint32_t bad[] = { SLOTS, UINT32_MAX, RINGS_MAX * 4, RINGS_MAX - 1 };
	struct rp_port_rings rings, own;
	struct rp_csb *csb, *parent;
	struct ring_user m;
	struct rp_err err;

	open_switch();
	open_monitor(&m, a.port);
	EXPECT_OK(rp_port_rings(w.dp, m.port, &rings, &err), err);
	EXPECT_OK(rp_port_rings(w.dp, a.port, &own, &err), err);
	csb = (struct rp_csb *)(void *)(m.base + RP_DIRECTORY_BYTES) + rings.rx[0].csb;
	parent = (struct rp_csb *)(void *)(m.base + RP_DIRECTORY_BYTES) + own.tx[0].csb;
	EXPECT_EQ(parent->monitor, rings.rx[0].csb);
	for (unsigned i = 0; i < 4; i++) {
		csb->atok.head = bad[i];
		send(&a, 1, i, 60);
		csb->atok.head = 0;
		csb->ktoa.hwtail = bad[i];
		send(&a, 1, i, 60);
		csb->ktoa.hwtail = 0;
		parent->monitor = bad[i];
		send(&a, 1, i, 60);
		parent->monitor = own.tx[0].csb; /* itself */
		send(&a, 1, i, 60);
		parent->monitor = rings.rx[0].csb;
		drain(&b);
	}
	csb->lock = 1; /* its holder was killed */
	send(&a, 1, 5, 60);
	csb->lock = 0;
	m.rx->slot[0].buf_idx = UINT32_MAX; /* would break a */
	send(&a, 1, 6, 60);
	EXPECT(lost(&m) > 2);
	EXPECT(!world_broken(&w, a.port));
	m.rx->slot[0].buf_idx = a.tx->slot[0].buf_idx;
	world_close(&w);
	ring_user_close(&a);
	ring_user_close(&b);
	ring_user_close(&m);
}

static struct rp_csb *csb_at(const struct ring_user *u, uint32_t record)
{
	return (struct rp_csb *)(void *)(u->base + RP_DIRECTORY_BYTES) + record;
}

static struct rp_port_rings rings_of(const struct ring_user *u)
{
	struct rp_port_rings rings;
	struct rp_err err;

	EXPECT_OK(rp_port_rings(w.dp, u->port, &rings, &err), err);
	return rings;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Return: what the fastest of many syncs of a frame took */
static uint64_t fastest_ns(void)
{
	uint64_t best = UINT64_MAX, start, took;

	for (unsigned i = 0; i < 200; i++) {
		frame_make(frame, 60, 2, 1, i);
		ring_put(&a, frame, 60);
		start = now_ns();
		EXPECT_EQ(ring_txsync(&a), 1);
		took = now_ns() - start;
		best = took < best ? took : best;
		drain(&b);
	}
	return best;
}

TEST(a_port_without_monitors_is_shown_to_nobody_whatever_its_user_writes)
{
	struct rp_port_rings rings;

	open_switch();
	rings = rings_of(&a);
	csb_at(&a, rings.tx[0].csb)->monitor = rings.rx[0].csb;
	csb_at(&a, rings.rx[0].csb)->lock = 1;
	send(&a, 1, 1, 60);
	EXPECT_EQ(lost(&a), 0);
	EXPECT_EQ(ring_get(&b, frame), 60);
	close_all(&a, 0);
}

TEST(a_lock_that_is_never_released_costs_the_backend_a_few_microseconds)
{
	enum { MOST_NS = 20000 };
	struct ring_user m;
	struct rp_csb *csb;
	uint64_t fast;

	open_switch();
	open_monitor(&m, a.port);
	csb = csb_at(&m, rings_of(&m).rx[0].csb);
	fast = fastest_ns();
	csb->lock = 1;
	EXPECT(fastest_ns() < fast + MOST_NS);
	csb->lock = 0;
	close_all(&m, 1);
}

TEST(locks_that_are_never_released_hold_up_the_control_plane_for_milliseconds)
{
	enum { RINGS = 8 };
	const uint64_t most_ns = UINT64_C(5000000000);
	struct rp_port_config cfg;
	struct rp_port_rings rings;
	struct ring_user m;
	struct rp_err err;
	uint64_t start;

	open_switch();
	cfg = config("monitor", RP_KIND_MONITOR);
	cfg.rx_rings = RINGS;
	ring_user_open(&m, &w, world_add_port(&w, &cfg));
	EXPECT_OK(rp_monitor_attach(w.dp, m.port, a.port, RP_MONITOR_ZCOPY, &err), err);
	rings = rings_of(&m);
	for (unsigned i = 0; i < RINGS; i++)
		csb_at(&m, rings.rx[i].csb)->lock = 1;
	start = now_ns();
	EXPECT_OK(rp_monitor_detach(w.dp, m.port, &err), err);
	/* Not for ever: a machine that does much else takes its time, too. */
	EXPECT(now_ns() - start < most_ns);
	ring_user_close(&m);
	close_all(&a, 0);
}

/* How often this thread went to sleep. */
static long sleeps(void)
{
	struct rusage usage;

	EXPECT_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
	return usage.ru_nvcsw;
}

TEST(locks_of_one_monitor_after_another_hold_it_up_no_longer)
{
	enum { MONITORS = 8, MOST_SLEEPS = 300 }; /* 10 ms of at least 50 us each, and some more */
	struct ring_user m[MONITORS];
	struct rp_err err;
	long before;

	open_switch();
	for (unsigned i = 0; i < MONITORS; i++) {
		open_monitor(&m[i], a.port);
		csb_at(&m[i], rings_of(&m[i]).rx[0].csb)->lock = 1;
	}
	before = sleeps();
	for (unsigned i = 0; i < MONITORS; i++)
		EXPECT_OK(rp_monitor_detach(w.dp, m[i].port, &err), err);
	EXPECT(sleeps() - before < MOST_SLEEPS);
	for (unsigned i = 0; i < MONITORS; i++)
		ring_user_close(&m[i]);
	close_all(&a, 0);
}

TEST(what_cannot_swap_buffers_is_refused)
{
	struct rp_port_config cfg;
	struct rp_err err;
	int other;

	open_pipe();
	cfg = config("elsewhere", RP_KIND_MONITOR);
	cfg.region = 0;
	other = world_add_port(&w, &cfg);
	EXPECT_EQ(rp_monitor_attach(w.dp, other, a.port, RP_MONITOR_ZCOPY, &err), -EINVAL);
	EXPECT_TEXT(err.text, "no region in common");
	EXPECT_EQ(rp_monitor_attach(w.dp, other, a.port, RP_MONITOR_TX, &err), -EINVAL);
	EXPECT_TEXT(err.text, "move its frames themselves");
	cfg = config("without", RP_KIND_MONITOR);
	cfg.csb = 0;
	other = world_add_port(&w, &cfg);
	EXPECT_EQ(rp_monitor_attach(w.dp, other, a.port, RP_MONITOR_ZCOPY, &err), -EINVAL);
	EXPECT_TEXT(err.text, "needs CSBs");
	close_all(&a, 0);
}

TEST(an_end_of_a_pipe_goes_and_the_others_monitor_stays)
{
	struct ring_user m[2];
	struct rp_err err;

	open_pipe();
	open_monitor(&m[0], a.port);
	open_monitor(&m[1], b.port);
	world_del_port(&w, a.port);
	EXPECT_TEXT(world_status(&w, m[0].port).reason, "port a, which it monitored, is gone");
	EXPECT(!world_broken(&w, m[1].port));
	ring_user_close(&a);
	open_port(&a, "a", RP_KIND_LINK);
	EXPECT_OK(rp_port_link(w.dp, a.port, b.port, &err), err);
	send(&a, 1, 9, 60);
	EXPECT_EQ(ring_get(&b, frame), 60);
	EXPECT_EQ(ring_rxsync(&b), 0);
	expect_shown(&m[1], 9, 60, 0);
	close_all(m, 2);
}

TEST(rings_that_are_closed_and_opened_again_are_still_shown)
{
	struct ring_user m[2];
	struct rp_err err;
	int binding;

	open_switch();
	open_port(&m[0], "first", RP_KIND_MONITOR);
	EXPECT_OK(rp_monitor_attach(w.dp, m[0].port, a.port, RP_MONITOR_ZCOPY, &err), err);
	binding = bind_rings(&m[0]);
	open_monitor(&m[1], a.port);
	send(&a, 1, 1, 60);
	EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
	EXPECT_EQ(ring_space(m[0].rx), 0); /* what was in it is lost */
	binding = bind_rings(&m[0]);
	send(&a, 1, 2, 60);
	expect_shown(&m[0], 2, 60, NS_TXMON);
	EXPECT_EQ(ring_get(&m[0], frame), 0);
	expect_shown(&m[1], 2, 60, NS_TXMON);
	EXPECT_OK(rp_binding_del(w.dp, binding, &err), err);
	close_all(m, 2);
}

static uint32_t stop, sent;

/* Host 1 sends to host 2, all the time; what arrives is whole and in order. */
static void *talk(void *arg)
{
	static uint8_t out[FRAME_MAX], in[FRAME_MAX];
	struct ring_user from = a, to = b;
	struct world own = w;
	struct rp_err err;
	uint32_t next = 0;

	(void)arg;
	own.caller = rp_caller_new(w.dp, &err);
	EXPECT(own.caller);
	from.w = to.w = &own;
	while (!rp_load(&stop)) {
		for (unsigned i = 0; i < 20; i++) {
			frame_make(out, 60 + sent % 900, 2, 1, sent);
			ring_put(&from, out, 60 + sent % 900);
			rp_store(&sent, sent + 1);
		}
		EXPECT_EQ(ring_txsync(&from), 20);
		for (uint32_t len; (len = ring_get(&to, in)); next++) {
			EXPECT_EQ(frame_number(in), next);
			EXPECT(frame_whole(in, len));
		}
		EXPECT_EQ(ring_rxsync(&to), 0);
		EXPECT(ring_txsync(&from) >= 0); /* of a pipe: take back what was received */
	}
	EXPECT_EQ(next, sent);
	rp_caller_free(own.caller);
	return NULL;
}

/* Frames that a monitor shows come in order, if not all of them. */
static void watch(struct ring_user *m, uint32_t *shown)
{
	uint32_t last = 0;

	while (ring_rxsync(m) == 0 && ring_space(m->rx)) {
		uint32_t len = ring_get(m, frame);

		EXPECT(frame_whole(frame, len));
		EXPECT(frame_number(frame) >= last);
		last = frame_number(frame);
		++*shown;
	}
}

static void come_and_go(void)
{
	uint32_t shown = 0;
	pthread_t talker;

	stop = sent = 0;
	EXPECT_EQ(pthread_create(&talker, NULL, talk, NULL), 0);
	for (unsigned i = 0; i < 150 || shown < 1000; i++) {
		struct ring_user first, second;

		open_monitor(&first, a.port);
		open_monitor(&second, a.port);
		watch(&first, &shown);
		watch(&second, &shown);
		world_del_port(&w, first.port);
		watch(&second, &shown);
		world_del_port(&w, second.port);
		ring_user_close(&first);
		ring_user_close(&second);
	}
	rp_store(&stop, 1);
	pthread_join(talker, NULL);
	close_all(&a, 0);
}

TEST(monitors_of_a_switch_come_and_go_while_frames_flow)
{
	open_switch();
	come_and_go();
}

TEST(monitors_of_a_pipe_come_and_go_while_frames_flow)
{
	open_pipe();
	come_and_go();
}
