# SPDX-License-Identifier: BSD-2-Clause
"""`ringpass up`: run the daemon in the foreground."""

import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ringpass import config, paths
from ringpass.daemon import lifecycle

app = typer.Typer(add_completion=False)


class Level(StrEnum):
    """How much the daemon tells."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@app.command()
def up(
    file: Annotated[Path, typer.Argument(help="The configuration, in TOML.", show_default=False)],
    log_level: Annotated[Level, typer.Option(help="What to log on standard error.")] = Level.INFO,
) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C."""
    logging.basicConfig(
        stream=sys.stderr,
        level=log_level.value.upper(),
        format="%(asctime)s level=%(levelname)s %(message)s",
    )
    tables = config.read(file)
    runtime_dir = _runtime_dir(tables)
    lifecycle.run(config.parse(tables, runtime_dir, str(file)), runtime_dir)


def _runtime_dir(tables: dict[str, Any]) -> Path:
    """Return the user's choice (option or environment), that of the file, or the default."""
    daemon = tables.get("daemon")
    chosen = daemon.get("runtime_dir") if isinstance(daemon, dict) else None
    if isinstance(chosen, str) and "RINGPASS_RUNTIME_DIR" not in os.environ:
        return Path(chosen).absolute()
    return paths.runtime_dir()
