/* SPDX-License-Identifier: BSD-2-Clause */
/* Front ends that say what they knew last of their queues, which was long ago. */
#include "check.h"
#include "fake_guest.h"
#include "frames.h"
#include "world.h"

enum { QUEUE = 16, ROUNDS = 200, LEN = 60 };

static struct world w;
static struct fake_guest a, b; /* hosts 1 and 2 */
static struct fake_frame got;
static uint8_t frame[FRAME_MAX];

/* Chains of one descriptor, of two, of many. */
static const struct fake_layout layouts[] = {
	{ 0, 0, false },
	{ 20, 0, false },
	{ 0, 0, true },
	{ 20, 20, false },
};

static const struct fake_layout *layout_of(uint32_t i)
{
	return &layouts[i % (sizeof(layouts) / sizeof(layouts[0]))];
}

static void add_frame(uint32_t i, const struct fake_layout *layout)
{
	frame_make(frame, LEN, 2, 1, i);
	EXPECT(fake_guest_send(&a, NULL, frame, LEN, *layout));
}

static bool receive(uint32_t i)
{
	while (fake_guest_receive(&b, &got))
		if (frame_whole(got.data, LEN) && frame_number(got.data) == i)
			return true;
	return false;
}

/* What a front end does whose backend vanished: all that it remembers is the reset. */
static void reconnect(struct fake_guest *g)
{
	fake_guest_disconnect(g);
	g->tx.base = fake_queue_base(&g->tx, 0, 0);
	g->rx.base = fake_queue_base(&g->rx, 0, 0);
}

TEST_RINGS(queues_go_on_where_they_were_though_the_front_end_forgot)
{
	const struct fake_guest_config cfg = { .queue_size = QUEUE };

	fake_guest_open(&a, &cfg);
	fake_guest_open(&b, &cfg);
	world_open(&w);
	fake_guest_connect(&a, w.dp, world_add_vhost(&w, "a"));
	fake_guest_connect(&b, w.dp, world_add_vhost(&w, "b"));
	for (uint32_t i = 0; i < ROUNDS; i++) {
		const struct fake_layout *buffers = layout_of(i / 3);

		fake_guest_post(&b, 1 + i % 2, 200, *buffers);
		if (i % 5)
			add_frame(i, layout_of(i));
		reconnect(&a);
		reconnect(&b);
		if (i % 5 == 0)
			add_frame(i, layout_of(i)); /* while nobody is there */
		fake_guest_connect(&b, w.dp, b.port);
		fake_guest_connect(&a, w.dp, a.port);
		fake_queue_kick(&a.tx);
		EXPECT_SOON(receive(i));
		EXPECT_SOON(fake_guest_sent(&a) == 1);
	}
	EXPECT(!world_broken(&w, a.port) && !world_broken(&w, b.port));
	world_close(&w);
	fake_guest_close(&a);
	fake_guest_close(&b);
}

/* The first flags of what is published are written last: here they never were. */
TEST(what_a_backend_was_publishing_when_it_was_killed_is_published)
{
	enum { BEFORE = 5, LOST = 6 };
	const struct fake_guest_config cfg = { .queue_size = QUEUE };

	fake_choose_format(1);
	fake_guest_open(&a, &cfg);
	world_open(&w);
	fake_guest_connect(&a, w.dp, world_add_vhost(&w, "a"));
	for (uint32_t lap = 0; lap < 8; lap++) {
		struct vring_packed_desc *first;

		for (uint32_t i = 0; i < BEFORE; i++)
			add_frame(i, &layouts[0]);
		fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_queue_used(&a.tx) == BEFORE);
		EXPECT_EQ(fake_guest_sent(&a), BEFORE);
		first = &a.tx.packed.desc[(a.tx.start + a.tx.taken.descriptors) % QUEUE];
		for (uint32_t i = 0; i < LOST; i++)
			add_frame(i, layout_of(i / 3));
		fake_queue_kick(&a.tx);
		EXPECT_SOON(fake_queue_used(&a.tx) == LOST);
		reconnect(&a);
		first->flags ^= 1 << VRING_PACKED_DESC_F_USED;
		EXPECT_EQ(fake_queue_used(&a.tx), 0);
		while (fake_queue_called(&a.tx, 0))
			;
		fake_guest_connect(&a, w.dp, a.port);
		EXPECT_EQ(fake_queue_used(&a.tx), LOST);
		EXPECT(fake_queue_called(&a.tx, RP_TEST_PATIENCE_MS));
		EXPECT_EQ(fake_guest_sent(&a), LOST);
	}
	EXPECT(!world_broken(&w, a.port));
	world_close(&w);
	fake_guest_close(&a);
	fake_choose_format(0);
}
