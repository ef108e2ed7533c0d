/* SPDX-License-Identifier: BSD-2-Clause */
#include "end.h"

#include <errno.h>
#include <fcntl.h>

#include "abi/rp_attach.h"
#include "path.h"

static int16_t copy_fd(int *fds, uint32_t *n, int fd)
{
	if (fd < 0)
		return -1;
	fds[*n] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return (int16_t)(*n)++;
}

static struct rp_nm_ring describe(const struct rp_ring_info *in, uint16_t dir, int peer_call,
				  int *fds, uint32_t *n)
{
	return (struct rp_nm_ring){
		.ring_offset = in->ring_offset,
		.csb = in->csb,
		.peer_csb = in->peer_csb,
		.dir = dir,
		.kick = copy_fd(fds, n, in->kick_fd),
		.call = copy_fd(fds, n, in->call_fd),
		.peer_call = copy_fd(fds, n, peer_call),
	};
}

int bench_end_open(struct bench_end *e, rp_dataplane *dp, int port, int peer, struct rp_err *err)
{
	const struct rp_bind_config cfg = { .port = port, .host_port = -1, .tx_n = 1, .rx_n = 1 };
	struct {
		struct rp_nm_attachment head;
		struct rp_nm_ring ring[BENCH_SIDES];
	} a = { 0 };
	struct rp_port_rings mine, its = { 0 };
	struct rp_pools_info pools;
	struct rp_bind_info info;
	uint32_t n = 0;
	int fds[1 + 3 * BENCH_SIDES];

	e->binding = rp_binding_add(dp, &cfg, &info, err);
	if (e->binding < 0 || rp_port_rings(dp, port, &mine, err) < 0 ||
	    (peer >= 0 && rp_port_rings(dp, peer, &its, err) < 0) ||
	    rp_region_pools(dp, mine.region, &pools, err) < 0)
		return -err->code;
	copy_fd(fds, &n, pools.fd);
	a.ring[BENCH_TX] =
		describe(&mine.tx[0], NETMAP_DIR_TX, peer < 0 ? -1 : its.rx[0].call_fd, fds, &n);
	a.ring[BENCH_RX] =
		describe(&mine.rx[0], NETMAP_DIR_RX, peer < 0 ? -1 : its.tx[0].call_fd, fds, &n);
	a.head = (struct rp_nm_attachment){ .region_bytes = pools.bytes,
					    .nifp_offset = info.nifp_offset,
					    .nrings = BENCH_SIDES,
					    .nfds = n };
	e->client = rp_client_open(&a, sizeof(a), fds, n);
	if (!e->client)
		return rp_bench_fail(err, errno, "cannot map port %d: %s", port, strerror(errno));
	for (uint32_t i = 0; i < BENCH_SIDES; i++)
		e->ring[i] = (void *)((uint8_t *)rp_client_base(e->client) +
				      rp_client_ring_offset(e->client, i));
	return 0;
}

void bench_end_close(struct bench_end *e, rp_dataplane *dp)
{
	rp_client_close(e->client);
	if (e->binding >= 0)
		rp_binding_del(dp, e->binding, NULL);
}
