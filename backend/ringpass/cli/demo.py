# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass demo`: two real guests exchange packets through a VALE switch."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from ringpass import demo as main_job
from ringpass.cli import output
from ringpass.demo.result import Result, Step

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    json: output.Json = False,
    directory: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Write demo.json and demo.png there.")
    ] = Path(),
    keep_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save the daemon's log and the guests' consoles there."),
    ] = None,
) -> None:
    """Boot two QEMU guests on a switch, let them talk, print figures, and remove everything."""
    begun = time.monotonic()

    def talk(text: str) -> None:
        output.say(f"[{time.monotonic() - begun:5.1f} s] {text}")

    directory.mkdir(parents=True, exist_ok=True)
    result = main_job.run(talk, keep_dir)
    data, picture = directory / "demo.json", directory / "demo.png"
    data.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    from ringpass.demo.plot import draw  # matplotlib takes a second to import

    draw(result, picture)
    talk(f"done; the same as data and as a picture: {data}, {picture}")
    if json:
        output.print_json(result)
    else:
        _print(result)


def _print(result: Result) -> None:
    output.print_table(
        (
            result.label.upper(),
            ">FRAMES/S",
            ">NS/FRAME",
            ">GBIT/S",
            ">RTT us: MIN/MEDIAN/P99",
            ">CPU S/MFRAME",
            "DROPS",
        ),
        (_cells(step) for step in result.steps),
    )
    output.say(f"{result.machine}, {result.date}, {result.seconds} s in all")
    output.say("guests run under TCG: these figures show their speed rather than the backend's")


def _cells(step: Step) -> tuple[object, ...]:
    rtt = step.rtt_us
    return (
        step.name,
        round(step.frames_per_s),
        round(step.ns),
        Text(f"{step.gbps:.3g}" if step.gbps else "-"),
        Text(f"{rtt.min:.0f} / {rtt.median:.0f} / {rtt.p99:.0f}" if rtt else "-"),
        Text(f"{step.cpu_s_per_mframe:.2f}"),
        ", ".join(f"{reason} {count}" for reason, count in step.drops.items()),
    )
