# SPDX-License-Identifier: BSD-2-Clause
"""How long it takes to give a running domain of libvirt a port, and to take it away.

The port is passed through, which asks nothing of the domain but a free slot for a card. Beside it
stands how long libvirt takes to tell the domain's XML: that is its own part in talking.
"""

from collections.abc import Callable

from ringpass.bench.calls import a_row, took
from ringpass.bench.measure import Options, in_turn
from ringpass.bench.report import NO_GOAL, Goal, Row
from ringpass.bench.testbed import Testbed
from ringpass.libvirt.attach import Sides, attach, detach
from ringpass.libvirt.connection import connect, lookup
from ringpass.libvirt.ports import port_device
from ringpass.observe.status import PortStatus

GOAL = Goal("1 s", limit_ns=1e9)
LIVE = Sides(live=True)


def measure(
    options: Options, testbed: Testbed, port: str, via: str, talk: Callable[[str], None]
) -> list[Row]:
    """Attach `port`, a passthrough port of the daemon, to the domain of `options`, and detach it.

    A tenth as often as `options.runs`. Raises RingpassError.
    """
    talk(f"attaching {port} to {options.domain}, and detaching it")
    opened = connect(options.connect or None)
    device = port_device(testbed.client.ask(PortStatus, "port.show", name=port))
    detached: list[float] = []

    def there_and_back() -> float:
        time = took(lambda: attach(opened, options.domain, device, LIVE))
        detached.append(took(lambda: detach(opened, options.domain, port, device.path, LIVE)))
        return time

    def told() -> float:
        return took(lambda: lookup(opened, options.domain).XMLDesc(0))

    attached, reference = in_turn(max(1, options.runs // 10), there_and_back, told)
    rows = (("attach/live", attached, GOAL), ("detach/live", detached[1:], NO_GOAL))
    return [
        a_row(case, (times, reference), ref="libvirt tells its XML", goal=goal, via=via)
        for case, times, goal in rows
        if options.want(case, 0, 1)
    ]
