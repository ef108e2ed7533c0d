# SPDX-License-Identifier: BSD-2-Clause
"""What one user may take of what all share; the daemon's user and root may have it all.

How many ports a user has is bounded by the server, which counts opens.
"""

import errno
from collections.abc import Iterable

from ringpass.errors import Denied
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Port
from ringpass.netmap.regions import Region
from ringpass.netmap.switches import Switches

#: Switches made on demand that a user may have ports on, when another one is to be made.
SWITCHES = 16


def check_switch(name: str, switches: Switches, ports: Iterable[Port], peer: Peer) -> None:
    """Raise Denied (EDQUOT) if `peer` may not make the switch `name`, which may be there."""
    if peer.privileged or switches.get(name) is not None:
        return
    known = switches.configured()
    theirs = {
        port.switch for port in ports if port.owner == peer.owner and port.switch
    } - known.keys()
    if len(theirs) >= SWITCHES:
        raise Denied(
            f"cannot make switch {name}",
            f"user {peer.uid} has ports on {len(theirs)} switches that were made on demand",
            "close some, or let the daemon's owner configure the switch: [switch.NAME]",
            errno=errno.EDQUOT,
        )


def extra_buffers(wanted: int, region: Region | None, ports: Iterable[Port], peer: Peer) -> int:
    """Return how many of the `wanted` extra buffers `peer` may have; netmap grants fewer, too."""
    limit = None if region is None else peer.extra_buffers(region.owner)
    if limit is None:
        return wanted
    taken = sum(
        registration.extra_bufs
        for port in ports
        if port.region is region
        for registration in port.registrations
        if registration.peer.owner == peer.owner
    )
    return min(wanted, max(limit - taken, 0))
