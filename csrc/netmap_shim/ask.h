/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_ASK_H
#define RP_ASK_H
/*
 * DOC: Requests to the backend: rp_attach.h, from the program's side.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rp_attach.h"

struct rp_reply {
	int error;	   /* 0 or a positive errno */
	uint32_t bytes;	   /* of the payload */
	uint32_t attached; /* bytes of the attachment */
	unsigned nfds;
	int fd[RP_NM_MAX_FDS];
	struct {
		struct rp_nm_answer head;
		uint8_t data[RP_NM_MESSAGE_BYTES];
	} message;
};

/**
 * rp_ask_connect() - open the device
 * @flags: O_CLOEXEC, O_NONBLOCK, or none
 *
 * Return: the connection, or -errno: ENOENT when there is no backend
 */
int rp_ask_connect(int flags);

/* rp_ask_is_ours() - tell whether @fd is such a connection, whoever made it */
bool rp_ask_is_ours(int fd);

/* rp_ask_verbose() - tell whether the program's user wants to read what goes wrong */
bool rp_ask_verbose(void);

struct iovec;

/**
 * rp_ask() - send a request, wait for its answer
 * @payload: consists of @n pieces
 * @reply: the caller owns its descriptors if the result is 0
 *
 * Return: 0, or the answer's error, or EIO if the backend is gone
 */
int rp_ask(int conn, enum rp_nm_op op, const struct iovec *payload, unsigned n,
	   struct rp_reply *reply);

/* rp_ask_quietly() - ask without a payload; a refusal is no news for the user */
int rp_ask_quietly(int conn, enum rp_nm_op op, struct rp_reply *reply);

/* rp_reply_payload(), rp_reply_attachment() - the parts of an answer */
const uint8_t *rp_reply_payload(const struct rp_reply *reply);
const uint8_t *rp_reply_attachment(const struct rp_reply *reply);

/* rp_reply_close() - close the descriptors that nobody took over */
void rp_reply_close(struct rp_reply *reply);

#endif
