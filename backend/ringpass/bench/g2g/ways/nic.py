# SPDX-License-Identifier: BSD-2-Clause
"""A guest that maps its port, and an interface of the host: the other end of a veth pair."""

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ringpass.bench import traffic
from ringpass.bench.g2g.link import Card, Link
from ringpass.bench.g2g.ways.passthrough import port
from ringpass.bench.tools import IDLE_S, Tool
from ringpass.netlink import cable, links
from ringport.examples import flood

if TYPE_CHECKING:
    from ringpass.bench.g2g.pair import Pair

SOL_PACKET, PACKET_STATISTICS = 263, 6

#: The interface that the daemon takes, and the other end of its cable.
NIC, HOST = "rpnic0", "rpnic1"
GUEST = "valenic:vm1"


@dataclass(frozen=True)
class ToInterface(Link):
    """The receiver is the host's stack."""

    private_network: ClassVar[bool] = True

    def make_devices(self, address: str) -> None:
        """Make the cable, and give the host's end the receiver's address."""
        cable(NIC, HOST, f"{address}/24")

    @contextmanager
    def answering(self, _pair: "Pair") -> Iterator[None]:
        """Run a server for streams; the stack itself answers pings."""
        with subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL) as server:
            try:
                time.sleep(0.2)
                yield
            finally:
                server.kill()

    def introduce(self, pair: "Pair") -> None:
        """Let the switch learn where the host's end of the cable is."""
        pair.vm1.run(f"ping -q -c 1 -W 1 {self.address(pair)}")

    def flood(self, pair: "Pair", tool: Tool, size: int, seconds: float) -> traffic.Flood:
        """Flood the interface, where a packet socket counts."""
        mac, nic = links.get(HOST).mac.hex(":"), pair.nic(self, 1)
        with counter(HOST) as counting:
            sent = traffic.flood_to(pair.vm1, mac, size=size, seconds=seconds, nic=nic, tool=tool)
            time.sleep(IDLE_S)
            came = counted(counting)
        pps = came * sent.pps / sent.frames
        return traffic.Flood(sent.frames, sent.pps, came, pps, sent.frames - came)


def counter(interface: str) -> socket.socket:
    """Return a socket that counts the frames of floods which `interface` receives."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((interface, flood.ETHERTYPE))
    return made


def counted(counting: socket.socket) -> int:
    """Return how many there were, read or not."""
    packets, _dropped = struct.unpack("=II", counting.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    return int(packets)


LINKS = [
    ToInterface(
        "nic",
        "passthrough-nic",
        ((Card(GUEST, passthrough=True),), ()),
        "\n\n".join(["[switch.valenic]", port(GUEST), port(f"valenic:{NIC}", 'kind = "nic"')]),
    )
]
