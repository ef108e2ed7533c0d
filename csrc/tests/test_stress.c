/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports, memory, rings, descriptors and workers come and go while frames
 * flow: what was taken away is never used again (the sanitizers watch), and
 * whoever stays gets all of its frames.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

enum { RUN_NS = 250000000 };

static struct world w;
static struct fake_guest a, b; /* hosts 1 and 2, which talk to each other all the time */
static uint32_t stop;
static uint32_t arrived;
static pthread_t talker;
static const struct fake_guest_config plain;

/* Both sides of a conversation that nothing here may disturb: every frame arrives, in order. */
static void *talk(void *arg)
{
	static struct fake_frame got;
	uint8_t frame[1000];
	uint32_t sent = 0, next = 0;

	(void)arg;
	while (!rp_load(&stop)) {
		for (unsigned i = 0; i < 32; i++) {
			frame_make(frame, 60 + sent % 900, 2, 1, sent);
			EXPECT(fake_guest_send(&a, NULL, frame, 60 + sent % 900, FAKE_PLAIN));
			sent++;
		}
		fake_queue_kick(&a.tx);
		while (next < sent) {
			if (!fake_guest_receive(&b, &got)) {
				fake_queue_arm(&b.rx); /* nobody waits for the call; it is made */
				sched_yield();
				continue;
			}
			fake_guest_post(&b, 1, 1100, FAKE_PLAIN);
			if (frame_from(got.data) != 1)
				continue; /* flooded by somebody else */
			EXPECT_EQ(frame_number(got.data), next);
			EXPECT(frame_whole(got.data, got.len));
			next++;
		}
		EXPECT_SOON(fake_queue_done(&a.tx));
		fake_guest_sent(&a);
		rp_store(&arrived, next);
	}
	return NULL;
}

static void start_talk(void)
{
	uint8_t frame[60];

	stop = arrived = 0;
	world_open(&w);
	fake_guest_open(&a, &plain);
	fake_guest_open(&b, &plain);
	fake_guest_connect(&a, w.dp, world_add_vhost(&w, "a"));
	fake_guest_connect(&b, w.dp, world_add_vhost(&w, "b"));
	world_set_full(&w, b.port, RP_FULL_HOLD, WORLD_FOREVER_US); /* others flood it */
	fake_guest_post(&b, 128, 1100, FAKE_PLAIN);
	frame_make(frame, sizeof(frame), 99, 2, 0);
	EXPECT(fake_guest_send(&b, NULL, frame, sizeof(frame), FAKE_PLAIN));
	fake_queue_kick(&b.tx);
	EXPECT_SOON(fake_guest_sent(&b) == 1);
	EXPECT_EQ(pthread_create(&talker, NULL, talk, NULL), 0);
}

static void end_talk(void)
{
	EXPECT_SOON(rp_load(&arrived) > 100); /* on a busy machine it takes longer */
	rp_store(&stop, 1);
	pthread_join(talker, NULL);
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
}

/* Repeat until the time is over. */
#define FOR_A_WHILE for (uint64_t end_ = now_ns() + RUN_NS; now_ns() < end_;)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

TEST(ports_come_and_go_while_others_talk)
{
	struct rp_port_config cfg;
	uint8_t frame[60];

	start_talk();
	cfg = world_rings_config(&w, "passing");
	FOR_A_WHILE
	{
		struct ring_user u;

		ring_user_open(&u, &w, world_add_port(&w, &cfg));
		frame_make(frame, sizeof(frame), 2, 50, 0);
		EXPECT(ring_send(&u, frame, sizeof(frame)) >= 0);
		frame_make(frame, sizeof(frame), HOST_BROADCAST, 51, 0);
		EXPECT(ring_send(&u, frame, sizeof(frame)) >= 0);
		world_del_port(&w, u.port);
		EXPECT(ring_txsync(&u) < 0);
		ring_user_close(&u);
	}
	end_talk();
}

TEST_FORMATS(guests_come_and_go_while_others_talk)
{
	uint8_t frame[60];

	start_talk();
	FOR_A_WHILE
	{
		struct fake_guest g;

		fake_guest_open(&g, &plain);
		fake_guest_connect(&g, w.dp, world_add_vhost(&w, "passing"));
		fake_guest_post(&g, 10, 100, FAKE_PLAIN);
		for (uint32_t i = 0; i < 10; i++) {
			frame_make(frame, sizeof(frame), 77 + i % 2, 50, i);
			EXPECT(fake_guest_send(&g, NULL, frame, sizeof(frame), FAKE_PLAIN));
		}
		fake_queue_kick(&g.tx);
		world_del_port(&w, g.port);
		fake_guest_close(&g); /* its memory is unmapped: nobody may touch it */
	}
	end_talk();
}

TEST_FORMATS(a_guests_rings_stop_and_start_while_others_send_to_it)
{
	uint8_t frame[60];
	struct fake_guest g;
	uint32_t used;

	start_talk();
	fake_guest_open(&g, &plain);
	fake_guest_connect(&g, w.dp, world_add_vhost(&w, "rebooting"));
	FOR_A_WHILE
	{
		for (uint32_t i = 0; i < 8; i++) {
			frame_make(frame, sizeof(frame), HOST_BROADCAST, 50, i);
			EXPECT(fake_guest_send(&g, NULL, frame, sizeof(frame), FAKE_PLAIN));
		}
		fake_queue_kick(&g.tx);
		fake_guest_disconnect(&g);
		used = g.tx.taken.chains + fake_queue_used(&g.tx);
		EXPECT_EQ(g.tx.base, fake_queue_base(&g.tx, used, used)); /* what was taken */
		fake_guest_connect(&g, w.dp, g.port);
		EXPECT_SOON(fake_queue_done(&g.tx));
		fake_guest_sent(&g);
	}
	EXPECT(!world_broken(&w, g.port));
	end_talk();
	fake_guest_close(&g);
}

TEST_RINGS(workers_and_policies_change_while_others_talk)
{
	static const int policies[] = { RP_POLICY_NOTIFY, RP_POLICY_BUSY, RP_POLICY_SLEEP,
					RP_POLICY_ADAPTIVE };
	unsigned i = 0;

	start_talk();
	FOR_A_WHILE
	{
		struct rp_worker_config cfg = { .policy = policies[i % 4],
						.sleep_us = 100,
						.cpu = (int)(i % 3) - 1 };
		struct rp_err err;
		int worker = rp_worker_add(w.dp, &cfg, &err);

		if (cfg.cpu >= (int)sysconf(_SC_NPROCESSORS_CONF)) {
			EXPECT(worker < 0);
			cfg.cpu = -1;
		} else {
			EXPECT_OK(worker, err);
			EXPECT_OK(rp_worker_del(w.dp, worker, &err), err);
		}
		EXPECT_OK(rp_worker_set(w.dp, w.worker, &cfg, &err), err);
		rp_test_nap(1000000);
		i++;
	}
	end_talk();
}

/*
 * A call descriptor is replaced, and its number is free for another file: not
 * one byte may be written to that.
 */
TEST(a_replaced_call_descriptor_is_never_written_to)
{
	start_talk();
	FOR_A_WHILE
	{
		int files[4];
		struct rp_err err;

		EXPECT_OK(rp_vhost_ring_call(w.dp, b.port, 0, b.rx.call_fd, &err), err);
		sched_yield();
		EXPECT_OK(rp_vhost_ring_call(w.dp, b.port, 0, -1, &err), err);
		for (unsigned i = 0; i < 4; i++)
			files[i] = memfd_create("innocent", MFD_CLOEXEC);
		sched_yield();
		for (unsigned i = 0; i < 4; i++) {
			EXPECT_EQ(lseek(files[i], 0, SEEK_END), 0);
			close(files[i]);
		}
	}
	end_talk();
}

/* A switch goes when its last port has gone, and a caller syncs whatever is there. */
struct hammer {
	rp_caller *caller;
	unsigned errors;
};

static void *hammer(void *arg)
{
	struct hammer *h = arg;

	while (!rp_load(&stop)) {
		for (int port = 0; port < 8; port++) {
			int tx = rp_port_txsync(h->caller, port, 0);
			int rx = rp_port_rxsync(h->caller, port, 0);

			h->errors += tx < 0 || rx < 0;
		}
	}
	return NULL;
}

TEST(whole_switches_come_and_go_under_a_caller_that_syncs_any_port)
{
	const struct rp_switch_config sw = { .name = "passing" };
	struct hammer h = { 0 };
	pthread_t thread;
	uint8_t frame[60];
	struct rp_err err;

	world_open(&w);
	stop = 0;
	h.caller = rp_caller_new(w.dp, &err);
	EXPECT(h.caller);
	EXPECT_EQ(pthread_create(&thread, NULL, hammer, &h), 0);
	FOR_A_WHILE
	{
		struct rp_port_config cfg = world_rings_config(&w, "passing");
		struct ring_user u[3];

		cfg.sw = rp_switch_add(w.dp, &sw, &err);
		EXPECT_OK(cfg.sw, err);
		for (unsigned i = 0; i < 3; i++) {
			ring_user_open(&u[i], &w, world_add_port(&w, &cfg));
			frame_make(frame, sizeof(frame), (i + 1) % 3, i, 0);
			ring_put(&u[i], frame, sizeof(frame)); /* the hammer sends them */
		}
		for (unsigned i = 0; i < 3; i++) {
			world_del_port(&w, u[i].port);
			ring_user_close(&u[i]);
		}
		EXPECT_OK(rp_switch_del(w.dp, cfg.sw, &err), err);
	}
	rp_store(&stop, 1);
	pthread_join(thread, NULL);
	rp_caller_free(h.caller);
	EXPECT(h.errors > 0);
	world_close(&w);
}

/* Somebody fills a ring as fast as it is synced: the sync ends, and a removal gets its turn. */
static void *fill_forever(void *arg)
{
	struct ring_user *u = arg;

	while (!rp_load(&stop)) {
		uint32_t n = ring_space(u->tx);

		if (n > 1)
			rp_store_release(&u->tx->head, (u->tx->head + n / 2) % u->tx->num_slots);
	}
	return NULL;
}

struct syncer {
	rp_caller *caller;
	int most; /* slots that one sync took */
};

static void *sync_forever(void *arg)
{
	struct syncer *s = arg;

	while (!rp_load(&stop)) {
		int moved = rp_port_txsync(s->caller, 0, 0);

		if (moved > s->most)
			s->most = moved;
	}
	return NULL;
}

TEST(a_user_who_never_stops_sending_does_not_stop_the_control_plane)
{
	struct syncer s = { 0 };
	pthread_t fill, sync;
	struct ring_user u;
	struct rp_err err;

	world_open(&w);
	stop = 0;
	ring_user_open(&u, &w, world_add_rings(&w, "eager"));
	EXPECT_EQ(u.port, 0);
	for (uint32_t i = 0; i < u.tx->num_slots; i++)
		u.tx->slot[i].len = 60;
	s.caller = rp_caller_new(w.dp, &err);
	EXPECT(s.caller);
	EXPECT_EQ(pthread_create(&fill, NULL, fill_forever, &u), 0);
	EXPECT_EQ(pthread_create(&sync, NULL, sync_forever, &s), 0);
	while (rp_load(&world_count(&w, u.port, NETMAP_DIR_TX)->frames) < 200000)
		world_del_port(&w, world_add_rings(&w, "passing"));
	rp_store(&stop, 1);
	pthread_join(fill, NULL);
	pthread_join(sync, NULL);
	rp_caller_free(s.caller);
	EXPECT(s.most < RP_MAX_SLOTS + RP_BATCH);
	ring_user_close(&u);
	world_close(&w);
}

TEST(there_are_places_for_so_many_threads_and_no_more)
{
	rp_caller *caller[RP_MAX_THREADS];
	unsigned n = 0;
	struct rp_err err;

	world_open(&w); /* has a worker and a caller */
	while (n < RP_MAX_THREADS && (caller[n] = rp_caller_new(w.dp, &err)))
		n++;
	EXPECT_EQ(n, RP_MAX_THREADS - 2);
	EXPECT_TEXT(err.text, "all of the 128 places");
	rp_caller_free(caller[--n]);
	caller[n] = rp_caller_new(w.dp, &err);
	EXPECT(caller[n++]);
	while (n)
		rp_caller_free(caller[--n]);
	world_close(&w);
}

TEST(records_of_removed_ports_are_used_again)
{
	world_open(&w);
	for (unsigned i = 0; i < 2 * RP_COUNTERS_RINGS / (2 * RP_PORT_RINGS); i++) {
		struct rp_port_config cfg = world_rings_config(&w, "passing");

		cfg.tx_rings = cfg.rx_rings = RP_PORT_RINGS; /* a record each */
		cfg.tx_slots = cfg.rx_slots = 2;
		cfg.buf_bytes = 64;
		world_del_port(&w, world_add_port(&w, &cfg));
	}
	world_close(&w);
}
