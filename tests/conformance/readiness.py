"""What ready sources report: R1, R3, R14, R15."""

import errno
import os
import select
import socket
import subprocess
import sys

from case import EDGE, LEVEL, case
from gates import FIFO_WRITERS_OF_NETBSD
from sources import (
    BOUNDED,
    DATAGRAMS,
    LISTENERS,
    PIPES,
    READABLE_KINDS,
    SOCKETS,
    STREAMS,
    TCP,
    TWO_WAY,
    UDP,
    WAIT,
    WRITABLE_KINDS,
    SocketEnd,
    accepted,
)
from world import BOTH, READ_CLOSED, READABLE, WRITABLE, R, W, World


@case("R3", "a source with nothing to read is silent", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, _ = world.reader()
    world.register(ours, 1, R)
    world.expect({})
    world.again()


@case("R3", "data makes a source readable, and reading it all ends that", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    world.register(ours, 1, R)
    world.expect({})
    for _ in range(3):
        peer.send(b"x")
        world.expect({1: READABLE})
        world.again()
        ours.recv()
        world.rearm()
        world.expect({})


@case("R3", "a source with room is writable", kinds=WRITABLE_KINDS, gates=(FIFO_WRITERS_OF_NETBSD,))
def _(world: World) -> None:
    ours, _ = world.writer()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    world.again()


@case(
    "R3",
    "a full buffer is not writable until it is drained",
    kinds=BOUNDED,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, peer = world.writer()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    for _ in range(2):
        ours.fill()
        world.rearm()
        world.expect({})
        peer.drain()
        world.expect({1: WRITABLE})
        world.again()


@case(
    "R3",
    "a source that is full when it is registered is not writable",
    kinds=BOUNDED,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, peer = world.writer()
    ours.fill()
    world.register(ours, 1, W)
    world.expect({})
    peer.drain()
    world.expect({1: WRITABLE})


@case("R3", "reading a part leaves the rest readable", kinds=(*STREAMS, *PIPES))
def _(world: World) -> None:
    ours, peer = world.reader()
    world.register(ours, 1, R)
    peer.send(b"xy")
    world.expect({1: READABLE})
    ours.recv(1)
    if world.kind not in PIPES or world.trigger != EDGE:
        world.again()  # of a pipe on FreeBSD an edge follows, which R5 allows
    world.rearm()
    world.expect({1: READABLE})
    ours.recv(1)
    world.rearm()
    world.expect({})


@case("R3", "peeking leaves data readable", kinds=SOCKETS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    peer.send(b"x")
    world.expect({1: READABLE})
    assert ours.sock.recv(1, socket.MSG_PEEK) == b"x"
    world.again()
    world.rearm()
    world.expect({1: READABLE})
    assert ours.recv() == b"x"


@case("R1", "both directions are one event", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.send(b"x")
    world.rearm()
    world.expect({1: BOTH})
    ours.recv()
    world.rearm()
    world.expect({1: WRITABLE})


@case("R3", "an interest hides the other direction", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    peer.send(b"x")
    world.register(ours, 1, R)
    world.expect({1: READABLE})
    world.reregister(ours, 1, W)
    world.expect({1: WRITABLE})
    world.reregister(ours, 1, R)
    world.expect({1: READABLE})


@case("R1", "each copy of a descriptor is a source of its own", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    copy = world.keep(SocketEnd(ours.sock.dup()))
    world.register(ours, 1, R | W)
    world.register(copy, 2, R)
    peer.send(b"x")
    world.expect({1: BOTH, 2: READABLE})
    world.deregister(copy)
    peer.send(b"y")
    world.rearm()
    world.expect({1: BOTH}, new={1: READABLE})


@case("R1", "both ends of a connection are sources of one Poll", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.register(peer, 2, R | W)
    world.expect({1: WRITABLE, 2: WRITABLE})
    ours.send(b"x")
    peer.send(b"y")
    world.rearm()
    world.expect({1: BOTH, 2: BOTH})


@case("R3", "a datagram is readable, also an empty one", kinds=UDP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    for data in (b"", b"x", b""):
        peer.send(data)
        world.expect({1: READABLE})
        assert ours.recv() == data
        world.rearm()
        world.expect({})


@case("R3", "a datagram that is refused makes its sender readable, and recv says why", kinds=UDP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.close()
    world.register(ours, 1, R)
    ours.send(b"x")
    world.expect({1: READABLE})
    with world.refused(ConnectionRefusedError, errno.ECONNREFUSED):
        ours.recv()
    world.rearm()
    world.expect({})


@case("R3", "several datagrams are readable until the last is read", kinds=DATAGRAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    for data in (b"x", b"y"):
        peer.send(data)
    world.expect({1: READABLE})
    for data in (b"x", b"y"):
        world.rearm()
        world.expect({1: READABLE})
        assert ours.recv() == data
    world.rearm()
    world.expect({})


@case("R3", "a listener is readable while somebody waits to be accepted", kinds=LISTENERS)
def _(world: World) -> None:
    listener = world.listener()
    world.register(listener, 1, R)
    world.expect({})
    clients = [world.keep(SocketEnd(socket.socket(listener.sock.family))) for _ in range(2)]
    for client in clients:
        client.sock.setblocking(True)
        client.sock.connect(listener.sock.getsockname())
        assert select.select([listener], [], [], WAIT)[0]
    world.expect({1: READABLE})
    world.keep(SocketEnd(accepted(listener.sock)))
    world.rearm()
    world.expect({1: READABLE})
    world.keep(SocketEnd(accepted(listener.sock)))
    world.rearm()
    world.expect({})


@case("R3", "a listener is never writable", kinds=LISTENERS)
def _(world: World) -> None:
    listener = world.listener()
    world.register(listener, 1, R | W)
    world.expect({})
    client = world.keep(SocketEnd(socket.socket(listener.sock.family)))
    client.sock.setblocking(True)
    client.sock.connect(listener.sock.getsockname())
    world.expect({1: READABLE})
    world.keep(SocketEnd(accepted(listener.sock)))


@case("R14", "a child's standard output is a source", kinds=("",))
def _(world: World) -> None:
    command = [sys.executable, "-c", "import os; os.write(1, b'x'); os.read(0, 1)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        world.register(child.stdout, 1, R)
        world.register(child.stdin, 2, W, LEVEL)
        assert select.select([child.stdout], [], [], WAIT)[0]
        world.expect({1: READABLE, 2: WRITABLE})
        assert os.read(child.stdout.fileno(), 10) == b"x"
        os.write(child.stdin.fileno(), b"y")
        world.deregister(child.stdin)
        assert child.wait(WAIT) == 0
        world.rearm()
        world.expect({1: READ_CLOSED})
        world.deregister(child.stdout)


@case("R14", "Polls nest: what is ready deep inside is seen outside")
def _(world: World) -> None:
    reader, writer = world.one_way()
    middle, outer = world.another_poll(), world.another_poll()
    world.register(reader, 1, R, LEVEL)
    world.register(world.poll, 2, R, LEVEL, middle)
    world.register(middle, 3, R, poll=outer)
    world.expect({}, poll=outer)
    writer.send(b"x")
    world.expect({3: READABLE}, poll=outer)
    world.expect({2: READABLE}, poll=middle)
    world.expect({1: READABLE})
    reader.recv()
    world.expect({})
    world.expect({}, poll=middle)
    world.rearm(outer)
    world.expect({}, poll=outer)


@case("R3", "mio#1317 out-of-band data alone is nothing to read", kinds=TCP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    peer.send(b"!", socket.MSG_OOB)
    assert select.select([], [], [ours], WAIT)[2]
    world.expect({})
    peer.sock.send(b"x")
    assert select.select([ours], [], [], WAIT)[0]
    world.expect({1: READABLE})
