/* SPDX-License-Identifier: BSD-2-Clause */
#include "path.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* To the receiver's address, from the sender's; the type is one for local experiments. */
const uint8_t rp_bench_header[BENCH_HEADER] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };

int rp_bench_fail(struct rp_err *err, int code, const char *format, ...)
{
	va_list args;

	if (err) {
		err->code = code;
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
	}
	return -code;
}

static int map_ring(rp_dataplane *dp, int port, int dir, struct bench_ring *r, struct rp_err *err)
{
	struct rp_region_info info;
	const struct netmap_if *nifp;
	int ret = rp_port_region(dp, port, &info, err);
	uint32_t i;

	if (ret < 0)
		return ret;
	r->bytes = info.bytes;
	r->base = mmap(NULL, info.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, info.fd,
		       0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return rp_bench_fail(err, errno, "cannot map the region of port %d: %s", port,
				     strerror(errno));
	}
	nifp = (const void *)((const uint8_t *)r->base + info.nifp_offset);
	/* The tx rings, the host tx rings, then the rx rings. */
	i = dir == NETMAP_DIR_TX ? 0 : nifp->ni_tx_rings + nifp->ni_host_tx_rings;
	r->ring = (void *)((uint8_t *)r->base + info.nifp_offset + nifp->ring_ofs[i]);
	r->bufs = (uint8_t *)r->ring + r->ring->buf_ofs;
	r->buf_bytes = r->ring->nr_buf_size;
	r->slots = r->ring->num_slots;
	return 0;
}

static void unmap_ring(struct bench_ring *r)
{
	if (r->base)
		munmap(r->base, r->bytes);
}

/* Let the receiver say one word, so that a switch knows where its address is. */
static int announce(rp_bench *b, struct rp_err *err)
{
	uint8_t header[BENCH_HEADER];
	struct bench_stream s;
	struct bench_ring r;
	rp_caller *caller;
	int ret = map_ring(b->dp, b->rx_port, NETMAP_DIR_TX, &r, err);

	if (ret < 0)
		return ret;
	memcpy(header, rp_bench_header, sizeof(header));
	memcpy(header, rp_bench_header + 6, 6);
	memcpy(header + 6, rp_bench_header, 6);
	s = rp_bench_stream(header, BENCH_FRAME_MIN);
	caller = rp_caller_new(b->dp, err);
	if (!caller) {
		unmap_ring(&r);
		return err ? -err->code : -ENOMEM;
	}
	rp_bench_fill(r, &s, 1);
	ret = rp_port_txsync(caller, b->rx_port, 0);
	if (ret < 0)
		rp_bench_fail(err, -ret, "port %d cannot send: %s", b->rx_port, strerror(-ret));
	rp_caller_free(caller);
	unmap_ring(&r);
	return ret;
}

rp_bench *rp_bench_new(rp_dataplane *dp, int tx_port, int rx_port, struct rp_err *err)
{
	rp_bench *b = calloc(1, sizeof(*b));

	if (!b) {
		rp_bench_fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	b->dp = dp;
	b->tx_port = tx_port;
	b->rx_port = rx_port;
	if (map_ring(dp, tx_port, NETMAP_DIR_TX, &b->tx, err) < 0 ||
	    map_ring(dp, rx_port, NETMAP_DIR_RX, &b->rx, err) < 0 || announce(b, err) < 0) {
		rp_bench_free(b);
		return NULL;
	}
	return b;
}

int rp_bench_watch(rp_bench *bench, int monitor_port, struct rp_err *err)
{
	bench->monitor_port = monitor_port;
	return map_ring(bench->dp, monitor_port, NETMAP_DIR_RX, &bench->monitor, err);
}

void rp_bench_free(rp_bench *bench)
{
	if (!bench)
		return;
	unmap_ring(&bench->monitor);
	unmap_ring(&bench->tx);
	unmap_ring(&bench->rx);
	free(bench);
}

int rp_bench_check_config(const rp_bench *b, const struct rp_bench_config *cfg, struct rp_err *err)
{
	const struct bench_ring *tx = &b->tx, *rx = &b->rx;
	uint32_t room = tx->buf_bytes < rx->buf_bytes ? tx->buf_bytes : rx->buf_bytes;
	uint32_t slots = tx->slots < rx->slots ? tx->slots : rx->slots;

	if (cfg->frame_bytes < BENCH_FRAME_MIN || cfg->frame_bytes > room)
		return rp_bench_fail(err, EINVAL, "a frame of %u bytes is not within %d to %u",
				     cfg->frame_bytes, (int)BENCH_FRAME_MIN, room);
	/* Half: the switch learns that a batch was taken out when it is asked for the next. */
	if (cfg->batch < 1 || cfg->batch > (slots - 1) / 2)
		return rp_bench_fail(err, EINVAL, "a batch of %u frames is not within 1 to %u",
				     cfg->batch, (slots - 1) / 2);
	return 0;
}

/* All threads of a team begin together, or not at all. */
struct gate {
	uint32_t go; /* 1: run, 2: give up */
};

enum { GATE_RUN = 1, GATE_GIVE_UP = 2, TEAM_MAX = RP_BENCH_SENDERS + 1 };

struct waiting {
	struct gate *gate;
	const struct bench_thread *what;
	pthread_t thread;
};

static void *behind_gate(void *arg)
{
	const struct waiting *w = arg;
	uint32_t spins = 0, go;

	while (!(go = rp_load_acquire(&w->gate->go)))
		rp_bench_wait(&spins);
	return go == GATE_RUN ? w->what->loop(w->what->arg) : NULL;
}

static int start(struct waiting *w, struct rp_err *err)
{
	const int32_t cpu = w->what->cpu;
	pthread_attr_t attr;
	cpu_set_t set;
	int code;

	if (cpu < -1 || cpu >= CPU_SETSIZE)
		return rp_bench_fail(err, EINVAL, "there is no CPU %d", cpu);
	pthread_attr_init(&attr);
	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET((unsigned)cpu, &set);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	code = pthread_create(&w->thread, &attr, behind_gate, w);
	pthread_attr_destroy(&attr);
	return code ? rp_bench_fail(err, code, "cannot run on CPU %d: %s", cpu, strerror(code)) : 0;
}

int rp_bench_team(const struct bench_thread *threads, unsigned n, struct rp_err *err)
{
	struct waiting waiting[TEAM_MAX];
	struct gate gate = { 0 };
	unsigned started = 0;
	int ret = 0;

	while (started < n && ret == 0) {
		waiting[started] = (struct waiting){ .gate = &gate, .what = &threads[started] };
		ret = start(&waiting[started], err);
		if (ret == 0)
			started++;
	}
	rp_store_release(&gate.go, ret < 0 ? GATE_GIVE_UP : GATE_RUN);
	for (unsigned i = 0; i < started; i++)
		pthread_join(waiting[i].thread, NULL);
	return ret;
}

int rp_bench_threads(void *(*main_loop)(void *), void *(*other)(void *), const int32_t cpu[2],
		     void *arg, struct rp_err *err)
{
	const struct bench_thread threads[] = { { main_loop, arg, cpu[0] },
						{ other, arg, cpu[1] } };

	return rp_bench_team(threads, other ? 2 : 1, err);
}
