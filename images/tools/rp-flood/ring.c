/* SPDX-License-Identifier: BSD-2-Clause */
#include "ring.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "rp_barrier.h"
#include "tool.h"

/* Where the kernel looks for the frame of a slot. */
#define FRAME_OFFSET (TPACKET2_HDRLEN - sizeof(struct sockaddr_ll))

/* A slot is busy until its frame has left the driver, so more than one batch is needed. */
#define BATCHES	   4
#define MIN_SLOTS  1024

#define BLOCK_SIZE 65536u

/* Frames on their way are charged to the socket; the ring alone shall limit them. */
#define SEND_BUFFER (512 << 20)

/* A full driver has work for longer than this; trying at once would only keep it from working. */
static const struct timespec FULL_PAUSE = { .tv_nsec = 50000 };

static void set_option(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) != 0)
		tool_fail("setsockopt(%d, %d)", level, name);
}

static uint32_t power_of_two(uint32_t at_least)
{
	uint32_t value = 1;

	while (value < at_least)
		value *= 2;
	return value;
}

static void read_mac(struct ring *ring, const char *interface)
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(ring->fd, SIOCGIFHWADDR, &request) != 0)
		tool_fail("%s", interface);
	memcpy(ring->mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

void ring_open(struct ring *ring, const char *interface, uint32_t size, uint32_t batch)
{
	struct tpacket_req request = { 0 };

	memset(ring, 0, sizeof(*ring));
	ring->fd = tool_packet_socket();
	read_mac(ring, interface);
	set_option(ring->fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);
	set_option(ring->fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
	set_option(ring->fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER);

	/* Powers of two: whole slots fill blocks, whole blocks fill the ring. */
	ring->slot_size = power_of_two((uint32_t)FRAME_OFFSET + size);
	ring->slots = power_of_two(batch * BATCHES > MIN_SLOTS ? batch * BATCHES : MIN_SLOTS);
	request.tp_frame_size = ring->slot_size;
	request.tp_frame_nr = ring->slots;
	request.tp_block_size = ring->slot_size > BLOCK_SIZE ? ring->slot_size : BLOCK_SIZE;
	request.tp_block_nr =
		(uint32_t)((uint64_t)ring->slots * ring->slot_size / request.tp_block_size);
	if (setsockopt(ring->fd, SOL_PACKET, PACKET_TX_RING, &request, sizeof(request)) != 0)
		tool_fail("cannot make a ring of %u slots of %u bytes", ring->slots,
			  ring->slot_size);
	ring->memory = mmap(NULL, (size_t)ring->slots * ring->slot_size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE, ring->fd, 0);
	if (ring->memory == MAP_FAILED)
		tool_fail("cannot map the ring");
	tool_bind(ring->fd, tool_interface(interface), 0);
}

static struct tpacket2_hdr *header(const struct ring *ring, uint32_t slot)
{
	return (struct tpacket2_hdr *)(ring->memory + (size_t)slot * ring->slot_size);
}

struct rp_frame *ring_frame(const struct ring *ring, uint32_t slot)
{
	return (struct rp_frame *)((uint8_t *)header(ring, slot) + FRAME_OFFSET);
}

bool ring_next_is_free(const struct ring *ring)
{
	return rp_load_acquire(&header(ring, ring->next)->tp_status) == TP_STATUS_AVAILABLE;
}

void ring_queue(struct ring *ring, uint32_t length)
{
	struct tpacket2_hdr *slot = header(ring, ring->next);

	slot->tp_len = length;
	rp_store_release(&slot->tp_status, TP_STATUS_SEND_REQUEST);
	ring->next = (ring->next + 1) & (ring->slots - 1);
}

void ring_send(struct ring *ring)
{
	ring->calls++;
	if (send(ring->fd, NULL, 0, MSG_DONTWAIT) >= 0 || errno == EINTR)
		return;
	if (errno == ENOBUFS || errno == EAGAIN) {
		ring->full++;
		nanosleep(&FULL_PAUSE, NULL);
	} else {
		ring->error = errno;
	}
}

static bool is_idle(const struct ring *ring)
{
	for (uint32_t i = 0; i < ring->slots; i++) {
		if (rp_load(&header(ring, i)->tp_status) != TP_STATUS_AVAILABLE)
			return false;
	}
	return true;
}

void ring_drain(struct ring *ring)
{
	double deadline = tool_now() + 1;

	while (ring->error == 0 && !is_idle(ring) && tool_now() < deadline) {
		ring_send(ring);
		sched_yield();
	}
}

uint32_t ring_unsent(const struct ring *ring)
{
	uint32_t unsent = 0;

	for (uint32_t i = 0; i < ring->slots; i++) {
		uint32_t status = rp_load(&header(ring, i)->tp_status);

		unsent += status != TP_STATUS_AVAILABLE && status != TP_STATUS_SENDING;
	}
	return unsent;
}
