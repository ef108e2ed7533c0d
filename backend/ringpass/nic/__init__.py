# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces of the host as ports: NICs, the host's own network stack, persistent ports.

    bpf         bpf(2): programs, maps, links
    programs    what the kernel runs for us, a few instructions each
    devices     TAP devices, packet sockets, the queues of an interface
    nic         an interface that is taken away from the host's stack, and the stack as a port
    interface   an interface of our own, for the stack
    polling     CPUs that do nothing but serve one
    provider    all of it, as netmap's device asks for it

What is taken is held by descriptors alone: when they are closed, in whatever way the process ends,
the kernel gives the interface back as it was. Only before Linux 6.6 filters stay after a kill.
"""
