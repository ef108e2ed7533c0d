# SPDX-License-Identifier: BSD-2-Clause
"""Commands on ports whose names leave out the rings that the commands need."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import ringpass
import ringport
from ringpass.capture import Writer
from ringpass.cli import bridge, capture, pktgen
from ringpass.errors import ConfigError

TX_ONLY, RX_ONLY = "vale0:x/T", "vale0:x/R"
NO_RX, NO_TX = "it has no rx rings", "it has no tx rings"


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ringpass.Backend() as made:
        monkeypatch.setattr(ringport, "open", made.open)
        yield


def run(command: ModuleType, *argv: str | Path) -> None:
    """Run a command; raises what it raises."""
    done = CliRunner().invoke(command.app, [str(word) for word in argv], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("name", "function", "why"),
    [
        (RX_ONLY, "tx", NO_TX),
        (TX_ONLY, "rx", NO_RX),
        (RX_ONLY, "ping", NO_TX),
        (TX_ONLY, "ping", NO_RX),
        (RX_ONLY, "pong", NO_TX),
        (TX_ONLY, "pong", NO_RX),
        ("vale0:x/RT", "ping", "it has no .x rings"),
    ],
)
def test_pktgen_names_the_rings_that_it_lacks(name: str, function: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run(pktgen, "-i", name, "-f", function)


def test_half_of_the_rings_is_enough_to_send() -> None:
    run(pktgen, "-i", TX_ONLY, "-f", "tx", "-n", "1")


def test_a_replay_needs_a_tx_ring(tmp_path: Path) -> None:
    frames = tmp_path / "frames.pcapng"
    with frames.open("wb") as stream:
        Writer(stream, "vale0:x", 1000).packet(0, bytes(60), 1)
    with pytest.raises(ConfigError, match=NO_TX):
        run(capture, RX_ONLY, "--replay", frames)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (RX_ONLY, "vale0:y", NO_TX),
        ("vale0:y", RX_ONLY, NO_TX),
        (RX_ONLY, "vale0:y/R", NO_TX),
        (TX_ONLY, "vale0:y/T", NO_RX),
    ],
)
def test_a_bridge_needs_somewhere_to_send_to(one: str, other: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run(bridge, one, other)
