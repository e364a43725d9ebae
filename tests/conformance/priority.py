"""Out-of-band data: R15."""

import errno
import os
import select
import socket
from dataclasses import replace

from case import EDGE_ONESHOT, EVERY_TRIGGER, LEVEL, ONESHOT, Gate, case
from gates import NO_PRIORITY
from sources import PIPES, TCP, WAIT, SocketEnd, wait_for_end, wait_until
from world import BOTH, ERROR, READABLE, WRITABLE, R, W, World, batch_of

from pollster import Events, Interest, NotRegisteredError, Token

P = Interest.PRIORITY
URGENT = frozenset({"priority"})
GATES = (NO_PRIORITY,)


def has_byte(end: SocketEnd) -> bool:
    """Whether there is an out-of-band byte that was not taken."""
    try:
        return bool(end.sock.recv(1, socket.MSG_OOB | socket.MSG_PEEK))
    except OSError as error:
        assert error.errno in (errno.EINVAL, errno.EAGAIN)
        return False


def urge(ours: SocketEnd, peer: SocketEnd) -> None:
    """Sends an out-of-band byte, and returns when the other end has it."""
    peer.send(b"!", socket.MSG_OOB)
    wait_until(lambda: has_byte(ours))


def take(end: SocketEnd) -> None:
    """Takes the byte."""
    assert end.sock.recv(1, socket.MSG_OOB) == b"!"


def priority_is_refused(world: World) -> None:
    ours, _ = world.sockets()
    with world.refused(OSError, errno.ENOTSUP, "PRIORITY", f"fd {ours.fileno()}"):
        world.poll.registry.register(ours.sock, Token(1), R | P)
    assert list(world.poll.registry) == []
    world.register(ours, 1, R)
    with world.refused(OSError, errno.ENOTSUP, "PRIORITY"):
        world.poll.registry.reregister(ours.sock, Token(2), P)
    world.expect({})


@case(
    "R15",
    "out-of-band data is a priority event",
    kinds=TCP,
    gates=(
        replace(
            NO_PRIORITY,
            reason="register() says that this kernel has no PRIORITY",
            instead=priority_is_refused,
        ),
    ),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | P)
    world.expect({})
    urge(ours, peer)
    world.expect({1: URGENT})
    take(ours)
    world.rearm()
    world.expect({})


@case("R15", "priority data is told until it is taken, and so is the next", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, P)
    world.expect({})
    for _ in range(3):
        urge(ours, peer)
        world.expect({1: URGENT})
        world.again()
        world.again()
        take(ours)
        world.rearm()
        world.expect({})


@case("R15", "what comes behind priority data is no priority", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, P)
    urge(ours, peer)
    world.expect({1: URGENT})
    take(ours)
    world.rearm()
    world.expect({})
    peer.sock.send(b"behind")
    assert select.select([ours], [], [], WAIT)[0]
    world.expect({})
    assert ours.recv(3) == b"beh"
    world.expect({})
    world.reregister(ours, 2, R | P)
    world.expect({2: READABLE})


@case("R1", "priority data comes in one event with what else is ready", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.send(b"x")
    urge(ours, peer)
    world.register(ours, 1, R | W | P)
    world.expect({1: BOTH | URGENT})
    take(ours)
    world.rearm()
    world.expect({1: BOTH}, new={1: BOTH} if world.is_oneshot else None)
    world.reregister(ours, 2, W | P)
    world.expect({2: WRITABLE})
    urge(ours, peer)
    world.rearm()
    world.expect({2: WRITABLE | URGENT}, new={2: URGENT})


@case("R1", "a batch with one place has all that is ready, with priority", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(3)]
    for token, (ours, peer) in enumerate(pairs):
        peer.send(b"x")
        urge(ours, peer)
        world.poll.registry.register(ours.sock, Token(token), R | W | P, world.trigger)
    seen: dict[int, frozenset[str]] = {}
    events = Events(1)
    for _ in range(3 * 3):
        for token, names in batch_of(world.poll.poll(events, timeout=0)).items():
            assert names == BOTH | URGENT
            seen[token] = names
    assert seen == dict.fromkeys(range(3), BOTH | URGENT)


@case("R15", "reregister adds PRIORITY, and takes it away", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    urge(ours, peer)
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    for trigger in EVERY_TRIGGER:
        for interest, names in ((W | P, WRITABLE | URGENT), (P, URGENT), (W, WRITABLE)):
            world.reregister(ours, 2, interest, trigger)
            world.expect({2: names})
    world.reregister(ours, 3, R)
    world.expect({})


@case("R8", "deregister ends PRIORITY", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    urge(ours, peer)
    for interest in (P, R | W | P):
        world.register(ours, 1, interest)
        world.expect({1: interest_of(interest)})
        world.deregister(ours)
        world.expect({})
        with world.refused(NotRegisteredError, errno.ENOENT):
            world.poll.registry.deregister(ours.sock)
    assert world.poll.poll(timeout=0).raw() == ()


def interest_of(interest: Interest) -> frozenset[str]:
    """What comes of a socket with an out-of-band byte alone."""
    return (WRITABLE if interest & W else frozenset()) | (URGENT if interest & P else frozenset())


@case("R22", "priority data waits while its source is paused", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    outer = world.another_poll()
    world.register(world.poll, 9, R, LEVEL, outer)
    world.register(ours, 1, P)
    world.pause(ours)
    urge(ours, peer)
    world.expect({})
    world.expect({}, poll=outer)
    world.resume(ours)
    world.expect({1: URGENT})
    world.pause(ours)
    world.expect({})
    take(ours)
    world.resume(ours)
    world.expect({})


@case(
    "R4",
    "a one-shot is disabled for priority data, too, and by it",
    kinds=TCP,
    triggers=(ONESHOT, EDGE_ONESHOT),
    gates=GATES,
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    outer = world.another_poll()
    world.register(ours, 1, W | P)
    world.expect({1: WRITABLE})
    world.register(world.poll, 9, R, LEVEL, outer)
    urge(ours, peer)
    world.expect({1: WRITABLE | URGENT})
    world.expect({}, poll=outer)
    world.rearm()
    world.expect({1: WRITABLE | URGENT})
    world.reregister(ours, 1, R | P)
    world.expect({1: URGENT})
    take(ours)
    peer.sock.send(b"x")
    assert select.select([ours], [], [], WAIT)[0]
    urge(ours, peer)
    world.expect({1: READABLE | URGENT})
    assert outer.poll(timeout=0).raw() == ()


@case(
    "R9",
    "priority data of a closed source is nothing to the number's next owner",
    kinds=TCP,
    gates=GATES,
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    fresh, other = world.sockets()
    world.register(ours, 1, P)
    urge(ours, peer)
    os.dup2(fresh.fileno(), ours.fileno())
    world.forget(ours)
    world.expect({})
    urge(fresh, other)
    world.expect({})
    world.register(ours, 2, P)
    world.expect({2: URGENT})
    take(fresh)


@case("R15", "PRIORITY of what has none is silent", kinds=PIPES, gates=GATES)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    world.register(reader, 1, R | P)
    world.register(writer, 2, P)
    world.expect({})
    writer.send(b"x")
    world.expect({1: READABLE})
    world.reregister(reader, 1, P)
    world.expect({})
    world.reregister(writer, 2, W | P)
    world.expect({2: WRITABLE})
    world.deregister(reader)
    world.deregister(writer)


@case("R15", "SO_OOBINLINE: priority until it is read in its place", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    world.register(ours, 1, R | P)
    peer.send(b"!", socket.MSG_OOB)
    assert select.select([ours], [], [], WAIT)[0]
    world.expect({1: READABLE | URGENT})
    world.again()
    assert ours.recv() == b"!"
    peer.send(b"x")
    world.rearm()
    world.expect({1: READABLE}, new={1: READABLE})


@case("R15", "batch: PRIORITY comes and goes", kinds=TCP, gates=GATES)
def _(world: World) -> None:
    ours, peer = world.sockets()
    reader, _ = world.one_way()
    registry = world.poll.registry
    urge(ours, peer)
    with registry.batch() as batch:
        batch.register(ours.sock, Token(1), R | W | P, world.trigger)
        batch.register(reader.fd, Token(9), R | P, world.trigger)
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE | URGENT}
    with registry.batch() as batch:
        batch.reregister(ours.sock, Token(2), W, world.trigger)
    assert batch_of(world.poll.poll(timeout=0)) == {2: WRITABLE}
    with registry.batch() as batch:
        batch.reregister(ours.sock, Token(3), P, world.trigger)
        batch.pause(reader.fd)
    assert batch_of(world.poll.poll(timeout=0)) == {3: URGENT}
    with registry.batch() as batch:
        batch.pause(ours.sock)
    assert batch_of(world.poll.poll(timeout=0)) == {}
    with registry.batch() as batch:
        batch.resume(ours.sock)
    assert batch_of(world.poll.poll(timeout=0)) == {3: URGENT}
    with registry.batch() as batch:
        batch.deregister(ours.sock)
        batch.deregister(reader.fd)
    assert batch_of(world.poll.poll(timeout=0)) == {}
    assert [*registry] == []


@case(
    "R15",
    "a reset is told to who waits for priority data alone",
    kinds=TCP,
    gates=(
        Gate(
            ("kqueue",),
            "the filter for out-of-band data does not tell of a reset",
            "OpenBSD uipc_socket.c, filt_soexcept; DragonFly uipc_socket.c, filt_soread",
        ),
    ),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, P)
    peer.reset()
    wait_for_end(ours.fileno())
    world.expect({1: ERROR})
