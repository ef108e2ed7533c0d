/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DOC: A program that has a port of one device open, and asks about another device.
 *
 *   two PORT OTHER
 */
#include <stdlib.h>

#include "ports.h"

static const char *port, *other;

TEST(a_question_about_another_device_leaves_the_rings_alone)
{
	struct nm_desc *d = open_port(port);
	struct nmreq_port_info_get info = { 0 };
	struct nmreq_header header = { .nr_version = NETMAP_API,
				       .nr_reqtype = NETMAP_REQ_PORT_INFO_GET,
				       .nr_body = (uintptr_t)&info };

	snprintf(header.nr_name, sizeof(header.nr_name), "%s", other);
	for (uint32_t i = 0; i < 10; i++) {
		EXPECT_EQ(ioctl(NETMAP_FD(d), NIOCCTRL, &header), 0);
		EXPECT(info.nr_tx_slots > 0);
		put(d, i);
		txsync(d);
		for (int naps = 0; nm_tx_pending(tx_of(d)) && naps < 20000; naps++) {
			rp_test_nap(1000000);
			txsync(d);
		}
		EXPECT(!nm_tx_pending(tx_of(d)));
		EXPECT_EQ(ask(d, POLLOUT, 5000), POLLOUT);
	}
	nm_close(d);
}

__attribute__((constructor)) static void find_arguments(int argc, char **argv)
{
	if (argc != 3)
		exit(2);
	port = argv[1];
	other = argv[2];
	argv[1] = "";
}
