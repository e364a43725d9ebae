"""`Timer`: R17. An expiration is an event once, whatever the trigger."""

import errno
import time

from case import EVERY_TRIGGER, LEVEL, case
from children import in_child
from sources import WAIT
from world import READABLE, WRITABLE, R, W, World, batch_of

from pollster import (
    AlreadyRegisteredError,
    Events,
    Interest,
    NotRegisteredError,
    Poll,
    Timer,
    Token,
)

LEVEL_ONLY = (LEVEL,)
FAR = 1000.0  # seconds that no case waits for


def register(world: World, timer: Timer, token: int, poll: Poll | None = None) -> Timer:
    """Registers a timer with this run's trigger."""
    (poll or world.poll).registry.register(timer, Token(token), R, world.trigger)
    return timer


def see_until(world: World, *tokens: int, poll: Poll | None = None) -> None:
    """Polls until these have come, each once, and records them; nothing else may come."""
    seen: list[int] = []
    while len(seen) < len(tokens):
        batch = batch_of((poll or world.poll).poll(timeout=WAIT))
        assert batch, f"there came only {seen}"
        assert set(batch.values()) == {READABLE}
        seen += batch
    assert sorted(seen) == sorted(tokens)
    world.see(sorted(seen))


def see_nothing(world: World, poll: Poll | None = None) -> None:
    """Polls, and nothing comes."""
    assert batch_of((poll or world.poll).poll(timeout=0)) == {}
    world.see("nothing")


@case("R17", "polling#75, epoll-shim#18 a timer is never early", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for seconds, rounds in ((100e-6, 200), (1e-9, 100), (3.1e-3, 20)):
        for _ in range(rounds):
            before = time.monotonic_ns()
            timer = register(world, Timer.after(seconds), 1)
            assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}
            assert time.monotonic_ns() - before >= seconds * 1e9
            timer.close()
    world.see("never early")


@case("R17", "libdispatch#943 a deadline is of the monotonic clock, not of real time")
def _(world: World) -> None:
    for ahead in (-1.0, 0.0, 0.002):
        deadline = time.monotonic() + ahead
        timer = register(world, Timer.at(deadline), 1)
        see_until(world, 1)
        assert time.monotonic() >= deadline
        timer.close()


@case("R17", "each expiration is reported once, whatever the trigger", triggers=EVERY_TRIGGER)
def _(world: World) -> None:
    register(world, Timer.after(0), 1)
    often = register(world, Timer.every(0.001), 2)
    see_until(world, 1)
    for _ in range(5):
        see_until(world, 2)
    often.cancel()
    see_nothing(world)


@case("R17", "periods that were missed are one event, and are counted")
def _(world: World) -> None:
    timer = register(world, Timer.every(0.0005), 1)
    time.sleep(0.01)
    see_until(world, 1)
    world.see(timer.expirations() >= 20)
    world.see(timer.expirations())


@case("R17", "a periodic timer does not drift, nor run ahead", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    period, count = 1_000_000, 0
    before = time.monotonic_ns()
    timer = register(world, Timer.every(period / 1e9), 1)
    while count < 20:
        assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}
        count += timer.expirations()
        assert time.monotonic_ns() - before >= count * period
    world.see("in step")


@case("R17", "its time counts from where it was made, not from its registration")
def _(world: World) -> None:
    once, often = Timer.after(0.001), Timer.every(0.001)
    time.sleep(0.004)
    register(world, once, 1)
    register(world, often, 2)
    assert batch_of(world.poll.poll(timeout=0)) == {1: READABLE, 2: READABLE}
    world.see((once.expirations(), often.expirations() >= 4))


@case("R17", "set anew, put off, brought forward, cancelled")
def _(world: World) -> None:
    timer = register(world, Timer(), 1)
    see_nothing(world)
    timer.set_after(0.001)
    see_until(world, 1)
    see_nothing(world)
    timer.set_every(0.001)
    see_until(world, 1)
    timer.set_after(FAR)
    see_nothing(world)
    timer.set_at(time.monotonic())
    see_until(world, 1)
    timer.set_after(0)
    timer.cancel()
    see_nothing(world)


@case("R2", "of timers: reregister without a trigger keeps the one that it has")
def _(world: World) -> None:
    timer = register(world, Timer.after(FAR), 1)
    world.poll.registry.reregister(timer, Token(2), R)
    with world.poll.registry.batch() as changes:
        changes.reregister(timer, Token(3), R)
    world.see([(r.token, r.trigger == world.trigger) for r in world.poll.registry])
    assert [r.trigger for r in world.poll.registry] == [world.trigger]


@case("R8", "of timers: set, cancelled, deregistered, they are gone from the batch too")
def _(world: World) -> None:
    registry = world.poll.registry
    for end in (
        lambda timer: timer.cancel(),
        lambda timer: timer.set_after(FAR),
        lambda timer: registry.deregister(timer),
        lambda timer: registry.reregister(timer, Token(99), R, world.trigger),
    ):
        timers = [register(world, Timer.after(0), token) for token in range(5)]
        events = world.poll.poll(timeout=WAIT)
        assert len(events) == 5
        for timer in timers:
            end(timer)
        world.see(list(events))
        see_nothing(world)
        for timer in timers:
            timer.close()


@case("R10", "timers that are due and descriptors that are ready take turns")
def _(world: World) -> None:
    writers = [world.one_way()[1] for _ in range(5)]
    for capacity in (1, 2, 3):
        events, seen = Events(capacity), set[int]()
        timers = [register(world, Timer.every(1e-9), 10 + token) for token in range(5)]
        for token, writer in enumerate(writers):
            world.register(writer, token, W, LEVEL)
        for _ in range(100):
            batch = batch_of(world.poll.poll(events, timeout=0))
            assert 1 <= len(batch) <= capacity
            for token, names in batch.items():
                assert names == (READABLE if token >= 10 else WRITABLE)
            seen |= set(batch)
        world.see(sorted(seen))
        for timer in timers:
            timer.close()
        for writer in writers:
            world.deregister(writer)


@case("R17", "ten thousand timers: each comes once, and none that was cancelled")
def _(world: World) -> None:
    timers = [register(world, Timer.after(token % 10 / 1000), token) for token in range(10_000)]
    for timer in timers[::2]:
        timer.cancel()
    seen: list[int] = []
    while len(seen) < 5000:
        batch = batch_of(world.poll.poll(timeout=WAIT))
        assert batch
        seen += batch
    assert sorted(seen) == list(range(1, 10_000, 2))
    see_nothing(world)


@case("R17", "an outer Poll sees a timer that is due, and one that is cancelled no more")
def _(world: World) -> None:
    outer = world.another_poll()
    early = register(world, Timer.after(0), 1)
    world.register(world.poll, 9, R, poll=outer)
    world.expect({9: READABLE}, poll=outer)
    see_until(world, 1)
    for seconds in (0, 0.002):
        early.set_after(seconds)
        world.rearm(outer)
        world.expect({9: READABLE}, new={9: READABLE}, poll=outer)
        see_until(world, 1)
        world.rearm(outer)
        world.expect({}, poll=outer)
    early.set_after(FAR)
    early.cancel()
    world.expect({}, poll=outer)


@case("R11", "a poll that waits sees what another thread sets", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    timer = register(world, Timer.after(FAR), 1)
    for work in (
        lambda: timer.set_after(0.001),
        lambda: register(world, Timer.after(0.001), 2) and None,
    ):
        with world.thread(work):
            world.see(sorted(batch_of(world.poll.poll(timeout=WAIT))))


@case("R21", "bad times, interests and registrations of timers are refused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    nan = float("nan")
    for make in (Timer.after, Timer.every):
        with world.refused(ValueError, 0, "negative"):
            make(-1)
        with world.refused(ValueError, 0, "NaN"):
            make(nan)
        with world.refused(TypeError, 0, "timedelta"):
            make("1")  # type: ignore[arg-type]
    with world.refused(ValueError, 0, "period"):
        Timer.every(0)
    with world.refused(ValueError, 0, "NaN"):
        Timer.at(nan)
    with world.refused(ValueError, 0, "-inf"):
        Timer.at(float("-inf"))
    timer, other = Timer.after(FAR), world.another_poll()
    for interest in (W, R | W, Interest.PRIORITY):
        with world.refused(ValueError, 0, "READABLE"):
            world.poll.registry.register(timer, Token(1), interest)
    register(world, timer, 1)
    for poll in (world.poll, other):
        with world.refused(AlreadyRegisteredError, errno.EEXIST):
            register(world, timer, 2, poll)
    with world.refused(NotRegisteredError, errno.ENOENT):
        other.registry.deregister(timer)
    timer.close()
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(timer, Token(1), R)


@case("R12", "the timers of a closed Poll", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    poll, other = world.another_poll(), world.another_poll()
    timer = register(world, Timer.after(0), 1, poll)
    poll.close()
    with world.refused(ValueError, 0, "closed"):
        timer.set_after(1)
    register(world, timer, 2, other)
    see_until(world, 2, poll=other)


@case("R13", "a forked child can't set its parent's timers", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    timer = register(world, Timer.after(0.01), 1)
    world.poll.fileno()

    def work() -> None:
        for use in (lambda: timer.set_after(1), timer.cancel, timer.close, timer.expirations):
            with world.refused(RuntimeError, 0, "another"):
                use()
        world.poll.close()

    in_child(work)
    see_until(world, 1)
