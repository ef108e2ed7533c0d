/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_CLIENT_H
#define RP_CLIENT_H
/*
 * DOC: A process's side of the rings that it registered.
 *
 * It is what netmap's system calls are elsewhere: the program and its rings on
 * one side, the CSBs on the other. Who moves frames depends on the port:
 *
 *    backend   publish head in atok, kick if its worker sleeps, wait until it is done
 *    pipe      move the slots here, and call the other end if it sleeps
 *
 * Syncs have netmap's meaning: what txsync was given is gone when it returns (or
 * there was no room), what had arrived is there after rxsync. Two threads that
 * sync one ring at once must agree, as with netmap.
 *
 * To sleep until a ring changes:
 *
 *    rp_client_arm(); sync and look; nothing? poll(rp_client_call_fd()); rp_client_disarm()
 */
#include <stdint.h>

/* cffi:begin */
typedef struct rp_client rp_client;

/*
 * Map what an answer's attachment describes. The descriptors are taken over, also on
 * failure. NULL: errno says why (EPROTO: the attachment contradicts itself).
 */
rp_client *rp_client_open(const void *attachment, uint32_t bytes, const int *fds, uint32_t nfds);
void rp_client_close(rp_client *c);

void *rp_client_base(const rp_client *c); /* of the region */
uint64_t rp_client_bytes(const rp_client *c);
int rp_client_region_fd(const rp_client *c);
uint64_t rp_client_nifp_offset(const rp_client *c);
uint32_t rp_client_mem_id(const rp_client *c);

/* Rings are numbered as in the attachment. */
uint32_t rp_client_rings(const rp_client *c);
uint64_t rp_client_ring_offset(const rp_client *c, uint32_t ring); /* of its netmap_ring */
uint32_t rp_client_ring_dir(const rp_client *c, uint32_t ring);	   /* NETMAP_DIR_* */
uint32_t rp_client_ring_index(const rp_client *c, uint32_t ring);  /* in its direction */
uint32_t rp_client_ring_flags(const rp_client *c, uint32_t ring);  /* RP_NM_* */

/*
 * Return: 0; -EINVAL when the program's head, or its peer's, lies where it may not be; -EIO
 * when the port is broken, after the last frame was read, and for what is sent on a monitor.
 */
int rp_client_sync(rp_client *c, uint32_t ring);

void rp_client_arm(rp_client *c, uint32_t ring);
void rp_client_disarm(rp_client *c, uint32_t ring);
/* An eventfd, readable when the ring changed while it was armed; -1: look again after a nap. */
int rp_client_call_fd(const rp_client *c, uint32_t ring);
/* cffi:end */

#endif
