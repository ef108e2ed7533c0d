# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces of the host as ports: NICs, the host's own network stack, persistent ports.

    bpf         bpf(2): programs, maps, links
    programs    what the kernel runs for us, a few instructions each
    devices     TAP devices, packet sockets, the queues of an interface
    diversion   an interface's traffic taken away from the host's stack
    port        ports of the data plane on top of them

What is taken is held by descriptors alone: when they are closed, in whatever way the process ends,
the kernel gives the interface back as it was.
"""
