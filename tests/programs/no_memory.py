"""Has one allocation of Python after the other fail, in what registers and what reads events.

`python no_memory.py BACKEND`. After a MemoryError the registry knows what the kernel side knows,
and no event is lost. Needs CPython's _testcapi. What is wrong is printed.
"""

import _testcapi
import os
import signal
import sys
from collections.abc import Callable

from pollster import BatchError, Events, Interest, Poll, Signals, Timer, Token, Trigger, Waker

R, W = Interest.READABLE, Interest.WRITABLE
SOURCES = 40
wrong: list[str] = []


class World:
    """A Poll, and descriptors to register with it."""

    def __init__(self, backend: str) -> None:
        self.poll = Poll(backend=backend)
        self.reader, writer = os.pipe()
        self.writers = [writer, *(os.dup(writer) for _ in range(SOURCES - 1))]
        self.timers = [Timer.after(0) for _ in range(SOURCES)]
        self.signals = Signals(signal.SIGUSR1, backend=backend)

    def close(self) -> None:
        """Closes all."""
        self.poll.close()
        self.signals.close()
        for fd in [self.reader, *self.writers]:
            os.close(fd)

    def differences(self) -> str:
        """What registry and kernel side do not agree about."""
        selector = self.poll._selector
        known = {r.source for r in self.poll.registry if isinstance(r.source, int)}
        there = {fd for fd in self.writers if selector.find(fd)}
        held = [r.source for r in self.poll.registry if isinstance(r.source, Timer | Signals)]
        for source in [*self.timers, self.signals]:
            try:
                self.poll.registry.deregister(source)
                there_too = True
            except FileNotFoundError:
                there_too = False
            if there_too != any(source is one for one in held):
                return f"{source!r}: known is {not there_too}, registered is {there_too}"
        return "" if known == there else f"known are {known}, registered are {there}"


def failing(start: int, stop: int, call: Callable[[], object]) -> bool:
    """Calls with allocations failing: all after the first `start`, up to `stop` (0: no end).

    Returns whether any did.
    """
    failed = False
    _testcapi.set_nomemory(start, stop)
    try:
        call()
    except MemoryError:
        failed = True
    finally:
        _testcapi.remove_mem_hooks()
    return failed


def batch_of(world: World, *what: str) -> Callable[[], object]:
    """A batch that is ready to be made."""
    changes = world.poll.registry.batch().__enter__()
    for token, (fd, timer) in enumerate(zip(world.writers, world.timers, strict=True)):
        if "descriptors" in what:
            changes.register(fd, Token(token), W)
        if "timers" in what:
            changes.register(timer, Token(token + 1000), R)
    return changes._apply


def one(world: World) -> Callable[[], object]:
    register, fd, token = world.poll.registry.register, world.writers[0], Token(5)
    return lambda: register(fd, token, W)


def waker(world: World) -> Callable[[], object]:
    registry, token = world.poll.registry, Token(5)
    return lambda: Waker(registry, token)


def watch(world: World) -> Callable[[], object]:
    register, source, token = world.poll.registry.register, world.signals, Token(5)
    return lambda: register(source, token, R)


REGISTERING: dict[str, Callable[[World], Callable[[], object]]] = {
    "a batch of descriptors": lambda world: batch_of(world, "descriptors"),
    "a batch of timers": lambda world: batch_of(world, "timers"),
    "a batch of both": lambda world: batch_of(world, "descriptors", "timers"),
    "one": one,
    "a waker": waker,
    "a watch": watch,
}


def check_registering(backend: str) -> None:
    """Until nothing fails any more."""
    for name, prepare in REGISTERING.items():
        start, failed = 0, True
        while failed:
            world = World(backend)
            call = prepare(world)
            failed = failing(start, 0, call)
            registered = len(list(world.poll.registry))
            what = world.differences()
            if name == "a waker" and failed and registered:
                what = "it stayed registered"
            world.close()
            start += 1
            if what:
                wrong.append(f"{name}, allocation {start - 1}: {what}")
                break


def check_reading(backend: str) -> None:
    """One event of each source, however often reading it fails."""
    for read in (list, len, bool, next):
        start, failed = 0, True
        while failed:
            world = World(backend)
            registry = world.poll.registry
            for token, fd in enumerate(world.writers):
                registry.register(fd, Token(token), W, Trigger.ONESHOT)
            events = world.poll.poll(Events(SOURCES), timeout=0)
            iterator = iter(events)
            failed = failing(
                start, start + 1, lambda r=read, it=iterator, ev=events: r(it if r is next else ev)
            )
            rest = len(list(iterator))
            if rest + (read is next and not failed) != SOURCES or len(events) != SOURCES:
                wrong.append(f"{read.__name__}, allocation {start}: {rest}, {len(events)}")
            world.close()
            start += 1


def check_catching_up(backend: str) -> None:
    """Events of what another thread has registered, and has not come to note."""
    for read in (len, bool, list):
        start, failed = 0, True
        while failed:
            world = World(backend)
            selector = world.poll._selector
            lib, changes = selector.lib, selector.ffi.new("change[]", SOURCES)
            for token, fd in enumerate(world.writers):
                change = changes[token]
                change.what, change.fd, change.interest = lib.REGISTER, fd, lib.INTEREST_WRITABLE
                change.token = 2**40 + token
            assert lib.selector_apply(selector.handle, changes, SOURCES) == 0
            events = world.poll.poll(Events(SOURCES), timeout=0)
            answers: list[object] = []
            failed = failing(start, start + 1, lambda r=read, ev=events, a=answers: a.append(r(ev)))
            if answers and answers[0] not in (SOURCES, True) and read is not list:
                wrong.append(f"{read.__name__}, allocation {start}: {answers}")
            if len(events) != SOURCES:
                wrong.append(f"{read.__name__}, allocation {start}: {len(events)} are left")
            world.close()
            start += 1


def main(backend: str) -> None:
    """Checks all."""
    try:
        check_registering(backend)
        check_reading(backend)
        check_catching_up(backend)
    except BatchError as error:
        wrong.append(repr(error.exceptions))
    for what in wrong:
        print(what)
    print("done")


main(sys.argv[1])
