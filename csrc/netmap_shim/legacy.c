/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: NIOCGINFO, NIOCREGIF and NIOCCONFIG: fixed structs, there and back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "ask.h"
#include "control.h"
#include "include/net/netmap.h"
#include "usermem.h"

/* Ask with the @bytes at the program's @argument, and answer there. */
static int round_trip(struct rp_session *s, int fd, enum rp_nm_op op, uint64_t argument,
		      uint32_t bytes)
{
	uint8_t body[sizeof(struct nm_ifreq)];
	const struct iovec piece = { body, bytes };
	struct rp_reply *reply;
	int error;

	if (rp_copy_in(body, argument, bytes))
		return EFAULT;
	reply = malloc(sizeof(*reply));
	if (!reply)
		return ENOMEM;
	error = rp_ask(fd, op, &piece, 1, reply);
	if (!error && reply->bytes >= bytes &&
	    rp_copy_out(argument, rp_reply_payload(reply), bytes))
		error = EFAULT;
	if (!error && reply->attached)
		error = rp_session_attach(s, reply);
	rp_reply_close(reply);
	free(reply);
	return error;
}

int rp_control_legacy(struct rp_session *s, int fd, unsigned long request, uint64_t argument)
{
	return round_trip(s, fd, request == NIOCGINFO ? RP_NM_GINFO : RP_NM_REGIF, argument,
			  sizeof(struct nmreq));
}

int rp_control_config(struct rp_session *s, int fd, uint64_t argument)
{
	return round_trip(s, fd, RP_NM_CONFIG, argument, sizeof(struct nm_ifreq));
}
