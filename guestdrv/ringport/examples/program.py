# SPDX-License-Identifier: BSD-2-Clause
"""What the command lines of all examples have in common."""

import argparse
import sys
from collections.abc import Callable

import ringport

PORT_HELP = "vale0:a, netmap:rp0, netmap:rp0{1, ..."


def parser(name: str, description: str | None, *, batches: bool = True) -> argparse.ArgumentParser:
    """Return a parser for `python -m ringport.examples.NAME`.

    Programs that work on batches have --slots, which is the default where these are not to be had.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m ringport.examples.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if batches:
        made.add_argument(
            "--slots",
            action="store_true",
            default=not ringport.has_numpy(),
            help="go slot by slot, as where numpy is not installed",
        )
    return made


def run(main: Callable[[], None]) -> None:
    """Run a program until it ends, fails, or somebody presses Ctrl-C."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ringport.Error, ringport.BadPortSpec) as error:
        sys.exit(f"error: {error}")
