"""What a selector is asked about: descriptors of each kind, in each state that they can be in.

Each situation is a function that brings a source into a state and returns it; what else it opens
stays open as long as the `Kept` does. It returns when the state is reached, or surely will be.
"""

import contextlib
import errno
import os
import pty
import select
import socket
import struct
import tempfile
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pollster import Interest, Poll, Token

Make = Callable[[contextlib.ExitStack], Any]

SITUATIONS: dict[str, Make] = {}

NO_DELAY_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


def situation(name: str) -> Callable[[Make], Make]:
    def note(make: Make) -> Make:
        assert name not in SITUATIONS
        SITUATIONS[name] = make
        return make

    return note


def unix(kept: contextlib.ExitStack, kind: int = socket.SOCK_STREAM) -> tuple[Any, Any]:
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    return kept.enter_context(ours), kept.enter_context(peer)


def tcp(kept: contextlib.ExitStack) -> tuple[Any, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = kept.enter_context(socket.create_connection(listener.getsockname()))
        peer = kept.enter_context(listener.accept()[0])
    ours.setblocking(False)
    return ours, peer


def udp(kept: contextlib.ExitStack) -> tuple[Any, Any]:
    ours, peer = (
        kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
    )
    for end in ours, peer:
        end.bind(("127.0.0.1", 0))
    ours.connect(peer.getsockname())
    peer.connect(ours.getsockname())
    ours.setblocking(False)
    return ours, peer


def keep(kept: contextlib.ExitStack, fd: int) -> int:
    """Closes a descriptor at the end; a situation may have closed it before."""

    def close() -> None:
        with contextlib.suppress(OSError):
            if os.fstat(fd).st_ino == number:
                os.close(fd)

    number = os.fstat(fd).st_ino
    kept.callback(close)
    os.set_blocking(fd, False)
    return fd


def pipe(kept: contextlib.ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    return keep(kept, reader), keep(kept, writer)


def fifo(kept: contextlib.ExitStack, *modes: int) -> list[int]:
    path = Path(kept.enter_context(tempfile.TemporaryDirectory()), "fifo")
    os.mkfifo(path)
    return [keep(kept, os.open(path, mode | os.O_NONBLOCK)) for mode in modes]


def terminal(kept: contextlib.ExitStack) -> tuple[int, int]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    return keep(kept, master), keep(kept, slave)


def fill(write: Callable[[bytes], int]) -> None:
    for size in 65536, 1:
        with contextlib.suppress(BlockingIOError):
            while True:
                write(b"x" * size)


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
        def _(kept: contextlib.ExitStack) -> Any:
            return make_pair(kept)[0]

        @situation(f"{family}, data")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            peer.send(b"x")
            arrive(ours)
            return ours

        @situation(f"{family}, full")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, _ = make_pair(kept)
            fill(ours.send)
            return ours

        @situation(f"{family}, full with data")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            fill(ours.send)
            peer.send(b"x")
            arrive(ours)
            return ours

        @situation(f"{family}, peer half-closed")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            peer.shutdown(socket.SHUT_WR)
            arrive(ours)
            return ours

        @situation(f"{family}, peer half-closed after data")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            peer.send(b"x")
            peer.shutdown(socket.SHUT_WR)
            arrive(ours)
            return ours

        @situation(f"{family}, peer gone")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            peer.close()
            arrive(ours)
            return ours

        @situation(f"{family}, peer gone after data")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            peer.send(b"x")
            peer.close()
            arrive(ours)
            return ours

        @situation(f"{family}, own writing shut down")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, _ = make_pair(kept)
            ours.shutdown(socket.SHUT_WR)
            return ours

        @situation(f"{family}, own reading shut down")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, _ = make_pair(kept)
            ours.shutdown(socket.SHUT_RD)
            return ours

        @situation(f"{family}, shut down on both sides")
        def _(kept: contextlib.ExitStack) -> Any:
            ours, peer = make_pair(kept)
            peer.shutdown(socket.SHUT_WR)
            arrive(ours)
            ours.shutdown(socket.SHUT_WR)
            return ours

    streams()


@situation("unix, peer gone with our data unread")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = unix(kept)
    ours.send(b"x")
    peer.close()
    return ours


@situation("tcp, reset")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = tcp(kept)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_DELAY_AT_CLOSE)
    peer.close()
    arrive(ours)
    return ours


@situation("tcp, out-of-band byte")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = tcp(kept)
    peer.send(b"!", socket.MSG_OOB)
    until(ours, select.POLLPRI)
    return ours


@situation("tcp, out-of-band byte and data")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = tcp(kept)
    peer.send(b"!", socket.MSG_OOB)
    peer.send(b"x")
    until(ours, select.POLLPRI)
    arrive(ours)
    return ours


@situation("tcp, connect refused")
def _(kept: contextlib.ExitStack) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    ours = kept.enter_context(socket.socket())
    ours.setblocking(False)
    assert ours.connect_ex(address) in (errno.EINPROGRESS, errno.ECONNREFUSED)
    return ours


@situation("tcp, connected at last")
def _(kept: contextlib.ExitStack) -> Any:
    listener = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
    ours = kept.enter_context(socket.socket())
    ours.setblocking(False)
    assert ours.connect_ex(listener.getsockname()) in (errno.EINPROGRESS, 0)
    return ours


@situation("tcp, never connected")
def _(kept: contextlib.ExitStack) -> Any:
    return kept.enter_context(socket.socket())


@situation("tcp listener, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return kept.enter_context(socket.create_server(("127.0.0.1", 0)))


@situation("tcp listener, a connection")
def _(kept: contextlib.ExitStack) -> Any:
    listener = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
    kept.enter_context(socket.create_connection(listener.getsockname()))
    arrive(listener)
    return listener


def unix_listener(kept: contextlib.ExitStack) -> tuple[socket.socket, str]:
    path = str(Path(kept.enter_context(tempfile.TemporaryDirectory()), "s"))
    listener = kept.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen()
    return listener, path


@situation("unix listener, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return unix_listener(kept)[0]


@situation("unix listener, a connection")
def _(kept: contextlib.ExitStack) -> Any:
    listener, path = unix_listener(kept)
    kept.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
    return listener


@situation("udp, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return udp(kept)[0]


@situation("udp, a datagram")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = udp(kept)
    peer.send(b"x")
    arrive(ours)
    return ours


@situation("udp, refused")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = udp(kept)
    peer.close()
    ours.send(b"x")
    arrive(ours)
    return ours


@situation("unix datagrams, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return unix(kept, socket.SOCK_DGRAM)[0]


@situation("unix datagrams, one")
def _(kept: contextlib.ExitStack) -> Any:
    ours, peer = unix(kept, socket.SOCK_DGRAM)
    peer.send(b"x")
    return ours


@situation("pipe's read end, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return pipe(kept)[0]


@situation("pipe's read end, data")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = pipe(kept)
    os.write(writer, b"x")
    return reader


@situation("pipe's read end, writer gone")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = pipe(kept)
    os.close(writer)
    return reader


@situation("pipe's read end, writer gone after data")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = pipe(kept)
    os.write(writer, b"x")
    os.close(writer)
    return reader


@situation("pipe's write end, room")
def _(kept: contextlib.ExitStack) -> Any:
    return pipe(kept)[1]


@situation("pipe's write end, full")
def _(kept: contextlib.ExitStack) -> Any:
    _, writer = pipe(kept)
    fill(lambda data: os.write(writer, data))
    return writer


@situation("pipe's write end, reader gone")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = pipe(kept)
    os.close(reader)
    return writer


@situation("pipe's write end, reader gone when it was full")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = pipe(kept)
    fill(lambda data: os.write(writer, data))
    os.close(reader)
    return writer


@situation("FIFO's read end, nobody has written yet")
def _(kept: contextlib.ExitStack) -> Any:
    return fifo(kept, os.O_RDONLY)[0]


@situation("FIFO's read end, data")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = fifo(kept, os.O_RDONLY, os.O_WRONLY)
    os.write(writer, b"x")
    return reader


@situation("FIFO's read end, writer gone")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = fifo(kept, os.O_RDONLY, os.O_WRONLY)
    os.close(writer)
    return reader


@situation("FIFO's write end, room")
def _(kept: contextlib.ExitStack) -> Any:
    return fifo(kept, os.O_RDONLY, os.O_WRONLY)[1]


@situation("FIFO's write end, reader gone")
def _(kept: contextlib.ExitStack) -> Any:
    reader, writer = fifo(kept, os.O_RDONLY, os.O_WRONLY)
    os.close(reader)
    return writer


@situation("terminal, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return terminal(kept)[1]


@situation("terminal, input")
def _(kept: contextlib.ExitStack) -> Any:
    master, slave = terminal(kept)
    os.write(master, b"x")
    arrive(slave)
    return slave


@situation("terminal, hung up")
def _(kept: contextlib.ExitStack) -> Any:
    master, slave = terminal(kept)
    os.close(master)
    arrive(slave)
    return slave


@situation("terminal's master, idle")
def _(kept: contextlib.ExitStack) -> Any:
    return terminal(kept)[0]


@situation("terminal's master, output")
def _(kept: contextlib.ExitStack) -> Any:
    master, slave = terminal(kept)
    os.write(slave, b"x")
    arrive(master)
    return master


@situation("terminal's master, nobody at the terminal")
def _(kept: contextlib.ExitStack) -> Any:
    master, slave = terminal(kept)
    os.close(slave)
    until(master, 0)
    return master


if hasattr(os, "eventfd"):

    @situation("eventfd, 0")
    def _(kept: contextlib.ExitStack) -> Any:
        return keep(kept, os.eventfd(0))

    @situation("eventfd, 1")
    def _(kept: contextlib.ExitStack) -> Any:
        return keep(kept, os.eventfd(1))

    @situation("eventfd, full")
    def _(kept: contextlib.ExitStack) -> Any:
        fd = keep(kept, os.eventfd(0))
        os.eventfd_write(fd, (1 << 64) - 2)
        return fd


@situation("a Poll, nothing ready")
def _(kept: contextlib.ExitStack) -> Any:
    return kept.enter_context(Poll())


@situation("a Poll, something ready")
def _(kept: contextlib.ExitStack) -> Any:
    poll = kept.enter_context(Poll())
    poll.registry.register(pipe(kept)[1], Token(1), Interest.WRITABLE)
    return poll
