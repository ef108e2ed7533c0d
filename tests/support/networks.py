# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces to test in: each with a thread of its own, so that one test can be in several.

Nothing outside ever sees their interfaces, and nothing of them stays.
"""

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tests.support.wait import PATIENCE_S

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 1, 8, 23
TP_STATUS_VLAN_VALID = 1 << 4
#: Ethernet's type for experiments; the kernel has no use for it.
EXPERIMENT = b"\x88\xb5"

P = ParamSpec("P")
T = TypeVar("T")


class Network:
    """A network namespace; what `do` calls happens in it. A context manager."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=_enter)
        self.tid = self.do(threading.get_native_id)
        self.ip("link set lo up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()

    def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns when it is called in this namespace."""
        return self._thread.submit(function, *args, **kwargs).result(2 * PATIENCE_S)

    def run(self, *command: str | Path, check: bool = True) -> str:
        """Run a program in this namespace; return what it prints."""
        done = self.do(subprocess.run, command, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def ip(self, *lines: str) -> None:
        """Run commands of ip(8)."""
        for line in lines:
            self.run("ip", *line.split())

    def traces(self, interface: str) -> dict[str, Any]:
        """Return all that may be left behind on an interface, and which others there are."""
        [link] = json.loads(self.run("ip", "-d", "-j", "link", "show", "dev", interface))
        for changing in ("stats", "operstate", "flags", "linkinfo"):
            link.pop(changing, None)
        return {
            "link": link,
            "qdiscs": self.run("tc", "qdisc", "show", "dev", interface),
            "interfaces": self.run("ip", "-br", "link").split()[::3],
        }

    def cable(self, name: str, other: "Network", other_name: str, mtu: int = 1500) -> None:
        """Join two namespaces by a veth pair, both ends up, without frames of their own."""
        peer = f"peer name {other_name} mtu {mtu} netns {other.tid}"
        self.ip(f"link add name {name} mtu {mtu} type veth {peer}")
        other.ip(f"link set {other_name} up")
        self.ip(f"link set {name} up")

    def reaches(self, address: str, within: float = PATIENCE_S) -> bool:
        """Whether an address answers to a ping, within so many seconds."""
        return "1 received" in self.run("ping", "-c1", f"-W{within:g}", address, check=False)


class Raw:
    """A packet socket: frames as they are on an interface."""

    def __init__(self, network: Network, interface: str) -> None:
        self._socket = network.do(self._open, interface)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @staticmethod
    def _open(interface: str) -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        promiscuous = struct.pack("iHH8s", socket.if_nametoindex(interface), 1, 0, b"")
        raw.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
        raw.bind((interface, ETH_P_ALL))
        return raw

    def send(self, *frames: bytes) -> None:
        """Send frames."""
        for frame in frames:
            self._socket.send(frame)

    def receive(self, count: int, kind: bytes = EXPERIMENT) -> list[bytes]:
        """Return the next `count` frames of an Ethernet type; those that came in time, at least."""
        found: list[bytes] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < count:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                break
            frame = self._receive()
            if kind in (frame[12:14], frame[16:18]):
                found.append(frame)
        return found

    def _receive(self) -> bytes:
        """Return a frame as it was on the wire: the kernel tells VLAN tags beside it."""
        frame, [(_, _, auxiliary)], _, _ = self._socket.recvmsg(1 << 17, 256)
        status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", auxiliary)
        if not status & TP_STATUS_VLAN_VALID:
            return frame
        return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]

    def silent(self, kind: bytes = EXPERIMENT) -> bool:
        """Whether nothing of an Ethernet type has arrived."""
        while select.select([self._socket], [], [], 0)[0]:
            if self._receive()[12:14] == kind:
                return False
        return True


def echo_over_tcp(server: Network, address: str, client: Network, data: bytes) -> bytes:
    """Send data to a server, which sends it back; return what the client received."""
    listener = server.do(socket.create_server, (address, 0))

    def serve() -> None:
        with listener, listener.accept()[0] as peer:
            while part := peer.recv(1 << 16):
                peer.sendall(part)

    def ask() -> bytes:
        with socket.create_connection((address, listener.getsockname()[1]), PATIENCE_S) as one:
            sender = threading.Thread(target=_send_all, args=(one, data))
            sender.start()
            found = bytearray()
            while part := one.recv(1 << 16):
                found += part
            sender.join()
            return bytes(found)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    answer = client.do(ask)
    thread.join(PATIENCE_S)
    return answer


def _send_all(to: socket.socket, data: bytes) -> None:
    to.sendall(data)
    to.shutdown(socket.SHUT_WR)


def frame(number: int, length: int = 60, tag: bytes = b"") -> bytes:
    """Return a frame that no other frame equals."""
    head = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + tag + EXPERIMENT + struct.pack("!I", number)
    return head.ljust(length, bytes([number & 0xFF]))


def _enter() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for family in ("all", "default"):  # no frames that nobody asked for
        knob = Path(f"/proc/sys/net/ipv6/conf/{family}/disable_ipv6")
        if knob.exists():
            knob.write_text("1")
