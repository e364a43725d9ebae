"""`Timer` with `once=True`: R17. Its registration ends by itself."""

import errno
import sys
import time
from collections.abc import Callable

from case import LEVEL, case
from sources import WAIT
from world import READABLE, R, World, batch_of

from pollster import Events, NotRegisteredError, Poll, Timer, Token

LEVEL_ONLY = (LEVEL,)
FAR = 1000.0  # seconds that no case waits for

count = getattr(sys, "getrefcount", id)  # only CPython counts references


def register(world: World, timer: Timer, token: int = 1, poll: Poll | None = None) -> Timer:
    """Registers a timer with this run's trigger."""
    (poll or world.poll).registry.register(timer, Token(token), R, world.trigger)
    return timer


def registered(world: World) -> list[int]:
    """The tokens."""
    return sorted(int(registration.token) for registration in world.poll.registry)


def fetched(world: World, timer: Timer) -> Events:
    """Registers a timer that is due; its event stands in the batch, and nobody has read it."""
    register(world, timer)
    events = world.poll.poll(timeout=WAIT)
    assert len(events) == 1
    return events


@case("R17", "once: its registration ends with its event, also where nobody reads it")
def _(world: World) -> None:
    ways: tuple[Callable[[], Timer], ...] = (
        lambda: Timer.after(0, once=True),
        lambda: Timer.after(0.001, once=True),
        lambda: Timer.at(time.monotonic(), once=True),
    )
    for make in ways:
        for read in (True, False):
            timer = make()
            holders = count(timer)
            events = fetched(world, timer)
            assert registered(world) == []
            assert count(timer) == holders, "the Poll keeps it alive"
            if read:
                assert batch_of(events) == {1: READABLE}
            assert batch_of(world.poll.poll(timeout=0)) == {}
            for change in (world.poll.registry.deregister, world.poll.registry.pause):
                with world.refused(NotRegisteredError, errno.ENOENT, "not registered"):
                    change(timer)
            with world.refused(NotRegisteredError, errno.ENOENT, "not registered"):
                world.poll.registry.reregister(timer, Token(2), R)
            assert (timer.expirations(), timer.expirations()) == (1, 0)


@case("R17", "once: until then it is as any other")
def _(world: World) -> None:
    timer = register(world, Timer.after(FAR, once=True))
    assert registered(world) == [1]
    timer.set_after(0.001)
    timer.set_after(FAR)
    assert batch_of(world.poll.poll(timeout=0.002)) == {}
    timer.cancel()
    assert registered(world) == [1]
    timer.set_at(0)
    world.poll.registry.reregister(timer, Token(2), R)
    assert batch_of(world.poll.poll(timeout=WAIT)) == {2: READABLE}
    assert registered(world) == []
    register(world, timer, 3).set_after(FAR)
    timer.close()
    assert registered(world) == []


@case("R17", "once: it can be used again, with this Poll and others")
def _(world: World) -> None:
    timer, other = Timer.after(0, once=True), world.another_poll()
    for poll in (world.poll, other, other, world.poll):
        timer.set_after(0)
        register(world, timer, 5, poll)
        assert batch_of(poll.poll(timeout=WAIT)) == {5: READABLE}
        assert list(poll.registry) == []


@case("R8", "once: what changes it takes an event that was not read out of the batch")
def _(world: World) -> None:
    registry = world.poll.registry
    changes: list[tuple[Callable[[Timer], object], list[int], list[int]]] = [
        (lambda timer: timer.cancel(), [1], []),
        (lambda timer: timer.close(), [], []),
        (registry.deregister, [], []),
        (lambda timer: timer.set_after(0), [1], [1]),
        (lambda timer: registry.reregister(timer, Token(2), R), [2], [2]),
        (lambda timer: registry.reregister(timer, Token(1), R), [1], [1]),
        (registry.resume, [1], [1]),
    ]
    for change, stay, come in changes:
        timer = Timer.after(0, once=True)
        events = fetched(world, timer)
        change(timer)
        assert list(events) == []
        assert registered(world) == stay
        told = Events()
        assert sorted(batch_of(world.poll.poll(told, timeout=0))) == come
        world.poll.poll(events, timeout=0)
        assert sorted(batch_of(told)) == come, "the first batch has ended it"
        timer.close()
    world.see("taken out")


@case("R8", "once: the handler of another event of the batch puts it off")
def _(world: World) -> None:
    timers = [register(world, Timer.after(0, once=True), token) for token in range(3)]
    seen = []
    for event in world.poll.poll(timeout=WAIT):
        seen.append(int(event.token))
        for token, timer in enumerate(timers):
            if token not in seen:
                timer.set_after(0.001)
    assert len(seen) == 1
    assert len(registered(world)) == 2
    while len(seen) < 3:
        seen += batch_of(world.poll.poll(timeout=WAIT))
    assert sorted(seen) == [0, 1, 2]
    assert registered(world) == []


@case("R22", "once: it is paused before its event, or before that is read")
def _(world: World) -> None:
    for read_first in (False, True):
        timer = Timer.after(0, once=True)
        if read_first:
            events = fetched(world, timer)
        else:
            register(world, timer)
        world.poll.registry.pause(timer)
        if read_first:
            assert list(events) == []
        assert batch_of(world.poll.poll(timeout=0)) == {}
        assert registered(world) == [1]
        world.poll.registry.resume(timer)
        assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}
        assert (registered(world), timer.expirations()) == ([], 1)


@case("R17", "once: its count outlives its place", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    asked, timers = Timer.after(0, once=True), [Timer.after(0, once=True) for _ in range(10)]
    events = fetched(world, asked)
    assert asked.expirations() == 1
    assert batch_of(events) == {1: READABLE}
    for timer in timers:
        assert batch_of(fetched(world, timer)) == {1: READABLE}
    assert [timer.expirations() for timer in timers] == [1] * 10
    assert asked.expirations() == 0


@case("R17", "once: fire and forget, more often than there is room", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    registry, events = world.poll.registry, Events(4096)
    for _ in range(300):
        with registry.batch() as changes:
            for token in range(4096):
                changes.register(Timer.after(0, once=True), Token(token), R)
        assert len(world.poll.poll(events, timeout=WAIT)) == 4096
    assert registered(world) == []
    assert (world.poll.stats().registrations, world.poll.stats().timers) == (0, 0)


@case("R17", "once: with the batches of several polls", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    batches = [Events(2) for _ in range(3)]
    for token in range(6):
        register(world, Timer.after(0, once=True), token)
    for events in batches:
        world.poll.poll(events, timeout=WAIT)
    for token in range(10, 13):
        register(world, Timer.after(FAR), token)
    assert sorted(int(e.token) for events in batches for e in events) == [0, 1, 2, 3, 4, 5]
    assert registered(world) == [10, 11, 12]


@case("R21", "once: bad arguments, and a period", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for make in (Timer.after, Timer.at):
        with world.refused(TypeError, 0, "once"):
            make(1, True)  # type: ignore[call-arg]
        with world.refused(TypeError, 0, "once"):
            make(1, twice=True)  # type: ignore[call-arg]
    with world.refused(ValueError, 0, "single use"):
        Timer.after(1, once=True).set_every(1)
