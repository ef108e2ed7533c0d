# SPDX-License-Identifier: BSD-2-Clause
"""Print what the development environment needs, as a pip requirements file: all of pyproject.toml.

pip itself would install neither the build requirements (they must be there for a build without
isolation, which an editable install needs to rebuild itself) nor all extras.
"""

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def main() -> None:
    """Print one requirement a line."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    groups = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    ]
    for requirement in sorted({line for group in groups for line in group}):
        print(requirement)


if __name__ == "__main__":
    main()
