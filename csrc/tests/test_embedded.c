/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports with virtqueues and no worker: whoever embeds the data plane syncs them. */
#include <errno.h>

#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

static struct world w;
static struct fake_guest a, b; /* hosts 1 and 2 */
static struct fake_frame got;

static int add_port(const char *name)
{
	struct rp_port_config cfg = world_vhost_config(&w, name);

	cfg.worker = -1;
	return world_add_port(&w, &cfg);
}

static void open_pair(void)
{
	const struct fake_guest_config plain = { 0 };

	world_open(&w);
	fake_guest_open(&a, &plain);
	fake_guest_open(&b, &plain);
	fake_guest_connect(&a, w.dp, add_port("a"));
	fake_guest_connect(&b, w.dp, add_port("b"));
	EXPECT(fake_guest_post(&b, 8, 2048, FAKE_PLAIN) == 8);
}

static void close_pair(void)
{
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
}

static void send(unsigned n)
{
	uint8_t frame[60];

	for (unsigned i = 0; i < n; i++) {
		frame_make(frame, sizeof(frame), 2, 1, i);
		EXPECT(fake_guest_send(&a, NULL, frame, sizeof(frame), FAKE_PLAIN));
	}
	fake_queue_kick(&a.tx);
}

TEST(frames_move_in_a_txsync_and_only_there)
{
	open_pair();
	send(3);
	EXPECT(!fake_guest_receive(&b, &got));
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), 3);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(fake_guest_receive(&b, &got));
		EXPECT_EQ(frame_number(got.data), i);
		EXPECT(frame_whole(got.data, got.len));
	}
	EXPECT_EQ(fake_guest_sent(&a), 3);
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), 0);
	close_pair();
}

TEST(a_txsync_makes_the_calls_that_are_awaited)
{
	open_pair();
	EXPECT(fake_queue_arm(&a.tx));
	EXPECT(fake_queue_arm(&b.rx));
	send(1);
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), 1);
	EXPECT(fake_queue_called(&a.tx, 0));
	EXPECT(fake_queue_called(&b.rx, 0));
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), 0);
	EXPECT(!fake_queue_called(&a.tx, 0));
	close_pair();
}

TEST(rings_stop_and_ports_go_without_a_worker)
{
	open_pair();
	fake_guest_disconnect(&a);
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), 0);
	fake_guest_connect(&a, w.dp, a.port);
	send(1);
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), 1);
	EXPECT(fake_guest_receive(&b, &got));
	world_del_port(&w, a.port);
	EXPECT_EQ(rp_port_txsync(w.caller, a.port, 0), -ENOENT);
	close_pair();
}
