# SPDX-License-Identifier: BSD-2-Clause
"""The device as a socket: csrc/abi/rp_attach.h.

A connection is one open of /dev/netmap, for as long as some process has a copy of it. Each request
carries the descriptor that its answer goes to, so processes that share an open never mix up their
answers. Nothing here waits for a peer: an answer that does not fit at once ends the connection.
"""

import array
import asyncio
import logging
import socket
from collections import Counter, defaultdict
from pathlib import Path

from ringpass.descriptors import Closer
from ringpass.netmap import attach
from ringpass.netmap.attach import Attachment
from ringpass.netmap.call import Device
from ringpass.netmap.peer import Peer
from ringpass.netmap.port import Registration
from ringpass.netmap.session import Answer, Session
from ringpass.sockets import Access, bind, credentials, receive_packet, set_access

log = logging.getLogger(__name__)

FILE_NAME = "netmap.sock"
MAX_MESSAGE_BYTES = 16384
#: Opens at the same time: of all users, and of each one but the daemon's own and root.
MAX_OPENS = 1024
MAX_OPENS_OF_USER = 256
#: Seconds without a new connection when there are no descriptors left, or too many to close.
PAUSE_S = 0.5
#: Descriptors of a user that wait to be closed: each request brings one, in bursts.
MAX_WAITING = 1024
_TOO_MANY = "the user sends descriptors faster than they can be closed"


class Server:
    """The socket. Use `open` and `close` in an event loop's thread."""

    def __init__(self, path: Path, access: Access, device: Device) -> None:
        self.device = device
        self._path = path
        self._access = access
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sessions: dict[socket.socket, Session] = {}
        self._closers: defaultdict[int, Closer] = defaultdict(lambda: Closer(most=MAX_WAITING))
        """Of what each user sends."""

    def open(self) -> None:
        """Create the socket file and listen. Raises RingpassError if the path cannot be had."""
        self._socket = bind(self._path, self._access, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._socket.listen(64)
        self._listen()

    def set_access(self, access: Access) -> None:
        """Change who may connect."""
        set_access(self._path, access)
        self._access = access

    def close(self) -> None:
        """End all opens and remove the socket file."""
        if self._timer is not None:
            self._timer.cancel()
        for connected in list(self._sessions):
            self._end(connected)
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    @property
    def opens(self) -> int:
        """How many opens there are, with or without rings."""
        return len(self._sessions)

    def _listen(self) -> None:
        self._timer = None
        assert self._socket is not None
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _pause(self) -> None:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._timer = loop.call_later(PAUSE_S, self._listen)

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            connected, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            log.error("event=accept-failed path=%s why=%r", self._path, error.strerror)
            self._pause()
            return
        connected.setblocking(False)
        found = credentials(connected)
        peer = Peer(found.pid, found.uid)
        if why := self._refusal(peer):
            log.warning("event=open-refused pid=%d uid=%d why=%r", peer.pid, peer.uid, why)
            self._closers[peer.uid].hang_up(connected)
            if why == _TOO_MANY:
                self._pause()
            return
        self._sessions[connected] = Session(self.device, peer, self._describe)
        asyncio.get_running_loop().add_reader(connected, self._serve, connected)

    def _describe(self, registration: Registration) -> Attachment:
        """Return what a process is told of its rings: with the region and with eventfds."""
        return attach.describe(self.device.plane, self.device.regions, registration)

    def _refusal(self, peer: Peer) -> str:
        """Return why the peer may not open the device once more, or nothing."""
        if len(self._sessions) >= MAX_OPENS:
            return f"the device is open {MAX_OPENS} times"
        users = Counter(session.peer.uid for session in self._sessions.values())
        if not peer.privileged and users[peer.uid] >= MAX_OPENS_OF_USER:
            return f"the user has it open {MAX_OPENS_OF_USER} times"
        if self._closers[peer.uid].full:
            return _TOO_MANY
        return ""

    def _serve(self, connected: socket.socket) -> None:
        """Answer one request, so that other connections have their turn."""
        session = self._sessions[connected]
        closer = self._closers[session.peer.uid]
        if closer.full:
            log.warning("event=open-failed pid=%d why=%r", session.peer.pid, _TOO_MANY)
            self._end(connected)
            return
        try:
            message = receive_packet(connected, MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("event=open-failed why=%r", error.strerror)
            self._end(connected)
            return
        if message is None:
            self._end(connected)
            return
        try:
            answer = session.answer(message.data, whole=message.whole)
            unsent = _send(message.fds, answer)
        finally:
            for fd in message.fds:
                closer.close(fd)
        if unsent:
            peer = session.peer
            log.warning("event=answer-not-sent pid=%d uid=%d why=%r", peer.pid, peer.uid, unsent)
            self._end(connected)

    def _end(self, connected: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connected)
        session = self._sessions.pop(connected)
        try:
            session.close()
        except Exception:
            log.exception("event=close-failed pid=%d", session.peer.pid)
        finally:
            self._closers[session.peer.uid].hang_up(connected)


def _send(fds: list[int], answer: Answer) -> str:
    """Send `answer` to the first of `fds`; return why somebody waits for it in vain, or nothing."""
    if not fds:
        return "no descriptor came for the answer"
    rights = array.array("i", answer.fds)
    controls = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if answer.fds else []
    try:
        to = socket.socket(fileno=fds[0])
        try:
            if (to.family, to.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                return "the descriptor for the answer is no unix socket of packets"
            to.sendmsg([answer.data], controls, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        finally:
            to.detach()
    except ConnectionError:
        return ""  # who asked is gone; others may share the open
    except OSError as error:
        return error.strerror or str(error)
    return ""
