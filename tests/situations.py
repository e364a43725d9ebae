"""What a selector is asked about: descriptors of each kind, in each state that they can be in.

Each situation is a function that brings a source into a state and returns it; what else it opens
stays open as long as the stack does. It returns when the state is reached, or surely will be.
"""

import contextlib
import errno
import os
import pty
import select
import socket
import struct
import sys
import tempfile
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pollster import Interest, Poll, Token

Kept = contextlib.ExitStack
Make = Callable[[Kept], Any]

SITUATIONS: dict[str, Make] = {}

CLOSE_RESETS = struct.pack("ii", 1, 0)  # of SO_LINGER


def situation(name: str) -> Callable[[Make], Make]:
    def note(make: Make) -> Make:
        assert name not in SITUATIONS
        SITUATIONS[name] = make
        return make

    return note


def unix(kept: Kept, kind: int = socket.SOCK_STREAM) -> tuple[Any, Any]:
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    return kept.enter_context(ours), kept.enter_context(peer)


def tcp(kept: Kept) -> tuple[Any, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = kept.enter_context(socket.create_connection(listener.getsockname()))
        peer = kept.enter_context(listener.accept()[0])
    ours.setblocking(False)
    return ours, peer


def udp(kept: Kept) -> tuple[Any, Any]:
    ours, peer = (
        kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
    )
    for end in ours, peer:
        end.bind(("127.0.0.1", 0))
    ours.connect(peer.getsockname())
    peer.connect(ours.getsockname())
    ours.setblocking(False)
    return ours, peer


def keep(kept: Kept, fd: int) -> int:
    """Closes a descriptor at the end."""
    os.set_blocking(fd, False)
    kept.callback(os.close, fd)
    return fd


class Peer:
    """A descriptor at the other end, which a situation may close."""

    def __init__(self, kept: Kept, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        kept.callback(self.close)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def reader(kept: Kept) -> tuple[int, Peer]:
    ours, theirs = os.pipe()
    return keep(kept, ours), Peer(kept, theirs)


def writer(kept: Kept) -> tuple[int, Peer]:
    theirs, ours = os.pipe()
    return keep(kept, ours), Peer(kept, theirs)


def fifo(kept: Kept, mode: int) -> tuple[int, Peer]:
    """Opens our end as `mode` says, and the other one."""
    path = Path(kept.enter_context(tempfile.TemporaryDirectory()), "fifo")
    os.mkfifo(path)
    read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    ours, theirs = (read, write) if mode == os.O_RDONLY else (write, read)
    return keep(kept, ours), Peer(kept, theirs)


def terminal(kept: Kept) -> tuple[Peer, Peer]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    return Peer(kept, master), Peer(kept, slave)


def fill(fd: int) -> None:
    """Writes until there is no room, and none comes as what was written moves on."""
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    while waiting.poll(50):
        for size in 65536, 1:
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(fd, b"x" * size)


def until(source: Any, events: int) -> None:
    """Waits until a source is ready, by other means than those that are tested."""
    waiting = select.poll()
    waiting.register(source, events)
    assert waiting.poll(10_000), f"{source} did not become ready"


def arrive(source: Any) -> None:
    until(source, select.POLLIN)


for family, make_pair in (("unix", unix), ("tcp", tcp)):

    def streams(family: str = family, make_pair: Any = make_pair) -> None:
        @situation(f"{family}, idle")
        def _(kept: Kept) -> Any:
            return make_pair(kept)[0]

        @situation(f"{family}, data")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            peer.send(b"x")
            arrive(ours)
            return ours

        @situation(f"{family}, full")
        def _(kept: Kept) -> Any:
            ours, _ = make_pair(kept)
            fill(ours.fileno())
            return ours

        @situation(f"{family}, full with data")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            fill(ours.fileno())
            peer.send(b"x")
            arrive(ours)
            return ours

        @situation(f"{family}, peer half-closed")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            peer.shutdown(socket.SHUT_WR)
            arrive(ours)
            return ours

        @situation(f"{family}, peer half-closed after data")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            peer.send(b"x")
            peer.shutdown(socket.SHUT_WR)
            arrive(ours)
            return ours

        @situation(f"{family}, peer gone")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            peer.close()
            arrive(ours)
            return ours

        @situation(f"{family}, peer gone after data")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            peer.send(b"x")
            peer.close()
            arrive(ours)
            return ours

        @situation(f"{family}, own writing shut down")
        def _(kept: Kept) -> Any:
            ours, _ = make_pair(kept)
            ours.shutdown(socket.SHUT_WR)
            return ours

        @situation(f"{family}, own reading shut down")
        def _(kept: Kept) -> Any:
            ours, _ = make_pair(kept)
            ours.shutdown(socket.SHUT_RD)
            return ours

        @situation(f"{family}, shut down on both sides")
        def _(kept: Kept) -> Any:
            ours, peer = make_pair(kept)
            peer.shutdown(socket.SHUT_WR)
            arrive(ours)
            ours.shutdown(socket.SHUT_WR)
            return ours

    streams()


@situation("unix, peer gone with our data unread")
def _(kept: Kept) -> Any:
    ours, peer = unix(kept)
    ours.send(b"x")
    peer.close()
    return ours


@situation("tcp, reset")
def _(kept: Kept) -> Any:
    ours, peer = tcp(kept)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_RESETS)
    peer.close()
    arrive(ours)
    return ours


@situation("tcp, out-of-band byte")
def _(kept: Kept) -> Any:
    ours, peer = tcp(kept)
    peer.send(b"!", socket.MSG_OOB)
    until(ours, select.POLLPRI)
    return ours


@situation("tcp, out-of-band byte and data")
def _(kept: Kept) -> Any:
    ours, peer = tcp(kept)
    peer.send(b"!", socket.MSG_OOB)
    peer.send(b"x")
    until(ours, select.POLLPRI)
    arrive(ours)
    return ours


@situation("tcp, connect refused")
def _(kept: Kept) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    ours = kept.enter_context(socket.socket())
    ours.setblocking(False)
    assert ours.connect_ex(address) in (errno.EINPROGRESS, errno.ECONNREFUSED)
    return ours


@situation("tcp, connected at last")
def _(kept: Kept) -> Any:
    listener = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
    ours = kept.enter_context(socket.socket())
    ours.setblocking(False)
    assert ours.connect_ex(listener.getsockname()) in (errno.EINPROGRESS, 0)
    return ours


@situation("tcp, never connected")
def _(kept: Kept) -> Any:
    return kept.enter_context(socket.socket())


@situation("tcp listener, idle")
def _(kept: Kept) -> Any:
    return kept.enter_context(socket.create_server(("127.0.0.1", 0)))


@situation("tcp listener, a connection")
def _(kept: Kept) -> Any:
    listener = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
    kept.enter_context(socket.create_connection(listener.getsockname()))
    arrive(listener)
    return listener


def unix_listener(kept: Kept) -> tuple[socket.socket, str]:
    path = str(Path(kept.enter_context(tempfile.TemporaryDirectory()), "s"))
    listener = kept.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen()
    return listener, path


@situation("unix listener, idle")
def _(kept: Kept) -> Any:
    return unix_listener(kept)[0]


@situation("unix listener, a connection")
def _(kept: Kept) -> Any:
    listener, path = unix_listener(kept)
    kept.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
    return listener


@situation("udp, idle")
def _(kept: Kept) -> Any:
    return udp(kept)[0]


@situation("udp, a datagram")
def _(kept: Kept) -> Any:
    ours, peer = udp(kept)
    peer.send(b"x")
    arrive(ours)
    return ours


@situation("udp, refused")
def _(kept: Kept) -> Any:
    ours, peer = udp(kept)
    peer.close()
    ours.send(b"x")
    arrive(ours)
    return ours


@situation("unix datagrams, idle")
def _(kept: Kept) -> Any:
    return unix(kept, socket.SOCK_DGRAM)[0]


@situation("unix datagrams, one")
def _(kept: Kept) -> Any:
    ours, peer = unix(kept, socket.SOCK_DGRAM)
    peer.send(b"x")
    return ours


@situation("pipe's read end, idle")
def _(kept: Kept) -> Any:
    return reader(kept)[0]


@situation("pipe's read end, data")
def _(kept: Kept) -> Any:
    ours, peer = reader(kept)
    os.write(peer.fd, b"x")
    return ours


@situation("pipe's read end, writer gone")
def _(kept: Kept) -> Any:
    ours, peer = reader(kept)
    peer.close()
    return ours


@situation("pipe's read end, writer gone after data")
def _(kept: Kept) -> Any:
    ours, peer = reader(kept)
    os.write(peer.fd, b"x")
    peer.close()
    return ours


@situation("pipe's write end, room")
def _(kept: Kept) -> Any:
    return writer(kept)[0]


@situation("pipe's write end, full")
def _(kept: Kept) -> Any:
    ours, _ = writer(kept)
    fill(ours)
    return ours


@situation("pipe's write end, reader gone")
def _(kept: Kept) -> Any:
    ours, peer = writer(kept)
    peer.close()
    return ours


@situation("pipe's write end, reader gone when it was full")
def _(kept: Kept) -> Any:
    ours, peer = writer(kept)
    fill(ours)
    peer.close()
    return ours


@situation("FIFO's read end, nobody has written yet")
def _(kept: Kept) -> Any:
    path = Path(kept.enter_context(tempfile.TemporaryDirectory()), "fifo")
    os.mkfifo(path)
    return keep(kept, os.open(path, os.O_RDONLY | os.O_NONBLOCK))


@situation("FIFO's read end, data")
def _(kept: Kept) -> Any:
    ours, peer = fifo(kept, os.O_RDONLY)
    os.write(peer.fd, b"x")
    return ours


@situation("FIFO's read end, writer gone")
def _(kept: Kept) -> Any:
    ours, peer = fifo(kept, os.O_RDONLY)
    peer.close()
    return ours


@situation("FIFO's write end, room")
def _(kept: Kept) -> Any:
    return fifo(kept, os.O_WRONLY)[0]


@situation("FIFO's write end, reader gone")
def _(kept: Kept) -> Any:
    ours, peer = fifo(kept, os.O_WRONLY)
    peer.close()
    return ours


@situation("terminal, idle")
def _(kept: Kept) -> Any:
    return terminal(kept)[1].fd


@situation("terminal, input")
def _(kept: Kept) -> Any:
    master, slave = terminal(kept)
    os.write(master.fd, b"x")
    arrive(slave.fd)
    return slave.fd


if sys.platform.startswith("linux"):
    # FreeBSD registers no terminal that has lost its master: ttydev_enter() in tty.c, ENXIO.

    @situation("terminal, hung up")
    def _(kept: Kept) -> Any:
        master, slave = terminal(kept)
        master.close()
        arrive(slave.fd)
        return slave.fd


@situation("terminal's master, idle")
def _(kept: Kept) -> Any:
    return terminal(kept)[0].fd


@situation("terminal's master, output")
def _(kept: Kept) -> Any:
    master, slave = terminal(kept)
    os.write(slave.fd, b"x")
    arrive(master.fd)
    return master.fd


@situation("terminal's master, nobody at the terminal")
def _(kept: Kept) -> Any:
    master, slave = terminal(kept)
    slave.close()
    arrive(master.fd)
    return master.fd


if hasattr(os, "eventfd"):

    @situation("eventfd, 0")
    def _(kept: Kept) -> Any:
        return keep(kept, os.eventfd(0))

    @situation("eventfd, 1")
    def _(kept: Kept) -> Any:
        return keep(kept, os.eventfd(1))

    @situation("eventfd, full")
    def _(kept: Kept) -> Any:
        fd = keep(kept, os.eventfd(0))
        os.eventfd_write(fd, (1 << 64) - 2)
        return fd


@situation("a queue, nothing ready")
def _(kept: Kept) -> Any:
    return kept.enter_context(Poll())


@situation("a queue, something ready")
def _(kept: Kept) -> Any:
    poll = kept.enter_context(Poll())
    poll.registry.register(writer(kept)[0], Token(1), Interest.WRITABLE)
    return poll
