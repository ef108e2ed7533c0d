# SPDX-License-Identifier: BSD-2-Clause
"""The daemon's life: one a runtime directory, from its configuration to a clean end."""

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from ringpass import paths
from ringpass.config import Config
from ringpass.daemon.backend import Backend
from ringpass.daemon.control import Control
from ringpass.daemon.methods import Methods
from ringpass.dataplane import DataPlane
from ringpass.errors import Denied, RingpassError
from ringpass.keeper.entries import Entries
from ringpass.keeper.link import link
from ringpass.netlink import links
from ringpass.observe.counters import FILE_NAME as COUNTERS
from ringpass.observe.counters import Counters

log = logging.getLogger(__name__)

LOCK = "daemon.lock"

BEAT_S = 1.0


def run(config: Config, runtime_dir: Path) -> None:
    """Run a daemon until SIGTERM, SIGINT or the method `shutdown`.

    Raises RingpassError if it cannot start: nothing of it remains then.
    """
    _allow_many_descriptors()
    with _runtime(runtime_dir):
        asyncio.run(_serve(config, runtime_dir))


def _allow_many_descriptors() -> None:
    """Raise the limit of open files as far as we may: a port takes about a dozen."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: Config, runtime_dir: Path) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with (
        contextlib.closing(Entries(link(runtime_dir))) as entries,
        _counters_file(runtime_dir / COUNTERS) as counters_fd,
        DataPlane(counters_fd) as dataplane,
        Counters(runtime_dir / COUNTERS) as counters,
        contextlib.closing(Backend(dataplane, counters, runtime_dir, entries)) as backend,
    ):
        control = Control(paths.control_socket(runtime_dir), Methods(backend, stop.set))
        async with contextlib.AsyncExitStack() as serving:
            try:
                backend.start(config)
                backend.open()
                serving.enter_context(_watch(dataplane.event_fd(), backend.note_broken))
                serving.enter_context(_links(backend.look_at_interfaces))
                await serving.enter_async_context(control)
            except BaseException:
                backend.abandon()
                raise
            backend.go_on()
            entries.ready()
            log.info("event=ready pid=%d runtime_dir=%s", os.getpid(), runtime_dir)
            await _beat_until(stop, dataplane)
        log.info("event=stopping")


async def _beat_until(stop: asyncio.Event, dataplane: DataPlane) -> None:
    """Give signs of life until `stop` is set: who reads the counters sees that this loop runs."""
    while not stop.is_set():
        dataplane.beat()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)


@contextlib.contextmanager
def _watch(event_fd: int, callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` whenever the eventfd `event_fd` was written."""

    def wake() -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(event_fd)
        callback()

    loop = asyncio.get_running_loop()
    loop.add_reader(event_fd, wake)
    try:
        yield
    finally:
        loop.remove_reader(event_fd)


@contextlib.contextmanager
def _links(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` whenever an interface of the host came, went or changed."""
    loop = asyncio.get_running_loop()
    with links.news() as source:

        def look() -> None:
            links.drain(source)
            callback()

        loop.add_reader(source, look)
        try:
            yield
        finally:
            loop.remove_reader(source)


@contextlib.contextmanager
def _runtime(directory: Path) -> Iterator[None]:
    """Create the runtime directory and be its only daemon.

    The lock is the kernel's: it goes with the process that holds it, however that ends.
    """
    what = f"cannot start in {directory}"
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError as error:
        raise Denied(what, str(error), "choose another place: --runtime-dir DIR") from error
    except OSError as error:
        raise RingpassError(what, str(error), "choose another place: --runtime-dir DIR") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            raise RingpassError(
                what,
                f"a daemon already runs there: process {pid}",
                "use it (ringpass status), stop it (ringpass down), or choose another directory",
            ) from error
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _counters_file(path: Path) -> Iterator[int]:
    """Make a new counters file; whoever still maps that of an earlier daemon keeps the old one."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
