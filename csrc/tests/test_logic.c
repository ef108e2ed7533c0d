/* SPDX-License-Identifier: BSD-2-Clause */
/* Switches that do something other than to learn: what is built in, and a user's own. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "frames.h"
#include "logic_for_tests.h"
#include "world.h"

enum { PORTS = 4 };

/* Shared objects beside this program. */
#define OWN	LOGIC_DIR "/logic_for_tests.so"
#define OWN_OLD LOGIC_DIR "/logic_of_old.so"

static struct world w;
static struct ring_user user[PORTS];
static struct wanted wanted;
static uint8_t frame[FRAME_MAX];
static const char *const names[PORTS] = { "vale0:a", "vale0:b", "vale0:c", "vale0:d" };

static void open_ports(unsigned n)
{
	world_open(&w);
	for (unsigned i = 0; i < n; i++)
		ring_user_open(&user[i], &w, world_add_rings(&w, names[i]));
}

static void close_ports(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ring_user_close(&user[i]);
	world_close(&w);
}

static void set_logic(int kind, const char *path, const char *config)
{
	const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct rp_err err = { 0 };

	EXPECT_OK(rp_switch_set_logic(w.dp, w.sw, kind, fd, config, &err), err);
	if (path)
		close(fd);
}

static void expect_refused(int kind, const char *path, const char *config, const char *why)
{
	const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct rp_err err = { 0 };

	EXPECT(rp_switch_set_logic(w.dp, w.sw, kind, fd, config, &err) < 0);
	EXPECT_TEXT(err.text, why);
	if (path)
		close(fd);
}

/* The logic of the tests, to do what @what says. */
static void set_own(const struct wanted *what)
{
	char text[32];

	wanted = *what;
	snprintf(text, sizeof(text), "%p", (void *)&wanted);
	set_logic(RP_SWITCH_FILE, OWN, text);
}

static void talk(unsigned at, unsigned from, unsigned to, uint32_t number)
{
	frame_make(frame, 60, to, from, number);
	EXPECT_EQ(ring_send(&user[at], frame, 60), 1);
}

/* Port @at has frame @number, and then nothing. */
static void expect_one(unsigned at, uint32_t number)
{
	EXPECT_EQ(ring_get(&user[at], frame), 60);
	EXPECT_EQ(frame_number(frame), number);
	EXPECT(frame_whole(frame, 60));
	EXPECT_EQ(ring_get(&user[at], frame), 0);
}

static void expect_none(unsigned at)
{
	EXPECT_EQ(ring_get(&user[at], frame), 0);
}

static uint64_t drops(unsigned at, enum rp_drop reason)
{
	return world_drops(&w, user[at].port, NETMAP_DIR_TX, reason);
}

static uint32_t known(void)
{
	struct rp_fdb_row rows[8];
	struct rp_err err;

	return (uint32_t)rp_switch_fdb(w.dp, w.sw, rows, 8, &err);
}

/* Built in */

TEST(a_static_table_says_where_an_address_is_whoever_claims_it)
{
	open_ports(3);
	set_logic(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:01=a 02:00:00:00:00:02=vale0:b");
	talk(2, 1, 2, 0); /* c says that it is host 1 */
	expect_one(1, 0);
	expect_none(0);
	talk(1, 2, 1, 1);
	expect_one(0, 1);
	expect_none(2);
	EXPECT_EQ(known(), 0);
	close_ports(3);
}

TEST(a_static_table_drops_unknown_addresses_unless_told_to_flood)
{
	open_ports(3);
	set_logic(RP_SWITCH_STATIC, NULL, " 02:00:00:00:00:01=a\n");
	talk(1, 2, 9, 0);
	EXPECT_EQ(drops(1, RP_DROP_LOGIC), 1);
	expect_none(0);
	talk(1, 2, HOST_BROADCAST, 1);
	expect_one(0, 1);
	expect_one(2, 1);
	set_logic(RP_SWITCH_STATIC, NULL, "unknown=flood");
	talk(1, 2, 9, 2);
	expect_one(0, 2);
	expect_one(2, 2);
	EXPECT_EQ(drops(1, RP_DROP_LOGIC), 1);
	close_ports(3);
}

TEST(a_static_tables_port_may_come_and_go)
{
	open_ports(2);
	set_logic(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:03=c");
	talk(0, 1, 3, 0);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 1);
	ring_user_open(&user[2], &w, world_add_rings(&w, names[2]));
	talk(0, 1, 3, 1);
	expect_one(2, 1);
	world_del_port(&w, user[2].port);
	ring_user_close(&user[2]);
	ring_user_open(&user[2], &w, world_add_rings(&w, names[3])); /* another, with its number */
	talk(0, 1, 3, 2);
	expect_none(2);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 2);
	close_ports(3);
}

TEST(texts_that_mean_nothing_are_refused_and_change_nothing)
{
	char long_word[300] = { 0 };

	open_ports(2);
	set_logic(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:02=b");
	expect_refused(RP_SWITCH_STATIC, NULL, "02:00:00:00:00=b", "MAC=PORT");
	expect_refused(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:001=b", "MAC=PORT");
	expect_refused(RP_SWITCH_STATIC, NULL, "03:00:00:00:00:01=b", "address of one machine");
	expect_refused(RP_SWITCH_STATIC, NULL, "00:00:00:00:00:00=b", "address of one machine");
	expect_refused(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:01", "MAC=PORT");
	expect_refused(RP_SWITCH_STATIC, NULL, "unknown=maybe", "unknown=drop");
	expect_refused(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:01=a 02:00:00:00:00:01=b", "twice");
	expect_refused(RP_SWITCH_HASH, NULL, "uplink=", "uplink=PORT");
	expect_refused(RP_SWITCH_HASH, NULL, "downlink=a", "'downlink=a'");
	memset(long_word, 'x', sizeof(long_word) - 1);
	expect_refused(RP_SWITCH_HASH, NULL, long_word, "xxx");
	expect_refused(RP_SWITCH_STATIC, NULL, long_word, "xxx");
	expect_refused(RP_SWITCH_BRIDGE, NULL, "x", "takes no text");
	expect_refused(RP_SWITCH_FILE + 1, NULL, "", "no switch logic 4");
	expect_refused(RP_SWITCH_BRIDGE - 1, NULL, "", "no switch logic -1");
	talk(0, 1, 2, 0); /* the table is as before */
	expect_one(1, 0);
	talk(0, 1, 9, 0);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 1);
	close_ports(2);
}

/* An IPv4 packet between two hosts' UDP ports; the Ethernet addresses say nothing of the flow. */
static void make_udp(unsigned from, unsigned to, unsigned from_port, unsigned to_port)
{
	static const uint8_t ip[] = { 0x08, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0 };
	const uint8_t rest[] = { 10,
				 0,
				 0,
				 (uint8_t)from,
				 10,
				 0,
				 0,
				 (uint8_t)to,
				 (uint8_t)(from_port >> 8),
				 (uint8_t)from_port,
				 (uint8_t)(to_port >> 8),
				 (uint8_t)to_port };

	memset(frame, 2, 60);
	memcpy(frame + 12, ip, sizeof(ip));
	memcpy(frame + 12 + sizeof(ip), rest, sizeof(rest));
}

/* Which of the ports has one frame; none has another. */
static unsigned receiver(unsigned from, unsigned n)
{
	unsigned found = n;

	for (unsigned i = 0; i < n; i++) {
		while (i != from && ring_get(&user[i], frame)) {
			EXPECT_EQ(found, n);
			found = i;
		}
	}
	EXPECT(found < n);
	return found;
}

TEST(a_hash_keeps_each_flow_on_one_port_and_spreads_all_of_them)
{
	unsigned hits[PORTS] = { 0 };

	open_ports(PORTS);
	set_logic(RP_SWITCH_HASH, NULL, "uplink=a");
	for (unsigned flow = 0; flow < 300; flow++) {
		unsigned first;

		make_udp(1, 2, 1000 + flow, 53);
		EXPECT_EQ(ring_send(&user[0], frame, 60), 1);
		first = receiver(0, PORTS);
		hits[first]++;
		make_udp(2, 1, 53, 1000 + flow); /* the way back has the same hash */
		EXPECT_EQ(ring_send(&user[0], frame, 60), 1);
		EXPECT_EQ(receiver(0, PORTS), first);
		EXPECT_EQ(ring_send(&user[first], frame, 60), 1);
		EXPECT_EQ(receiver(first, PORTS), 0);
	}
	EXPECT_EQ(hits[0], 0);
	for (unsigned i = 1; i < PORTS; i++)
		EXPECT(hits[i] > 60 && hits[i] < 140); /* 100, and five standard deviations */
	EXPECT_EQ(world_all_drops(&w, user[0].port, NETMAP_DIR_TX), 0);
	close_ports(PORTS);
}

TEST(a_hash_that_has_nowhere_to_go_drops)
{
	open_ports(1);
	set_logic(RP_SWITCH_HASH, NULL, "");
	talk(0, 1, HOST_BROADCAST, 0);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 1);
	ring_user_open(&user[1], &w, world_add_rings(&w, names[1]));
	talk(0, 1, 2, 1);
	expect_one(1, 1);
	set_logic(RP_SWITCH_HASH, NULL, "uplink=z");
	talk(0, 1, 2, 2);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 2);
	close_ports(2);
}

/* Of frames in pieces of 64 bytes the hash sees as much as of others. */
TEST(a_flow_has_one_hash_however_its_frames_are_cut)
{
	struct rp_port_config cfg;

	open_ports(3);
	cfg = world_rings_config(&w, names[3]);
	cfg.buf_bytes = 64;
	cfg.tx_slots = cfg.rx_slots = 1024;
	ring_user_open(&user[3], &w, world_add_port(&w, &cfg));
	set_logic(RP_SWITCH_HASH, NULL, "uplink=a uplink=d");
	for (unsigned flow = 0; flow < 50; flow++) {
		unsigned whole;

		make_udp(1, 2, 1000 + flow, 53);
		EXPECT_EQ(ring_send(&user[0], frame, 60), 1);
		whole = receiver(0, PORTS);
		make_udp(1, 2, 1000 + flow, 53);
		ring_put_slot(&user[3], frame, 1, NS_MOREFRAG);
		ring_put_slot(&user[3], frame + 1, 0, NS_MOREFRAG);
		ring_put_slot(&user[3], frame + 1, 30, NS_MOREFRAG);
		ring_put_slot(&user[3], frame + 31, 29, 0);
		EXPECT_EQ(ring_txsync(&user[3]), 4);
		EXPECT_EQ(receiver(3, PORTS), whole);
	}
	close_ports(PORTS);
}

/* A user's own */

TEST(a_logic_is_told_of_all_ports_before_and_after)
{
	open_ports(2);
	set_own(&(struct wanted){ .dest = 1 });
	EXPECT_EQ(wanted.inits, 1);
	EXPECT_EQ(wanted.up[0] + wanted.up[1], 2);
	EXPECT_TEXT(wanted.name[1], "vale0:b");
	EXPECT_EQ(wanted.lookups, 0);
	ring_user_open(&user[2], &w, world_add_rings(&w, names[2]));
	EXPECT_EQ(wanted.up[2], 1);
	world_del_port(&w, user[0].port);
	EXPECT_EQ(wanted.up[0], 0);
	ring_user_close(&user[0]);
	ring_user_open(&user[0], &w, world_add_rings(&w, names[3]));
	EXPECT_EQ(wanted.up[0], 1);
	EXPECT_TEXT(wanted.name[0], "vale0:d");
	EXPECT_EQ(wanted.exits, 0);
	close_ports(3);
	EXPECT_EQ(wanted.up[0] + wanted.up[1] + wanted.up[2], 0);
	EXPECT_EQ(wanted.exits, 1);
}

TEST(a_frame_goes_where_its_logic_says)
{
	open_ports(3);
	set_own(&(struct wanted){ .dest = 2 });
	talk(0, 1, 9, 0);
	expect_one(2, 0);
	expect_none(1);
	wanted.dest = RP_LOGIC_FLOOD;
	talk(0, 1, 9, 1);
	expect_one(1, 1);
	expect_one(2, 1);
	wanted.dest = 0;
	talk(0, 1, 9, 2);
	EXPECT_EQ(drops(0, RP_DROP_SELF), 1);
	wanted.dest = RP_LOGIC_DROP;
	talk(0, 1, 9, 3);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 1);
	wanted.nothing = 1;
	talk(0, 1, 9, 3);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), 2);
	EXPECT_EQ(wanted.lookups, 5);
	EXPECT_EQ(known(), 0);
	close_ports(3);
}

TEST(a_set_is_all_of_its_ports_but_the_senders)
{
	open_ports(PORTS);
	set_own(&(struct wanted){ .dest = RP_LOGIC_SET, .nsets = 1 });
	rp_logic_set_port(&wanted.set, 0, 1);
	rp_logic_set_port(&wanted.set, 1, 1);
	rp_logic_set_port(&wanted.set, 3, 1);
	rp_logic_set_port(&wanted.set, 700, 1); /* no port */
	talk(0, 1, 9, 0);
	expect_one(1, 0);
	expect_none(2);
	expect_one(3, 0);
	rp_logic_set_port(&wanted.set, 3, 0);
	talk(1, 1, 9, 1);
	expect_one(0, 1);
	expect_none(3);
	EXPECT_EQ(world_all_drops(&w, user[1].port, NETMAP_DIR_TX), 0);
	rp_logic_set_port(&wanted.set, 0, 0);
	talk(1, 1, 9, 2);
	EXPECT_EQ(drops(1, RP_DROP_NOBODY), 1);
	close_ports(PORTS);
}

TEST(destinations_that_are_none_are_dropped_and_counted)
{
	static const uint16_t none[] = {
		3, 4, 1023, 1024, 0x7fff, RP_LOGIC_SET + 1, RP_LOGIC_LEARN - 1
	};
	enum { N = sizeof(none) / sizeof(none[0]) };

	open_ports(3);
	set_own(&(struct wanted){ .nsets = 1 });
	memset(&wanted.set, 0xff, sizeof(wanted.set));
	for (uint32_t i = 0; i < N; i++) {
		wanted.dest = none[i];
		talk(0, 1, 9, i);
	}
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), N);
	EXPECT_EQ(world_all_drops(&w, user[0].port, NETMAP_DIR_TX), N);
	expect_none(1);
	expect_none(2);
	wanted.scribble = 1;
	wanted.dest = RP_LOGIC_SET;
	talk(0, 1, 9, 0);
	EXPECT_EQ(drops(0, RP_DROP_LOGIC), N + 1);
	wanted.dest = 2;
	talk(0, 1, 9, 1);
	expect_one(2, 1);
	close_ports(3);
}

TEST(a_logic_may_leave_frames_to_the_learning_bridge)
{
	open_ports(3);
	set_own(&(struct wanted){ .dest = RP_LOGIC_LEARN });
	talk(1, 2, 9, 0);
	expect_one(0, 0);
	expect_one(2, 0);
	EXPECT_EQ(known(), 1);
	talk(0, 1, 2, 1);
	expect_one(1, 1);
	expect_none(2);
	set_own(&(struct wanted){ .dest = RP_LOGIC_LEARN }); /* a file for a file: it knows */
	talk(2, 3, 1, 2);
	expect_one(0, 2);
	expect_none(1);
	set_logic(RP_SWITCH_BRIDGE, NULL, "");
	EXPECT_EQ(known(), 0);
	close_ports(3);
}

TEST(the_promised_first_bytes_are_in_one_piece)
{
	uint32_t sum = 0;

	open_ports(2);
	set_own(&(struct wanted){ .dest = 1 });
	for (uint32_t i = 0; i < 60; i++) {
		frame_make(frame, 300, 9, 1, i);
		for (uint32_t at = 0; at < RP_LOGIC_HEAD; at++)
			sum += frame[at];
		ring_put_slot(&user[0], frame, i, NS_MOREFRAG);
		ring_put_slot(&user[0], frame + i, 3 * i, NS_MOREFRAG);
		ring_put_slot(&user[0], frame + (size_t)4 * i, 300 - 4 * i, 0);
		EXPECT_EQ(ring_txsync(&user[0]), 3);
		EXPECT_EQ(ring_get(&user[1], frame), 300);
	}
	EXPECT_EQ(wanted.frames, 60);
	EXPECT_EQ(wanted.short_heads, 0);
	EXPECT_EQ(wanted.sum, sum);
	close_ports(2);
}

TEST(a_frame_that_waited_is_looked_up_again_and_says_so)
{
	open_ports(3);
	world_set_full(&w, user[1].port, RP_FULL_HOLD, WORLD_FOREVER_US);
	set_own(&(struct wanted){ .dest = 1 });
	for (uint32_t i = 0; i < 63; i++)
		talk(0, 1, 9, i);
	frame_make(frame, 60, 9, 1, 63);
	ring_put(&user[0], frame, 60);
	EXPECT_EQ(ring_txsync(&user[0]), 0);
	EXPECT_EQ(wanted.again, 0);
	EXPECT_EQ(ring_txsync(&user[0]), 0);
	EXPECT_EQ(wanted.again, 1);
	wanted.dest = 2;
	EXPECT_EQ(ring_txsync(&user[0]), 1);
	EXPECT_EQ(wanted.again, 2);
	expect_one(2, 63);
	close_ports(3);
}

TEST(what_is_no_logic_is_refused_with_the_reason)
{
	open_ports(2);
	expect_refused(RP_SWITCH_FILE, NULL, "", "Bad file descriptor");
	expect_refused(RP_SWITCH_FILE, "/dev/null", "", "file too short");
	expect_refused(RP_SWITCH_FILE, OWN_OLD, "", "version 7 of rp_logic.h");
	expect_refused(RP_SWITCH_FILE, LOGIC_DIR "/logic_of_none.so", "", "no RP_LOGIC()");
	expect_refused(RP_SWITCH_FILE, OWN, "silent", "gave no reason");
	expect_refused(RP_SWITCH_FILE, OWN, "", "xxxx");
	talk(0, 1, 2, 0); /* still a bridge */
	expect_one(1, 0);
	EXPECT_EQ(known(), 1);
	close_ports(2);
}

/* Under traffic */

enum { CHANGES = 60 };

static rp_caller *sender;
static uint32_t stop;

static void *send_all(void *arg)
{
	uint8_t sent[60];
	uint32_t number = 0;

	(void)arg;
	while (!rp_load(&stop) || ring_space(user[0].tx) != user[0].tx->num_slots - 1) {
		while (ring_space(user[0].tx) && !rp_load(&stop)) {
			frame_make(sent, 60, 2, 1, number++);
			ring_put(&user[0], sent, 60);
		}
		EXPECT(rp_port_txsync(sender, user[0].port, 0) >= 0);
		sched_yield();
	}
	return (void *)(uintptr_t)number;
}

static void *change_all(void *arg)
{
	char own[32];

	(void)arg;
	snprintf(own, sizeof(own), "%p", (void *)&wanted);
	for (unsigned i = 0; i < CHANGES; i++) {
		set_logic(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:02=b");
		set_logic(RP_SWITCH_FILE, OWN, own);
		set_logic(RP_SWITCH_FILE, OWN, own);
		set_logic(RP_SWITCH_HASH, NULL, "uplink=a");
	}
	rp_store(&stop, 1);
	return NULL;
}

TEST(a_logic_is_replaced_under_traffic_without_loss_or_disorder)
{
	pthread_t sends, changes;
	uint32_t next = 0, len;
	void *sent = NULL;
	struct rp_err err;
	bool done = false;

	stop = 0;
	wanted = (struct wanted){ .dest = 1 };
	open_ports(2);
	world_set_full(&w, user[1].port, RP_FULL_HOLD, WORLD_FOREVER_US);
	set_logic(RP_SWITCH_STATIC, NULL, "02:00:00:00:00:02=b");
	sender = rp_caller_new(w.dp, &err);
	EXPECT_EQ(pthread_create(&sends, NULL, send_all, NULL), 0);
	EXPECT_EQ(pthread_create(&changes, NULL, change_all, NULL), 0);
	while (!done) {
		done = rp_load(&stop) && ring_space(user[0].tx) == user[0].tx->num_slots - 1;
		while ((len = ring_get(&user[1], frame))) {
			EXPECT_EQ(len, 60);
			EXPECT_EQ(frame_number(frame), next++);
		}
		EXPECT_EQ(ring_rxsync(&user[1]), 0);
		sched_yield();
	}
	pthread_join(sends, &sent);
	pthread_join(changes, NULL);
	while (ring_get(&user[1], frame))
		EXPECT_EQ(frame_number(frame), next++);
	EXPECT_EQ(next, (uintptr_t)sent);
	EXPECT(next > CHANGES);
	EXPECT_EQ(wanted.inits, 2 * CHANGES);
	EXPECT_EQ(wanted.exits, 2 * CHANGES);
	EXPECT_EQ(world_all_drops(&w, user[0].port, NETMAP_DIR_TX), 0);
	EXPECT_EQ(world_all_drops(&w, user[1].port, NETMAP_DIR_RX), 0);
	rp_caller_free(sender);
	close_ports(2);
}
