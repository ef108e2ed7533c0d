# SPDX-License-Identifier: BSD-2-Clause
"""The guest image boots under QEMU and User-mode Linux, and can be driven and got rid of."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringpass import image as images
from ringpass import paths
from ringpass.errors import RingpassError
from ringpass.image import Image
from ringpass.vm.guest import Guest, GuestError
from tests.support.wait import wait_until

KINDS = ("qemu", "uml")

pytestmark = [pytest.mark.usefixtures("runtime_dir")]


def new_guest(kind: str, image: Image, name: str = "vm1") -> Guest:
    return Guest.qemu(image, name=name) if kind == "qemu" else Guest.uml(image, name=name)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def guest(kind: str, image: Image) -> Iterator[Guest]:
    """Return a guest that tests share, and must leave as they found it; the last one stops it."""
    with tempfile.TemporaryDirectory(prefix="rp-") as directory:
        launch = {"qemu": Guest.qemu, "uml": Guest.uml}[kind]
        with launch(image, name="vm1", directory=Path(directory) / "vm") as guest:
            yield guest


@pytest.fixture
def own_guest(kind: str, image: Image) -> Iterator[Guest]:
    """Return a guest for one test, which may do to it what it likes."""
    with new_guest(kind, image) as guest:
        yield guest


def processes(word: str) -> list[int]:
    """Return the processes that have `word` in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word in (entry / "cmdline").read_bytes().decode():
                found.append(int(entry.name))
        except (OSError, UnicodeDecodeError):
            continue
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.guest
def test_kernel_and_userland_are_those_of_the_manifest(
    guest: Guest, kind: str, image: Image
) -> None:
    manifest = json.loads(image.manifest.read_text())
    assert guest.check("uname -r").strip() == manifest["releases"][kind]
    assert guest.check("hostname").strip() == "vm1"
    version = manifest["packages"]["python3.11-minimal"]["version"]
    assert version.startswith(guest.check("python3 -V").split()[1])
    guest.check("python3 -c 'import socket, json, ctypes, ssl, mmap, asyncio'")
    for program in ("iperf3 --version", "ping -V", "ip -V", "ethtool --version", "tc -V"):
        guest.check(program)
    for tool in manifest["recipe"]["tools"]:
        assert "usage:" in guest.check(f"{tool} --help")


@pytest.mark.guest
def test_every_module_of_the_recipe_loads(guest: Guest, kind: str, image: Image) -> None:
    kernel = json.loads(image.manifest.read_text())["recipe"]["kernel"][kind]
    for module in (*kernel["load"], *kernel["extra"]):
        guest.check(f"modprobe {module}")


@pytest.mark.guest
def test_commands_return_status_and_output(guest: Guest) -> None:
    assert guest.run("echo one; echo two >&2; false").output == "one\ntwo\n"
    assert guest.run("exit_with() { return $1; }; exit_with 3").status == 3
    assert guest.run("printf 'no newline'").output == "no newline"
    assert guest.run("echo 'first\nsecond'").output == "first\nsecond\n"
    assert guest.run("cd /tmp && x=7").status == 0
    assert guest.run("echo $PWD $x").output == "/tmp 7\n"
    assert guest.run("cat").output == ""
    assert guest.run("if; then").status == 2
    assert len(guest.check("head -c 200000 /dev/zero | tr '\\0' x")) == 200000
    with pytest.raises(GuestError, match="status 1"):
        guest.check("false")


@pytest.mark.guest
def test_files_reach_the_guest_whole(guest: Guest) -> None:
    content = bytes(range(256)) * 40
    guest.write_file("/tmp/with space", content)
    listing = guest.check("python3 -c \"print(sum(open('/tmp/with space', 'rb').read()))\"")
    assert int(listing) == sum(content)
    assert guest.check("ls /tmp") == "with space\n"


@pytest.mark.guest
def test_stopping_leaves_no_process_and_no_file(guest: Guest) -> None:
    """The last of the tests that share the guest."""
    place = str(guest.directory)
    assert processes(place)
    guest.stop()
    wait_until(lambda: not processes(place), "all its processes have ended")
    assert not guest.directory.exists()
    guest.stop()


@pytest.mark.guest
def test_reboot_gives_a_fresh_guest_and_one_that_nobody_asked_for_is_named(
    own_guest: Guest,
) -> None:
    pid = own_guest.pid
    own_guest.check("touch /tmp/mark")
    own_guest.reboot()
    assert own_guest.run("ls /tmp").output == ""
    assert own_guest.pid == pid
    with pytest.raises(GuestError, match="the guest rebooted"):
        own_guest.run("reboot -f; sleep 60")


@pytest.mark.guest
def test_guest_that_ends_is_told_from_one_that_is_slow(own_guest: Guest) -> None:
    own_guest.check("echo a remark")
    with pytest.raises(GuestError, match="no end after 1 s") as caught:
        own_guest.run("sleep 3", timeout=1)
    assert "a remark" in str(caught.value)
    with pytest.raises(GuestError, match="the guest ended"):
        own_guest.run("poweroff -f; sleep 60")
    assert not own_guest.running
    with pytest.raises(GuestError, match="not running"):
        own_guest.run("true")


@pytest.mark.guest
def test_killed_parent_leaves_no_process(kind: str, image: Image, runtime_dir: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ringpass.image import ensure\n"
        "from ringpass.vm.guest import Guest\n"
        "guest = getattr(Guest, sys.argv[1])(ensure(), name='vm1')\n"
        "guest.start()\n"
        "guest.wait_ready()\n"
        # UML has processes of its own for those of the guest: have some.
        "guest.check('sleep 100 & sleep 100 &')\n"
        "print('ready', flush=True)\n"
        "time.sleep(100)\n"
    )
    assert image
    with subprocess.Popen([sys.executable, "-c", script, kind], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        children = set(processes(str(runtime_dir)))
        children |= {pid for child in children for pid in descendants(child)}
        assert len(children) >= 2
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, children)), "all have ended")


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= {int(child)} | descendants(int(child))
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.guest
def test_guest_that_cannot_start_says_why(image: Image) -> None:
    guest = Guest.qemu(image, name="vm1", extra=["-device", "no-such-device"])
    with pytest.raises(GuestError, match="the guest ended") as caught, guest:
        pytest.fail("it started")
    assert "no-such-device" in str(caught.value)
    assert not guest.directory.exists()


@pytest.mark.guest
def test_two_guests_of_one_name_are_refused(image: Image) -> None:
    with (
        new_guest("uml", image) as guest,
        pytest.raises(RingpassError, match="vm1"),
        new_guest("uml", image),
    ):
        pytest.fail("it started")
    assert not guest.running


@pytest.mark.slow
def test_image_of_the_tree_is_reproducible(image: Image, tmp_path: Path) -> None:
    """Built anew, in a cache of its own, it is what the cache has, byte for byte."""
    shutil.copytree(paths.cache_dir() / "debs", tmp_path / "debs", copy_function=os.link)
    other = images.ensure("guest", cache=tmp_path)
    assert other.key == image.key
    assert other.kernel != image.kernel
    assert other.manifest.read_bytes() == image.manifest.read_bytes()
    assert other.initrd.read_bytes() == image.initrd.read_bytes()
