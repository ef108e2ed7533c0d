# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass qemu`: QEMU with our netdev and the ptnet device."""

from pathlib import Path
from typing import Annotated

import typer

from ringpass import qemu
from ringpass.cli import output
from ringpass.qemu import series
from ringpass.qemu.build import Progress

app = typer.Typer(
    add_completion=False, help="Build QEMU with ringpass's devices.", no_args_is_help=True
)


@app.command()
def build(json: output.Json = False) -> None:
    """Build QEMU with the patches, unless the cache has it already, and print where it is.

    Nothing is installed. It takes some minutes, the first time.
    """
    show(qemu.ensure(progress()), json=json)


@app.command()
def path(json: output.Json = False) -> None:
    """Print where the patched QEMU is; fail if it has not been built."""
    show(qemu.program(), json=json)


@app.command()
def prune(json: output.Json = False) -> None:
    """Remove builds that newer ones have replaced; those that run stay."""
    removed = qemu.prune()
    if json:
        output.print_json([str(path) for path in removed])
    else:
        output.say(f"removed {len(removed)} builds")


@app.command()
def patch(
    directory: Annotated[Path, typer.Argument(help="The sources of QEMU, unpacked.")],
    json: output.Json = False,
) -> None:
    """Apply the patches to sources of QEMU: of 7.2 as they are, of newer ones adapted to them."""
    applied = series.apply(directory)
    if json:
        output.print_json([str(name) for name in applied])
    else:
        output.say(f"applied {len(applied)} patches to QEMU {series.version(directory)}")


def show(program: Path, *, json: bool) -> None:
    if json:
        output.print_json({"program": str(program)})
    else:
        output.console.print(str(program), soft_wrap=True)


def progress() -> Progress:
    """Return a function that tells how a build goes: each new thing, each tenth of the whole."""
    told = ("", 0)

    def tell(text: str, fraction: float) -> None:
        nonlocal told
        news = (text, int(fraction * 10))
        if news != told:
            output.say(f"qemu: {fraction:4.0%} {text}")
            told = news

    return tell
