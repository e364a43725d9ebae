"""What is no error and no end, though the kernel's bits look like it: R3, R15."""

import errno
import select
import socket
import struct
import sys

from case import EVERY_TRIGGER, Gate, case
from gates import NO_PRIORITY
from sources import DATAGRAMS, TCP, WAIT, SocketEnd
from world import BOTH, ERROR, GONE, READABLE, WRITABLE, NotHere, R, W, World

from pollster import Interest

PRIORITY = Interest.PRIORITY
QUEUE_OF_LINUX = Gate(
    ("Darwin", "FreeBSD", "NetBSD", "OpenBSD", "DragonFly"),
    "only Linux has an error queue that is told by the state of the socket",
    "ip(7), IP_RECVERR; docs.kernel.org/networking/timestamping.html",
)
SO_TIMESTAMPING = 37
STAMPS = 1 << 1 | 1 << 4 | 1 << 7  # TX_SOFTWARE, SOFTWARE, OPT_ID of linux/net_tstamp.h


def have_a_message(ours: SocketEnd, peer: SocketEnd) -> None:
    """Brings a time stamp of what we sent into our error queue."""
    if sys.platform != "linux":
        raise NotHere("only Linux has an error queue that is told by the state of the socket")
    ours.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPS)
    ours.send(b"x")
    ours.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
    look = select.poll()
    look.register(ours.sock, 0)
    assert look.poll(WAIT * 1000)
    assert select.select([peer.sock], [], [], WAIT)[0]
    assert peer.recv() == b"x"


def read_the_message(ours: SocketEnd) -> None:
    """Empties the error queue, which only Linux has."""
    if sys.platform == "linux":
        assert ours.sock.recvmsg(100, 1000, socket.MSG_ERRQUEUE)


@case(
    "R3",
    "mio#1672 a message in the error queue of a connection is no error",
    kinds=TCP,
    gates=(QUEUE_OF_LINUX,),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    have_a_message(ours, peer)
    world.rearm()
    world.expect({1: BOTH})
    assert ours.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    world.again()
    read_the_message(ours)
    world.rearm()
    world.expect({1: WRITABLE})
    peer.send(b"y")
    world.rearm()
    world.expect({1: BOTH})
    assert ours.recv() == b"y"


@case(
    "R3",
    "a reset is an error, also with a message in the error queue",
    kinds=TCP,
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    have_a_message(ours, peer)
    peer.reset()
    look = select.poll()
    look.register(ours.sock, 0)
    while not look.poll(WAIT * 1000)[0][1] & select.POLLHUP:
        continue
    world.register(ours, 1, R | W)
    world.expect({1: GONE | ERROR})
    assert ours.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


@case(
    "R15",
    "a message in the error queue is no priority, and takes none away",
    kinds=TCP,
    gates=(QUEUE_OF_LINUX,),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, PRIORITY)
    world.expect({})
    have_a_message(ours, peer)
    world.expect({})
    peer.send(b"!", socket.MSG_OOB)
    assert select.select([], [], [ours], WAIT)[2]
    world.expect({1: {"priority"}})
    assert ours.sock.recv(1, socket.MSG_OOB) == b"!"
    world.rearm()
    world.expect({})
    read_the_message(ours)


@case(
    "R15", "an end is nothing to who waits for priority data alone", kinds=TCP, gates=(NO_PRIORITY,)
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, PRIORITY)
    peer.sock.shutdown(socket.SHUT_WR)
    assert select.select([ours], [], [], WAIT)[0]
    world.expect({})
    ours.sock.shutdown(socket.SHUT_WR)
    world.expect({})
    world.reregister(ours, 1, PRIORITY | R)
    world.expect({1: {"readable", "read_closed"}})


@case("R3", "netty#4082 a datagram socket that is shut down has no end", kinds=DATAGRAMS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    for how in (socket.SHUT_RD, socket.SHUT_RDWR):
        ours.sock.shutdown(how)
        world.rearm()
        world.expect({1: BOTH}, new={1: READABLE} if world.is_oneshot else None)
    with world.refused(BrokenPipeError, errno.EPIPE):
        ours.send(b"x")


@case(
    "R3",
    "libnl#132 a netlink socket that lost messages works on",
    kinds=("SOCK_DGRAM", "SOCK_RAW"),
    triggers=EVERY_TRIGGER,
)
def _(world: World) -> None:
    if sys.platform != "linux":
        raise NotHere("netlink(7) is Linux's")
    kind = socket.SocketKind[world.kind]
    ours, peer = (
        world.keep(SocketEnd(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_USERSOCK)))
        for _ in range(2)
    )
    ours.sock.bind((0, 0))
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    world.register(ours, 1, R)
    message = struct.pack("IHHII", 1016, 1, 0, 0, 0) + bytes(1000)
    try:
        for _ in range(100):
            peer.sock.sendto(message, (ours.sock.getsockname()[0], 0))
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.ENOBUFS)
    world.expect({1: READABLE})
    told = set()
    while errno.EAGAIN not in told:
        try:
            ours.recv(5000)
        except OSError as error:
            told.add(error.errno)
    world.rearm()
    world.expect({})
