"""What `Signals`, `Process` and `PathWatch` have in common: R18, R19, R20."""

import errno
import fcntl
import os
from collections.abc import Callable, Collection

from case import EVERY_TRIGGER, LEVEL, case
from children import in_child
from watches import HAPPENINGS, RULES, Happening
from world import ONESHOTS, READABLE, R, W, World, batch_of, descriptors

from pollster import (
    AlreadyRegisteredError,
    Events,
    NotRegisteredError,
    Process,
    Token,
    Trigger,
)

LEVEL_ONLY = (LEVEL,)
REPEATED = ("signals", "path")  # a process ends once

Scenario = Callable[[World], None]


def each(
    name: str, *, of: Collection[str] = tuple(RULES), level_only: bool = False
) -> Callable[[Scenario], Scenario]:
    """Makes a case of a scenario for each kind."""

    def add(scenario: Scenario) -> Scenario:
        for kind in of:
            triggers = LEVEL_ONLY if level_only else EVERY_TRIGGER
            case(RULES[kind], f"{name} ({kind})", kinds=(kind,), triggers=triggers)(scenario)
        return scenario

    return add


def registered(world: World, token: int = 1) -> Happening:
    """Something to watch, registered."""
    happening = HAPPENINGS[world.kind](world)
    world.register(happening.source, token)
    return happening


def expect_later_ones_only(world: World) -> None:
    """Nothing comes of what was before, and not because it is late.

    A queue in a queue tells the outer one in its own time (FreeBSD's kqueue_wakeup() leaves it to a
    thread, which takes them in turn), so what is waited for comes the same way, and later.
    """
    inner = world.another_poll()
    world.register(inner, 9, R)
    world.waker(8, inner).wake()
    world.expect({9: READABLE})
    world.deregister(inner)


@each("it is reported once, and what happened is told")
def _(world: World) -> None:
    happening = registered(world)
    world.expect({})
    happening.happen()
    world.expect({1: READABLE})
    world.again()
    world.see(happening.take())
    world.see(happening.take())
    world.rearm()
    world.again()


@each("the registry shows its trigger, and whether it is armed")
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    registry = world.poll.registry

    def shown() -> list[tuple[bool, bool, Trigger]]:
        return [(one.armed, one.paused, one.trigger) for one in registry]

    world.register(happening.source, 1)
    assert shown() == [(True, False, world.trigger)]
    happening.happen()
    world.expect({1: READABLE})
    assert shown() == [(world.trigger not in ONESHOTS, False, world.trigger)]
    world.reregister_kept(happening.source, 1)
    assert shown() == [(True, False, world.trigger)]
    world.pause(happening.source)
    assert shown() == [(False, True, world.trigger)]
    world.resume(happening.source)
    assert shown() == [(True, False, world.trigger)]


@each("what happened before it was registered is reported")
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    happening.happen()
    world.register(happening.source, 1)
    world.expect({1: READABLE})
    world.again()
    world.see(happening.take())


@each("several times before a poll are one event", of=REPEATED)
def _(world: World) -> None:
    happening = registered(world)
    for _ in range(5):
        happening.happen()
    world.expect({1: READABLE})
    world.again()
    world.see(happening.take())


@each("another time has an event, also if nobody took the first", of=REPEATED)
def _(world: World) -> None:
    happening = registered(world)
    for taken in (True, False, True, False):
        happening.happen()
        world.expect({1: READABLE})
        world.again()
        if taken:
            world.see(happening.take())
            world.rearm()
        else:
            happening.happen()
            world.rearm()
            world.expect({1: READABLE})
            world.see(happening.take())
            world.rearm()


@each("what is taken before the poll has no event", of=REPEATED)
def _(world: World) -> None:
    happening = registered(world)
    happening.happen()
    world.see(happening.take())
    expect_later_ones_only(world)
    happening.happen()
    world.expect({1: READABLE})


@each("what nobody took is reported again under another token")
def _(world: World) -> None:
    happening = registered(world)
    happening.happen()
    world.expect({1: READABLE})
    world.reregister(happening.source, 2)
    world.expect({2: READABLE})
    world.again()
    world.see(happening.take())
    world.reregister(happening.source, 3)
    world.expect({})


@each("reregister without a trigger keeps the one that it has", of=REPEATED)
def _(world: World) -> None:
    happening = registered(world)
    world.reregister_kept(happening.source, 2)
    happening.happen()
    world.expect({2: READABLE})
    world.see(happening.take())
    happening.happen()
    world.expect({2: READABLE} if world.trigger not in ONESHOTS else {})


@each("what was fetched and not read comes under the new token")
def _(world: World) -> None:
    happening = registered(world)
    happening.happen()
    events = world.poll.poll()
    world.reregister(happening.source, 2)
    assert list(events) == []
    world.expect({2: READABLE})


@each("what happens while it is disarmed is reported when it is armed", of=REPEATED)
def _(world: World) -> None:
    happening = registered(world)
    happening.happen()
    world.expect({1: READABLE})
    world.see(happening.take())
    if world.trigger in ONESHOTS:
        happening.happen()
        expect_later_ones_only(world)
        world.rearm()
        world.expect({1: READABLE})
        world.see(happening.take())


@each("nothing comes after it was deregistered, also not of the batch")
def _(world: World) -> None:
    happening = registered(world)
    happening.happen()
    events = world.poll.poll()
    world.deregister(happening.source)
    assert list(events) == []
    world.expect({})
    assert list(world.poll.registry) == []
    with world.refused(NotRegisteredError, errno.ENOENT, "register() first"):
        world.poll.registry.deregister(happening.source)
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(happening.source, Token(1), R, world.trigger)
    world.register(happening.source, 4)
    world.expect({4: READABLE})
    world.see(happening.take())


@each("it is registered once, with one Poll, and moves to another")
def _(world: World) -> None:
    happening, other = registered(world), world.another_poll()
    assert [(r.source, int(r.token), r.interest) for r in world.poll.registry] == [
        (happening.source, 1, R)
    ]
    with world.refused(AlreadyRegisteredError, errno.EEXIST, "reregister()"):
        world.poll.registry.register(happening.source, Token(2), R, world.trigger)
    with world.refused(AlreadyRegisteredError, errno.EEXIST, "deregister it there"):
        other.registry.register(happening.source, Token(2), R, world.trigger)
    with world.refused(NotRegisteredError, errno.ENOENT):
        other.registry.deregister(happening.source)
    world.deregister(happening.source)
    world.register(happening.source, 3, poll=other)
    happening.happen()
    world.expect({3: READABLE}, poll=other)
    world.expect({})


@each("its Poll may be closed first, and another one takes it")
def _(world: World) -> None:
    happening, other = registered(world), world.another_poll()
    world.poll.close()
    happening.happen()
    with world.refused(ValueError, 0, "closed"):
        world.poll.registry.deregister(happening.source)
    world.register(happening.source, 2, poll=other)
    world.expect({2: READABLE}, poll=other)
    world.see(happening.take())
    other.close()
    happening.source.close()


@each("it is READABLE only", level_only=True)
def _(world: World) -> None:
    happening = registered(world)
    for interest in (W, R | W):
        with world.refused(ValueError, 0, "can only be READABLE"):
            world.poll.registry.reregister(happening.source, Token(1), interest, world.trigger)
    world.deregister(happening.source)
    with world.refused(ValueError, 0, "can only be READABLE"):
        world.poll.registry.register(happening.source, Token(1), W, world.trigger)


@each("closing deregisters it, and it says so")
def _(world: World) -> None:
    happening = registered(world)
    happening.happen()
    with happening.source:
        pass
    happening.source.close()
    assert batch_of(world.poll.poll(timeout=0)) == {}
    assert list(world.poll.registry) == []
    for use in (
        happening.take,
        lambda: world.poll.registry.register(happening.source, Token(1), R, world.trigger),
        lambda: world.poll.registry.deregister(happening.source),
    ):
        with world.refused(ValueError, 0, "is closed"):
            use()


@each("an outer Poll sees it")
def _(world: World) -> None:
    outer = world.another_poll()
    world.register(world.poll, 9, R, poll=outer)
    happening = registered(world)
    world.expect({}, poll=outer)
    happening.happen()
    world.expect({9: READABLE}, poll=outer)
    world.expect({1: READABLE})
    world.rearm(outer)
    world.expect({}, poll=outer)


@each("it ends the wait of another thread", level_only=True)
def _(world: World) -> None:
    happening = registered(world)
    got: list[int] = []

    def wait() -> None:
        got.extend(int(event.token) for event in world.poll.poll(Events(4)))

    with world.thread(wait):
        happening.happen()
    assert got == [1]
    world.see(happening.take())


@each("every use in a forked child is a clear error, and disturbs nobody")
def _(world: World) -> None:
    happening = registered(world)

    def work() -> None:
        for use in (
            happening.take,
            lambda: world.poll.registry.deregister(happening.source),
            lambda: world.poll.registry.register(happening.source, Token(1), R, world.trigger),
        ):
            with world.refused(RuntimeError, 0, "process that forked"):
                use()
        happening.source.close()
        world.poll.close()
        with Process(os.getppid(), backend=world.backend) as parent:
            own = world.another_poll()
            own.registry.register(parent, Token(1), R, world.trigger)
            assert not own.poll(timeout=0)

    in_child(work)
    world.expect({})
    happening.happen()
    world.expect({1: READABLE})
    world.see(happening.take())


@each("its descriptors are closed on exec", level_only=True)
def _(world: World) -> None:
    before = descriptors()
    registered(world)
    kept = [
        fd
        for fd in descriptors() - before
        if world.kind != "process" and not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    ]
    assert kept == []


@each("it stays registered while nobody holds it", level_only=True)
def _(world: World) -> None:
    happening = registered(world)
    happen = happening.happen
    happening.source = None  # type: ignore[assignment]
    happen()
    assert batch_of(world.poll.poll()) == {1: READABLE}
