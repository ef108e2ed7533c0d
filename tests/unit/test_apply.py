# SPDX-License-Identifier: BSD-2-Clause
"""The difference between two configurations, as actions."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringpass import apply, config
from ringpass.apply import Placed
from ringpass.config import Config, Daemon, Port, Switch, Worker

VM1, VM2 = "vale0:vm1", "vale0:vm2"


def parse(text: str) -> Config:
    return config.parse(tomllib.loads(text), Path("/run/ringpass"), "test")


RUNNING = f'[daemon]\nworkers = 2\n[switch.vale0]\n[port."{VM1}"]\n[port."{VM2}"]\n'
PLACED = {VM1: Placed(0, None), VM2: Placed(1, 4711)}


def plan(wanted: str, running: str = RUNNING, placed: Mapping[str, Placed] = PLACED) -> list[str]:
    return [str(action) for action in apply.plan(parse(running), parse(wanted), placed)]


def test_what_did_not_change_is_in_no_action() -> None:
    assert plan(RUNNING) == []


def test_everything_is_made_in_an_order_that_works() -> None:
    assert plan(RUNNING, "", {}) == [
        "+ worker 1: policy adaptive, cpu any",
        "+ switch vale0: ageing 300 s",
        "+ port vale0:vm1: vhost-user, server of /run/ringpass/vale0.vm1.sock, queues 1",
        "+ port vale0:vm2: vhost-user, server of /run/ringpass/vale0.vm2.sock, queues 1",
    ]


def test_everything_is_removed_in_an_order_that_works() -> None:
    assert plan("") == [
        "- port vale0:vm1: not wanted any more",
        "- port vale0:vm2: not wanted any more; process 4711 is disconnected",
        "- switch vale0",
        "- worker 1",
    ]


@pytest.mark.parametrize("setting", ['full = "drop"', "hold_us = 7", "mtu = 9000"])
def test_what_can_be_changed_in_place_disconnects_nobody(setting: str) -> None:
    (action,) = plan(RUNNING + setting)
    assert action.startswith("~ port vale0:vm2: full ")


def test_what_cannot_be_changed_in_place_says_what_and_whom_it_disconnects() -> None:
    removed, added = plan(RUNNING + "mtu = 9000\nqueues = 2\nhold_us = 7")
    assert removed == (
        "- port vale0:vm2: to be made again, queues 1 -> 2, mtu 1500 -> 9000, "
        "hold_us 1000 -> 7; process 4711 is disconnected"
    )
    assert added.startswith("+ port vale0:vm2: ")


def test_a_port_moves_only_if_its_worker_is_said_or_goes() -> None:
    assert plan(RUNNING + "worker = 1") == [], "it is there already"
    assert "worker 1 -> 0" in plan(RUNNING + "worker = 0")[0]
    fewer = plan(RUNNING.replace("workers = 2", "workers = 1"))
    assert "worker 1 -> any" in fewer[0]
    assert fewer[-1] == "- worker 1"
    assert plan(RUNNING.replace("workers = 2", "workers = 3")) == [
        "+ worker 2: policy adaptive, cpu any"
    ]


def test_switches_workers_and_sockets_change_in_place() -> None:
    wanted = RUNNING.replace("workers = 2", 'workers = [{}, {policy = "busy", cpu = 0}]')
    wanted = wanted.replace("[switch.vale0]", 'socket_mode = "0666"\n[switch.vale0]\nageing = 5')
    assert plan(wanted) == [
        "~ worker 1: policy busy, cpu 0",
        "~ sockets of all ports: mode 0666",
        "~ switch vale0: ageing 5 s",
    ]


def test_actions_are_data() -> None:
    actions = apply.plan(parse(""), parse(RUNNING), {})
    assert msgspec.convert(msgspec.to_builtins(actions), list[apply.Action]) == actions


# Any two configurations

WORKER = st.builds(Worker, policy=st.sampled_from(["busy", "notify"]))
WORKERS = st.lists(WORKER, min_size=1, max_size=3)
PORTS = st.builds(
    Port,
    kind=st.sampled_from(["vhost-user", "null"]),
    queues=st.integers(1, 2),
    hold_us=st.integers(0, 1),
    worker=st.none() | st.just(0),
)
CONFIGS = st.builds(
    Config,
    st.builds(Daemon, workers=WORKERS, socket_mode=st.sampled_from(["0660", "0666"])),
    st.fixed_dictionaries(
        {"vale0": st.builds(Switch, st.integers(0, 1))},
        optional={"vale1": st.just(Switch()), "vale2": st.just(Switch())},
    ),
    st.dictionaries(st.sampled_from([VM1, VM2, "vale0:vm3"]), PORTS),
)


@given(CONFIGS, CONFIGS, st.data())
def test_the_actions_lead_from_any_configuration_to_any_other(
    running: Config, wanted: Config, data: st.DataObject
) -> None:
    last = len(running.daemon.worker_list()) - 1
    placed = {
        name: Placed(data.draw(st.integers(0, last)) if port.worker is None else port.worker, None)
        for name, port in running.ports.items()
    }
    workers, switches = running.daemon.worker_list().copy(), dict(running.switches)
    ports, mode = dict(running.ports), running.daemon.socket_mode
    where = {name: place.worker for name, place in placed.items()}
    for action in apply.plan(running, wanted, placed):
        match action:
            case apply.WorkerAdd(number, worker):
                assert number == len(workers)
                workers.append(worker)
            case apply.WorkerSet(number, worker):
                workers[number] = worker
            case apply.WorkerRemove(number):
                assert number == len(workers) - 1
                assert number not in where.values(), "ports leave a worker before it goes"
                workers.pop()
            case apply.SocketsSet(mode, _):
                pass
            case apply.SwitchAdd(name, switch) | apply.SwitchSet(name, switch):
                switches[name] = switch
            case apply.SwitchRemove(name):
                del switches[name]
            case apply.PortAdd(name, port):
                assert name not in ports
                ports[name], where[name] = port, port.worker or 0
            case apply.PortSet(name, port):
                ports[name] = port
            case apply.PortRemove(name):
                del ports[name], where[name]
    assert workers == wanted.daemon.worker_list()
    assert mode == wanted.daemon.socket_mode
    assert switches == wanted.switches
    unplaced = {name: msgspec.structs.replace(port, worker=None) for name, port in ports.items()}
    assert unplaced == {
        name: msgspec.structs.replace(port, worker=None) for name, port in wanted.ports.items()
    }
    for name, port in wanted.ports.items():
        assert where[name] == (where[name] if port.worker is None else port.worker)
