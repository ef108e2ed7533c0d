# SPDX-License-Identifier: BSD-2-Clause
"""Devices in a network namespace of our own; they must never show up outside, nor stay."""

import fcntl
import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ringpass.errors import RingpassError
from ringpass.netlink import bridge_taps, private_network
from tests.support.wait import PATIENCE_S

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make network namespaces")


def devices() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def namespace() -> Path:
    return Path("/proc/thread-self/ns/net").readlink()


def opened(tap: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
    return fd


@root
def test_a_frame_crosses_from_tap_to_tap() -> None:
    frame = b"\xff" * 6 + bytes.fromhex("020000000001 88b5") + b"over the bridge".ljust(46, b".")
    with private_network():
        bridge_taps("rpbr", ["rpt1", "rpt2"])
        one, other = opened("rpt1"), opened("rpt2")
        os.set_blocking(other, False)
        received = []
        deadline = time.monotonic() + PATIENCE_S
        while frame not in received and time.monotonic() < deadline:
            os.write(one, frame)  # a device that just got its carrier may drop some
            with suppress(BlockingIOError):
                while True:
                    received.append(os.read(other, 2048))
            time.sleep(0.01)
        os.close(one)
        os.close(other)
    assert frame in received


@root
def test_nothing_shows_up_outside_or_is_left() -> None:
    own, ours = namespace(), {"rpbr", "rpt1", "rpt2"}
    with private_network():
        assert namespace() != own
        bridge_taps("rpbr", ["rpt1", "rpt2"])
        assert ours <= devices()
    assert namespace() == own
    assert not ours & devices()


@root
def test_an_interrupt_leaves_the_namespace() -> None:
    own = namespace()
    with pytest.raises(KeyboardInterrupt), private_network():
        raise KeyboardInterrupt
    assert namespace() == own


@root
def test_a_name_that_is_taken_is_an_error() -> None:
    with private_network():
        bridge_taps("rpbr", ["rpt1"])
        with pytest.raises(RingpassError, match="cannot bridge rpt1"):
            bridge_taps("rpbr", ["rpt1"])


def test_who_may_not_make_a_namespace_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringpass.netlink.CLONE_NEWNET", 0x1)  # no namespace of this kind
    with pytest.raises(RingpassError, match="cannot make a network namespace"), private_network():
        pass
