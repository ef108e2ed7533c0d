# SPDX-License-Identifier: BSD-2-Clause
"""A daemon with a NIC: what it tells, and that nothing stays however it ends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import RINGPASS, Daemon
from tests.support.networks import Network
from tests.support.nics import lay
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the host's interfaces")

CONFIG = """
[switch.vale0]
[port."vale0:eth0"]
kind = "nic"
host = true
[port."vale0:lan0"]
kind = "interface"
"""


@pytest.fixture
def here() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def there() -> Iterator[Network]:
    with Network() as net:
        yield net


@pytest.fixture
def daemon(here: Network, there: Network, runtime_dir: Path) -> Iterator[Daemon]:
    lay(here, there, "eth0", "xdp-copy")
    here.ip("addr add 10.0.0.1/24 dev eth0")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    daemon = Daemon(runtime_dir, CONFIG)
    here.do(daemon.__enter__)
    yield daemon
    daemon.__exit__(None, None, None)


def test_nothing_stays_when_the_daemon_is_killed(
    here: Network, there: Network, runtime_dir: Path
) -> None:
    lay(here, there, "eth0", "xdp-copy")
    here.ip("addr add 10.0.0.1/24 dev eth0")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    before = here.traces("eth0")
    daemon = Daemon(runtime_dir, CONFIG)
    here.do(daemon.start)
    assert here.reaches("10.0.0.2")
    assert here.traces("eth0") != before
    daemon.kill()
    wait_until(lambda: here.traces("eth0") == before, "the interface is as it was")
    assert here.reaches("10.0.0.2")


def test_a_port_tells_what_it_has(daemon: Daemon, here: Network) -> None:
    rows = {row["name"]: row for row in daemon.call("port.list")}
    assert list(rows) == ["vale0:eth0", "vale0:eth0^", "vale0:lan0"]
    assert [row["kind"] for row in rows.values()] == ["nic", "host", "interface"]
    assert [row["state"] for row in rows.values()] == ["up"] * 3
    assert [row["interface"]["mode"] for row in rows.values()] == ["xdp-copy", "tap", "tap"]
    assert here.reaches("10.0.0.2")
    [eth0, host, _] = daemon.call("port.list")
    assert eth0["rx"]["frames"] >= 2
    assert host["tx"]["frames"] >= 2
    shown = here.run(RINGPASS, "port", "show", "vale0:eth0")
    assert "xdp-copy" in shown


def test_ports_come_and_go_while_it_runs(daemon: Daemon, here: Network) -> None:
    daemon.call("port.remove", name="vale0:eth0")
    assert here.reaches("10.0.0.2")
    here.run(RINGPASS, "port", "add", "vale0:wan", "--kind", "nic", "--interface", "eth0", "--host")
    assert here.reaches("10.0.0.2")
    assert [row["name"] for row in daemon.call("port.list")][1:] == ["vale0:wan", "vale0:wan^"]
    # An interface has one port.
    refused = here.run(
        *(RINGPASS, "port", "add", "vale0:eth0", "--kind", "nic", "--json"), check=False
    )
    assert "vale0:wan has the interface eth0, too" in refused


def test_polling_changes_while_it_runs(daemon: Daemon, here: Network) -> None:
    def polling() -> object:
        return daemon.call("port.show", name="vale0:eth0")["interface"]["polling"]

    threads = Path(f"/proc/{daemon.call('ping')['pid']}/task")
    before = len(list(threads.iterdir()))
    for cpus in ([0], [1], []):
        daemon.config.write_text(
            CONFIG.replace("host = true", f"host = true\npolling = {cpus}"), encoding="utf-8"
        )
        applied = here.run(RINGPASS, "apply", daemon.config)
        assert f"polling {cpus}" in applied
        assert polling() == cpus
        assert here.reaches("10.0.0.2")
    assert len(list(threads.iterdir())) == before
    refused = here.run(
        *(RINGPASS, "port", "add", "vale0:x", "--kind", "nic", "--polling", "4000"), check=False
    )
    assert "this machine has the CPUs 0 to" in refused


#: Carries frames between a NIC and the host's stack, as netmap's `bridge` does.
BRIDGE = """
import sys, ringport
with ringport.open(sys.argv[1], via="netmap") as port:
    print("open", flush=True)
    while True:
        port.wait_readable(1)
        for source, sink in ((port.rx[0], port.host_tx[0]), (port.host_rx[0], port.tx[0])):
            while (frame := source.get()) is not None:
                sink.put(frame)
        port.txsync()
"""


def test_a_program_has_a_nic_and_its_host_stack(
    here: Network, there: Network, runtime_dir: Path
) -> None:
    lay(here, there, "eth0", "xdp-copy")
    here.ip("addr add 10.0.0.1/24 dev eth0")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    before = here.traces("eth0")
    daemon = Daemon(runtime_dir, "")
    here.do(daemon.start)
    try:
        descriptors = Path(f"/proc/{daemon.call('ping')['pid']}/fd")
        # One for all calls to programs is made with the first of them, and stays.
        open_at_most = len(list(descriptors.iterdir())) + 1
        program = subprocess.Popen(
            [RINGPASS, "netmap", "--", sys.executable, "-c", BRIDGE, "netmap:eth0*"],
            stdout=subprocess.PIPE,
        )
        assert program.stdout is not None
        assert program.stdout.readline() == b"open\n"
        [port] = daemon.call("port.list")
        assert port["name"] == "eth0"
        assert port["interface"]["mode"] == "xdp-copy"
        assert "xdp-copy" in here.run(RINGPASS, "port", "ls")
        assert here.reaches("10.0.0.2")
        assert there.reaches("10.0.0.1")
        program.kill()
        program.wait()
        wait_until(lambda: here.traces("eth0") == before, "the interface is as it was")
        assert here.reaches("10.0.0.2")
        wait_until(lambda: len(list(descriptors.iterdir())) <= open_at_most, "all is closed")
        assert daemon.call("port.list") == []
    finally:
        daemon.__exit__(None, None, None)


def test_the_daemon_follows_its_interfaces(daemon: Daemon, here: Network, there: Network) -> None:
    def problems() -> str:
        return " ".join(daemon.call("status")["problems"])

    here.ip("link set lan0 down")
    wait_until(lambda: "lan0: the interface is down" in problems(), "lan0 is down")
    here.ip("link set lan0 up", "link del eth0")
    wait_until(lambda: "the interface was removed" in problems(), "eth0 is gone")
    here.cable("eth0", there, "eth0")
    there.ip("addr add 10.0.0.2/24 dev eth0")
    here.ip("addr add 10.0.0.1/24 dev eth0")
    wait_until(lambda: problems() == "", "all is well again")
    assert here.reaches("10.0.0.2")


def test_without_privileges_it_says_which_are_missing(here: Network, runtime_dir: Path) -> None:
    here.ip("link add name eth0 type veth peer name x")
    config = runtime_dir / "test.toml"
    config.write_text(CONFIG)
    runtime_dir.chmod(0o777)
    said = here.run(
        *("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--reuid", "0"),
        *(sys.executable, RINGPASS, "up", config),
        check=False,
    )
    assert "error: cannot" in said
    assert "CAP_NET_ADMIN" in said
    assert json.loads(here.run("ip", "-j", "link", "show", "dev", "eth0"))
