/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CLIENT_INTERNAL_H
#define RP_CLIENT_INTERNAL_H

#include "abi/rp_attach.h"
#include "csb.h"
#include "pipe.h"
#include "rp_client.h"

struct client_ring {
	struct rp_csb_ring at;
	struct rp_csb_ring peer; /* of a pipe; ring is NULL when the backend syncs */
	uint16_t dir;
	uint16_t index;
	uint32_t flags;
	int kick_fd;
	int call_fd;
	int peer_call_fd;
	uint32_t armed;	    /* threads that wait for it */
	uint32_t kicked_at; /* see rp_csb_send() */
};

struct rp_client {
	struct rp_view view;
	uint64_t nifp_offset;
	uint32_t mem_id;
	uint32_t nfds;
	uint32_t nrings;
	int *fds;
	struct client_ring ring[];
};

/* client_wake() - signal an eventfd; a full counter is a signal, too */
void client_wake(int fd);

/* client_take_indirect() - bring the data of NS_INDIRECT slots in [@from, @to) into their buffers */
void client_take_indirect(const struct rp_client *c, const struct client_ring *r, uint32_t from,
			  uint32_t to);

#endif
