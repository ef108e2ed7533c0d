/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_SWITCH_LOGIC_H
#define RP_SWITCH_LOGIC_H
/*
 * DOC: The logic of one switch: an implementation of abi/rp_logic.h with its
 * private state. A switch without one is a learning bridge.
 *
 * Security: a user's own is loaded into this process, and can do what the
 * process can. What it says of frames is checked all the same, for errors are
 * more frequent than malice: a destination that is no port is a drop.
 */
#include "abi/rp_logic.h"
#include "ringpass.h"

struct rp_caller;
struct rp_endpoint;
struct rp_members;
struct rp_port;
struct rp_switch;

struct rp_switch_logic {
	const struct rp_logic *ops;
	void *state;
	void *library; /* of dlopen(); NULL: built in */
	int fd; /* what was loaded; open as long, for libraries are told apart by its number */
};

/* What a lookup needs, of one thread. */
struct rp_logic_scratch {
	struct rp_logic_frame frame[RP_BATCH];
	uint16_t dest[RP_BATCH];
	uint8_t head[RP_BATCH][RP_LOGIC_HEAD]; /* of frames that begin with a short piece */
};

extern const struct rp_logic rp_logic_static; /* a table of addresses; logic_static.c */
extern const struct rp_logic rp_logic_hash;   /* flows spread over ports; logic_hash.c */

/**
 * rp_logic_open() - load a logic, and let it make its state
 * @out:	NULL for RP_SWITCH_BRIDGE
 * @kind:	enum rp_switch_kind
 * @fd:		of RP_SWITCH_FILE: a shared object, a file that no other switch has loaded
 * @config:	for the logic
 *
 * Return: 0, or a negative errno with the reason in @err
 */
int rp_logic_open(struct rp_switch_logic **out, int kind, int fd, const char *config,
		  struct rp_err *err);

/* rp_logic_close() - when no lookup can run any more; NULL is no logic */
void rp_logic_close(struct rp_switch_logic *l);

/* rp_logic_port() - a port came or goes; NULL is no logic */
void rp_logic_port(const struct rp_switch_logic *l, const struct rp_port *p, int up);

/**
 * rp_logic_classify() - ask the logic about the first @nframes frames of @from's batch
 *
 * Leaves runs in the caller's struct rp_forward, as classifying always does.
 * Return: the members that the runs are for
 */
const struct rp_members *rp_logic_classify(const struct rp_switch_logic *l, struct rp_switch *sw,
					   struct rp_caller *c, struct rp_endpoint *from,
					   uint16_t nframes);

#endif
