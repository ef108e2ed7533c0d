/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaches a BPF program behind a driver: a clsact queueing discipline and one
 * filter of it, made with two netlink messages.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sink.h"

struct request {
	struct nlmsghdr header;
	struct tcmsg tc;
	char attributes[256];
};

static struct request new_request(uint16_t type, uint16_t flags, int ifindex)
{
	return (struct request){
		.header = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
			.nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
		},
		.tc = { .tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex },
	};
}

static struct rtattr *add(struct request *request, uint16_t type, const void *data, uint16_t size)
{
	struct rtattr *attribute =
		(struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = RTA_LENGTH(size);
	if (size > 0)
		memcpy(RTA_DATA(attribute), data, size);
	request->header.nlmsg_len =
		NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
	return attribute;
}

/* Send a request and wait for the kernel's answer: 0, or -1 with errno set. */
static int ask(struct request *request)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char more[512];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t size = -1;

	if (fd < 0)
		return -1;
	if (send(fd, request, request->header.nlmsg_len, 0) >= 0)
		size = recv(fd, &answer, sizeof(answer), 0);
	close(fd);
	if (size < 0)
		return -1;
	if ((size_t)size < NLMSG_LENGTH(sizeof(answer.error)) ||
	    answer.header.nlmsg_type != NLMSG_ERROR) {
		errno = EPROTO;
		return -1;
	}
	errno = -answer.error.error;
	return errno == 0 ? 0 : -1;
}

static int add_clsact(int ifindex)
{
	struct request request = new_request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex);

	request.tc.tcm_parent = TC_H_CLSACT;
	request.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	add(&request, TCA_KIND, "clsact", sizeof("clsact"));
	return ask(&request);
}

static int add_filter(int ifindex, int program)
{
	static const char NAME[] = "rp-sink";
	struct request request = new_request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, ifindex);
	uint32_t flags = TCA_BPF_FLAG_ACT_DIRECT;
	struct rtattr *options;

	request.tc.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	request.tc.tcm_info = TC_H_MAKE(1 << 16, htons(ETH_P_ALL));
	add(&request, TCA_KIND, "bpf", sizeof("bpf"));
	options = add(&request, TCA_OPTIONS, NULL, 0);
	add(&request, TCA_BPF_FD, &program, sizeof(program));
	add(&request, TCA_BPF_NAME, NAME, sizeof(NAME));
	add(&request, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len =
		(uint16_t)((char *)&request + request.header.nlmsg_len - (char *)options);
	return ask(&request);
}

int sink_tc_attach(int ifindex, int program)
{
	int error;

	if (add_clsact(ifindex) != 0)
		return -1;
	if (add_filter(ifindex, program) == 0)
		return 0;
	error = errno;
	sink_tc_detach(ifindex);
	errno = error;
	return -1;
}

void sink_tc_detach(int ifindex)
{
	struct request request = new_request(RTM_DELQDISC, 0, ifindex);

	request.tc.tcm_parent = TC_H_CLSACT;
	request.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	(void)ask(&request);
}
