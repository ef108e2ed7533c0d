# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass netmap`: run a program that uses /dev/netmap on the backend's ports."""

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from ringpass import paths
from ringpass.errors import ConfigError, NotFound

LIBRARY = "librp_netmap.so"

app = typer.Typer(add_completion=False)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def netmap(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROGRAM [ARGS]...", help="What to run.", show_default=False),
    ] = None,
    include_dir: Annotated[
        bool,
        typer.Option("--include-dir", help="Print where net/netmap.h and net/netmap_user.h are."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say on standard error why a request failed.")
    ] = False,
) -> None:
    """Run a netmap program, unmodified: what it asks of /dev/netmap the backend does."""
    if include_dir:
        sys.stdout.write(f"{_installed('include/net/netmap.h').parents[1]}\n")
        return
    if not command:
        raise ConfigError(
            "there is no program to run", "none was named", "ringpass netmap -- PROGRAM ARGS"
        )
    try:
        os.execvpe(command[0], command, _environment(verbose=verbose))  # noqa: S606  the command is the user's
    except OSError as error:
        raise NotFound(
            f"cannot run {command[0]}", error.strerror or str(error), "check its name"
        ) from error


def _environment(*, verbose: bool) -> dict[str, str]:
    """Return the environment of a program that is to use our /dev/netmap."""
    preload = [str(_installed(LIBRARY)), *os.environ.get("LD_PRELOAD", "").split()]
    environ = {
        **os.environ,
        "LD_PRELOAD": ":".join(preload),
        "RINGPASS_RUNTIME_DIR": str(paths.runtime_dir()),
    }
    return environ | {"RINGPASS_NETMAP_VERBOSE": "1"} if verbose else environ


def _installed(name: str) -> Path:
    """Return the path of a file of the package. Raises NotFound."""
    found = resources.files("ringpass").joinpath(*name.split("/"))
    if isinstance(found, Path) and found.is_file():
        return found
    raise NotFound(f"there is no {name}", "the package was not installed in full", "install again")
