"""What can be watched: each kind of source as two ends, ours and the peer's.

What a peer does has arrived when the call returns: an independent witness (FIONREAD, poll(2), the
standard library's kqueue) sees to it, since a loopback network may take a moment. So a scenario
need not wait, and a one-shot event is not spent on half of the news.
"""

import contextlib
import errno
import fcntl
import os
import pty
import select
import socket
import struct
import sys
import termios
import time
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from pollster import Interest, Poll, SourceLike, Token

WAIT = 10.0  # seconds until what has not come never will

TCP = ("tcp4", "tcp6")
UNIX = ("unix stream", "socketpair")
STREAMS = TCP + UNIX
UDP = ("udp4", "udp6")
DATAGRAMS = (*UDP, "unix datagram")
SOCKETS = STREAMS + DATAGRAMS
PIPES = ("pipe", "fifo")
TERMINALS = ("pty master", "pty slave")
TWO_WAY = (*SOCKETS, *TERMINALS, "eventfd")
WRITABLE_KINDS = (*TWO_WAY, *PIPES)
READABLE_KINDS = (*WRITABLE_KINDS, "poll")
LISTENERS = (*TCP, "unix stream")
BOUNDED = (*UNIX, *PIPES, "eventfd")  # full at once when a write says so, and no sooner

# How a table names what several cases have in common.
GROUPS = {
    "every source": READABLE_KINDS,
    "all but a Poll": WRITABLE_KINDS,
    "two-way": TWO_WAY,
    "sockets": SOCKETS,
    "stream sockets": STREAMS,
    "TCP": TCP,
    "Unix streams": UNIX,
    "UDP": UDP,
    "datagrams": DATAGRAMS,
    "pipes": PIPES,
    "listeners": LISTENERS,
    "bounded": BOUNDED,
}

CHUNK = 65536


FIN_WAIT1 = 4  # of Linux's TCP states


def wait_until(condition: Callable[[], bool]) -> None:
    """Yields the processor until the condition holds."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it did not arrive"
        os.sched_yield()


def unread(fd: int) -> int:
    """How many bytes a read would find."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])


def accepted(listener: socket.socket) -> socket.socket:
    """Accepts a connection, which may be still on its way."""
    assert select.select([listener], [], [], WAIT)[0], "nobody came"
    return listener.accept()[0]


def wait_for_end(fd: int, *, sending: bool = False) -> None:
    """Waits until a socket can receive no more, or send no more."""
    if sys.platform != "linux":
        which = select.KQ_FILTER_WRITE if sending else select.KQ_FILTER_READ
        with contextlib.closing(select.kqueue()) as queue:
            changes = [select.kevent(fd, which, select.KQ_EV_ADD)]
            ended = select.KQ_EV_EOF
            wait_until(lambda: any(e.flags & ended for e in queue.control(changes, 1, WAIT)))
    else:
        poll = select.poll()
        rdhup = getattr(select, "POLLRDHUP", 0x2000)  # PyPy has no name for it
        poll.register(fd, 0 if sending else rdhup)
        assert poll.poll(WAIT * 1000), "it did not end"


class End(ABC):
    """One end. `source` is what a user would register."""

    @property
    @abstractmethod
    def source(self) -> SourceLike:
        """An object or a descriptor."""

    @abstractmethod
    def fileno(self) -> int:
        """Its descriptor, -1 once it is closed."""

    @abstractmethod
    def send(self, data: bytes) -> int:
        """Sends, and returns when the other end has it."""

    @abstractmethod
    def recv(self, size: int = CHUNK) -> bytes:
        """Receives what is there."""

    @abstractmethod
    def close(self) -> None:
        """Closes, and returns when the other end knows; twice changes nothing."""

    def drain(self) -> None:
        """Receives until nothing is left."""
        with contextlib.suppress(BlockingIOError):
            while self.recv():
                pass

    def fill(self) -> None:
        """Sends until nothing more fits."""
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.fileno(), bytes(CHUNK))


class SocketEnd(End):
    """A socket, registered as the object."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.partner: SocketEnd | None = None
        sock.setblocking(False)

    @property
    def source(self) -> SourceLike:
        return self.sock

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, data: bytes, flags: int = 0) -> int:
        partner = self._open_partner()
        if partner is None or flags:
            return self.sock.send(data, flags)
        before = unread(partner.fileno())
        count = self.sock.send(data)
        if self.sock.type == socket.SOCK_STREAM:
            wait_until(lambda: unread(partner.fileno()) == before + count)
        elif sys.platform == "linux" or not data:
            assert select.select([partner], [], [], WAIT)[0]
        else:  # FIONREAD is about the next datagram on Linux, where this one has come
            wait_until(lambda: unread(partner.fileno()) > before)
        return count

    def recv(self, size: int = CHUNK) -> bytes:
        return self.sock.recv(size)

    def shutdown(self, how: int) -> None:
        """Shuts down, and returns when the other end knows."""
        self.sock.shutdown(how)
        partner = self._open_partner()
        if how != socket.SHUT_RD and partner:
            wait_for_end(partner.fileno())
            self._wait_for_ack()

    def _wait_for_ack(self) -> None:
        """Waits until the end that was sent is confirmed, which is an edge of its own: tcp(7)."""
        if sys.platform == "linux" and self.sock.family != socket.AF_UNIX:
            tcp, info = socket.IPPROTO_TCP, socket.TCP_INFO
            wait_until(lambda: self.sock.getsockopt(tcp, info, 1)[0] != FIN_WAIT1)

    def close(self) -> None:
        partner = self._open_partner()
        self.sock.close()
        if partner and self.sock.type == socket.SOCK_STREAM:
            wait_for_end(partner.fileno())

    def reset(self) -> None:
        """Closes a TCP connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send_into_void(self) -> None:
        """Sends to a TCP peer that is gone, and returns when its reset has come."""
        self.sock.send(b"x")
        wait_for_end(self.fileno(), sending=True)

    def so_error(self) -> int:
        """Takes the pending error."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _open_partner(self) -> "SocketEnd | None":
        there = self.partner is not None and self.fileno() >= 0 and self.partner.fileno() >= 0
        return self.partner if there else None


class FileEnd(End):
    """A pipe's, FIFO's or terminal's end, registered as the descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.partner: FileEnd | None = None
        os.set_blocking(fd, False)

    @property
    def source(self) -> SourceLike:
        return self.fd

    def fileno(self) -> int:
        return self.fd

    def send(self, data: bytes) -> int:
        count = os.write(self.fd, data)
        if self.partner and self.partner.fd >= 0:
            assert select.select([self.partner], [], [], WAIT)[0]
        return count

    def recv(self, size: int = CHUNK) -> bytes:
        return os.read(self.fd, size)

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class EventEnd(FileEnd):
    """An eventfd, which is both ends: sending adds to its counter, receiving takes it."""

    def send(self, data: bytes) -> int:
        os.eventfd_write(self.fd, len(data))
        return len(data)

    def recv(self, size: int = 8) -> bytes:
        return os.read(self.fd, 8)

    def fill(self) -> None:
        # eventfd(2): the largest counter is 2**64 - 2; nothing can be added to it.
        os.eventfd_write(self.fd, 2**64 - 2)


class PollEnd(End):
    """Another Poll, readable while it has events; receiving handles them."""

    def __init__(self, poll: Poll, inner: FileEnd) -> None:
        self.poll = poll
        self.inner = inner

    @property
    def source(self) -> SourceLike:
        return self.poll

    def fileno(self) -> int:
        return -1 if self.poll.closed else self.poll.fileno()

    def send(self, data: bytes) -> int:
        raise NotImplementedError("a Poll is READABLE only")

    def recv(self, size: int = CHUNK) -> bytes:
        data = self.inner.recv(size)
        if not unread(self.inner.fd):
            # kqueue(2): a nested queue's readiness is looked at anew when it is polled.
            assert not self.poll.poll(timeout=0)
        return data

    def close(self) -> None:
        self.poll.close()
        self.inner.close()


Ends = tuple[End, End]
Sockets = tuple[SocketEnd, SocketEnd]


def joined(ours: socket.socket, peer: socket.socket) -> Sockets:
    """Two connected sockets as ends that know each other."""
    ends = SocketEnd(ours), SocketEnd(peer)
    ends[0].partner, ends[1].partner = ends[1], ends[0]
    return ends


def files(ours: int, peer: int) -> tuple[FileEnd, FileEnd]:
    """Two descriptors as ends that know each other."""
    ends = FileEnd(ours), FileEnd(peer)
    ends[0].partner, ends[1].partner = ends[1], ends[0]
    return ends


def family(kind: str) -> socket.AddressFamily:
    """The address family of a kind of socket."""
    if kind.startswith("unix"):
        return socket.AF_UNIX
    return socket.AF_INET6 if kind.endswith("6") else socket.AF_INET


def listener(kind: str, folder: Path) -> socket.socket:
    """A listening socket."""
    if kind not in LISTENERS:
        raise ValueError(f"{kind!r} does not listen")
    sock = socket.socket(family(kind))
    if kind in TCP:
        sock.bind(("127.0.0.1" if kind == "tcp4" else "::1", 0))
    else:
        sock.bind(str(folder / "listener"))
    sock.listen(128)
    return sock


def connected(kind: str, folder: Path) -> Sockets:
    """Two connected sockets."""
    if kind == "socketpair":
        return joined(*socket.socketpair())
    if kind == "unix datagram":
        return joined(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    if kind in UDP:
        pair = [socket.socket(family(kind), socket.SOCK_DGRAM) for _ in range(2)]
        for sock in pair:
            sock.bind(("127.0.0.1" if kind == "udp4" else "::1", 0))
        for sock, other in zip(pair, reversed(pair), strict=True):
            sock.connect(other.getsockname())
        return joined(*pair)
    with listener(kind, folder) as listening:
        ours = socket.socket(family(kind))
        ours.connect(listening.getsockname())
        peer = accepted(listening)
    if kind == "unix stream":
        (folder / "listener").unlink()
    return joined(ours, peer)


def fifo(path: Path) -> tuple[FileEnd, FileEnd]:
    """A FIFO's read and write end."""
    if not path.exists():
        os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return files(reader, os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def terminal() -> tuple[FileEnd, FileEnd]:
    """A pseudo-terminal's master and slave, without a line discipline's editing."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    return files(master, slave)


def one_way(kind: str, folder: Path) -> tuple[FileEnd, FileEnd]:
    """A read and a write end."""
    return files(*os.pipe()) if kind == "pipe" else fifo(folder / "fifo")


def nested(backend: str) -> Ends:
    """A Poll with a pipe in it, and the pipe's write end."""
    reader, writer = one_way("pipe", Path())
    poll = Poll(backend=backend)
    poll.registry.register(reader.fd, Token(0), Interest.READABLE)
    return PollEnd(poll, reader), writer


def missing(kind: str) -> str | None:
    """Why this machine has no such source; None where it has."""
    if kind == "eventfd" and not hasattr(os, "eventfd"):
        return "this system's Python has no os.eventfd"
    if kind in ("tcp6", "udp6"):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.bind(("::1", 0))
        except OSError as error:
            return f"this machine has no IPv6 loopback ({errno.errorcode.get(error.errno or 0)})"
    return None
