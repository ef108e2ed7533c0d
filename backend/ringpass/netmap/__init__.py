# SPDX-License-Identifier: BSD-2-Clause
"""netmap's control device, /dev/netmap, in user space.

abi        the structures of requests and options, byte for byte
names      what the kernel reads in `nr_name`
regions    memory that ports live in: private, shared by number, of the configuration
switches   switches of the configuration, and those made on demand
ports      names to ports: VALE, pipes, monitors, NICs, null
options    the options of a request: decoded, answered
device     one `Open` for each open of the device: requests in, netmap's errno out
legacy     requests in the older `struct nmreq`
attach     what a process needs to use the rings that it registered
server     the device as a socket
"""
