/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: Frames 1 and 3 lie in the program's own memory, number 2 where nothing is, number 4 in its slot.
 * Number 5 is sent by a child, out of whose memory nothing is taken.
 *
 *   indirect PORT
 */
#include <stdlib.h>
#include <sys/wait.h>

#include "ports.h"

static const char *port;

static void number(uint8_t *frame, uint32_t n)
{
	memset(frame, 0xff, 6);
	memset(frame + 6, 0x02, 6);
	memcpy(frame + 14, &n, sizeof(n));
}

static void put_indirect(struct nm_desc *d, const uint8_t *frame)
{
	struct netmap_ring *ring = tx_of(d);
	struct netmap_slot *slot = &ring->slot[ring->head];

	slot->ptr = (uintptr_t)frame;
	slot->len = FRAME;
	slot->flags = NS_INDIRECT;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

TEST(indirect_slots_are_sent_from_the_programs_memory)
{
	struct nm_desc *d = open_port(port);
	uint8_t frame[2][FRAME] = { { 0 } };
	int status = -1;

	number(frame[0], 1);
	number(frame[1], 3);
	put_indirect(d, frame[0]);
	put_indirect(d, (const uint8_t *)16);
	put_indirect(d, frame[1]);
	txsync(d);
	if (!fork()) {
		number(frame[0], 5);
		put_indirect(d, frame[0]);
		txsync(d);
		_exit(0);
	}
	EXPECT(wait(&status) > 0);
	EXPECT_EQ(status, 0);
	put(d, 4);
	txsync(d);
	memset(frame, 0, sizeof(frame)); /* the sync took them */
	nm_close(d);
}

__attribute__((constructor)) static void find_argument(int argc, char **argv)
{
	if (argc != 2)
		exit(2);
	port = argv[1];
	argv[1] = "";
}
