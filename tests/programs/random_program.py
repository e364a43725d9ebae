"""A random program over the public interface, to be run where bad memory accesses are seen.

`python random_program.py BACKEND SEED STEPS THREADS`. Whatever the library calls back calls the
library again: `fileno`, `__del__`, `__index__`, `__eq__`, the methods of sources that register
themselves, signal handlers. Objects hold each other in cycles, and collections come in between.
Errors are part of it; those that no caller should see are printed. With one thread, a seed makes
the same calls each time.
"""

import contextlib
import gc
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from leaks import check_leaks

from pollster import (
    BatchError,
    Events,
    Interest,
    PathWatch,
    Poll,
    Process,
    Signals,
    Timer,
    Token,
    Trigger,
    Waker,
)

R = Interest.READABLE
INTERESTS = [R, R, R, Interest.WRITABLE, R | Interest.WRITABLE, Interest.PRIORITY]
DELAYS = [0, 1e-9, 1e-4, 0.001, 1, 1e18, float("inf"), -1, 2**63]
EXPECTED = (OSError, ValueError, TypeError, RuntimeError, BatchError)
POOL = 12  # objects of a kind that are held at most
NESTED = 2  # how deep calls back go on calling


class Program(threading.local):
    """What one thread does; the objects are everybody's."""

    pools: ClassVar[dict[str, list[Any]]] = {}
    surprises: ClassVar[list[str]] = []
    backend = path = ""
    seed = 0

    def __init__(self) -> None:
        number = threading.current_thread().name.rpartition("-")[2]
        self.random = random.Random(f"{self.seed} {number}")
        self.depth = 0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def some(self, kind: str) -> Any:
        """One of those that are held. Raises `ValueError` where there is none."""
        pool = self.pools[kind]
        with contextlib.suppress(IndexError):
            return pool[self.random.randrange(len(pool))]
        raise ValueError(f"no {kind}")

    def hold(self, kind: str, thing: Any) -> Any:
        pool = self.pools.setdefault(kind, [])
        pool.append(thing)
        with contextlib.suppress(IndexError, ValueError):
            while len(pool) > POOL:
                pool.pop(self.random.randrange(len(pool)))
        return thing

    def step(self) -> None:
        """Does one thing."""
        call = self.random.choice(CALLS)
        try:
            call(self)
        except EXPECTED:
            pass
        except Exception as error:
            self.surprises.append(f"{call.__name__}: {error!r}")

    def called_back(self, probability: float = 0.4) -> None:
        """Somebody was called by the library, and calls it."""
        if self.depth < NESTED and self.chance(probability):
            self.depth += 1
            try:
                self.step()
            finally:
                self.depth -= 1


program: Program


class Object:
    """A source that may be part of a cycle."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        if program.chance(0.5):
            self.held = [self, program.pools["poll"][-1:], program.pools["timer"][-1:]]

    def fileno(self) -> int:
        program.called_back()
        return self.fd

    def __eq__(self, other: object) -> bool:
        program.called_back()
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __del__(self) -> None:
        program.called_back()


class Both(Object):
    """A source that registers others."""

    def register(self, registry: Any, *how: Any) -> None:
        program.called_back()
        registry.register(self.fd, *how)
        registry.register(program.some("timer"), *how)

    def reregister(self, registry: Any, *how: Any) -> None:
        registry.reregister(self.fd, *how)

    def deregister(self, registry: Any) -> None:
        registry.deregister(self.fd)
        program.called_back()


class Number(int):
    """A token."""

    def __index__(self) -> int:
        program.called_back()
        return int(self) & 0xFFFF

    def __del__(self) -> None:
        program.called_back()


class LoudPoll(Poll):
    """Is part of a cycle, and calls before it is closed."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.held = [self, program.pools["events"][-1:], program.pools["waker"][-1:]]

    def __del__(self) -> None:
        with contextlib.suppress(*EXPECTED):
            self.poll(timeout=0)
        program.called_back()
        super().__del__()


class LoudEvents(Events):
    """Is part of a cycle."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.held = [self, program.pools["poll"][-1:]]

    def __del__(self) -> None:
        with contextlib.suppress(*EXPECTED):
            for poll in self.held[1]:
                poll.poll(self, timeout=0)
        program.called_back()


class LoudSignals(Signals):
    """Is part of a cycle, and closes itself."""

    def __del__(self) -> None:
        self.close()


class Owner:
    """Holds one of each, and itself."""

    def __init__(self) -> None:
        self.held = [self, *(pool[-1] for pool in program.pools.values() if pool)]
        program.random.shuffle(self.held)

    def __del__(self) -> None:
        for thing in self.held:
            if isinstance(thing, Poll) and program.chance(0.5):
                with contextlib.suppress(*EXPECTED):
                    thing.poll(timeout=0)
            elif hasattr(thing, "close") and program.chance(0.3):
                with contextlib.suppress(*EXPECTED):
                    thing.close()
        program.called_back()
        if program.chance(0.1):
            program.hold("owner", self)


# What a step may be


def source_of(p: Program) -> Any:
    kind = p.random.choice(["fd", "fd", "object", "both", "timer", "poll", "watch", "old", "waker"])
    if kind == "object":
        return p.hold("old", Object(p.some("fd"))) if p.chance(0.5) else Object(p.some("fd"))
    return Both(p.some("fd")) if kind == "both" else p.some(kind)


def token_of(p: Program) -> Any:
    return p.random.choice([Token(2**64 - 1), 5, 2**40, Number(7), 2**64])


def how(p: Program) -> tuple[Any, ...]:
    kinds = p.random.choice(INTERESTS), p.random.choice(list(Trigger))
    return (token_of(p), kinds[0]) if p.chance(0.4) else (token_of(p), *kinds)


def make_poll(p: Program) -> None:
    p.hold("poll", (LoudPoll if p.chance(0.5) else Poll)(backend=p.backend))


def make_events(p: Program) -> None:
    p.hold("events", (LoudEvents if p.chance(0.4) else Events)(p.random.choice([1, 2, 7, 64])))


def make_timer(p: Program) -> None:
    make = p.random.choice([Timer.after, Timer.every, Timer.at])
    p.hold("timer", make(p.random.choice(DELAYS)))


def make_waker(p: Program) -> None:
    p.hold("waker", Waker(p.some("poll").registry, token_of(p)))


def make_watch(p: Program) -> None:
    kind = p.random.randrange(3)
    if kind == 0:
        p.hold("watch", LoudSignals(signal.SIGUSR1, backend=p.backend))
    else:
        what = Process(os.getpid(), backend=p.backend) if kind == 1 else None
        p.hold("watch", what or PathWatch(p.path, backend=p.backend))


def make_descriptors(p: Program) -> None:
    ends = socket.socketpair() if p.chance(0.5) else None
    for fd in [end.detach() for end in ends] if ends else os.pipe():
        os.set_blocking(fd, False)
        p.hold("number", p.hold("fd", fd))
    while len(numbers := p.pools["number"]) > POOL - 2:  # all that are open, for a while
        with contextlib.suppress(OSError):
            os.close(numbers.pop(0))


def make_owner(p: Program) -> None:
    Owner()


def register(p: Program) -> None:
    p.some("poll").registry.register(source_of(p), *how(p))


def reregister(p: Program) -> None:
    p.some("poll").registry.reregister(source_of(p), *how(p))


def deregister(p: Program) -> None:
    registry = p.some("poll").registry
    registered = list(registry)
    if registered and p.chance(0.7):
        registry.deregister(p.random.choice(registered).source)
    else:
        registry.deregister(source_of(p))


def batch(p: Program) -> None:
    changes = p.hold("batch", p.some("poll").registry.batch())
    if p.chance(0.3):
        changes = p.some("batch")
    with changes:
        for _ in range(p.random.randrange(8)):
            with contextlib.suppress(*EXPECTED):
                call = p.random.choice([changes.register, changes.register, changes.reregister])
                call(source_of(p), *how(p)) if p.chance(0.8) else changes.deregister(source_of(p))
            p.called_back(0.1)


def poll(p: Program) -> None:
    events = p.some("events") if p.chance(0.8) else None
    for event in p.some("poll").poll(events, p.random.choice([0, 0, 0, 1e-9, 0.0005])):
        p.called_back(0.1)
        if p.chance(0.1):
            p.hold("event", event)


def iterate(p: Program) -> None:
    iterator = p.hold("iterator", iter(p.some("events")))
    for _ in range(p.random.randrange(4)):
        next(p.some("iterator") if p.chance(0.5) else iterator, None)


def ask_events(p: Program) -> None:
    events = p.some("events")
    asked: list[Callable[[], object]] = [
        events.clear,
        events.raw,
        lambda: (len(events), bool(events), events[:], repr(events)),
        lambda: events.__init__(p.random.choice([1, 5])),
    ]
    p.random.choice(asked)()


def list_registry(p: Program) -> None:
    for one in p.some("poll").registry:
        hash(one.token)
        p.called_back(0.2)


def change_timer(p: Program) -> None:
    timer = p.some("timer")
    delay = p.random.choice(DELAYS)
    changes: list[Callable[[], object]] = [
        lambda: timer.set_after(delay),
        lambda: timer.set_every(delay),
        lambda: timer.set_at(time.monotonic()),
        timer.cancel,
        timer.close,
        timer.expirations,
        lambda: repr(timer),
    ]
    p.random.choice(changes)()


def use_waker(p: Program) -> None:
    waker = p.some("waker")
    p.random.choice([waker.wake, waker.wake, waker.wake, waker.close])()


def use_watch(p: Program) -> None:
    watch = p.some("watch")
    if p.chance(0.3):
        watch.close()
    elif p.chance(0.5):
        watch.register(p.some("poll").registry, Token(3), R, Trigger.LEVEL)
    else:
        _ = watch.ended if isinstance(watch, Process) else watch.take()


def make_ready(p: Program) -> None:
    fd = p.some("fd")
    if p.chance(0.2):
        os.kill(os.getpid(), signal.SIGUSR1)
    elif p.chance(0.7):
        os.write(fd, b"x")
    else:
        os.read(fd, 100)


def close_poll(p: Program) -> None:
    if p.chance(0.2):
        p.some("poll").close()


def drop(p: Program) -> None:
    pool = p.pools[p.random.choice(OBJECTS)]
    with contextlib.suppress(IndexError):
        pool.pop()


def collect(p: Program) -> None:
    if p.chance(0.5):
        gc.collect(p.random.randrange(3))


MAKE = [make_poll, make_events, make_timer, make_waker, make_watch, make_descriptors, make_owner]
USE = [poll, iterate, ask_events, list_registry, change_timer, use_waker, use_watch, make_ready]
REGISTER = [register, reregister, deregister, batch]
CALLS = [*MAKE, *USE, *REGISTER, *REGISTER, poll, poll, close_poll, drop, collect]
OBJECTS = (
    "poll",
    "events",
    "timer",
    "waker",
    "watch",
    "old",
    "batch",
    "iterator",
    "event",
    "owner",
)
POOLS = ("fd", "number", *OBJECTS)


def run(steps: int, threads: int) -> None:
    """Takes the steps, in each thread."""

    def run() -> None:
        for _ in range(steps):
            program.step()

    others = [threading.Thread(target=run) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    run()
    for thread in others:
        thread.join()


def tell(unraisable: Any) -> None:
    """Notes what a finalizer raised, unless that is one of the errors that come."""
    if not isinstance(unraisable.exc_value, EXPECTED):
        program.surprises.append(f"{unraisable.object!r}: {unraisable.exc_value!r}")


def main(backend: str, seed: int, steps: int, threads: int) -> None:
    """Runs it; a last collection takes all that is left."""
    global program
    Program.backend, Program.seed = backend, seed
    Program.pools.update({kind: [] for kind in POOLS})
    program = Program()
    signal.signal(signal.SIGUSR1, lambda *_: program.called_back())
    sys.setswitchinterval(1e-5)
    sys.unraisablehook = tell
    with tempfile.NamedTemporaryFile() as file:
        Program.path = file.name
        run(steps, threads)
    program.depth = NESTED  # from here on nobody makes anything
    left = [Program.pools[kind].copy() for kind in OBJECTS]
    for kind in OBJECTS:
        Program.pools[kind].clear()
    left.append(left)
    del left
    gc.collect()
    gc.collect()
    for fd in Program.pools["number"]:
        with contextlib.suppress(OSError):
            os.close(fd)
    for surprise in sorted(set(program.surprises)):
        print(surprise)
    # One that comes late would meet the default action, which Python puts back as it ends.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    print("done", flush=True)
    check_leaks()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
