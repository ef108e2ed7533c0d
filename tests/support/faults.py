# SPDX-License-Identifier: BSD-2-Clause
"""What befalls a guest in the middle of its work."""

from ringpass.vm import reaper
from tests.support import traffic
from tests.support.lab import Lab, Station
from tests.support.processes import stopped
from tests.support.wait import wait_until


def kill_front_end(lab: Lab, station: Station) -> None:
    """Kill QEMU or User-mode Linux, as a crash would.

    Not by SIGKILL alone: it would set the processes of a UML guest free on this machine.
    """
    front_end = lab.daemon.port(station.port).front_end
    assert front_end is not None
    reaper.crash(front_end.pid)


def rebind_driver(station: Station) -> None:
    """Take the guest's network driver from its device and give it back."""
    station.guest.check(
        f"card=$(basename $(readlink /sys/class/net/{station.interface}/device)) && "
        "cd /sys/bus/virtio/drivers/virtio_net && echo $card >unbind && "
        f"! ip link show {station.interface} 2>/dev/null && echo $card >bind; "
        "status=$?; cd /root; (exit $status)"
    )
    configure(station)


def configure(station: Station) -> None:
    """Give a network interface that is new in the guest its address."""
    device = f"dev {station.interface}"
    station.guest.check(
        f"ip address replace {station.address}/24 {device} && ip link set {station.interface} up"
    )


def flood_in_background(sender: Station, mac: str) -> None:
    """Begin to send full frames to an address as fast as the driver takes them."""
    command = f"rp-flood {sender.interface} --size 1514 --seconds 3600 --dst {mac}"
    sender.guest.check(f"{command} >/dev/null & load=$!")


def end_flood(sender: Station) -> None:
    """Stop what `flood_in_background` began."""
    sender.guest.check("kill $load; wait $load; true")


def flood_stopped_guest(lab: Lab, sender: Station, receiver: Station) -> None:
    """Send to a guest that stands still: each frame must arrive later, once, or be counted."""
    before = lab.daemon.port(receiver.port).rx
    traffic.start_sink(receiver, "--seconds 3600 --idle 3600")
    with stopped(receiver.guest.pid):
        sent = traffic.send_flood(sender, receiver.mac, count=2000)

    def lost() -> int:
        rx = lab.daemon.port(receiver.port).rx
        return rx.drops.get("full", 0) - before.drops.get("full", 0)

    def told() -> bool:
        given = lab.daemon.port(receiver.port).rx.frames - before.frames
        return given + lost() >= sent.frames

    wait_until(told, "each frame is given to the guest, or counted")
    received = traffic.stop_sink(receiver)
    assert lost() > 0
    assert sent.frames == received.frames + lost()
    assert received.duplicates == received.corrupt == received.late == 0
