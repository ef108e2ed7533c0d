# SPDX-License-Identifier: BSD-2-Clause
"""A libvirtd of a test's own, which knows nothing of the machine's and leaves nothing behind.

It runs as root in namespaces for mounts and processes: what it has in /etc, /run and /var is below
one directory, and it ends with all its domains when its context, or the test's process, does.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, cast
from xml.sax.saxutils import quoteattr

import libvirt
import pexpect
from pexpect.fdpexpect import fdspawn

from ringpass.image import Image
from ringpass.vm.guest import Guest, Transcript
from ringpass.vm.launch import serials
from ringpass.vm.nic import Nic, guest_parameters
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

#: Its root: mounts, and then what a process 1 must do: reap what is left to it. libvirt waits for
#: processes that it has killed to go away, zombies included.
INIT = """
set -e
mount -t tmpfs none /run
mkdir /run/libvirt /run/lock
mount --bind "$1/etc" /etc/libvirt
for name in lib cache log; do
    mount --bind "$1/$name" "/var/$name/libvirt"
done
echo ready
exec env --ignore-signal=CHLD sleep infinity
"""

DAEMON_CONF = """
unix_sock_dir = "{place}"
unix_sock_group = "root"
unix_sock_rw_perms = "0777"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "{uuid}"
log_outputs = "2:file:{place}/libvirtd.log"
"""

#: Without virtlogd, systemd and control groups; domains run as the user of Debian's package.
QEMU_CONF = """
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
"""

START_S = 60.0

# What fails is told by exceptions; the library would print it as well.
libvirt.registerErrorHandler(lambda *_: None, None)


class Libvirtd:
    """libvirtd, and what its domains need. A context manager.

    `place` can be searched by everyone, as a domain's files must be.
    """

    def __init__(self) -> None:
        self.cleanup = contextlib.ExitStack()
        self.process: subprocess.Popen[bytes] | None = None
        self._connection: libvirt.virConnect | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rp-virt-")))
            place.chmod(0o755)
            self.place = place
            for name in ("etc", "lib", "cache", "log"):
                (place / name).mkdir()
            (place / "etc/qemu.conf").write_text(QEMU_CONF)
            (place / "etc/libvirtd.conf").write_text(
                DAEMON_CONF.format(place=place, uuid=uuid.uuid4())
            )
            self._enter_namespaces(stack)
            stack.callback(self.stop)
            self.start()
            self.cleanup = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cleanup.close()

    @property
    def uri(self) -> str:
        """What it is called by clients outside its namespaces, in the same mount of /tmp."""
        return f"qemu:///system?socket={self.place}/libvirt-sock"

    @property
    def connection(self) -> libvirt.virConnect:
        """A connection of the test's own, made anew if libvirtd was restarted."""
        if self._connection is None or not self._connection.isAlive():
            self._connection = libvirt.open(self.uri)
        return self._connection

    @property
    def log(self) -> str:
        """What it complained of."""
        path = self.place / "libvirtd.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        enter = ["nsenter", "--target", str(self.init), "--mount", "--pid"]
        argv = [*enter, "libvirtd", "-f", f"{self.place}/etc/libvirtd.conf"]
        with (self.place / "out").open("ab") as out:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        wait_until(self._answers, f"libvirtd answers: {self.log}", START_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon, and not its domains: the next `start` finds them running."""
        if self.process is not None:
            if self._connection is not None:
                with contextlib.suppress(libvirt.libvirtError):
                    self._connection.close()
                self._connection = None
            for pid in children(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.process.wait(30)
            self.process = None

    def restart(self) -> None:
        """Let it crash, and start another."""
        self.stop(signal.SIGKILL)
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the daemon stand still, and go on again."""
        assert self.process is not None
        (pid,) = children(self.process.pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            # nsenter stands still with its child, and wakes it.
            os.kill(self.process.pid, signal.SIGCONT)
            os.kill(pid, signal.SIGCONT)

    def virsh(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run virsh on it."""
        return subprocess.run(
            ["virsh", "-q", "-c", self.uri, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=check,
        )

    def daemon(self, name: str, text: str) -> Daemon:
        """Return a daemon, not started, in a directory of its own that domains can search."""
        place = self.place / name
        place.mkdir(mode=0o711)
        return Daemon(place, text)

    def public(self, path: Path) -> Path:
        """Return a copy of a file that domains can read: they run as another user.

        libvirt makes that user the owner of what a domain boots from.
        """
        directory = self.place / "images"
        directory.mkdir(exist_ok=True)
        copy = directory / f"{path.parent.name}-{path.name}"
        if not copy.exists():
            shutil.copyfile(path, copy)
            copy.chmod(path.stat().st_mode | 0o444)
        return copy

    def domain_xml(self, image: Image, name: str, **options: Any) -> str:
        """Return the XML of a domain that boots `image`. `options` are those of `domain_xml`."""
        kernel, initrd = self.public(image.kernel), self.public(image.initrd)
        console = self.place / f"{name}.console"
        return domain_xml(name, kernel, initrd, console, **options)

    def define(self, image: Image, name: str, **options: Any) -> libvirt.virDomain:
        """Define a domain that boots `image`. `options` are those of `domain_xml`."""
        return self.connection.defineXML(self.domain_xml(image, name, **options))

    def guest(self, name: str) -> "DomainGuest":
        """Return the guest in a defined domain, not started."""
        return DomainGuest(self, name)

    def clear(self) -> None:
        """Destroy and undefine all domains."""
        for domain in self.connection.listAllDomains():
            with contextlib.suppress(libvirt.libvirtError):
                domain.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                domain.undefine()

    def _enter_namespaces(self, stack: contextlib.ExitStack) -> None:
        space = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        script = ["sh", "-c", INIT, "init", str(self.place)]
        process = stack.enter_context(
            subprocess.Popen(
                # Whatever ends the test ends its namespaces, and so all that is in them.
                ["setpriv", "--pdeathsig", "KILL", *space, *script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (self.init,) = children(process.pid)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"libvirtd ended:\n{(self.place / 'out').read_text()}"
        with contextlib.suppress(libvirt.libvirtError):
            return bool(self.connection.isAlive())
        return False


class DomainGuest(Guest):
    """The guest in a libvirt domain, driven through the domain's serial console."""

    def __init__(self, libvirtd: Libvirtd, name: str) -> None:
        self.libvirtd = libvirtd
        self.name = name
        self.log = Transcript()
        self.console = None
        self.serial = serials

    @property
    def domain(self) -> libvirt.virDomain:
        """libvirt's handle of it, of the connection that lives now."""
        return self.libvirtd.connection.lookupByName(self.name)

    def start(self) -> None:
        """Start the domain, and read its console from the first byte on."""
        self.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(str(self.libvirtd.place / f"{self.name}.console"))
        reading = fdspawn(connected.detach(), encoding="utf-8", codec_errors="replace", timeout=30)
        self.console = cast("pexpect.spawn[str]", reading)  # what we call of it, both have
        self.console.logfile_read = self.log
        self.console.delaybeforesend = None
        self.domain.resume()

    def ending(self) -> str:
        """Say what libvirt says of it."""
        return f"state and reason {self.domain.state()}"

    def kill(self) -> None:
        """Destroy the domain. It stays defined."""
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.destroy()
        if self.console is not None:
            self.console.close()


def domain_xml(
    name: str,
    kernel: Path,
    initrd: Path,
    console: Path,
    *,
    memory: int = 192,
    shared: bool = True,
    guarded: bool = True,
    devices: str = "",
    nics: Iterable[Nic] = (),
    emulator: str = "/usr/bin/qemu-system-x86_64",
) -> str:
    """Return a domain for TCG. `memory` is in MiB.

    shared    the guest's memory is a memfd that others can map
    guarded   virtio NICs have no MSI-X, which QEMU 7.2 crashes of with vhost-user under TCG
    devices   XML to stand among the devices
    nics      whose addresses the guest is told at boot
    """
    parameters = " ".join(guest_parameters(name, tuple(nics)))
    sharing = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
    guard = (
        "<qemu:commandline><qemu:arg value='-global'/>"
        "<qemu:arg value='virtio-net-pci.vectors=0'/></qemu:commandline>"
    )
    return f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  {sharing if shared else ""}
  <vcpu>1</vcpu>
  <cpu mode='custom' match='exact'><model>qemu64</model>
    <feature policy='require' name='rdrand'/></cpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 no_timer_check {parameters}</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='unix'><source mode='bind' path={quoteattr(str(console))}/></serial>
    {devices}
  </devices>
  {guard if guarded else ""}
</domain>
"""


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
