# SPDX-License-Identifier: BSD-2-Clause
"""The entry point: finds the command, turns errors into three lines and an exit code."""

import importlib
import os
import pkgutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import ringpass
from ringpass import cli
from ringpass.errors import ConfigError, RingpassError

_OWN = {"main", "output"}


class Commands(TyperGroup):
    """The commands are the modules of `ringpass.cli`; one is imported when it is asked for.

    A module with an underscore in its name is a part of the one before it.
    """

    def list_commands(self, _ctx: Any) -> list[str]:
        modules = (module.name for module in pkgutil.iter_modules(cli.__path__))
        return sorted(name for name in modules if name not in _OWN and "_" not in name)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"ringpass.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fast network ports for virtual machines.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ringpass {ringpass.__version__}")  # noqa: T201  this is the command's output
        raise typer.Exit


@app.callback()
def options(
    runtime_dir: Annotated[
        Path | None,
        typer.Option(
            "--runtime-dir",
            metavar="DIR",
            envvar="RINGPASS_RUNTIME_DIR",
            readable=False,  # to search it is enough
            help="Where the daemon keeps its sockets and counters.",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Fast network ports for virtual machines: rings over vhost-user, joined by VALE switches."""
    if runtime_dir is not None:
        os.environ["RINGPASS_RUNTIME_DIR"] = str(runtime_dir.absolute())


def main() -> None:
    """Run the command line; what can be told to the user becomes three lines on standard error."""
    try:
        app()
    except RingpassError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:
        # The daemon and JSON take UTF-8; arguments are whatever bytes the shell gave.
        wrong = ConfigError(
            f"cannot use {error.object!r}", "it is not UTF-8", "choose another name"
        )
        print(wrong, file=sys.stderr)  # noqa: T201
        sys.exit(wrong.exit_code)
    except BrokenPipeError:
        # Who read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
