"""Pauses of timers, wakers, signals, processes and paths: R22."""

import errno
import time
from collections.abc import Callable

from case import LEVEL, case
from pausing import expect_silence
from sources import (
    WAIT,
)
from watches import HAPPENINGS, RULES
from world import (
    READABLE,
    R,
    World,
    batch_of,
)

from pollster import (
    NotRegisteredError,
    Timer,
    Token,
)

LEVEL_ONLY = (LEVEL,)
FAR = 1000.0  # seconds that no case waits for


# Timers


def timed(world: World, timer: Timer, token: int = 1) -> Timer:
    """A timer, registered with this run's trigger."""
    world.poll.registry.register(timer, Token(token), R, world.trigger)
    return timer


def see(world: World, *tokens: int) -> None:
    """These come, each once, and then nothing."""
    seen: list[int] = []
    while len(seen) < len(tokens):
        batch = batch_of(world.poll.poll(timeout=WAIT))
        assert batch, f"there came only {seen}"
        seen += batch
    assert sorted(seen) == sorted(tokens)
    assert batch_of(world.poll.poll(timeout=0)) == {}
    world.see(sorted(seen))


@case("R22", "a timer that is due while it is paused is told when it is resumed")
def _(world: World) -> None:
    for seconds in (0, 0.001):
        timer = timed(world, Timer.after(seconds))
        world.poll.registry.pause(timer)
        assert [r.paused for r in world.poll.registry] == [True]
        time.sleep(seconds)
        expect_silence(world)
        assert timer.expirations() == 0
        world.poll.registry.resume(timer)
        see(world, 1)
        assert timer.expirations() == 1
        timer.close()


@case("R22", "the periods of a timer that is paused are counted")
def _(world: World) -> None:
    timer = timed(world, Timer.every(0.001))
    world.poll.registry.pause(timer)
    time.sleep(0.01)
    expect_silence(world)
    world.poll.registry.resume(timer)
    assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}
    world.see(timer.expirations() >= 10)


@case(
    "R22", "the event of a timer that was not read is told when it is resumed, one that was is not"
)
def _(world: World) -> None:
    registry = world.poll.registry
    for read in (False, True):
        timers = [timed(world, Timer.after(0), token) for token in range(3)]
        events = world.poll.poll(timeout=WAIT)
        assert len(events) == 3
        if read:
            assert len(list(events)) == 3
        for timer in timers:
            registry.pause(timer)
        assert list(events) == []
        expect_silence(world)
        with registry.batch() as changes:
            for timer in timers:
                changes.resume(timer)
        see(world, *([] if read else range(3)))
        assert [timer.expirations() for timer in timers] == [1, 1, 1]
        for timer in timers:
            timer.close()


@case("R22", "the periods of an event that was not read are counted once")
def _(world: World) -> None:
    before = time.monotonic_ns()
    timer = timed(world, Timer.every(0.001))
    time.sleep(0.005)
    for _ in range(5):
        events = world.poll.poll(timeout=WAIT)
        world.poll.registry.pause(timer)
        assert list(events) == []
        world.poll.registry.resume(timer)
    assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}
    assert 5 <= timer.expirations() <= (time.monotonic_ns() - before) // 1_000_000


@case("R22", "a timer is set, cancelled and closed while it is paused")
def _(world: World) -> None:
    registry = world.poll.registry
    timer = timed(world, Timer.after(FAR))
    registry.pause(timer)
    timer.set_after(0)
    expect_silence(world)
    registry.resume(timer)
    see(world, 1)
    registry.pause(timer)
    timer.set_after(0)
    timer.cancel()
    registry.resume(timer)
    see(world)
    registry.pause(timer)
    timer.set_after(0)
    registry.reregister(timer, Token(2), R)
    see(world, 2)
    registry.pause(timer)
    timer.set_after(0)
    registry.deregister(timer)
    timed(world, timer, 3)
    see(world, 3)
    registry.pause(timer)
    timer.close()
    assert list(registry) == []
    for change in (registry.pause, registry.resume):
        with world.refused(NotRegisteredError, errno.ENOENT, "not registered"):
            change(timer)


@case("R22", "thousands of timers are paused and resumed in one batch", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    timers = [timed(world, Timer.after(token % 3 / 1000), token) for token in range(3000)]
    for name, tokens in (("pause", ()), ("resume", range(3000))):
        with world.poll.registry.batch() as changes:
            for timer in timers:
                getattr(changes, name)(timer)
        see(world, *tokens)


# Wakers


@case("R22", "a wake while its waker is paused is told when it is resumed, and only that")
def _(world: World) -> None:
    waker = world.waker(1)
    registry = world.poll.registry
    for before in (0, 1):  # also one that was woken and told before
        for wakes in (0, 1, 3):
            for _ in range(before):
                waker.wake()
                world.expect({1: READABLE})
            registry.pause(waker)
            assert [r.paused for r in registry] == [True]
            for _ in range(wakes):
                waker.wake()
            expect_silence(world)
            registry.resume(waker)
            world.expect({1: READABLE} if wakes else {})
            world.again()
    waker.wake()
    world.expect({1: READABLE})


@case("R22", "a wake that was not told, or not read, is not lost by a pause")
def _(world: World) -> None:
    waker = world.waker(1)
    registry = world.poll.registry
    waker.wake()
    registry.pause(waker)
    expect_silence(world)
    registry.resume(waker)
    world.expect({1: READABLE})
    waker.wake()
    events = world.poll.poll(timeout=WAIT)
    registry.pause(waker)
    assert list(events) == []
    expect_silence(world)
    registry.resume(waker)
    world.expect({1: READABLE})
    world.again()


@case("R22", "a waker is closed while it is paused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    registry = world.poll.registry
    for end in (lambda waker: waker.close(), registry.deregister):
        waker = world.waker(1)
        registry.pause(waker)
        waker.wake()
        end(waker)
        world.forget(waker)
        world.expect({})
        assert list(registry) == []
        for change in (registry.pause, registry.resume):
            with world.refused(NotRegisteredError, errno.ENOENT):
                change(waker)
    stranger = world.waker(2, world.another_poll())
    for change in (registry.pause, registry.resume):
        with world.refused(NotRegisteredError, errno.ENOENT):
            change(stranger)


@case("R22", "no wake is lost while threads wake, pause and resume", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker = world.waker(1)
    registry = world.poll.registry
    work: list[int] = []
    ended = False

    def wake() -> None:
        for number in range(3000):
            work.append(number)
            waker.wake()

    def change() -> None:
        while not ended:
            registry.pause(waker)
            registry.resume(waker)

    with world.thread(change):
        try:
            with world.thread(wake):
                taken, since = 0, time.monotonic()
                while taken < 3000:
                    # One that is paused before it is read is told when it is resumed.
                    if list(world.poll.poll(timeout=WAIT)):
                        taken, since = len(work), time.monotonic()
                    assert time.monotonic() < since + WAIT, f"a wake was lost after {taken}"
        finally:
            ended = True
    world.see("none was lost")


# Signals, processes, paths


def each(
    name: str, kinds: tuple[str, ...] = tuple(RULES)
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Makes a case for each kind of watch."""

    def add(scenario: Callable[[World], None]) -> Callable[[World], None]:
        case("R22", name, kinds=kinds)(scenario)
        return scenario

    return add


@each("what happens while a watch is paused is told when it is resumed")
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    world.register(happening.source, 1)
    world.pause(happening.source)
    assert [r.paused for r in world.poll.registry] == [True]
    happening.happen()
    expect_silence(world)
    world.resume(happening.source)
    world.expect({1: READABLE})
    world.again()
    world.see(happening.take())


@each("what a watch told is not lost where it was not read")
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    world.register(happening.source, 1)
    happening.happen()
    events = world.poll.poll(timeout=WAIT)
    world.pause(happening.source)
    assert list(events) == []
    expect_silence(world)
    world.resume(happening.source)
    world.expect({1: READABLE})
    world.see(happening.take())


@each("what was taken while a watch was paused is not told", ("signals", "path"))
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    world.register(happening.source, 1)
    world.pause(happening.source)
    happening.happen()
    world.see(happening.take())
    world.resume(happening.source)
    world.expect({})
    happening.happen()
    world.expect({1: READABLE})


@each("a watch is paused where it is registered")
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    other = world.another_poll()
    world.register(happening.source, 1)
    for registry in (world.poll.registry, other.registry):
        for change in (registry.pause, registry.resume):
            if registry is world.poll.registry:
                change(happening.source)
                continue
            with world.refused(NotRegisteredError, errno.ENOENT):
                change(happening.source)


@each("a watch keeps its trigger through a pause")
def _(world: World) -> None:
    happening = HAPPENINGS[world.kind](world)
    world.register(happening.source, 1)
    for _ in range(2):
        world.pause(happening.source)
        world.resume(happening.source)
    happening.happen()
    world.expect({1: READABLE})
    world.again()
    happening.source.close()
    world.forget(happening.source)
    for change in (world.poll.registry.pause, world.poll.registry.resume):
        with world.refused(ValueError, 0, "closed"):
            change(happening.source)
