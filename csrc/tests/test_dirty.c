/* SPDX-License-Identifier: BSD-2-Clause */
/* The dirty log: which pages are marked, which bitmaps are refused, and that no write is missed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/rp_barrier.h"
#include "check.h"
#include "dirty.h"
#include "fake_guest.h"
#include "frames.h"
#include "vnet.h"
#include "world.h"

#define PAGE UINT64_C(4096)

static int file;
static uint8_t *bits; /* the file, as the front end sees it */
static volatile unsigned told;
static struct rp_err err;

static void lost(void *owner)
{
	(void)owner;
	told++;
}

static void open_file(uint64_t bytes)
{
	file = memfd_create("log", MFD_CLOEXEC);
	EXPECT(file >= 0);
	EXPECT_EQ(ftruncate(file, (off_t)bytes), 0);
	bits = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	EXPECT(bits != MAP_FAILED);
}

static void close_file(uint64_t bytes)
{
	munmap(bits, bytes);
	close(file);
}

/* The pages that are marked, lowest first, as one number. */
static uint64_t marked(void)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < 8; i++)
		all |= (uint64_t)bits[i] << 8 * i;
	memset(bits, 0, 8);
	return all;
}

TEST(each_page_that_was_written_in_is_marked_and_no_other)
{
	struct rp_dirty *log;

	open_file(PAGE);
	log = rp_dirty_new(file, 0, 8, lost, NULL, &err);
	EXPECT(log);
	EXPECT_EQ(log->pages, 64);
	rp_dirty_mark(log, 0, 1);
	EXPECT_EQ(marked(), 1);
	rp_dirty_mark(log, PAGE - 1, 1);
	EXPECT_EQ(marked(), 1);
	rp_dirty_mark(log, PAGE - 1, 2);
	EXPECT_EQ(marked(), 3);
	rp_dirty_mark(log, 7 * PAGE, 3 * PAGE);
	EXPECT_EQ(marked(), 7 << 7);
	rp_dirty_mark(log, 5 * PAGE + 100, 0);
	EXPECT_EQ(marked(), 0);
	rp_dirty_mark(log, 63 * PAGE, PAGE);
	EXPECT_EQ(marked(), INT64_MIN);
	rp_dirty_free(log);
	close_file(PAGE);
}

TEST(much_memory_is_marked_as_its_pages_would_be)
{
	struct rp_dirty *log;

	open_file(PAGE);
	log = rp_dirty_new(file, 0, 8, lost, NULL, &err);
	EXPECT(log);
	for (uint64_t from = 0; from < 64; from++) {
		for (uint64_t to = from + 1; to <= 66; to++) {
			uint64_t expected;

			rp_dirty_mark(log, from * PAGE + 1, (to - from) * PAGE - 1);
			expected = marked();
			rp_dirty_mark_all(log, from * PAGE + 1, (to - from) * PAGE - 1);
			EXPECT_EQ(marked(), expected);
			rp_dirty_mark_all(log, from * PAGE, (to - from) * PAGE);
			EXPECT_EQ(marked(), expected);
			EXPECT_EQ(bits[8], 0);
		}
	}
	rp_dirty_free(log);
	close_file(PAGE);
}

TEST(pages_beyond_the_log_are_passed_over)
{
	struct rp_dirty *log;

	open_file(PAGE);
	log = rp_dirty_new(file, 0, 8, lost, NULL, &err);
	EXPECT(log);
	rp_dirty_mark(log, 64 * PAGE, PAGE);
	rp_dirty_mark(log, UINT64_MAX, 4);
	rp_dirty_mark(log, UINT64_MAX - PAGE, PAGE);
	rp_dirty_mark(log, 63 * PAGE, UINT32_MAX);
	EXPECT_EQ(marked(), INT64_MIN);
	for (unsigned i = 0; i < PAGE; i++)
		EXPECT_EQ(bits[i], 0);
	rp_dirty_free(log);
	close_file(PAGE);
}

TEST(the_bitmap_may_begin_at_any_byte_of_its_file)
{
	struct rp_dirty *log;

	open_file(3 * PAGE);
	log = rp_dirty_new(file, PAGE + 5, PAGE, lost, NULL, &err);
	EXPECT(log);
	rp_dirty_mark(log, 9 * PAGE, 1);
	EXPECT_EQ(bits[PAGE + 5 + 1], 2);
	rp_dirty_mark(log, (8 * PAGE - 1) * PAGE, 1);
	EXPECT_EQ(bits[2 * PAGE + 4], 0x80);
	rp_dirty_free(log);
	close_file(3 * PAGE);
}

TEST(what_is_no_bitmap_in_a_file_is_refused)
{
	int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	open_file(PAGE);
	EXPECT(!rp_dirty_new(file, 0, 0, lost, NULL, &err));
	EXPECT_EQ(err.code, EINVAL);
	EXPECT(!rp_dirty_new(file, 0, PAGE + 1, lost, NULL, &err));
	EXPECT_TEXT(err.text, "of a file of 4096 bytes");
	EXPECT(!rp_dirty_new(file, 1, PAGE, lost, NULL, &err));
	EXPECT(!rp_dirty_new(file, UINT64_MAX, 2, lost, NULL, &err));
	EXPECT(!rp_dirty_new(file, UINT64_MAX - 1, PAGE, lost, NULL, &err));
	EXPECT(!rp_dirty_new(file, (uint64_t)INT64_MAX - 1, 2, lost, NULL, &err));
	EXPECT(!rp_dirty_new(file, 0, UINT64_MAX, lost, NULL, &err));
	EXPECT_TEXT(err.text, "are allowed");
	EXPECT(!rp_dirty_new(-1, 0, 8, lost, NULL, &err));
	EXPECT_TEXT(err.text, "bad descriptor");
	EXPECT_EQ(ftruncate(sealed, (off_t)PAGE), 0);
	EXPECT_EQ(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	EXPECT(!rp_dirty_new(sealed, 0, 8, lost, NULL, &err));
	EXPECT_TEXT(err.text, "cannot be mapped shared");
	close(sealed);
	close_file(PAGE);
}

enum { ROUNDS = 20000 };

static void *mark_odd(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		rp_dirty_mark(arg, (2 * (i % 32) + 1) * PAGE, 1);
	return NULL;
}

TEST(threads_that_mark_pages_of_one_byte_do_not_undo_each_other)
{
	struct rp_dirty *log;
	pthread_t thread;

	open_file(PAGE);
	log = rp_dirty_new(file, 0, 8, lost, NULL, &err);
	EXPECT(log);
	EXPECT_EQ(pthread_create(&thread, NULL, mark_odd, log), 0);
	/* Here the even bits are marked and taken, as the front end takes them. */
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t bit = (uint8_t)(1 << 2 * (i % 4));

		rp_dirty_mark(log, UINT64_C(2) * (i % 32) * PAGE, 1);
		EXPECT(__atomic_fetch_and(&bits[i % 32 / 4], (uint8_t)~bit, __ATOMIC_SEQ_CST) &
		       bit);
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(marked(), (long long)UINT64_C(0xaaaaaaaaaaaaaaaa));
	rp_dirty_free(log);
	close_file(PAGE);
}

/* A guest that migrates, "moving", and its neighbour; hosts 2 and 1. */
static struct world w;
static struct fake_guest moving, other;
static uint8_t *before; /* the memory of the guest that migrates, as it was */
static struct fake_frame got;
static uint8_t frame[FRAME_MAX];

enum { LOG_BYTES = 1 << 20, FRAMES = 240 };

static void send_from(struct fake_guest *g, uint32_t len, uint32_t number)
{
	const unsigned to = g == &other ? 2 : 1;

	frame_make(frame, len, to, 3 - to, number);
	EXPECT(fake_guest_send(g, NULL, frame, len, FAKE_PLAIN));
}

static void open_guests(const struct fake_guest_config *cfg)
{
	const struct fake_guest_config plain = { .tx_buf_bytes = 66000 };

	world_open(&w);
	open_file(LOG_BYTES);
	fake_guest_open(&moving, cfg);
	fake_guest_open(&other, &plain);
	fake_guest_connect(&other, w.dp, world_add_vhost(&w, "other"));
	fake_guest_connect(&moving, w.dp, world_add_vhost(&w, "moving"));
	send_from(&moving, 60, 0); /* so that the switch knows it */
	fake_queue_kick(&moving.tx);
	EXPECT_SOON(fake_guest_sent(&moving) == 1);
	fake_guest_disconnect(&moving);
	before = malloc(moving.ram.span);
	EXPECT(before);
}

static void close_guests(void)
{
	world_close(&w);
	fake_guest_close(&moving);
	fake_guest_close(&other);
	free(before);
	close_file(LOG_BYTES);
}

static void remember(void)
{
	memcpy(before, moving.ram.base, moving.ram.span);
}

static bool page_marked(uint64_t page)
{
	page += FAKE_RAM_BASE / PAGE;
	return bits[page / 8] & 1 << page % 8;
}

static bool page_changed(uint64_t page)
{
	return memcmp(moving.ram.base + page * PAGE, before + page * PAGE, PAGE) != 0;
}

/* Each page that changed is marked. Return: how many did; @idle: pages that are marked all the same */
static unsigned expect_marked(unsigned *idle)
{
	unsigned changed = 0;

	*idle = 0;
	for (uint64_t page = 0; page < moving.ram.span / PAGE; page++) {
		if (!page_changed(page)) {
			*idle += page_marked(page);
			continue;
		}
		changed++;
		if (!page_marked(page))
			rp_test_fail(__FILE__, __LINE__, "page %llu changed, and is not marked",
				     (unsigned long long)page);
	}
	return changed;
}

static void start_log(void)
{
	EXPECT_OK(rp_vhost_log(w.dp, moving.port, file, 0, LOG_BYTES, 0, &err), err);
}

/*
 * The driver does all its writing while the rings are stopped: what changes
 * from then on was written by us.
 */
static void migrate_under_traffic(const struct fake_guest_config *cfg, uint32_t longest)
{
	unsigned idle;

	open_guests(cfg);
	EXPECT_EQ(fake_guest_post(&moving, 256, cfg->rx_buf_bytes, FAKE_PLAIN), 256);
	for (uint32_t i = 0; i < FRAMES; i++)
		send_from(&moving, 60 + i, i);
	fake_queue_kick(&moving.tx);
	start_log();
	remember();
	fake_guest_connect(&moving, w.dp, moving.port);
	for (uint32_t i = 0; i < FRAMES; i++)
		send_from(&other, 60 + (longest - 60) * i / FRAMES, i);
	fake_queue_kick(&other.tx);
	EXPECT_SOON(world_count(&w, moving.port, NETMAP_DIR_TX)->frames == FRAMES + 1);
	EXPECT_SOON(world_count(&w, moving.port, NETMAP_DIR_RX)->frames +
			    world_drops(&w, moving.port, NETMAP_DIR_RX, RP_DROP_FULL) ==
		    FRAMES);
	fake_guest_disconnect(&moving);
	EXPECT(expect_marked(&idle) > FRAMES / 3);
	EXPECT(idle <= 2);
	for (uint32_t i = 0; fake_guest_receive(&moving, &got); i++)
		EXPECT(frame_whole(got.data, got.len));
	close_guests();
}

TEST_FORMATS(every_page_that_we_write_is_marked_and_hardly_another)
{
	static const uint64_t without[] = {
		0,
		RP_FEATURE(VIRTIO_RING_F_EVENT_IDX),
		RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF),
		RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | RP_FEATURE(VIRTIO_F_VERSION_1),
	};

	for (unsigned i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		const struct fake_guest_config cfg = {
			.features = fake_features() & ~without[i],
			.rx_buf_bytes = 2048,
		};
		bool mergeable = cfg.features & RP_FEATURE(VIRTIO_NET_F_MRG_RXBUF);

		migrate_under_traffic(&cfg, mergeable ? 3000 : 2000);
	}
}

TEST_FORMATS(a_header_in_a_page_of_its_own_is_marked)
{
	const struct fake_guest_config plain = { 0 };
	struct fake_piece piece[2];
	unsigned idle;

	open_guests(&plain);
	piece[0] = (struct fake_piece){ fake_ram_alloc(&moving.ram, PAGE, PAGE), 12 };
	piece[1] = (struct fake_piece){ fake_ram_alloc(&moving.ram, PAGE, PAGE), 100 };
	EXPECT(fake_queue_add(&moving.rx, piece, 2, VRING_DESC_F_WRITE, false) >= 0);
	memset(fake_ram_at(&moving.ram, piece[0].addr), 0x5a, PAGE);
	fake_queue_kick(&moving.rx);
	start_log();
	remember();
	fake_guest_connect(&moving, w.dp, moving.port);
	send_from(&other, 60, 1);
	fake_queue_kick(&other.tx);
	EXPECT_SOON(world_count(&w, moving.port, NETMAP_DIR_RX)->frames == 1);
	fake_guest_disconnect(&moving);
	EXPECT(page_changed((piece[0].addr - FAKE_RAM_BASE) / PAGE));
	EXPECT(expect_marked(&idle) >= 3);
	close_guests();
}

/* What the device writes when it asks for a kick, or for none. */
static uint16_t *kick_word(struct fake_queue *q, uint64_t features)
{
	if (features & RP_FEATURE(VIRTIO_F_RING_PACKED))
		return &q->packed.device->flags;
	return features & RP_FEATURE(VIRTIO_RING_F_EVENT_IDX) ?
		       (uint16_t *)&q->split.used->ring[q->size] :
		       &q->split.used->flags;
}

TEST_FORMATS(asking_for_a_kick_is_a_write_too)
{
	static const uint64_t without[] = { 0, RP_FEATURE(VIRTIO_RING_F_EVENT_IDX) };

	for (unsigned i = 0; i < 2; i++) {
		const struct fake_guest_config cfg = {
			.features = fake_features() & ~without[i],
		};
		uint16_t *event;
		unsigned idle;

		open_guests(&cfg);
		event = kick_word(&moving.tx, cfg.features);
		*event = 77;
		start_log();
		remember();
		fake_guest_connect(&moving, w.dp, moving.port);
		EXPECT_SOON(rp_load(event) != 77);
		fake_guest_disconnect(&moving);
		EXPECT(expect_marked(&idle) >= 1);
		close_guests();
	}
}

TEST(without_a_log_nothing_is_marked)
{
	const struct fake_guest_config plain = { 0 };

	open_guests(&plain);
	EXPECT_EQ(fake_guest_post(&moving, 10, 2048, FAKE_PLAIN), 10);
	start_log();
	EXPECT_OK(rp_vhost_log(w.dp, moving.port, -1, 0, 0, 0, &err), err);
	fake_guest_connect(&moving, w.dp, moving.port);
	send_from(&other, 60, 1);
	fake_queue_kick(&other.tx);
	EXPECT_SOON(fake_guest_receive(&moving, &got));
	for (unsigned i = 0; i < LOG_BYTES; i++)
		EXPECT_EQ(bits[i], 0);
	close_guests();
}

TEST(a_log_that_comes_late_begins_with_all_memory)
{
	const struct fake_guest_config plain = { 0 };

	open_guests(&plain);
	fake_guest_connect(&moving, w.dp, moving.port);
	EXPECT_OK(rp_vhost_log(w.dp, moving.port, file, 0, LOG_BYTES, 1, &err), err);
	for (uint64_t page = 0; page < moving.ram.span / PAGE; page++)
		EXPECT(page_marked(page));
	EXPECT(!page_marked(moving.ram.span / PAGE));
	EXPECT(!(bits[FAKE_RAM_BASE / PAGE / 8 - 1]));
	close_guests();
}

TEST_RINGS(rings_go_on_while_the_log_comes_and_goes)
{
	const struct fake_guest_config plain = { 0 };
	uint32_t next = 0;

	open_guests(&plain);
	fake_guest_post(&moving, 200, 2048, FAKE_PLAIN);
	fake_guest_connect(&moving, w.dp, moving.port);
	for (uint32_t i = 0; i < 100; i++) {
		send_from(&other, 60, i);
		fake_queue_kick(&other.tx);
		if (i % 2)
			start_log();
		else
			EXPECT_OK(rp_vhost_log(w.dp, moving.port, -1, 0, 0, 0, &err), err);
	}
	while (next < 100) {
		EXPECT_SOON(fake_guest_receive(&moving, &got));
		EXPECT_EQ(frame_number(got.data), next++);
	}
	EXPECT_EQ(world_all_drops(&w, other.port, NETMAP_DIR_TX), 0);
	EXPECT_EQ(world_all_drops(&w, moving.port, NETMAP_DIR_RX), 0);
	close_guests();
}

TEST(a_log_that_does_not_cover_the_memory_is_refused)
{
	const struct fake_guest_config plain = { 0 };
	const uint64_t needed = (FAKE_RAM_BASE / PAGE + 64) / 8;

	open_guests(&plain);
	fake_guest_connect(&moving, w.dp, moving.port);
	EXPECT(rp_vhost_log(w.dp, moving.port, file, 0, needed - 8, 0, &err) < 0);
	EXPECT_TEXT(err.text, "the guest's memory ends at");
	EXPECT_OK(rp_vhost_mem_set(w.dp, moving.port, NULL, NULL, 0, &err), err);
	EXPECT_OK(rp_vhost_log(w.dp, moving.port, file, 0, 8, 0, &err), err);
	EXPECT(fake_ram_share(&moving.ram, w.dp, moving.port, &err) < 0);
	EXPECT_TEXT(err.text, "covers guest addresses up to");
	EXPECT(rp_vhost_log(w.dp, 77, file, 0, 8, 0, &err) < 0);
	close_guests();
}

TEST(a_log_that_is_truncated_breaks_its_port_and_nothing_else)
{
	const struct fake_guest_config plain = { 0 };

	open_guests(&plain);
	fake_guest_post(&moving, 10, 2048, FAKE_PLAIN);
	start_log();
	fake_guest_connect(&moving, w.dp, moving.port);
	EXPECT_EQ(ftruncate(file, 0), 0);
	send_from(&other, 60, 1);
	fake_queue_kick(&other.tx);
	EXPECT_SOON(world_broken(&w, moving.port));
	EXPECT_TEXT(world_status(&w, moving.port).reason, "truncated its dirty log");
	EXPECT(!world_broken(&w, other.port));
	EXPECT_EQ(ftruncate(file, LOG_BYTES), 0);
	EXPECT_OK(rp_port_repair(w.dp, moving.port, &err), err);
	EXPECT(!world_broken(&w, moving.port));
	close_guests();
}
