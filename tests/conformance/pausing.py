"""What is paused, and resumed: R22."""

import errno
import os
from collections.abc import Callable

from case import LEVEL, case
from gates import FIFO_ENDS_OF_MACOS, FIFO_WRITERS_OF_NETBSD
from sources import (
    PIPES,
    READABLE_KINDS,
    SOCKETS,
    STREAMS,
    TCP,
    TWO_WAY,
    WAIT,
    WRITABLE_KINDS,
)
from world import (
    BOTH,
    ERROR,
    READ_CLOSED,
    READABLE,
    WRITABLE,
    WRITE_CLOSED,
    R,
    W,
    World,
    batch_of,
)

from pollster import (
    AlreadyRegisteredError,
    Interest,
    NotRegisteredError,
    Registration,
    SourceLike,
    Token,
)

LEVEL_ONLY = (LEVEL,)
FAR = 1000.0  # seconds that no case waits for


def expect_silence(world: World) -> None:
    """Nothing comes of what is paused, and not because it is late; an outer Poll sees nothing.

    A queue in a queue tells the outer one in its own time, so what is waited for comes later.
    """
    outer = world.another_poll()
    world.register(world.poll, 90, R, LEVEL, poll=outer)
    inner = world.another_poll()
    world.waker(91, inner).wake()
    world.register(inner, 92, R, LEVEL, poll=outer)
    world.expect({92: READABLE}, poll=outer)
    world.deregister(world.poll, poll=outer)
    world.expect({})
    assert world.poll.poll(timeout=0).raw() == ()  # the kernel handed nothing over either


def change_in_batch(world: World, name: str) -> Callable[[SourceLike], None]:
    """A change that is made in a batch."""

    def change(source: SourceLike) -> None:
        with world.poll.registry.batch() as changes:
            getattr(changes, name)(source)

    return change


# What is reported


@case(
    "R22",
    "what is paused is silent, and what is ready is told when it is resumed",
    kinds=READABLE_KINDS,
)
def _(world: World) -> None:
    ours, peer = world.reader()
    world.register(ours, 1, R)
    for _ in range(3):
        world.pause(ours)
        peer.send(b"x")
        expect_silence(world)
        world.resume(ours)
        world.expect({1: READABLE})
        world.again()
        ours.drain()
        world.rearm()


@case(
    "R22",
    "a source is paused while it is ready, again and again",
    kinds=WRITABLE_KINDS,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, _ = world.writer()
    world.register(ours, 1, W)
    for _ in range(3):
        world.expect({1: WRITABLE})
        world.again()
        world.pause(ours)
        expect_silence(world)
        world.resume(ours)
    world.expect({1: WRITABLE})


@case("R22", "both directions are paused, and both are told", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    peer.send(b"x")
    world.register(ours, 1, R | W)
    world.pause(ours)
    expect_silence(world)
    world.resume(ours)
    world.expect({1: BOTH})
    world.again()


@case("R22", "what is not ready when it is resumed is told when it is", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    world.pause(ours)
    ours.drain()
    world.resume(ours)
    world.expect({})
    peer.send(b"x")
    world.expect({1: READABLE})


@case("R22", "it is not reported from the rest of the batch, and not lost", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    events = world.poll.poll(timeout=WAIT)
    assert len(events) == 1
    world.pause(ours)
    assert (list(events), len(events), bool(events)) == ([], 0, False)
    expect_silence(world)
    world.resume(ours)
    assert list(events) == []
    world.expect({1: READABLE})


@case("R22", "a batch is read on without what is paused in it", kinds=SOCKETS)
def _(world: World) -> None:
    ends = [world.sockets()[0] for _ in range(4)]
    for token, ours in enumerate(ends):
        world.register(ours, token, W)
    seen = []
    for event in world.poll.poll(timeout=WAIT):
        seen.append(int(event.token))
        for token, ours in enumerate(ends):
            if token not in seen:
                world.pause(ours)
    assert len(seen) == 1
    expect_silence(world) if world.trigger != LEVEL else None
    for token, ours in enumerate(ends):
        if token not in seen:
            world.resume(ours)
    if world.trigger == LEVEL:
        world.expect(dict.fromkeys(range(4), WRITABLE))
    else:
        assert batch_of(world.poll.poll(timeout=WAIT)).keys() == {*range(4)} - {*seen}


@case("R22", "a hang-up while it is paused is told when it is resumed", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    world.pause(ours)
    peer.close()
    expect_silence(world)
    world.resume(ours)
    world.expect({1: READ_CLOSED})
    world.again()


@case("R22", "a reset while it is paused is told when it is resumed", kinds=TCP)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)
    world.pause(ours)
    peer.reset()
    expect_silence(world)
    world.resume(ours)
    world.expect({1: READ_CLOSED | WRITE_CLOSED | ERROR})
    world.see(errno.errorcode[ours.so_error()])


@case("R22", "what has hung up already is paused", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    peer.close()
    world.expect({1: READ_CLOSED})
    for _ in range(2):
        world.pause(ours)
        expect_silence(world)
        world.resume(ours)
        world.expect({1: READ_CLOSED})


@case(
    "R22",
    "a pipe's other end goes while it is paused",
    kinds=PIPES,
    gates=(FIFO_ENDS_OF_MACOS, FIFO_WRITERS_OF_NETBSD),
)
def _(world: World) -> None:
    for before in (False, True):  # whether it was reported before that
        for reading in (True, False):
            reader, writer = world.one_way(world.kind)
            ours, peer = (reader, writer) if reading else (writer, reader)
            world.register(ours, 1, R if reading else W)
            if before:
                world.expect({} if reading else {1: WRITABLE})
            world.pause(ours)
            peer.close()
            expect_silence(world)
            world.resume(ours)
            world.expect({1: READ_CLOSED if reading else WRITE_CLOSED})
            world.again()
            world.deregister(ours)
            ours.close()


@case("R22", "a pipe whose other end is gone is paused", kinds=PIPES, gates=(FIFO_ENDS_OF_MACOS,))
def _(world: World) -> None:
    for reading in (True, False):
        reader, writer = world.one_way(world.kind)
        ours, peer = (reader, writer) if reading else (writer, reader)
        peer.close()
        world.register(ours, 1, R if reading else W)
        told = {1: READ_CLOSED if reading else WRITE_CLOSED}
        for how in (world.poll.registry.pause, change_in_batch(world, "pause")):
            world.expect(told)
            world.pause(ours, how)
            expect_silence(world)
            world.resume(ours)
        world.expect(told)
        world.deregister(ours)
        ours.close()


@case(
    "R22",
    "a one-shot that has reported is armed when it is resumed, paused or not",
    kinds=WRITABLE_KINDS,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, _ = world.writer()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    world.resume(ours)
    world.expect({1: WRITABLE})
    world.pause(ours)
    world.resume(ours)
    world.resume(ours)
    world.expect({1: WRITABLE})
    world.again()


@case(
    "R22",
    "it keeps its token, its interest and its trigger, and shows that it is paused",
    kinds=TWO_WAY,
)
def _(world: World) -> None:
    ours, _ = world.two_way()
    world.register(ours, 1, R | W)
    is_as_before = Registration(ours.source, Token(1), R | W, world.trigger)
    for _ in range(2):
        world.pause(ours)
        world.pause(ours)
        assert list(world.poll.registry) == [is_as_before]
        assert [r.paused for r in world.poll.registry] == [True]
        world.resume(ours)
        assert list(world.poll.registry) == [is_as_before]
        assert [r.paused for r in world.poll.registry] == [False]


@case("R22", "the source that was registered is kept, whichever names it", kinds=SOCKETS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, W)
    world.poll.registry.pause(ours.fileno())
    assert [r.source for r in world.poll.registry] == [ours.sock]
    world.poll.registry.resume(ours.fileno())
    assert [r.source for r in world.poll.registry] == [ours.sock]
    world.expect({1: WRITABLE})


# Changes of what is paused


@case("R22", "reregister ends a pause", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    peer.send(b"x")
    world.register(ours, 1, W)
    world.pause(ours)
    world.reregister(ours, 2, R)
    world.expect({2: READABLE})
    world.again()
    world.pause(ours)
    world.reregister_kept(ours, 2)
    assert [r.paused for r in world.poll.registry] == [False]
    world.expect({2: READABLE})


@case("R22", "what is paused is registered, and can be deregistered", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    for _ in range(2):
        world.register(ours, 1, R)
        world.pause(ours)
        with world.refused(AlreadyRegisteredError, errno.EEXIST, "Token(1)"):
            world.poll.registry.register(ours.source, Token(2), R)
        world.deregister(ours)
        world.expect({})
        assert list(world.poll.registry) == []
        for change in (world.poll.registry.pause, world.poll.registry.resume):
            with world.refused(NotRegisteredError, errno.ENOENT, "register"):
                change(ours.source)
    world.register(ours, 3, R)
    world.expect({3: READABLE})


@case("R22", "a change that is refused leaves it paused", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    peer.send(b"x")
    world.register(ours, 1, R)
    world.pause(ours)
    with world.refused(ValueError, 0, "empty"):
        world.poll.registry.reregister(ours.source, Token(2), Interest(0))
    expect_silence(world)
    world.resume(ours)
    world.expect({1: READABLE})


@case("R22", "a source that is closed is not paused any more, nor resumed", kinds=SOCKETS)
def _(world: World) -> None:
    registry = world.poll.registry
    for copied in (False, True):
        # What is not paused and has a copy is a ghost: R9.
        for change in (registry.resume,) if copied else (registry.pause, registry.resume):
            ours, peer = world.sockets()
            number = ours.fileno()
            if copied:
                world.keep_fd(os.dup(number))
            world.register(ours, 1, R | W)
            if change == registry.resume:
                world.pause(ours)
                peer.send(b"x")
            ours.sock.close()  # a copy does not let its peer know
            with world.refused(ValueError, 0, "closed"):
                change(ours.source)
            with world.refused(OSError, errno.EBADF, "not open"):
                change(number)
            registry.deregister(number)
            world.forget(ours)
            if change == registry.resume:
                expect_silence(world)
            assert list(registry) == []


@case(
    "R22",
    "a number that is used again while its source is paused is another source",
    kinds=PIPES,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    for copied in (False, True):
        for name in ("pause", "resume", "reregister", "deregister", "register"):
            if copied and name == "pause":
                continue  # what is not paused and has a copy is a ghost: R9
            _, writer = world.one_way()
            _, other = world.one_way(world.kind)
            if copied:
                world.keep_fd(os.dup(writer.fd))
            world.register(writer, 1, W)
            if name != "pause":
                world.pause(writer)
            os.dup2(other.fd, writer.fd)
            if name == "register":
                world.forget(writer)
                world.register(writer, 2, W)
            else:
                how = (Token(2), W) if name == "reregister" else ()
                with world.refused(NotRegisteredError, errno.ENOENT):
                    getattr(world.poll.registry, name)(writer.fd, *how)
                assert list(world.poll.registry) == []
                world.forget(writer)
                expect_silence(world)
                world.register(writer, 2, W)
            world.expect({2: WRITABLE})
            world.deregister(writer)
            writer.close()
            other.close()
