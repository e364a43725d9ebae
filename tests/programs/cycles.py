"""Applications in reference cycles, whose finalizers go on using what the cycle has.

`python cycles.py BACKEND ROUNDS`. The collector runs the finalizers of a cycle in an order that
nobody promises; here it depends on a random arrangement. A finalizer may find the Poll open or
closed, and nothing else: what it finds besides is printed.
"""

import gc
import os
import random
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable

from leaks import check_leaks

from pollster import (
    Events,
    Interest,
    PathWatch,
    Poll,
    Process,
    Signals,
    Timer,
    Token,
    Waker,
)

R = Interest.READABLE
found: Counter[str] = Counter()
kept: list[object] = []  # what a finalizer has brought back to life


class Source:
    """A socket that is part of the cycle."""

    def __init__(self) -> None:
        self.ends = socket.socketpair()
        self.world: World | None = None

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def __del__(self) -> None:
        if self.world:
            self.world.use_all("source")
        for end in self.ends:
            end.close()


class LoudPoll(Poll):
    """Polls in its finalizer, before it is closed by the one that it inherits."""

    __slots__ = ("world",)

    def __del__(self) -> None:
        self.world.use_all("poll")
        super().__del__()


class LoudSignals(Signals):
    """Closes itself."""

    def __del__(self) -> None:
        self.close()


class Owner:
    """Uses all that it has when it ends."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def __del__(self) -> None:
        self.world.use_all("owner")
        if self.world.random.random() < 0.2:
            kept.append(self)


class World:
    """All kinds of objects, in one cycle."""

    def __init__(self, backend: str, seed: int, path: str) -> None:
        self.random = random.Random(seed)
        self.parts: list[object] = []
        self.poll: Poll = self._add(self._poll(backend))
        self.other = self._add(Poll(backend=backend))
        self.owners = [self._add(Owner(self))]
        self.source = self._add(Source())
        self.source.world = self
        self.waker = self._add(Waker(self.poll.registry, Token(1)))
        self.timer = self._add(Timer.after(0))
        self.signals = self._add(LoudSignals(signal.SIGUSR1, backend=backend))
        self.path = self._add(PathWatch(path, backend=backend))
        self.process = self._add(Process(os.getpid(), backend=backend))
        registry = self.poll.registry
        sources = [self.source, self.timer, self.signals, self.path, self.process, self.other]
        for token, source in enumerate(sources, 2):
            registry.register(source, Token(token), R)
        self.other.registry.register(self.source, Token(1), Interest.WRITABLE)
        self.waker.wake()
        self.events = self._add(self.poll.poll(Events(8), timeout=0))
        self.iterator = self._add(iter(self.events))
        self.batch = self._add(registry.batch().__enter__())
        self.batch.register(self.source.ends[1], Token(20), R)
        self.owners.append(self._add(Owner(self)))
        self.random.shuffle(self.parts)

    def _poll(self, backend: str) -> Poll:
        if self.random.random() < 0.5:
            return Poll(backend=backend)
        poll = LoudPoll(backend=backend)
        poll.world = self
        return poll

    def _add(self, part):
        """Puts it so deep into lists that the collector comes to it at another time."""
        nested: object = part
        for _ in range(self.random.randrange(6)):
            nested = [nested]
        self.parts.append(nested)
        return part

    def use_all(self, user: str) -> None:
        """Calls everything, in any order, and notes what is neither success nor a closed Poll."""
        calls: list[tuple[str, Callable[[], object]]] = [
            ("poll", lambda: list(self.poll.poll(self.events, timeout=0))),
            ("poll of its own", lambda: list(self.poll.poll(timeout=0))),
            ("register", lambda: self.poll.registry.register(self.source.ends[1], 9, R)),
            ("deregister", lambda: self.poll.registry.deregister(self.source.ends[1])),
            ("iterate", lambda: [*self.iterator, *self.events, *self.poll.registry]),
            ("raw", lambda: self.events.raw()),
            ("batch", lambda: self.batch.__exit__(None, None, None)),
            ("fileno", lambda: self.poll.fileno()),
            ("other", lambda: self.other.poll(self.events, timeout=0)),
            ("repr", lambda: repr((self.poll, self.events, self.waker, self.timer))),
            ("wake", lambda: self.waker.wake()),
            ("set", lambda: self.timer.set_after(1)),
            ("expirations", lambda: self.timer.expirations()),
            ("move", lambda: self.other.registry.register(self.timer, 3, R)),
            ("timer", lambda: self.timer.close()),
            ("take", lambda: (self.signals.take(), self.path.take(), self.process.ended)),
            ("watch", lambda: self.other.registry.register(self.path, 3, R)),
            ("close path", lambda: self.path.close()),
            ("close waker", lambda: self.waker.close()),
            ("close", lambda: self.poll.close()),
        ]
        for name, call in self.random.sample(calls, self.random.randrange(len(calls) + 1)):
            try:
                call()
            except (FileExistsError, FileNotFoundError):  # registered already, or not any more
                continue
            except ExceptionGroup:  # a batch, whose sources were registered by another finalizer
                continue
            except ValueError as error:
                if "closed" not in str(error):
                    found[f"{user}: {name}: {error!r}"] += 1
            except Exception as error:
                found[f"{user}: {name}: {error!r}"] += 1


def main(backend: str, rounds: int) -> None:
    """Makes worlds and lets them go."""
    gc.disable()
    sys.unraisablehook = lambda it: found.update([f"{it.object!r}: {it.exc_value!r}"])
    with tempfile.NamedTemporaryFile() as file:
        for seed in range(rounds):
            world = World(backend, seed, file.name)
            if seed % 2:
                gc.collect()  # orders anew what is alive
            world.parts.append(world)
            del world
            gc.collect()
            if kept:
                for owner in kept:
                    owner.world.use_all("brought back")  # type: ignore[attr-defined]
                kept.clear()
                gc.collect()
    for what, times in sorted(found.items()):
        print(f"{what} ({times} times)")
    print("done", flush=True)
    check_leaks()


main(sys.argv[1], int(sys.argv[2]))
