# SPDX-License-Identifier: BSD-2-Clause
"""Ports whose rings a virtual machine maps, through QEMU's ivshmem-doorbell device.

peer       what a guest may ask for
ivshmem    the server of the device: the region, and eventfds
pairs      those eventfds: doorbells and vectors
wires      which ring has which pair
offloads   what a driver may leave to others
guest      what a guest has open, and its driver's requests
mailbox    how these come and are answered
port       the port: its record, its guest, what became of others
"""
