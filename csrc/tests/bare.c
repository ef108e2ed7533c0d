/* SPDX-License-Identifier: BSD-2-Clause */
#include "bare.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "front_rings.h"
#include "front_vhost.h"
#include "port_vale.h"

#define PAGE UINT64_C(4096)

static void require(bool holds)
{
	if (!holds)
		abort(); /* the fuzzer keeps the input */
}

void bare_open(struct bare *b)
{
	memset(b, 0, sizeof(*b));
	b->table = aligned_alloc(64, sizeof(*b->table));
	b->caller = calloc(1, sizeof(*b->caller));
	require(b->table && b->caller);
	memset(b->table, 0, sizeof(*b->table));
	rp_forward_init(&b->caller->forward);
	b->sw.fdb.table = b->table;
	b->sw.members = &b->members;
}

void bare_close(struct bare *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		b->port[i].tx[0]->ops->free(b->port[i].tx[0]);
		b->port[i].rx[0]->ops->free(b->port[i].rx[0]);
	}
	free(b->table);
	free(b->caller);
}

static struct rp_endpoint *add_endpoint(struct bare *b, struct rp_port *p, int dir)
{
	const unsigned i = 2 * b->n + (dir == NETMAP_DIR_TX);
	struct rp_endpoint *ep =
		p->region ? rp_front_rings_new(p, dir, 0, &p->own[dir][0], false, &b->state[i]) :
			    rp_front_vhost_new(p, dir, 0, &b->state[i]);

	require(ep);
	ep->count = &b->count[i];
	return ep;
}

struct rp_port *bare_add(struct bare *b, struct rp_region *region, uint32_t slots)
{
	struct rp_port *p = &b->port[b->n];

	require(b->n < BARE_PORTS);
	*p = (struct rp_port){
		.id = (int)b->n,
		.ops = &rp_port_vale,
		.sw = &b->sw,
		.sw_port = (uint16_t)b->n,
		.ntx = 1,
		.nrx = 1,
		.region = region,
		.longest = UINT32_MAX,
		.event_fd = -1,
	};
	for (int dir = 1; region && dir >= 0; dir--)
		require(rp_region_add_ring(region, "bare", dir, 0, slots, &p->own[dir][0], NULL) ==
			0);
	p->tx[0] = add_endpoint(b, p, NETMAP_DIR_TX);
	p->rx[0] = add_endpoint(b, p, NETMAP_DIR_RX);
	b->members.list[b->n] = b->members.by_number[b->n] = p;
	b->members.n = ++b->n;
	return p;
}

/* @bytes of memory that end where a page begins that may not be touched. */
static uint8_t *guarded(size_t bytes)
{
	const size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
	uint8_t *at = mmap(NULL, room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	require(at != MAP_FAILED && mprotect(at + PAGE, room, PROT_READ | PROT_WRITE) == 0);
	ASAN_POISON_MEMORY_REGION(at + PAGE, room - bytes);
	return at + PAGE + room - bytes;
}

struct rp_guestmem *bare_memory(void)
{
	static const struct {
		uint64_t addr;
		size_t bytes;
	} region[] = { { BARE_R0, BARE_R0_BYTES },
		       { BARE_R1, BARE_R1_BYTES },
		       { BARE_R2, BARE_R2_BYTES } };
	struct rp_guestmem *mem = calloc(1, sizeof(*mem) + 3 * sizeof(mem->region[0]));

	require(mem);
	for (mem->n = 0; mem->n < 3; mem->n++)
		mem->region[mem->n] = (struct rp_mem_region){
			.guest_addr = region[mem->n].addr,
			.user_addr = region[mem->n].addr,
			.bytes = region[mem->n].bytes,
			.host = guarded(region[mem->n].bytes),
		};
	return mem;
}

void bare_memory_free(struct rp_guestmem *mem)
{
	for (uint32_t i = 0; i < mem->n; i++) {
		const struct rp_mem_region *r = &mem->region[i];
		const size_t room = (r->bytes + PAGE - 1) / PAGE * PAGE;
		uint8_t *at = r->host + r->bytes - room - PAGE;

		ASAN_UNPOISON_MEMORY_REGION(at + PAGE, room);
		munmap(at, room + 2 * PAGE);
	}
	free(mem);
}

void bare_reset(struct bare *b)
{
	/* What rp_fdb_clear() does, in less than a pass over the table: few entries are in use. */
	memset(b->table, 0, sizeof(*b->table));
	memset(b->count, 0, sizeof(b->count));
	for (unsigned i = 0; i < b->n; i++) {
		b->port[i].state = RP_PORT_UP;
		b->port[i].breaking = 0;
		b->port[i].tx[0]->batch->held = 0;
		b->port[i].rx[0]->congestion = RP_FLOWING;
	}
}

unsigned bare_txsync(struct bare *b, struct rp_port *p)
{
	return rp_endpoint_live(p->tx[0]) ? p->ops->txsync(b->caller, p->tx[0]) : 0;
}

static uint64_t all_drops(const struct rp_endpoint *ep)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < RP_DROP_SPACE; i++)
		n += ep->count->drops[i];
	return n;
}

void bare_check(const struct bare *b)
{
	uint64_t taken = 0, accounted = 0;

	for (unsigned i = 0; i < b->n; i++) {
		const struct rp_port *p = &b->port[i];
		const struct rp_endpoint *tx = p->tx[0], *rx = p->rx[0];

		require(rx->state->lease_head == rx->state->lease_tail);
		require(rx->lock.held == 0);
		require(!rp_port_broken(p) || (!tx->live && !rx->live && p->reason[0]));
		require(tx->count->frames < BARE_BOUND && rx->count->frames < BARE_BOUND);
		taken += tx->count->frames;
		accounted += rx->count->frames + all_drops(tx) + all_drops(rx) + tx->batch->held;
	}
	require(accounted >= taken); /* a flooded frame is accounted for at each port */
}
