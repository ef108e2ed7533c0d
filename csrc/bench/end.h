/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BENCH_END_H
#define RP_BENCH_END_H
/*
 * One open of a port, as a process has it: mapped by csrc/client, one ring each
 * way. What a daemon's control plane does when a process registers a port is
 * done here by itself.
 */
#include "abi/rp_abi.h"
#include "client/rp_client.h"
#include "ringpass.h"

enum { BENCH_TX, BENCH_RX, BENCH_SIDES };

struct bench_end {
	rp_client *client; /* its rings are numbered as ring[] is */
	int binding;	   /* -1: none */
	struct netmap_ring *ring[BENCH_SIDES];
};

/**
 * bench_end_open() - open a port
 * @e:		with binding -1
 * @peer:	port at the other end of a pipe; -1: the backend moves the frames
 *
 * Return: 0, or a negative errno with the reason in @err; close it either way
 */
int bench_end_open(struct bench_end *e, rp_dataplane *dp, int port, int peer, struct rp_err *err);
void bench_end_close(struct bench_end *e, rp_dataplane *dp);

#endif
