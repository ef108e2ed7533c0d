/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_FLOOD_RING_H
#define RP_FLOOD_RING_H
/*
 * DOC: A mapped transmit ring of AF_PACKET (PACKET_TX_RING).
 *
 * The ring's slots are shared with the kernel. A slot is free, or queued by us,
 * or on its way: a queued slot becomes free when the driver has freed its frame,
 * for the frame lies in the slot and is not copied.
 */
#include <net/ethernet.h>
#include <stdbool.h>
#include <stdint.h>

#define RING_MAX_FRAME 65535
#define RING_MAX_BATCH 8192

/**
 * struct ring - the ring and what happened to it
 * @fd: packet socket
 * @memory: the slots
 * @slot_size: bytes from one slot to the next
 * @slots: how many
 * @next: the slot to be queued next
 * @mac: address of the interface
 * @calls: system calls that sent
 * @full: how many of them stopped because the driver had no room
 * @error: errno of the one that failed otherwise, 0 if none did
 */
struct ring {
	int fd;
	uint8_t *memory;
	uint32_t slot_size;
	uint32_t slots;
	uint32_t next;
	uint8_t mac[ETH_ALEN];
	uint64_t calls;
	uint64_t full;
	int error;
};

struct rp_frame;

/**
 * ring_open() - make a ring on an interface; does not return on failure
 * @ring: what to set up
 * @interface: its name
 * @size: bytes of the largest frame
 * @batch: frames that are to be queued at once
 */
void ring_open(struct ring *ring, const char *interface, uint32_t size, uint32_t batch);

/**
 * ring_frame() - where the frame of a slot is
 * @ring: the ring
 * @slot: its number
 */
struct rp_frame *ring_frame(const struct ring *ring, uint32_t slot);

/**
 * ring_next_is_free() - may slot @ring->next be filled?
 * @ring: the ring
 */
bool ring_next_is_free(const struct ring *ring);

/**
 * ring_queue() - hand slot @ring->next to the kernel
 * @ring: the ring
 * @length: bytes of its frame
 */
void ring_queue(struct ring *ring, uint32_t length);

/**
 * ring_send() - let the kernel send what is queued; yield if the driver is full
 * @ring: the ring
 */
void ring_send(struct ring *ring);

/**
 * ring_drain() - send until no slot is queued or on its way, at most a second
 * @ring: the ring
 */
void ring_drain(struct ring *ring);

/**
 * ring_unsent() - how many slots were queued and never sent, or refused
 * @ring: the ring
 */
uint32_t ring_unsent(const struct ring *ring);

#endif
