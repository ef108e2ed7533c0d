# SPDX-License-Identifier: BSD-2-Clause
"""Programs on what the host's stack sends and receives, where the kernel has no links for them.

That is before Linux 6.6. Such a program is a filter of a clsact qdisc and stays when its process is
killed, until the next one takes the interface.
"""

import contextlib
import errno
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ringpass.netlink import links

_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_PRIORITY = 0x7270
_HANDLE = ":1"
_ETH_P_ALL = 0x0003


def add(link: links.Link, program_fd: int, *, egress: bool) -> bool:
    """Run a program on what an interface receives, or sends.

    Return whether the qdisc is there for us alone, for `remove`. Raises RingpassError.
    """

    def work(kernel: IPRoute) -> bool:
        try:
            kernel.tc("add", "clsact", link.number)
            ours = True
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            ours = False
        with contextlib.suppress(NetlinkError):  # one that was killed may have left it
            _delete(kernel, link, egress=egress)
            ours = all(row["info"] >> 16 == _PRIORITY for row in _filters(kernel, link))
        try:
            kernel.tc(
                "add-filter",
                "bpf",
                link.number,
                _HANDLE,
                fd=program_fd,
                name="ringpass",
                direct_action=True,
                **_place(egress=egress),
            )
        except NetlinkError:
            if ours:
                _remove_unused(kernel, link)
            raise
        return ours

    with links.explained(f"cannot watch the stack on interface {link.name}"):
        return links.ask(work)


def remove(link: links.Link, *, egress: bool, qdisc: bool) -> None:
    """Run it no more; `qdisc`: nobody else needs the qdisc. An interface may be gone already."""

    def work(kernel: IPRoute) -> None:
        with contextlib.suppress(NetlinkError):
            _delete(kernel, link, egress=egress)
            if qdisc:
                _remove_unused(kernel, link)

    links.ask(work)


def _remove_unused(kernel: IPRoute, link: links.Link) -> None:
    with contextlib.suppress(NetlinkError):
        if not _filters(kernel, link):
            kernel.tc("del", "clsact", link.number)


def _delete(kernel: IPRoute, link: links.Link, *, egress: bool) -> None:
    kernel.tc("del-filter", "bpf", link.number, _HANDLE, **_place(egress=egress))


def _filters(kernel: IPRoute, link: links.Link) -> list[Any]:
    return [
        row
        for place in (_INGRESS, _EGRESS)
        for row in kernel.get_filters(index=link.number, parent=place)
    ]


def _place(*, egress: bool) -> dict[str, Any]:
    return {
        "parent": _EGRESS if egress else _INGRESS,
        "prio": _PRIORITY,
        "protocol": _ETH_P_ALL,
    }
