"""What is reported when a side closes, half-closes or resets: R3."""

import errno
import os
import socket

from case import LEVEL, Gate, case
from gates import (
    FIFO_ENDS_OF_MACOS,
    FIFO_ENDS_OF_MACOS_ALWAYS,
    FIFO_WRITERS_OF_NETBSD,
    FIFO_WRITERS_OF_NETBSD_ALWAYS,
    TERMINALS_OF_NETBSD,
)
from sources import PIPES, STREAMS, TCP, UNIX
from world import (
    ERROR,
    GONE,
    READ_CLOSED,
    READABLE,
    WRITABLE,
    WRITE_CLOSED,
    R,
    W,
    World,
    interests_of,
)

HALF_CLOSED = READ_CLOSED | WRITABLE
INTERESTS = (R, W, R | W)

# Sockets


@case("R3", "the peer's half-close is read_closed, unread data comes first", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    peer.send(b"hello")
    peer.shutdown(socket.SHUT_WR)
    world.expect({1: READ_CLOSED})
    world.again()
    assert ours.recv(2) == b"he"
    world.rearm()
    world.expect({1: READ_CLOSED})
    assert ours.recv() == b"llo"
    world.rearm()
    world.expect({1: READ_CLOSED})
    assert ours.recv() == b""
    world.again()


@case("R3", "a half-close is news after data", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    peer.send(b"x")
    world.expect({1: READABLE})
    peer.shutdown(socket.SHUT_WR)
    world.rearm()
    world.expect({1: READ_CLOSED})


@case("R3", "a half-close from before registration is reported", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.shutdown(socket.SHUT_WR)
    world.register(ours, 1, R)
    world.expect({1: READ_CLOSED})
    world.again()


@case("R3", "after the peer's half-close one can still write", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.shutdown(socket.SHUT_WR)
    world.rearm()
    world.expect({1: HALF_CLOSED})
    ours.send(b"still")
    assert peer.recv() == b"still"


@case("R3", "a half-close says nothing to who only writes", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    peer.shutdown(socket.SHUT_WR)
    world.rearm()
    world.expect({1: WRITABLE})


@case(
    "R3", "a Unix peer that closes is gone at once, in the directions of the interest", kinds=UNIX
)
def _(world: World) -> None:
    for token, interest in enumerate(INTERESTS):
        ours, peer = world.sockets()
        world.register(ours, token, interest)
        peer.close()
        world.expect({token: interests_of(GONE, interest)})
        world.again()
        world.deregister(ours)


@case("R3", "data of a Unix peer that is gone can be read, and stays read_closed", kinds=UNIX)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.send(b"x")
    peer.close()
    world.register(ours, 1, R | W)
    world.expect({1: GONE})
    assert ours.recv() == b"x"
    world.rearm()
    world.expect({1: GONE})
    assert ours.recv() == b""


@case(
    "R3",
    "a Unix peer's close is news after its half-close",
    kinds=UNIX,
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    peer.shutdown(socket.SHUT_WR)
    world.expect({1: HALF_CLOSED})
    peer.close()
    world.rearm()
    world.expect({1: GONE})


@case("R3", "a TCP peer that closes is read_closed until our sending draws a reset", kinds=TCP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.close()
    world.rearm()
    world.expect({1: HALF_CLOSED})
    ours.send_into_void()
    world.rearm()
    world.expect({1: GONE | ERROR})


@case("R3", "a reset is an error that SO_ERROR explains", kinds=TCP)
def _(world: World) -> None:
    for token, interest in enumerate(INTERESTS):
        ours, peer = world.sockets()
        world.register(ours, token, interest)
        peer.reset()
        world.expect({token: interests_of(GONE, interest) | ERROR})
        assert ours.so_error() == errno.ECONNRESET
        world.rearm()
        world.expect({token: interests_of(GONE, interest)})
        world.deregister(ours)


@case("R3", "a reset from before registration is reported", kinds=TCP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.reset()
    world.register(ours, 1, R | W)
    world.expect({1: GONE | ERROR})
    world.again()
    with world.refused(ConnectionResetError, errno.ECONNRESET):
        ours.recv()


@case("R3", "what arrived before a reset can be read", kinds=TCP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.send(b"abc")
    peer.reset()
    world.register(ours, 1, R)
    world.expect({1: READ_CLOSED | ERROR})
    assert ours.recv() == b"abc"
    with world.refused(ConnectionResetError, errno.ECONNRESET):
        ours.recv()


# Shutting down oneself


def own_shutdown_is_write_closed(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, R | W)
    ours.shutdown(socket.SHUT_WR)
    world.expect({1: WRITE_CLOSED})
    world.again()


@case(
    "R3",
    "mio#1091, mio#958 one's own shutdown(SHUT_WR)",
    kinds=STREAMS,
    gates=(
        Gate(
            ("kqueue",),
            "this kernel tells us of our own shutdown",
            "mio#1091; recorded: socketpair, tcp our own shutdown(SHUT_WR) / (SHUT_RD)",
            own_shutdown_is_write_closed,
        ),
    ),
)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, R | W)
    ours.shutdown(socket.SHUT_WR)
    world.expect({1: WRITABLE})
    world.again()


@case("R3", "one's own shutdown(SHUT_RD) is read_closed", kinds=STREAMS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    ours.shutdown(socket.SHUT_RD)
    world.register(ours, 1, R)
    world.expect({1: READ_CLOSED})
    world.again()


@case("R3", "one's own shutdown(SHUT_RDWR) closes both directions", kinds=STREAMS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    ours.shutdown(socket.SHUT_RDWR)
    world.rearm()
    world.expect({1: GONE})


@case("R3", "two half-closes close both directions", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    ours.shutdown(socket.SHUT_WR)
    peer.shutdown(socket.SHUT_WR)
    world.rearm()
    world.expect({1: GONE})


def peers_shut_rd_is_write_closed(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.shutdown(socket.SHUT_RD)
    world.rearm()
    world.expect({1: WRITE_CLOSED})


@case(
    "R3",
    "the peer's shutdown(SHUT_RD)",
    kinds=STREAMS,
    gates=(
        Gate(
            ("FreeBSD 15",),
            "a Unix socket's peer that reads no more ends our sending there",
            "recorded: FreeBSD 15.1, peer shutdown(SHUT_RD)",
            peers_shut_rd_is_write_closed,
            kinds=UNIX,
        ),
    ),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.shutdown(socket.SHUT_RD)
    world.rearm()
    world.expect({1: WRITABLE})


def our_sending_goes_on(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.shutdown(socket.SHUT_RDWR)
    world.rearm()
    world.expect({1: HALF_CLOSED})


@case(
    "R3",
    "a Unix peer's shutdown(SHUT_RDWR) closes both directions",
    kinds=UNIX,
    gates=(
        Gate(
            ("Darwin", "NetBSD", "OpenBSD", "DragonFly", "FreeBSD 14"),
            "a Unix socket's peer that reads no more does not end our sending",
            "XNU, NetBSD, DragonFly, FreeBSD 14 uipc_usrreq.c unp_shutdown; recorded: OpenBSD 7.3, "
            "peer shutdown(SHUT_RD)",
            our_sending_goes_on,
        ),
    ),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.shutdown(socket.SHUT_RDWR)
    world.rearm()
    world.expect({1: GONE})


def unread_is_no_error(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    ours.send(b"never read")
    peer.close()
    world.expect({1: GONE})


@case(
    "R3",
    "a Unix peer that closes and leaves data unread",
    kinds=UNIX,
    gates=(
        Gate(
            ("kqueue",),
            "only Linux makes it an error, ECONNRESET",
            "docs/kernels.md; Linux net/unix/af_unix.c unix_release_sock",
            unread_is_no_error,
        ),
    ),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    ours.send(b"never read")
    peer.close()
    world.expect({1: GONE | ERROR})
    assert ours.so_error() == errno.ECONNRESET


# Pipes and FIFOs


def a_fifos_last_close_is_not_reported(world: World) -> None:
    reader, writer = world.one_way("fifo")
    world.register(reader, 1, R)
    writer.send(b"x")
    world.expect({1: READABLE})
    assert reader.recv() == b"x"
    writer.close()
    world.rearm()
    world.expect({})


@case(
    "R3",
    "libuv#4513, go#24164 a pipe whose last writer closes is read_closed",
    kinds=PIPES,
    gates=(
        Gate(
            ("Darwin",),
            "the last writer's close of a FIFO is not reported",
            "libuv#4513, go#24164",
            a_fifos_last_close_is_not_reported,
            kinds=("fifo",),
        ),
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    world.register(reader, 1, R)
    writer.send(b"x")
    world.expect({1: READABLE})
    writer.close()
    world.rearm()
    world.expect({1: READ_CLOSED})
    world.again()
    assert reader.recv() == b"x"
    world.rearm()
    world.expect({1: READ_CLOSED})
    assert reader.recv() == b""


@case(
    "R3", "one of two writers that closes is not the end", kinds=PIPES, gates=(FIFO_ENDS_OF_MACOS,)
)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    other = os.dup(writer.fd)
    world.register(reader, 1, R)
    writer.close()
    world.expect({})
    os.close(other)
    world.expect({1: READ_CLOSED})


@case(
    "R3",
    "a pipe that lost its writer before registration is read_closed",
    kinds=PIPES,
    gates=(FIFO_ENDS_OF_MACOS,),
)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    writer.send(b"x")
    writer.close()
    world.register(reader, 1, R)
    world.expect({1: READ_CLOSED})
    world.again()


@case(
    "R3",
    "a pipe that loses its reader is write_closed, again and again",
    kinds=PIPES,
    gates=(
        FIFO_ENDS_OF_MACOS,
        FIFO_WRITERS_OF_NETBSD,
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    world.register(writer, 1, W)
    world.expect({1: WRITABLE})
    reader.close()
    world.rearm()
    world.expect({1: WRITE_CLOSED})
    for _ in range(5):
        world.again()
    world.reregister(writer, 2, W)
    world.expect({2: WRITE_CLOSED})
    world.deregister(writer)
    world.expect({})


@case(
    "R3",
    "mio#582 a pipe registered after its reader went",
    kinds=PIPES,
    gates=(FIFO_ENDS_OF_MACOS,),
)
def _(world: World) -> None:
    # EPIPE on macOS and FreeBSD, EBADF on NetBSD: libevent's kqueue.c.
    reader, writer = world.one_way(world.kind)
    reader.close()
    world.register(writer, 1, W)
    world.expect({1: WRITE_CLOSED})
    for _ in range(5):
        world.again()
    world.rearm()
    world.expect({1: WRITE_CLOSED})
    world.deregister(writer)
    world.register(writer, 2, W)
    world.expect({2: WRITE_CLOSED})


@case(
    "R3",
    "a full pipe that loses its reader is write_closed",
    kinds=PIPES,
    gates=(
        FIFO_ENDS_OF_MACOS,
        FIFO_WRITERS_OF_NETBSD,
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    world.register(writer, 1, W)
    world.expect({1: WRITABLE})
    writer.fill()
    world.rearm()
    world.expect({})
    reader.close()
    world.expect({1: WRITE_CLOSED})
    world.again()


@case("R3", "an outer Poll sees a pipe that has hung up", triggers=(LEVEL,))
def _(world: World) -> None:
    reader, writer = world.one_way()
    inner = world.another_poll()
    world.register(inner, 9, R)
    reader.close()
    world.register(writer, 1, W, poll=inner)
    for _ in range(3):
        world.expect({9: READABLE})
        world.expect({1: WRITE_CLOSED}, poll=inner)
    world.deregister(writer, poll=inner)
    world.expect({})


@case(
    "R3",
    "a FIFO that gets a new reader is open again",
    gates=(
        FIFO_ENDS_OF_MACOS_ALWAYS,
        FIFO_WRITERS_OF_NETBSD_ALWAYS,
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way("fifo")
    world.register(writer, 1, W)
    world.expect({1: WRITABLE})
    reader.close()
    world.rearm()
    world.expect({1: WRITE_CLOSED})
    world.keep_fd(os.open(world.folder / "fifo", os.O_RDONLY | os.O_NONBLOCK))
    world.rearm()
    world.expect({1: WRITABLE})


@case(
    "R3",
    "a FIFO that gets a new writer is open again",
    gates=(
        Gate(
            ("Darwin",),
            "the last writer's close of a FIFO is not reported",
            "libuv#4513, go#24164",
            a_fifos_last_close_is_not_reported,
        ),
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way("fifo")
    world.register(reader, 1, R)
    writer.close()
    world.expect({1: READ_CLOSED})
    again = world.keep_fd(os.open(world.folder / "fifo", os.O_WRONLY | os.O_NONBLOCK))
    world.rearm()
    world.expect({})
    os.write(again, b"x")
    world.expect({1: READABLE})


def the_write_end_comes_to_its_end(world: World) -> None:
    reader, writer = world.one_way("pipe")
    world.register(writer, 1, R)
    world.expect({})
    reader.close()
    world.expect({1: READ_CLOSED})


@case(
    "R3",
    "the write end of a pipe says nothing of reading",
    kinds=PIPES,
    gates=(
        Gate(
            ("FreeBSD", "OpenBSD", "DragonFly"),
            "pipes go both ways there: the write end can be read, and is told of its end",
            "pipe(2); seen on FreeBSD 15.1",
            the_write_end_comes_to_its_end,
            kinds=("pipe",),
        ),
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    world.register(writer, 1, R)
    world.expect({})
    reader.close()
    for _ in range(3):
        world.expect({})


def both_ends_are_writable(world: World) -> None:
    reader, _ = world.one_way("pipe")
    world.register(reader, 1, R | W)
    world.expect({1: WRITABLE})


@case(
    "R3",
    "the read end of a pipe says nothing of writing",
    gates=(
        Gate(
            ("FreeBSD", "OpenBSD", "DragonFly"),
            "pipes go both ways there: both ends are truly writable",
            "pipe(2)",
            both_ends_are_writable,
        ),
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way("pipe")
    world.register(reader, 1, R | W)
    world.register(writer, 2, R | W)
    world.expect({2: WRITABLE})
    writer.send(b"x")
    world.rearm()
    world.expect({1: READABLE, 2: WRITABLE})


# Terminals


@case(
    "R3",
    "a terminal whose slave is closed is closed in both directions",
    gates=(TERMINALS_OF_NETBSD,),
)
def _(world: World) -> None:
    master, slave = world.terminal()
    world.register(master, 1, R | W)
    world.expect({1: WRITABLE})
    slave.close()
    world.rearm()
    world.expect({1: GONE})


@case(
    "R3",
    "a terminal that loses its master is closed, and it is no error of a socket",
    gates=(TERMINALS_OF_NETBSD,),
)
def _(world: World) -> None:
    master, slave = world.terminal()
    world.register(slave, 1, R | W)
    world.expect({1: WRITABLE})
    master.close()
    world.rearm()
    world.expect({1: GONE})
