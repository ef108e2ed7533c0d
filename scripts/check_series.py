# SPDX-License-Identifier: BSD-2-Clause
"""Read the patches for QEMU with its own checkpatch.pl, if the cache has the source package.

`make qemu` fetches it; whoever does not touch the patches need not have it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from ringpass.qemu import series, source

OPTIONS = ("--no-tree", "--strict", "-q")


def main() -> int:
    """Print what checkpatch says about the series; return how many patches it does not like."""
    description = source.cached("qemu")
    if description is None:
        print("not checked: the source package of QEMU is not in the cache (make qemu)")
        return 0
    archive = next(description.parent.glob("qemu_*.orig.tar.*"))
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "checkpatch.pl"
        wanted = ["--wildcards", "*/scripts/checkpatch.pl"]
        with script.open("wb") as file:
            subprocess.run(["tar", "-xOf", archive, *wanted], stdout=file, check=True)
        checks = [["perl", str(script), *OPTIONS, str(patch)] for patch in series.patches()]
        return sum(subprocess.run(check, check=False).returncode != 0 for check in checks)


if __name__ == "__main__":
    sys.exit(main())
