/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_RELAY_H
#define RP_RELAY_H
/*
 * DOC: Relays: a thread that passes wake-ups on from one eventfd to another.
 *
 * The two ends of a pipe wake each other. Where one of them is in a virtual
 * machine it can only ring the doorbells that it was given when it began, and
 * only these vectors reach it: what stands between them and the other end's
 * eventfd is a relay. The thread sleeps when nobody rings.
 */
#include <stdbool.h>

#include "ringpass.h"

struct rp_relays;

/* rp_relays_new() - start the thread. Return: NULL, with the reason in @err */
struct rp_relays *rp_relays_new(struct rp_err *err);
void rp_relays_free(struct rp_relays *r);

/**
 * rp_relays_add() - from now on whoever signals @from_fd signals @to_fd
 *
 * Both are duplicated. @from_fd is not read: its counter stays what its users make of it.
 * Return: the relay's number, or a negative errno with the reason in @err
 */
int rp_relays_add(struct rp_relays *r, int from_fd, int to_fd, struct rp_err *err);

/* rp_relays_del() - when it returns nothing is passed on any more. Return: false if there is none */
bool rp_relays_del(struct rp_relays *r, int relay);

#endif
