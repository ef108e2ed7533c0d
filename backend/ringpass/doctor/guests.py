# SPDX-License-Identifier: BSD-2-Clause
"""Guest images, and whether User-mode Linux runs here."""

import os
import shutil
import tempfile

from ringpass import paths
from ringpass.doctor.finding import Finding
from ringpass.doctor.probe import probe
from ringpass.image import Image
from ringpass.vm import uml

UML_DEADLINE = 10.0

UML_BOOTS = "Linux version"
"""Printed once the host has passed all that UML checks: ptrace, executable memory."""

BUILD_PROGRAMS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "cc": "build-essential",
    "readelf": "binutils",
    "lz4": "lz4",
}
"""What building an image runs, and the Debian packages that have it."""


def check_image(image: Image | None) -> Finding:
    missing = {program for program in BUILD_PROGRAMS if shutil.which(program) is None}
    if missing:
        packages = " ".join(sorted({BUILD_PROGRAMS[program] for program in missing}))
        return Finding(
            "image",
            "fail" if image is None else "warn",
            "guest images cannot be built",
            f"these programs are missing: {', '.join(sorted(missing))}",
            f"apt-get install {packages}",
        )
    place = paths.cache_dir()
    if image is None:
        return Finding(
            "image",
            "warn",
            f"there is no guest image in {place}",
            "none has been built; the first guest will wait for it, a minute at most",
            "ringpass image build",
        )
    return Finding("image", "ok", f"guest image {image.key} is in {place}")


def check_uml(image: Image | None) -> Finding:
    """Start User-mode Linux far enough to see that the host lets it trace and map."""
    kernel = image.uml if image is not None else shutil.which("linux.uml")
    if kernel is None:
        return Finding(
            "uml",
            "warn",
            "whether User-mode Linux runs here is not known",
            "there is no guest image, which has it, and Debian's package is not installed",
            "run `ringpass image build`, then `ringpass doctor` again",
        )
    with tempfile.TemporaryDirectory(prefix="rp-") as directory:
        console = ("con=null", "con0=fd:0,fd:1", "ssl=null")
        argv = [str(kernel), "mem=64M", f"uml_dir={directory}", *console]
        outcome = probe(argv, UML_BOOTS, UML_DEADLINE, {**os.environ, **uml.ENVIRONMENT})
    if outcome.seen:
        return Finding("uml", "ok", "User-mode Linux runs")
    return Finding(
        "uml",
        "warn",
        "User-mode Linux does not run here",
        outcome.last_line or f"it said nothing in {outcome.seconds:.0f} s",
        "allow ptrace to the user or container (docker run --cap-add SYS_PTRACE); QEMU needs none",
    )
