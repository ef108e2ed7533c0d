# SPDX-License-Identifier: BSD-2-Clause
"""Doctor finds what is wrong, and has something to say about it."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringpass.doctor import accelerator, guests, memory, programs, system
from ringpass.doctor.finding import Finding
from ringpass.doctor.probe import Outcome, probe
from ringpass.image import Image
from ringpass.vm import uml
from tests.support.wait import PATIENCE_S


def image(directory: Path) -> Image:
    return Image("guest", "k", directory / "k", directory / "i", directory / "u", directory / "m")


def program(directory: Path, name: str, script: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_probe_sees_its_line_and_ends_the_guest(tmp_path: Path) -> None:
    script = program(tmp_path, "guest", f"sleep 60 & echo $! >{tmp_path}/pid; echo here; wait")
    outcome = probe([str(script)], "here", PATIENCE_S)
    assert outcome.seen
    assert outcome.seconds < PATIENCE_S
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_probe_gives_up_at_its_deadline() -> None:
    start = time.monotonic()
    for deadline in (0.5, 5, 50):  # a busy machine may start nothing for a while
        outcome = probe(["sh", "-c", "echo almost; exec sleep 600"], "here", deadline)
        if outcome.last_line:
            break
    assert not outcome.seen
    assert not outcome.ended
    assert outcome.last_line == "almost"
    assert time.monotonic() - start < 2 * PATIENCE_S


def test_probe_notices_an_early_end() -> None:
    outcome = probe(["sh", "-c", "echo no; exit 1"], "here", PATIENCE_S)
    assert (outcome.seen, outcome.ended, outcome.last_line) == (False, True, "no")


def test_kvm_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    finding = accelerator.check_kvm(image(tmp_path))
    assert finding.status == "warn"
    assert "does not exist" in finding.why
    assert "TCG" in finding.fix


def test_kvm_that_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(os, "access", lambda *_args: False)
    assert "usermod -aG kvm" in accelerator.check_kvm(image(tmp_path)).fix


def test_kvm_without_a_kernel_to_try_is_not_called_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    finding = accelerator.check_kvm(None)
    assert finding.status == "warn"
    assert "ringpass image build" in finding.fix


# What a QEMU does, and what is to be said about it. The stand-ins are found in PATH.
QEMU_KINDS = {
    "works": (f"echo '{accelerator.WITHOUT_ROOT} on unknown-block'; sleep 60", "ok", ""),
    "hangs": ("sleep 60", "warn", "did not boot"),
    "gives up": ("echo 'failed to set MSR'; exit 134", "warn", "failed to set MSR"),
    "is picky": (
        f"case $* in *qemu64*) echo '{accelerator.WITHOUT_ROOT}';; *) echo no host;; esac",
        "warn",
        "-cpu qemu64: works",
    ),
}


@pytest.mark.parametrize("kind", QEMU_KINDS)
def test_kvm_is_judged_by_what_it_boots(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    script, status, why = QEMU_KINDS[kind]
    program(tmp_path, "qemu-system-x86_64", script)
    (tmp_path / "kvm").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(accelerator, "DEADLINE", 1.0 if kind == "hangs" else PATIENCE_S)
    finding = accelerator.check_kvm(image(tmp_path))
    assert finding.status == status
    assert why in finding.why
    if status == "warn":
        assert "opens, but does not run a stock guest" in finding.what


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'", "ok", "7.2.22"),
        ("echo 'QEMU emulator version 10.0.2'", "ok", "10.0.2"),
        ("echo 'QEMU emulator version 5.2.0'", "warn", "5.2.0"),
        ("exit 1", "fail", "not installed"),
    ],
)
def test_qemu_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, status: str, words: str
) -> None:
    program(tmp_path, "qemu-system-x86_64", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = programs.check_qemu()
    assert finding.status == status
    assert words in finding.what


def test_msix_crash_is_explained_where_it_matters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(tmp_path, "qemu-system-x86_64", "echo 'QEMU emulator version 7.2.22'")
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = programs.check_qemu_msix(kvm_works=False)
    assert finding.status == "warn"
    assert "virtio-net-pci.vectors=0" in finding.fix
    assert programs.check_qemu_msix(kvm_works=True).status == "ok"


def test_old_libvirt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.check_libvirt().status == "ok"
    program(tmp_path, "libvirtd", "echo 'libvirtd (libvirt) 6.0.0'")
    assert programs.check_libvirt().status == "warn"
    program(tmp_path, "libvirtd", "echo 'libvirtd (libvirt) 9.0.0'")
    assert programs.check_libvirt().status == "ok"


def test_memfd_of_this_machine_works_and_a_broken_one_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert memory.check_memfd().status == "ok"
    file = tmp_path / "file"
    # A plain file takes no seals: what a kernel without them would be like.
    monkeypatch.setattr(os, "memfd_create", lambda *_args: os.open(file, os.O_RDWR | os.O_CREAT))
    assert memory.check_memfd().status == "fail"


def test_shared_memory_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(uml.ENVIRONMENT, "TMPDIR", str(tmp_path))
    monkeypatch.setattr(memory, "UML_GUEST", 1)
    assert memory.check_shm().status == "ok"
    monkeypatch.setattr(memory, "UML_GUEST", 1 << 60)
    assert "MiB" in memory.check_shm().what
    monkeypatch.setitem(uml.ENVIRONMENT, "TMPDIR", str(tmp_path / "absent"))
    finding = memory.check_shm()
    assert finding.status == "warn"
    assert "noexec" in finding.fix


def test_missing_build_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = guests.check_image(None)
    assert finding.status == "fail"
    assert "lz4" in finding.why
    assert "build-essential" in finding.fix
    assert "apt-get" not in finding.why
    assert guests.check_image(image(tmp_path)).status == "warn"


def test_uml_that_does_not_run_says_its_last_words(tmp_path: Path) -> None:
    program(tmp_path, "u", "echo 'check_ptrace : expected SIGSTOP'; exit 1")
    finding = guests.check_uml(image(tmp_path))
    assert finding.status == "warn"
    assert "check_ptrace" in finding.why
    program(tmp_path, "u", "echo 'Linux version 6.1'; sleep 60")
    assert guests.check_uml(image(tmp_path)).status == "ok"


def test_runtime_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", str(tmp_path / "not/yet/there"))
    assert system.check_runtime_dir().status == "ok"
    monkeypatch.setenv("RINGPASS_RUNTIME_DIR", "/dev/null/ringpass")
    assert system.check_runtime_dir().status == "fail"


@pytest.mark.parametrize(
    ("cpus", "workers", "status"),
    [
        (4, ["adaptive"], "ok"),
        (2, ["adaptive", "adaptive"], "warn"),
        (1, ["adaptive"], "warn"),
        (2, ["busy", "busy"], "fail"),
    ],
)
def test_processors_against_workers(
    monkeypatch: pytest.MonkeyPatch, cpus: int, workers: list[str], status: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cpus)))
    monkeypatch.setattr(system, "running_workers", lambda: workers)
    assert system.check_cpus().status == status


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_NOFILE: (1024, 1024), resource.RLIMIT_MEMLOCK: (-1, -1)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[which])
    assert "LimitNOFILE" in system.check_limits().fix
    limits[resource.RLIMIT_NOFILE] = (1024, 1 << 20)
    assert system.check_limits().status == "ok"
    limits[resource.RLIMIT_MEMLOCK] = (65536, 65536)
    assert "lock 64 KiB" in system.check_limits().what


def test_every_finding_that_is_not_ok_has_why_and_fix() -> None:
    outcome = Outcome(seen=False, ended=False, seconds=10, output="")
    found = [accelerator.judged({"host": outcome}), *quick_findings()]
    for finding in found:
        assert finding.what
        if finding.status != "ok":
            assert finding.why
            assert finding.fix


def quick_findings() -> list[Finding]:
    """Return what the checks find on this machine that start no guest."""
    return [
        programs.check_qemu(),
        programs.check_qemu_msix(kvm_works=False),
        programs.check_libvirt(),
        memory.check_memfd(),
        memory.check_shm(),
        guests.check_image(None),
        system.check_runtime_dir(),
        system.check_socket_user(),
        system.check_cpus(),
        system.check_limits(),
    ]


@pytest.mark.slow
def test_command_prints_every_check(runtime_dir: Path) -> None:
    assert runtime_dir.exists()
    done = subprocess.run(
        [Path(sys.executable).with_name("ringpass"), "doctor", "--json"],
        stdout=subprocess.PIPE,
        check=False,
    )
    findings = json.loads(done.stdout)
    names = [finding["check"] for finding in findings]
    assert len(names) == len(set(names))
    assert {"qemu", "kvm", "qemu-msix", "memfd", "uml", "image", "cpus", "limits"} <= set(names)
    failed = [finding for finding in findings if finding["status"] == "fail"]
    assert done.returncode == (1 if failed else 0)
