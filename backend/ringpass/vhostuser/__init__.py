# SPDX-License-Identifier: BSD-2-Clause
"""The back end's side of the vhost-user protocol, for network devices.

Security model: the socket is one step away from a guest. Nothing that a message says is believed
before it is checked; a message that breaks a rule raises `ProtocolError`, which ends its session
and nothing else. Every descriptor that arrives has one owner, who closes it.

    messages     the wire format
    connection   a socket that yields messages
    session      what messages say, and the answers
    attachment   what a front end wants of its port, and how much of that the data plane has
    ring, memory what attachments are made of
    device       what a port offers
    sharing      whether the memory that a front end describes is shared at all
    frontend     a connected front end
    endpoint     where front ends come from: a listening socket, or one that we connect to
    port         one front end that holds the port, and one that stands by
"""
