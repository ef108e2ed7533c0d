# SPDX-License-Identifier: BSD-2-Clause
"""The ways to link guests, by name."""

from ringpass.bench.g2g.link import Link
from ringpass.bench.g2g.ways import chain, netdevs, nic, passthrough, process, ptnet, vhost


class Loopback(Link):
    """No way to another guest: the sender's own."""

    def address(self, _pair: object) -> str:
        return "127.0.0.1"


LOOPBACK = Loopback("loopback", "loopback")
#: No way at all: what is measured has a constant limit.
LIMIT = Link("limit", "limit")

LINKS: dict[str, Link] = {
    link.name: link
    for way in (vhost, netdevs, passthrough, process, nic, chain, ptnet)
    for link in way.LINKS
} | {link.name: link for link in (LOOPBACK, LIMIT)}
