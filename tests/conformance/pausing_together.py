"""Pauses in batches, in threads, of sources with methods of their own: R22."""

import time

from case import LEVEL, case
from children import in_child
from pausing import change_in_batch, expect_silence
from sources import (
    READABLE_KINDS,
    SOCKETS,
    TWO_WAY,
    WAIT,
)
from world import (
    ONESHOTS,
    READABLE,
    WRITABLE,
    R,
    W,
    World,
    batch_of,
)

from pollster import (
    BatchError,
    Interest,
    NotRegisteredError,
    Registry,
    Token,
    Trigger,
)

LEVEL_ONLY = (LEVEL,)
FAR = 1000.0  # seconds that no case waits for


# Many at once


@case("R22", "batch: sources are paused and resumed", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    for _ in range(2):
        events = world.poll.poll(timeout=WAIT)
        assert len(events) == 1
        world.pause(ours, change_in_batch(world, "pause"))
        assert list(events) == []
        assert [r.paused for r in world.poll.registry] == [True]
        expect_silence(world)
        world.resume(ours, change_in_batch(world, "resume"))
        assert [r.paused for r in world.poll.registry] == [False]
    world.expect({1: READABLE})


@case("R22", "batch: nothing is paused before its block ends", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, _ = world.two_way()
    world.register(ours, 1, W)
    with world.poll.registry.batch() as changes:
        changes.pause(ours.source)
        world.expect({1: WRITABLE})
    world.pause(ours)
    expect_silence(world)


@case("R22", "batch: the order of a source's pauses counts", kinds=SOCKETS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    source = ours.sock
    with world.poll.registry.batch() as changes:
        changes.register(source, Token(1), W, world.trigger)
        changes.pause(source)
    assert [r.paused for r in world.poll.registry] == [True]
    assert batch_of(world.poll.poll(timeout=0)) == {}
    with world.poll.registry.batch() as changes:
        changes.resume(source)
        changes.pause(source)
        changes.pause(source)
    assert batch_of(world.poll.poll(timeout=0)) == {}
    with world.poll.registry.batch() as changes:
        changes.pause(source)
        changes.resume(source)
    assert batch_of(world.poll.poll(timeout=WAIT)) == {1: WRITABLE}
    with world.poll.registry.batch() as changes:
        changes.pause(source)
        changes.reregister(source, Token(2), W)
    assert batch_of(world.poll.poll(timeout=WAIT)) == {2: WRITABLE}
    with world.poll.registry.batch() as changes:
        changes.pause(source)
        changes.deregister(source)
    assert list(world.poll.registry) == []


@case("R22", "batch: each pause that fails is told, and the others are made", kinds=SOCKETS)
def _(world: World) -> None:
    ends = [world.sockets()[0].sock for _ in range(4)]
    for token in (0, 2):
        world.poll.registry.register(ends[token], Token(token), W, world.trigger)
    try:
        with world.poll.registry.batch() as changes:
            for end in ends:
                changes.pause(end)
    except BatchError as error:
        assert [source for source, _ in error.failures] == [ends[1], ends[3]]
        assert {type(reason) for _, reason in error.failures} == {NotRegisteredError}
    else:
        raise AssertionError("nothing was said of what is not registered")
    assert [r.paused for r in world.poll.registry] == [True, True]
    expect_silence(world)


@case("R22", "batch: a thousand are paused and resumed", kinds=("socketpair",))
def _(world: World) -> None:
    registry = world.poll.registry
    ends = [world.sockets()[0].sock for _ in range(200)]
    for token, end in enumerate(ends):
        registry.register(end, Token(token), W, world.trigger)
    for _ in range(5):
        with registry.batch() as changes:
            for end in ends:
                changes.pause(end)
        assert batch_of(world.poll.poll(timeout=0)) == {}
        with registry.batch() as changes:
            for end in ends:
                changes.resume(end)
        assert len(batch_of(world.poll.poll(timeout=WAIT))) == len(ends)


# Who else is there


@case(
    "R22",
    "a poll that waits sees a source that is resumed, not one that is paused",
    triggers=LEVEL_ONLY,
)
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.register(reader, 1, R)
    world.pause(reader)

    def work() -> None:
        writer.send(b"x")
        time.sleep(0.01)
        world.poll.registry.resume(reader.fd)

    with world.thread(work):
        assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}
    world.see([r.paused for r in world.poll.registry])


@case("R22", "threads pause and resume while others poll", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    ended = False

    def work() -> None:
        nonlocal ended
        try:
            for _ in range(2000):
                world.poll.registry.pause(writer.fd)
                world.poll.registry.resume(writer.fd)
        finally:
            ended = True

    with world.thread(work):
        while not ended:
            assert batch_of(world.poll.poll(timeout=0)) in ({}, {1: WRITABLE})
    world.expect({1: WRITABLE})


@case(
    "R22",
    "of several threads with one-shots each event goes to one, paused between",
    triggers=ONESHOTS,
)
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    for _ in range(100):
        world.expect({1: WRITABLE})
        world.pause(writer)
        world.expect({})
        world.resume(writer)
    world.expect({1: WRITABLE})


@case("R22", "a closed Poll, a forked child, and what is no source", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    _, writer = world.one_way()
    poll = world.another_poll()
    for name in ("pause", "resume"):
        for wrong in ("1", None, 1.0, True):
            with world.refused(TypeError, 0, "no source"):
                getattr(poll.registry, name)(wrong)
        with world.refused(ValueError, 0, "negative"):
            getattr(poll.registry, name)(-1)
    poll.close()
    for name in ("pause", "resume"):
        with world.refused(ValueError, 0, "closed"):
            getattr(poll.registry, name)(writer.fd)
    world.register(writer, 1, W)

    def work() -> None:
        for name in ("pause", "resume"):
            with world.refused(RuntimeError, 0, "another one here"):
                getattr(world.poll.registry, name)(writer.fd)

    in_child(work)
    world.expect({1: WRITABLE})


class Ends:
    """Two descriptors as one source."""

    def __init__(self, *fds: int) -> None:
        self.fds = fds

    def register(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger
    ) -> None:
        """Registers both."""
        for fd in self.fds:
            registry.register(fd, token, interest, trigger)

    def reregister(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger | None
    ) -> None:
        """Reregisters both."""
        for fd in self.fds:
            registry.reregister(fd, token, interest, trigger)

    def deregister(self, registry: Registry) -> None:
        """Deregisters both."""
        for fd in self.fds:
            registry.deregister(fd)


class PausableEnds(Ends):
    """The same, with the two methods more."""

    def pause(self, registry: Registry) -> None:
        """Pauses both."""
        for fd in self.fds:
            registry.pause(fd)

    def resume(self, registry: Registry) -> None:
        """Resumes both."""
        for fd in self.fds:
            registry.resume(fd)


@case("R22", "a source with methods of its own has these two as well, or can't be paused")
def _(world: World) -> None:
    fds = (world.one_way()[1].fd, world.one_way()[1].fd)
    source = PausableEnds(*fds)
    registry = world.poll.registry
    registry.register(source, Token(1), W, world.trigger)
    registry.pause(source)
    assert [r.paused for r in registry] == [True, True]
    expect_silence(world)
    with registry.batch() as changes:
        changes.resume(source)
    assert [event.token for event in world.poll.poll(timeout=WAIT)] == [1, 1]
    for name in ("pause", "resume"):
        with world.refused(TypeError, 0, f"no {name}()"):
            getattr(registry, name)(Ends(*fds))
