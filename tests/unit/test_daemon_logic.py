# SPDX-License-Identifier: BSD-2-Clause
"""The logic of a running daemon's switches: the command line, the control socket, apply."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringpass.cli import main as cli
from ringpass.errors import ConfigError, Denied, ExitCode, NotFound, RingpassError
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

HUB = """#include <rp_logic.h>
static void lookup(void *state, struct rp_logic_batch *b)
{
        for (uint32_t i = 0; i < b->n; i++)
                b->dest[i] = RP_LOGIC_FLOOD;
}
RP_LOGIC(.lookup = lookup);
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("d")
    (directory / "hub.c").write_text(HUB)
    (directory / "hub.c").chmod(0o644)
    with Daemon(directory, '[switch.vale0]\nlogic = "hub.c"\n') as daemon:
        yield daemon


@pytest.fixture
def hub(daemon: Daemon) -> Iterator[Path]:
    """Return a C file that tests may change."""
    file = daemon.runtime_dir / "mine.c"
    file.write_text(HUB)
    file.chmod(0o644)
    yield file
    file.unlink()


@pytest.fixture
def run(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `ringpass switch` in this process: code, output and talk."""
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", str(daemon.runtime_dir))
    monkeypatch.chdir(daemon.runtime_dir)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ringpass", "switch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return call


def shown(daemon: Daemon) -> Any:
    (switch,) = daemon.call("switch.list")
    return switch["logic"]


def apply(daemon: Daemon, switch: dict[str, Any]) -> list[str]:
    answer = daemon.call("apply", config={"switch": {"vale0": switch}}, source="test")
    return [action["text"] for action in answer["actions"]]


@pytest.mark.parametrize(
    ("logic", "config"),
    [
        ("hash", "uplink=vale0:there uplink=there uplink=vale0:none uplink=none"),
        ("static", "unknown=flood 02:00:00:00:00:01=vale0:there 02:00:00:00:00:02=vale0:none"),
    ],
)
def test_a_port_that_is_not_there_yet_is_told(
    daemon: Daemon, run: Callable[..., tuple[int, str, str]], logic: str, config: str
) -> None:
    daemon.call("port.add", name="vale0:there", settings={})
    code, _, talk = run("logic", "vale0", logic, "--config", config)
    assert code == 0
    told = [line for line in talk.splitlines() if "yet" in line]
    named = ["vale0:none", "none"] if logic == "hash" else ["vale0:none"]
    assert told == [f"there is no port {name} yet" for name in named]
    daemon.call("port.remove", name="vale0:there")
    assert run("logic", "vale0", "hub.c")[0] == 0


def test_a_daemon_starts_with_the_logic_of_its_file(daemon: Daemon) -> None:
    config = daemon.call("config.show")["switch"]["vale0"]
    assert config["logic"] == str(daemon.runtime_dir / "hub.c")
    assert len(config["digest"]) == 16


def test_the_command_line_loads_a_file_and_takes_it_away(
    daemon: Daemon, hub: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    assert run("logic", "vale0", "./mine.c") == (0, "", "vale0: loaded\n")
    assert shown(daemon) == str(hub)
    assert str(hub) in run("ls")[1]
    assert run("logic", "vale0", "hash", "--config", "uplink=x")[0] == 0
    assert shown(daemon) == "hash"
    assert run("logic", "vale0", "none")[0] == 0
    assert shown(daemon) == "bridge"


def test_what_the_compiler_says_reaches_the_user(
    daemon: Daemon, hub: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    before = shown(daemon)
    hub.write_text(HUB.replace("FLOOD;", "FLUD;"))
    code, _, said = run("logic", "vale0", "mine.c")
    assert code == ExitCode.FAILED
    assert f"{hub}:5:" in said
    assert "RP_LOGIC_FLUD" in said
    assert shown(daemon) == before
    hub.write_text(HUB + "static int idle;\n")
    _, answer, said = run("logic", "vale0", "mine.c", "--json")
    assert "idle" in said
    assert "idle" in json.loads(answer)["warnings"]


def test_a_file_that_others_may_write_is_denied(daemon: Daemon, hub: Path) -> None:
    before = shown(daemon)
    hub.chmod(0o666)
    with pytest.raises(Denied, match="others than its owner"):
        daemon.call("switch.logic", name="vale0", logic=str(hub))
    assert shown(daemon) == before


@pytest.mark.parametrize(
    ("params", "kind", "text"),
    [
        ({"name": "vale1", "logic": "hash"}, NotFound, "did you mean vale0"),
        ({"name": "vale0", "logic": "mine"}, ConfigError, "no logic 'mine'"),
        ({"name": "vale0", "logic": "x.c"}, ConfigError, "whole path"),
        ({"name": "vale0", "logic": "bridge", "config": "x"}, ConfigError, "takes no text"),
        ({"name": "vale0", "logic": "hash", "config": "x"}, RingpassError, "uplink=PORT"),
    ],
)
def test_what_is_refused_changes_nothing(
    daemon: Daemon, params: dict[str, str], kind: type[RingpassError], text: str
) -> None:
    before = shown(daemon)
    with pytest.raises(kind, match=text):
        daemon.call("switch.logic", **params)
    assert shown(daemon) == before


def test_apply_loads_what_changed_and_nothing_else(daemon: Daemon, hub: Path) -> None:
    wanted = {"logic": str(hub)}
    assert apply(daemon, wanted) == [f"~ switch vale0: ageing 300 s, logic {hub}"]
    assert apply(daemon, wanted) == []
    hub.write_text(HUB + "/* another text */\n")
    assert len(apply(daemon, wanted)) == 1
    assert apply(daemon, wanted) == []
    table = {"logic": "static", "table": {"02:00:00:00:00:01": "vale0:a"}}
    assert apply(daemon, table) == ["~ switch vale0: ageing 300 s, logic static"]
    assert apply(daemon, table) == []
    assert apply(daemon, {**table, "ageing": 5}) == ["~ switch vale0: ageing 5 s, logic static"]
    hub.write_text("#error not today\n")
    with pytest.raises(RingpassError, match="not today"):
        apply(daemon, wanted)
    assert shown(daemon) == "static"
    assert apply(daemon, {}) == ["~ switch vale0: ageing 300 s"]


def test_adding_a_switch_that_is_there_leaves_its_logic(daemon: Daemon) -> None:
    daemon.call("switch.logic", name="vale0", logic="hash")
    assert daemon.call("switch.add", name="vale0")["result"] == "unchanged"
    assert shown(daemon) == "hash"


def test_nothing_is_left_of_logics_that_were_replaced(daemon: Daemon, hub: Path) -> None:
    assert daemon.process is not None
    process = Path(f"/proc/{daemon.process.pid}")

    def held() -> tuple[int, int]:
        maps = (process / "maps").read_text().count("memfd:mine.c")
        return len(list((process / "fd").iterdir())), maps

    daemon.call("switch.logic", name="vale0", logic="bridge")
    before = held()
    for _ in range(3):
        daemon.call("switch.logic", name="vale0", logic=str(hub))
        assert held()[1] > 0
    daemon.call("switch.logic", name="vale0", logic="bridge")
    wait_until(lambda: held() == before, "what was loaded is unloaded")
    assert before[1] == 0
