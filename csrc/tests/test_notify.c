/* SPDX-License-Identifier: BSD-2-Clause */
/* Kicks and calls: none too many, and never one too few. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "vnet.h"
#include "world.h"

static struct world w;
static struct fake_guest a, b; /* hosts 1 and 2 */

static void set_policy(int policy)
{
	const struct rp_worker_config cfg = { .policy = policy, .sleep_us = 50, .cpu = -1 };
	struct rp_err err;

	EXPECT_OK(rp_worker_set(w.dp, w.worker, &cfg, &err), err);
}

static void open_pair(bool event_idx, int policy)
{
	const struct fake_guest_config cfg = {
		.features =
			fake_features() & ~(event_idx ? 0 : RP_FEATURE(VIRTIO_RING_F_EVENT_IDX)),
	};

	world_open(&w);
	set_policy(policy);
	fake_guest_open(&a, &cfg);
	fake_guest_open(&b, &cfg);
	fake_guest_connect(&a, w.dp, world_add_vhost(&w, "a"));
	fake_guest_connect(&b, w.dp, world_add_vhost(&w, "b"));
}

static void close_pair(void)
{
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
}

static void add_frame(struct fake_guest *g, unsigned to, uint32_t number)
{
	uint8_t frame[60];

	frame_make(frame, sizeof(frame), to, 3 - to, number);
	EXPECT(fake_guest_send(g, NULL, frame, sizeof(frame), FAKE_PLAIN));
}

/* Not only interrupted, on a busy machine: the kernel says that it waits. */
static bool worker_sleeps(void)
{
	char path[64], line[512] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
		 rp_load(&w.counters->workers[w.worker].tid));
	file = fopen(path, "r");
	EXPECT(file && fgets(line, sizeof(line), file));
	fclose(file);
	return strstr(line, ") S ") != NULL;
}

/* The worker has done all that there was, its calls included. */
static void settle(void)
{
	EXPECT_SOON(fake_queue_done(&a.tx));
	EXPECT_SOON(rp_load_acquire(&w.counters->workers[w.worker].active));
	EXPECT_SOON(worker_sleeps());
}

static void expect_calls(bool event_idx)
{
	static struct fake_frame got;

	open_pair(event_idx, RP_POLICY_NOTIFY);
	fake_guest_post(&b, 10, 100, FAKE_PLAIN);
	fake_queue_disarm(&a.tx);
	fake_queue_disarm(&b.rx);
	add_frame(&a, 2, 0);
	fake_queue_kick(&a.tx);
	settle();
	EXPECT(!fake_queue_called(&a.tx, 0));
	EXPECT(!fake_queue_called(&b.rx, 0));
	EXPECT_EQ(world_count(&w, a.port, NETMAP_DIR_TX)->calls, 0);
	EXPECT_EQ(world_count(&w, b.port, NETMAP_DIR_RX)->calls, 0);

	EXPECT_EQ(fake_guest_sent(&a), 1);
	EXPECT(fake_guest_receive(&b, &got));
	EXPECT(fake_queue_arm(&a.tx));
	EXPECT(fake_queue_arm(&b.rx));
	for (uint32_t i = 1; i < 5; i++)
		add_frame(&a, 2, i);
	fake_queue_kick(&a.tx);
	EXPECT(fake_queue_called(&a.tx, RP_TEST_PATIENCE_MS));
	EXPECT(fake_queue_called(&b.rx, RP_TEST_PATIENCE_MS));
	settle();
	EXPECT_EQ(world_count(&w, a.port, NETMAP_DIR_TX)->calls, 1); /* one for the batch */
	EXPECT_EQ(world_count(&w, b.port, NETMAP_DIR_RX)->calls, 1);

	/* With event indexes, being called once was all that was asked for. */
	add_frame(&a, 2, 5);
	fake_queue_kick(&a.tx);
	settle();
	EXPECT_EQ(fake_queue_called(&b.rx, 0), !event_idx);
	close_pair();
}

TEST_FORMATS(a_call_is_made_when_the_event_index_asks_for_it)
{
	expect_calls(true);
}

TEST_FORMATS(a_call_is_made_unless_the_flag_forbids_it)
{
	expect_calls(false);
}

static void expect_kicks(bool event_idx)
{
	const struct rp_ring_counters *count;

	open_pair(event_idx, RP_POLICY_NOTIFY);
	count = world_count(&w, a.port, NETMAP_DIR_TX);
	for (uint32_t i = 0; i < 10; i++) {
		settle();
		EXPECT_EQ(rp_load(&count->kicks), i);
		add_frame(&a, 2, i);
		EXPECT(fake_queue_kick(&a.tx)); /* it sleeps */
		EXPECT_SOON(rp_load(&count->kicks) == i + 1);
	}
	close_pair();
}

TEST_FORMATS(a_worker_that_sleeps_asks_for_a_kick_by_event_index)
{
	expect_kicks(true);
}

TEST_FORMATS(a_worker_that_sleeps_asks_for_a_kick_by_flag)
{
	expect_kicks(false);
}

static void expect_no_kicks(bool event_idx, int policy)
{
	unsigned kicks = 0;

	open_pair(event_idx, policy);
	for (uint32_t i = 0; i < 200; i++) {
		add_frame(&a, 2, i);
		kicks += fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_guest_sent(&a) == 1);
	}
	EXPECT(kicks <= 1); /* the first one, before the worker said anything */
	close_pair();
}

TEST_FORMATS(a_worker_that_never_sleeps_asks_for_no_kicks)
{
	expect_no_kicks(true, RP_POLICY_BUSY);
	expect_no_kicks(false, RP_POLICY_BUSY);
}

TEST_FORMATS(a_worker_that_naps_asks_for_no_kicks)
{
	expect_no_kicks(true, RP_POLICY_SLEEP);
	expect_no_kicks(false, RP_POLICY_SLEEP);
}

/* Flags ask for kicks until they are taken back. */
TEST_FORMATS(a_worker_that_wakes_up_takes_back_what_it_asked_for)
{
	open_pair(false, RP_POLICY_NOTIFY);
	settle();
	EXPECT(fake_queue_kick_wanted(&a.tx));
	set_policy(RP_POLICY_BUSY);
	EXPECT_SOON(!fake_queue_kick_wanted(&a.tx));
	add_frame(&a, 2, 0);
	EXPECT(!fake_queue_kick(&a.tx));
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	close_pair();
}

TEST_FORMATS(a_ring_without_a_kick_descriptor_is_polled)
{
	struct rp_vring_config cfg;
	struct rp_err err;

	open_pair(true, RP_POLICY_NOTIFY);
	fake_guest_disconnect(&a);
	cfg = fake_queue_config(&a.tx);
	cfg.kick_fd = -1;
	EXPECT_OK(rp_vhost_ring_start(w.dp, a.port, 1, &cfg, &err), err);
	for (uint32_t i = 0; i < 5; i++) {
		add_frame(&a, 2, i);
		fake_queue_publish(&a.tx);
		EXPECT_SOON(fake_guest_sent(&a) == 1);
	}
	close_pair();
}

TEST_FORMATS(a_ring_without_a_call_descriptor_is_not_called)
{
	struct rp_err err;

	open_pair(true, RP_POLICY_NOTIFY);
	EXPECT(fake_queue_arm(&a.tx));
	EXPECT_OK(rp_vhost_ring_call(w.dp, a.port, 1, -1, &err), err);
	add_frame(&a, 2, 0);
	fake_queue_kick(&a.tx);
	settle();
	EXPECT_EQ(fake_guest_sent(&a), 1);
	EXPECT(!fake_queue_called(&a.tx, 0));
	EXPECT_OK(rp_vhost_ring_call(w.dp, a.port, 1, a.tx.call_fd, &err), err);
	EXPECT(fake_queue_arm(&a.tx));
	add_frame(&a, 2, 1);
	fake_queue_kick(&a.tx);
	EXPECT(fake_queue_called(&a.tx, RP_TEST_PATIENCE_MS));
	close_pair();
}

TEST_FORMATS(a_guest_that_kicked_before_its_ring_started_is_served)
{
	const struct fake_guest_config plain = { 0 };

	world_open(&w);
	fake_guest_open(&a, &plain);
	fake_guest_open(&b, &plain);
	add_frame(&a, 2, 0);
	fake_queue_publish(&a.tx);
	fake_guest_connect(&a, w.dp, world_add_vhost(&w, "a"));
	EXPECT_SOON(fake_guest_sent(&a) == 1);
	close_pair();
}

/*
 * Two guests that sleep whenever they can: a lost kick or call is the end of
 * the game. Host 2 returns what it gets; host 1 sends as many as it got back.
 */
struct player {
	struct fake_guest *g;
	unsigned to;
	uint32_t sent;
	uint32_t got;
	uint32_t *stop;
};

static void wait_for_frames(struct fake_guest *g, const uint32_t *stop)
{
	struct pollfd p = { .fd = g->rx.call_fd, .events = POLLIN };
	unsigned waited = 0;

	if (!fake_queue_arm(&g->rx))
		return;
	while (!rp_load(stop) && poll(&p, 1, 50) == 0) {
		if (++waited < RP_TEST_PATIENCE_MS / 50)
			continue;
		rp_test_fail(__FILE__, __LINE__,
			     "a wake-up was lost: %u of %u receive buffers used, %u of %u sent",
			     g->rx.taken.chains + fake_queue_used(&g->rx), g->rx.published.chains,
			     g->tx.taken.chains + fake_queue_used(&g->tx), g->tx.published.chains);
	}
	fake_queue_called(&g->rx, 0);
}

static void send_back(struct player *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add_frame(p->g, p->to, p->sent++);
	fake_queue_kick(&p->g->tx);
}

static void *play(void *arg)
{
	static _Thread_local struct fake_frame frame;
	struct player *p = arg;

	while (!rp_load(p->stop)) {
		unsigned n = 0;

		fake_guest_sent(p->g);
		while (fake_guest_receive(p->g, &frame)) {
			EXPECT_EQ(frame_number(frame.data), p->got);
			rp_store(&p->got, p->got + 1);
			n++;
		}
		fake_guest_post(p->g, n, 100, FAKE_PLAIN);
		if (n)
			send_back(p, n);
		else
			wait_for_frames(p->g, p->stop);
	}
	return NULL;
}

static void play_for(bool event_idx, int policy, unsigned balls, long ns)
{
	uint32_t stop = 0;
	struct player one = { .g = &a, .to = 2, .stop = &stop };
	struct player two = { .g = &b, .to = 1, .stop = &stop };
	pthread_t other, first;

	open_pair(event_idx, policy);
	fake_guest_post(&a, 64, 100, FAKE_PLAIN);
	fake_guest_post(&b, 64, 100, FAKE_PLAIN);
	send_back(&one, balls);
	EXPECT_EQ(pthread_create(&first, NULL, play, &one), 0);
	EXPECT_EQ(pthread_create(&other, NULL, play, &two), 0);
	rp_test_nap(ns);
	EXPECT_SOON(rp_load(&two.got) > 10); /* on a busy machine it takes longer */
	rp_store(&stop, 1);
	pthread_join(first, NULL);
	pthread_join(other, NULL);
	EXPECT_EQ(world_all_drops(&w, a.port, NETMAP_DIR_RX), 0);
	EXPECT_EQ(world_all_drops(&w, b.port, NETMAP_DIR_RX), 0);
	close_pair();
}

TEST_FORMATS(no_wake_up_is_lost_when_everybody_sleeps_at_once)
{
	for (unsigned balls = 1; balls < 20; balls += 9) {
		play_for(true, RP_POLICY_NOTIFY, balls, 50000000);
		play_for(false, RP_POLICY_NOTIFY, balls, 50000000);
	}
}

TEST_RINGS(no_wake_up_is_lost_when_the_worker_spins_a_while)
{
	play_for(true, RP_POLICY_ADAPTIVE, 1, 100000000);
	play_for(false, RP_POLICY_ADAPTIVE, 7, 100000000);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/*
 * The next frame is ready, and is published a few nanoseconds later each time:
 * at every moment of the worker's way from the last frame to its sleep.
 */
static void tease(bool event_idx)
{
	const uint64_t end = now_ns() + 200000000;
	unsigned delay = 0;

	open_pair(event_idx, RP_POLICY_NOTIFY);
	fake_queue_disarm(&a.tx);
	while (now_ns() < end) {
		const uint64_t start = now_ns();

		add_frame(&a, 2, 0);
		while (!fake_queue_done(&a.tx)) {
			if (now_ns() - start > UINT64_C(1000000) * RP_TEST_PATIENCE_MS)
				rp_test_fail(__FILE__, __LINE__, "a kick was lost");
		}
		for (unsigned i = 0; i < delay; i++)
			fake_queue_kick_wanted(&a.tx);
		fake_queue_kick(&a.tx);
		fake_guest_sent(&a);
		delay = (delay + 1) % 1500;
	}
	close_pair();
}

TEST_RINGS(no_wake_up_is_lost_when_a_frame_comes_as_the_worker_falls_asleep)
{
	tease(true);
	tease(false);
}

/* The same with calls: they are asked for at every moment of the worker's way to publish. */
static void tease_about_calls(bool event_idx)
{
	const uint64_t end = now_ns() + 200000000;
	unsigned delay = 0, waited = 0;

	open_pair(event_idx, RP_POLICY_BUSY);
	while (now_ns() < end || !waited) {
		fake_queue_disarm(&a.tx);
		fake_queue_called(&a.tx, 0);
		add_frame(&a, 2, 0);
		fake_queue_kick(&a.tx);
		for (unsigned i = 0; i < delay; i++)
			fake_queue_kick_wanted(&a.tx);
		if (fake_queue_arm(&a.tx)) {
			EXPECT(fake_queue_called(&a.tx, RP_TEST_PATIENCE_MS));
			waited++;
		}
		EXPECT_SOON(fake_queue_done(&a.tx));
		fake_guest_sent(&a);
		delay = (delay + 1) % 700;
	}
	close_pair();
}

TEST_RINGS(no_wake_up_is_lost_when_a_call_is_asked_for_as_the_worker_publishes)
{
	tease_about_calls(true);
	tease_about_calls(false);
}
