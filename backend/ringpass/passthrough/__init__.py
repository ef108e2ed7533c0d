# SPDX-License-Identifier: BSD-2-Clause
"""Ports whose rings a virtual machine maps, through a device of its QEMU.

peer       what a guest may ask for
transport  what the ways have in common by which a QEMU comes:
ivshmem    stock QEMU's ivshmem-doorbell device: the region, and eventfds
netdev     the connection of a QEMU with -netdev ringpass; also netdev_messages, netdev_server
handback   what a QEMU holds of a daemon that is gone
peers      ids by which guests find their records
pairs      those eventfds: doorbells and vectors
wires      which ring has which pair
offloads   what a driver may leave to others
blocks     communication blocks in memory of the guest
guest      what a guest has open, and its driver's requests
account    whose turn it is, and what a guest has cost
mailbox    how these come and are answered
seat       what is there for a QEMU that has the port, and what of it outlives the daemon
port       the port: its record, its guest, what became of others
"""
