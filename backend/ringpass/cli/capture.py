# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass capture`: what passes a port, as pcapng; or a file, replayed on one."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from types import FrameType
from typing import Annotated, BinaryIO

import typer

import ringport
from ringpass import capture as files
from ringpass.cli import output
from ringpass.errors import ConfigError, RingpassError
from ringpass.ports import check_rings, translated

app = typer.Typer(add_completion=False)

DIRECTIONS = {"both": "rt", "tx": "t", "rx": "r"}


@app.command()
def capture(
    port: Annotated[
        str, typer.Argument(metavar="PORT", help="Such as vale0:vm1.", show_default=False)
    ],
    write: Annotated[
        Path | None,
        typer.Option("-w", "--write", metavar="FILE|-", help="Write pcapng to this file."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FILE|-", help="Send the frames of this file instead."),
    ] = None,
    count: Annotated[
        int | None, typer.Option("-c", "--count", help="Stop after so many frames.", min=1)
    ] = None,
    snaplen: Annotated[
        int, typer.Option("-s", "--snaplen", help="Keep so many bytes of a frame.", min=1)
    ] = 262144,
    duration: Annotated[
        float | None, typer.Option(help="Stop after so many seconds.", min=0)
    ] = None,
    direction: Annotated[
        str, typer.Option(help="tx: what the port's user sends; rx: what it gets; both.")
    ] = "both",
    zero_copy: Annotated[
        bool,
        typer.Option(
            "--zero-copy", help="Take the port's own buffers, once both sides are done with them."
        ),
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Replay without the gaps.")] = False,
    rate: Annotated[
        float | None, typer.Option(help="Replay so many frames a second.", min=0.001)
    ] = None,
    json: output.Json = False,
) -> None:
    """Write what passes PORT to a pcapng file or pipe; or replay such a file, or a pcap, on PORT.

    A monitor of the port is opened for it, and closed at the end: who uses the port notices
    nothing, and is not held back. Frames that the file could not take in time are counted in it.
    """
    if (write is None) == (replay is None):
        raise ConfigError(
            "cannot capture", "one of -w and --replay is needed, and not both", "name a file"
        )
    if direction not in DIRECTIONS:
        raise ConfigError(
            f"cannot capture direction {direction!r}", "there are both, tx and rx", "choose one"
        )
    if zero_copy and direction != "both":
        raise ConfigError(
            f"cannot capture direction {direction!r} without a copy",
            "a zero-copy monitor shows both",
            "leave out --direction",
        )
    with stop_on_signals() as go_on:
        try:
            if write is not None:
                monitor = f"{port}/{'z' if zero_copy else DIRECTIONS[direction]}"
                limits = files.Limits(count, duration)
                _record(port, monitor, write, snaplen, limits, go_on, json)
            elif replay is not None:
                _replay(replay, port, files.Pace(0 if fast else rate), count, go_on, json)
        except ringport.Error as error:
            raise translated(error) from error


def _record(
    port: str,
    name: str,
    path: Path,
    snaplen: int,
    limits: files.Limits,
    go_on: Callable[[], bool],
    json: bool,
) -> None:
    with ringport.open(name) as monitor, ExitStack() as stack:
        stream = _create(path, stack)
        try:
            writer = files.Writer(stream, port, snaplen)
            writer.flush()
            done = files.record(monitor, writer, limits, go_on)
        except ringport.Error:
            raise
        except OSError as error:
            # What the stream still holds has nowhere to go; closing it must not fail for that.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                return  # the reader has seen enough, and that is how it says so
            raise _unwritable(path, error) from None
    if json and str(path) != "-":
        output.print_json({"port": port, "packets": done.packets, "dropped": done.dropped})
    else:
        output.say(f"{port}: {done.packets} frames captured, {done.dropped} dropped")


def _replay(
    path: Path,
    name: str,
    pace: files.Pace,
    most: int | None,
    go_on: Callable[[], bool],
    json: bool,
) -> None:
    with ExitStack() as stack:
        packets = files.read_packets(_open(path, stack), str(path))
        port = stack.enter_context(ringport.open(name))
        check_rings(port, tx=port.tx)
        done = files.replay(_first(packets, most), port, pace, go_on)
    if json:
        output.print_json({"port": name, **done._asdict()})
        return
    skipped = f", {done.skipped} skipped: too long for the port" if done.skipped else ""
    empty = f", {done.empty} skipped: without a byte" if done.empty else ""
    output.say(f"{name}: {done.packets} frames, {done.bytes} bytes replayed{skipped}{empty}")


def _first(packets: Iterator[files.Packet], most: int | None) -> Iterator[files.Packet]:
    for number, packet in enumerate(packets):
        if number == most:
            return
        yield packet


def _create(path: Path, stack: ExitStack) -> BinaryIO:
    if str(path) == "-":
        return sys.stdout.buffer
    try:
        return stack.enter_context(path.open("wb"))
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> RingpassError:
    fix = "name a file that can be written, with room for what is captured"
    return RingpassError(f"cannot write {path}", error.strerror or str(error), fix)


def _open(path: Path, stack: ExitStack) -> BufferedReader:
    if str(path) == "-":
        return sys.stdin.buffer  # type: ignore[return-value]  # it is one, unless replaced
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise RingpassError(f"cannot read {path}", error.strerror or str(error)) from None


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether to go on: not after SIGINT or SIGTERM. A second one ends at once.

    So a block that is being written is written to its end.
    """
    stop = False

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal stop
        stop = True
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: not stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
