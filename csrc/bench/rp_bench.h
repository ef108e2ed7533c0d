/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_BENCH_H
#define RP_BENCH_H
/*
 * DOC: Loops that time the data plane, and the references beside them.
 *
 * A bench is a path from the tx ring of one port to the rx ring of another;
 * both have netmap rings and no worker. Each loop sends frames that hold an
 * Ethernet header and a sequence number along that path, and checks both at
 * its end. A reference uses the same buffers of the same rings in the same
 * order, without the data plane.
 */
#include <stdint.h>

#include "ringpass.h"

/* cffi:begin */
struct rp_bench_config {
	uint32_t frame_bytes; /* 22 up to the rings' buffer size */
	uint32_t batch;	      /* frames that a sender publishes at a time, half a ring at most */
	uint64_t run_ns;      /* end after so long, */
	uint64_t max_frames;  /* or after so many frames; 0: no such limit */
	int32_t tx_cpu;	      /* -1: any of those that this process may use */
	int32_t rx_cpu;	      /* of the second thread, in loops that have one */
};

struct rp_bench_result {
	uint64_t frames; /* that arrived as they were sent */
	uint64_t ns;	 /* from before the first one was written until the last one was checked */
	uint64_t lost;	 /* sent, but never received */
	uint64_t bad;	 /* received, but not what was sent, or out of order */
	/* Of front ends that notify: */
	uint64_t kicks; /* by them: of the worker, or of each other */
	uint64_t calls; /* of them */
};

typedef struct rp_bench rp_bench;

/* The data plane must outlive the bench. */
rp_bench *rp_bench_new(rp_dataplane *dp, int tx_port, int rx_port, struct rp_err *err);
void rp_bench_free(rp_bench *bench);

/* Let the loop of one thread empty a monitor's ring, too: look for frames, and give them back. */
int rp_bench_watch(rp_bench *bench, int monitor_port, struct rp_err *err);

/* One thread: fill a batch, txsync, rxsync, check the batch. */
int rp_bench_port_one(rp_bench *bench, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err);
/* One thread: memcpy the frames from buffer to buffer, and nothing else. */
int rp_bench_memcpy(rp_bench *bench, const struct rp_bench_config *cfg, struct rp_bench_result *out,
		    struct rp_err *err);
/* Two threads: fill and txsync; rxsync and check. */
int rp_bench_port_two(rp_bench *bench, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err);
/* Two threads, a bare single-producer ring: fill, memcpy and publish; check and release. */
int rp_bench_spsc(rp_bench *bench, const struct rp_bench_config *cfg, struct rp_bench_result *out,
		  struct rp_err *err);

enum rp_bench_limits { RP_BENCH_SENDERS = 16 };

/* A thread for each of @n paths, fill and txsync, which all end in one port: rxsync and check. */
int rp_bench_senders(rp_bench *const *benches, uint32_t n, const struct rp_bench_config *cfg,
		     struct rp_bench_result *out, struct rp_err *err);

typedef struct rp_bench_vhost rp_bench_vhost;

/*
 * The same with virtqueues of @size entries: a driver for each of two ports without a worker,
 * which agree to @features beside VERSION_1 and MRG_RXBUF.
 */
rp_bench_vhost *rp_bench_vhost_new(rp_dataplane *dp, int tx_port, int rx_port, uint64_t features,
				   uint32_t size, struct rp_err *err);
void rp_bench_vhost_free(rp_bench_vhost *bench);

/* One thread: send a batch, txsync, take it back, receive and check it. */
int rp_bench_vhost_one(rp_bench_vhost *bench, const struct rp_bench_config *cfg,
		       struct rp_bench_result *out, struct rp_err *err);

typedef struct rp_bench_processes rp_bench_processes;

/* Two ports with CSBs and a worker; the data plane must outlive it. */
rp_bench_processes *rp_bench_processes_new(rp_dataplane *dp, int from, int to, struct rp_err *err);
void rp_bench_processes_free(rp_bench_processes *processes);
/* Two processes: fill and txsync; rxsync and check. The worker of this one moves the frames. */
int rp_bench_processes_run(rp_bench_processes *processes, const struct rp_bench_config *cfg,
			   struct rp_bench_result *out, struct rp_err *err);

typedef struct rp_bench_pipe rp_bench_pipe;

/* A pipe between two linked ports whose rings are in one region; the data plane must outlive it. */
rp_bench_pipe *rp_bench_pipe_new(rp_dataplane *dp, int from, int to, struct rp_err *err);
void rp_bench_pipe_free(rp_bench_pipe *pipe);

/* One thread: fill slots, txsync, rxsync, check the slots. */
int rp_bench_pipe_one(rp_bench_pipe *pipe, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err);
/* One thread: fill, swap and check bare slots. */
int rp_bench_slots(rp_bench_pipe *pipe, const struct rp_bench_config *cfg,
		   struct rp_bench_result *out, struct rp_err *err);
/* Two processes: fill and txsync; rxsync and check. */
int rp_bench_pipe_two(rp_bench_pipe *pipe, const struct rp_bench_config *cfg,
		      struct rp_bench_result *out, struct rp_err *err);
/* Two processes, a bare single-producer ring of slots: fill and publish; check and release. */
int rp_bench_ring(rp_bench_pipe *pipe, const struct rp_bench_config *cfg,
		  struct rp_bench_result *out, struct rp_err *err);
/* The same; the sender asks after each batch whether the receiver sleeps. */
int rp_bench_asking_ring(rp_bench_pipe *pipe, const struct rp_bench_config *cfg,
			 struct rp_bench_result *out, struct rp_err *err);

typedef struct rp_bench_passthrough rp_bench_passthrough;

enum rp_bench_between {
	RP_BENCH_STEPS,	 /* a switch; ports with CSBs and without a worker, for one thread */
	RP_BENCH_WORKER, /* a switch and a worker */
	RP_BENCH_PIPE,
	RP_BENCH_RELAYED /* a pipe whose ends reach each other by relays, as a guest and a process do */
};

/* Two front ends as guests have them; the data plane must outlive it. @kind: enum rp_bench_between */
rp_bench_passthrough *rp_bench_passthrough_new(rp_dataplane *dp, int near, int far, uint32_t kind,
					       struct rp_err *err);
void rp_bench_passthrough_free(rp_bench_passthrough *passthrough);

/* One thread: fill and publish, the worker's step, look and check. */
int rp_bench_passthrough_one(rp_bench_passthrough *passthrough, const struct rp_bench_config *cfg,
			     struct rp_bench_result *out, struct rp_err *err);
/* Two threads, beside the worker: each sleeps when its ring is full, or empty. */
int rp_bench_passthrough_two(rp_bench_passthrough *passthrough, const struct rp_bench_config *cfg,
			     struct rp_bench_result *out, struct rp_err *err);

enum { RP_BENCH_LINES = 2 };

enum rp_bench_how {
	RP_BENCH_SLEEP = 1, /* until called; otherwise spin */
	RP_BENCH_THROUGH =
		2 /* a switch: the far end is a thread of its own and sends the frame back */
};

/* One frame there and back, again and again: `frames` are round trips. @how: enum rp_bench_how */
int rp_bench_passthrough_rtt(rp_bench_passthrough *passthrough, uint32_t how,
			     const struct rp_bench_config *cfg, struct rp_bench_result *out,
			     struct rp_err *err);
/*
 * Its references: two threads and a cache line each way, with @lines more that are told before it;
 * threads and eventfds, with one in the @middle or not.
 */
int rp_bench_ping_pong(const struct rp_bench_config *cfg, uint32_t lines,
		       struct rp_bench_result *out, struct rp_err *err);
int rp_bench_wake_ups(const struct rp_bench_config *cfg, uint32_t middle,
		      struct rp_bench_result *out, struct rp_err *err);

/* A ring of a process, by its number in a `struct rp_client` of client/rp_client.h. */
struct rp_bench_place {
	void *client;
	uint32_t ring;
	uint32_t pad;
};

/* Fill @n slots of a tx ring with frames numbered from @first on, and sync. 0 or a negative errno. */
int rp_bench_feed(const struct rp_bench_place *at, uint32_t n, uint32_t frame_bytes,
		  uint64_t first);
/* Sync an rx ring, check that it has just these frames, give them back. 0 or a negative errno. */
int rp_bench_take(const struct rp_bench_place *at, uint32_t n, uint32_t frame_bytes,
		  uint64_t first);
/* A bridge's step: sync, swap at most @n slots, sync. Return: how many, or a negative errno. */
int rp_bench_relay(const struct rp_bench_place *from, const struct rp_bench_place *to, uint32_t n);
/* Its reference: swap the first @n slots of the two rings, and nothing else. */
void rp_bench_swap(const struct rp_bench_place *from, const struct rp_bench_place *to, uint32_t n);
/* cffi:end */

#endif
