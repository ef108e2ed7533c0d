# SPDX-License-Identifier: BSD-2-Clause
"""Write the C source of an extension, such as `ringpass._dp`, from marked regions of C headers.

Usage: cffi_build.py MODULE OUTPUT.c HEADER...

What Python may call is declared once, in the headers that C uses: each header has regions between
the lines `/* cffi:begin */` and `/* cffi:end */`, written in the plain C that cffi reads (no
preprocessor, no attributes, no static inline). The regions together are cffi's cdef; the emitted
source includes the headers themselves, so the compiler checks every declaration again.
"""

import sys
from pathlib import Path

from cffi import FFI

BEGIN = "/* cffi:begin */"
END = "/* cffi:end */"


class RegionError(ValueError):
    """A header whose cffi regions cannot be taken; the text says where and why."""


def cffi_regions(header: Path) -> str:
    """Return the text of the marked regions of `header`, in order.

    Raises RegionError if the header has no region, or markers that do not pair up.
    """
    taken: list[str] = []
    opened = 0
    found = False
    for number, line in enumerate(header.read_text(encoding="utf-8").splitlines(), start=1):
        where, text = f"{header}:{number}", line.strip()
        if text == BEGIN:
            if opened:
                raise RegionError(f"{where}: {BEGIN} inside the region of line {opened}")
            opened, found = number, True
        elif text == END:
            if not opened:
                raise RegionError(f"{where}: {END} without {BEGIN}")
            opened = 0
        elif opened and text.startswith("#"):
            raise RegionError(f"{where}: preprocessor line in a cffi region: {text}")
        elif opened:
            taken.append(line)
    if opened:
        raise RegionError(f"{header}:{opened}: {BEGIN} without {END}")
    if not found:
        raise RegionError(f"{header}: no cffi region")
    return "\n".join(taken) + "\n"


def extension(module: str, headers: list[Path]) -> FFI:
    """Return the FFI of `module`, made of the regions of `headers`.

    The emitted source includes each header by its name: its directory must be in the include path.
    """
    ffi = FFI()
    for header in headers:
        ffi.cdef(cffi_regions(header))
    includes = "".join(f'#include "{header.name}"\n' for header in headers)
    ffi.set_source(module, includes)
    return ffi


def main(argv: list[str]) -> int:
    """Write `argv[1]`, the module `argv[0]`, from the headers `argv[2:]`; return the exit code."""
    if len(argv) < 3:
        print("usage: cffi_build.py MODULE OUTPUT.c HEADER...", file=sys.stderr)
        return 2
    module, output, headers = argv[0], argv[1], [Path(name) for name in argv[2:]]
    try:
        extension(module, headers).emit_c_code(output)
    except RegionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
