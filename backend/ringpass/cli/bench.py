# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass bench`: figures of this machine, each beside a reference."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ringpass import bench
from ringpass.bench.machine import enter_own_session
from ringpass.bench.measure import Options
from ringpass.bench.report import Report, Row
from ringpass.cli import output

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Measure, each thing in turn with its reference, and print medians.",
)


@app.command("list")
def list_benches(json: output.Json = False) -> None:
    """List the benchmarks."""
    if json:
        output.print_json([{"name": b.name, "summary": b.summary} for b in bench.BENCHES])
    else:
        output.print_table(("BENCH", "MEASURES"), ((b.name, b.summary) for b in bench.BENCHES))


Plot = Annotated[
    Path | None, typer.Option(help="Draw a picture of the result.", metavar="FILE.png")
]
Case = Annotated[
    list[str] | None, typer.Option(help="Only cases of this name; * matches anything.")
]


Runs = Annotated[int, typer.Option(min=1, help="Take so many samples of each case.")]
Seconds = Annotated[float, typer.Option(min=0.001, help="Let each sample take so long.")]
Size = Annotated[list[int] | None, typer.Option(help="Only frames of so many bytes.")]
Cores = Annotated[list[int] | None, typer.Option(help="Only cases that use so many cores.")]
Via = Annotated[
    list[str] | None,
    typer.Option(help="Only this way between the guests: passthrough-vale, chain, pipe, qemu, ..."),
]
Domain = Annotated[
    str, typer.Option(metavar="NAME", help="Also attach a port to this running libvirt domain.")
]
Connect = Annotated[
    str, typer.Option("--connect", "-c", metavar="URI", help="Its libvirt. Default: the system's.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print a table of ways, in Markdown.")]


def _timed(chosen: bench.Bench) -> Callable[..., None]:
    def command(
        json: output.Json = False,
        plot: Plot = None,
        runs: Runs = chosen.runs,
        seconds: Seconds = chosen.seconds,
        case: Case = None,
        size: Size = None,
        cores: Cores = None,
    ) -> None:
        enter_own_session(output.say)
        options = Options(runs, seconds, case or (), size or (), cores or ())
        _run(chosen, options, plot, json, _print)

    return command


def _between_guests(chosen: bench.Bench) -> Callable[..., None]:
    def command(
        json: output.Json = False,
        markdown: Markdown = False,
        plot: Plot = None,
        runs: Runs = chosen.runs,
        seconds: Seconds = chosen.seconds,
        case: Case = None,
        via: Via = None,
        size: Size = None,
    ) -> None:
        enter_own_session(output.say)
        options = Options(runs, seconds, case or (), size or (), ways=via or ())
        _run(chosen, options, plot, json, _print_markdown if markdown else _print)

    return command


def _counted(chosen: bench.Bench) -> Callable[..., None]:
    def command(json: output.Json = False, plot: Plot = None, case: Case = None) -> None:
        _run(chosen, Options(chosen.runs, chosen.seconds, case or ()), plot, json, _print_counted)

    return command


def _called(chosen: bench.Bench) -> Callable[..., None]:
    def command(
        json: output.Json = False,
        runs: Runs = chosen.runs,
        case: Case = None,
        domain: Domain = "",
        connect: Connect = "",
    ) -> None:
        enter_own_session(output.say)
        options = Options(runs, chosen.seconds, case or (), connect=connect, domain=domain)
        _run(chosen, options, None, json, _print_calls)

    return command


def _maker(chosen: bench.Bench) -> Callable[[bench.Bench], Callable[..., None]]:
    if chosen.counts:
        return _counted
    if chosen.calls:
        return _called
    return _between_guests if chosen.guests else _timed


for _bench in bench.BENCHES:
    app.command(_bench.name, help=_bench.summary)(_maker(_bench)(_bench))


def _run(
    chosen: bench.Bench,
    options: Options,
    plot: Path | None,
    json: bool,
    print_table: Callable[[Report], None],
) -> None:
    report = bench.run(chosen, options, output.say)
    if plot is not None:
        from ringpass.bench.plot import draw  # matplotlib takes a second to import

        draw(report, plot)
        output.say(f"the picture is {plot}")
    if json:
        output.print_json(report)
    else:
        print_table(report)


def _print_markdown(report: Report) -> None:
    from ringpass.bench.g2g.table import markdown

    typer.echo(markdown(report.rows))


def _print_counted(report: Report) -> None:
    output.print_table(
        ("CASE", ">BYTES", ">INSTRUCTIONS", ">BOUND", ">RATIO", "GOAL"),
        (
            (
                row.case,
                Text(f"{row.size}"),
                _figure(row.ns),
                _figure(row.ref_ns),
                _figure(row.ratio),
                _verdict(row),
            )
            for row in report.rows
        ),
    )


def _print_calls(report: Report) -> None:
    output.print_table(
        ("CASE", ">RUNS", ">MS", ">P99 MS", ">REF MS", "GOAL"),
        (
            (
                row.case,
                Text(f"{row.runs}"),
                _figure(row.ns / 1e6),
                _figure((row.rtt_us or {}).get("p99", row.ns_max / 1e3) / 1e3),
                _figure(None if row.ref_ns is None else row.ref_ns / 1e6),
                _reached(row, row.goal) if row.limit_ns else Text("-", "dim"),
            )
            for row in report.rows
        ),
    )
    _print_legend(report)


def _print(report: Report) -> None:
    output.print_table(
        (
            *("CASE", ">BYTES", ">CORES", ">NS", ">MPPS", ">GBIT/S", ">REF NS", ">RATIO"),
            *("GOAL", "NOTES"),
        ),
        (
            (
                row.case,
                Text(f"{row.size}"),
                row.cores,
                _figure(row.ns),
                _figure(row.mpps),
                _figure(row.gbps),
                _figure(row.ref_ns),
                _figure(row.ratio),
                _verdict(row),
                _notes(row),
            )
            for row in report.rows
        ),
    )
    _print_legend(report)


def _print_legend(report: Report) -> None:
    for legend in dict.fromkeys(_legend(row) for row in report.rows):
        output.say(legend)
    output.say(f"{report.machine}, {report.date}")


def _figure(value: float | None) -> Text:
    return Text("-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}")


def _verdict(row: Row) -> Text:
    limit = [] if row.limit is None else [f"<= {row.limit:.3g}"]
    limit += [] if row.limit_ns is None else [f"<= {row.limit_ns:.3g} ns"]
    limit += [] if row.limit_kicks is None else [f"<= {row.limit_kicks:.3g} kicks"]
    goal = ", ".join(limit + ["no drops"] * row.lossless)
    return _reached(row, goal) if goal else Text("-", "dim")


def _reached(row: Row, goal: str) -> Text:
    return Text(f"{goal}: met", "green") if row.met else Text(f"{goal}: NOT met", "bold red")


def _notes(row: Row) -> str:
    notes = []
    if row.rtt_us:
        notes.append("us " + " ".join(f"{name} {value:g}" for name, value in row.rtt_us.items()))
    if row.retransmits is not None:
        notes.append(f"{row.retransmits} retransmits")
    if row.kicks is not None:
        notes.append(f"{row.kicks:.2g} kicks a frame")
    if row.calls is not None:
        notes.append(f"{row.calls:.2g} calls a frame")
    if row.ref2_ns is not None:
        notes.append(f"{row.ref2}: {row.ref2_ns:g} ns")
    if row.lost:
        notes.append(f"{row.lost} lost")
    notes += [f"dropped {count}: {reason}" for reason, count in (row.drops or {}).items()]
    return ", ".join(notes)


def _legend(row: Row) -> str:
    placed = "; ".join(f"{thread} on {cpu}" for thread, cpu in row.threads.items())
    what = f"{row.label} {row.via} {row.metric}"
    return f"{what}: {placed}; reference: {row.ref}"
