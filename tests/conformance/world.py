"""`World`: what a scenario acts in. It performs actions, polls, and records what each poll reports.

A scenario states, after an action, which predicates hold of each registered source *now*. What an
event has to say then follows from the trigger:

- LEVEL: exactly that, with every poll.
- ONESHOT: exactly that, once; then nothing until it is registered again.
- EDGE: at least what is new since the last statement. Old news may come with it, or again, but
  nothing that does not hold: R5 allows spurious events and an edge of one direction only.
- EDGE_ONESHOT: as EDGE, once.

The trace keeps the exact batches of LEVEL and ONESHOT, and of edges what was new: `World.expect` is
the one place that knows what R5 leaves open.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import sources
from case import EDGE, EDGE_ONESHOT, EVERY_TRIGGER, LEVEL, ONESHOT
from sources import WAIT, End, FileEnd, SocketEnd

import pollster._watch
import pollster.backend
from pollster import Event, Events, Interest, Poll, Registry, SourceLike, Token, Trigger, Waker

R, W = Interest.READABLE, Interest.WRITABLE
EDGES = (EDGE, EDGE_ONESHOT)
ONESHOTS = (ONESHOT, EDGE_ONESHOT)

Names = frozenset[str]
READABLE: Names = frozenset({"readable"})
WRITABLE: Names = frozenset({"writable"})
READ_CLOSED: Names = frozenset({"readable", "read_closed"})
WRITE_CLOSED: Names = frozenset({"writable", "write_closed"})
ERROR: Names = frozenset({"error"})
BOTH = READABLE | WRITABLE
GONE = READ_CLOSED | WRITE_CLOSED

Batch = Mapping[int, Names]
Trace = list[Batch | str]
Source = End | SourceLike
Change = Callable[[SourceLike], None]


class HasClose(Protocol):
    """What is closed at the end."""

    def close(self) -> None: ...


Closable = TypeVar("Closable", bound=HasClose)

PREDICATES = ("readable", "writable", "priority", "read_closed", "write_closed", "error")


class NotHere(Exception):  # noqa: N818  # no error: the machine can't come to the point in question
    """A scenario found that this machine can't bring about what it is about; says why."""


def predicates(event: Event) -> Names:
    """Names what an event says."""
    return frozenset(name for name in PREDICATES if getattr(event, f"is_{name}"))


def batch_of(events: Events) -> dict[int, Names]:
    """Returns token to predicates. R1: no source comes twice in a batch."""
    listed = list(events)
    batch = {int(event.token): predicates(event) for event in listed}
    assert len(batch) == len(listed), f"a source came twice in one batch: {listed}"
    return batch


@dataclass
class Watch:
    """What a poll owes for a registration."""

    source: Source
    interest: Interest
    trigger: Trigger
    is_once: bool = False  # reported once for each time that it is stated: a waker, a watch
    is_armed: bool = True
    is_paused: bool = False
    stated: Names = frozenset()


@dataclass(frozen=True)
class Owed:
    """What must come of a source, and what may."""

    must: Names
    may: Names


class World:
    """A Poll, sources, and the trace of what was reported; closes all that it opened."""

    def __init__(self, backend: str, kind: str, trigger: Trigger) -> None:
        self.backend = backend
        self.kind = kind
        self.trigger = trigger
        self.trace: Trace = []
        self._stack = contextlib.ExitStack()
        self._watches: dict[Poll, dict[int, Watch]] = {}
        self._folder: Path | None = None
        self._before = open_descriptors()
        self.poll = self.another_poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._watches.clear()
        self._stack.close()
        if kind is None:
            left = open_descriptors() - self._before
            assert left <= 0, f"{left} descriptors leaked"

    # Sources

    @property
    def folder(self) -> Path:
        """A folder that goes with the world; its path is short enough for a socket's name."""
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self._folder

    def keep(self, thing: Closable) -> Closable:
        """Has something closed at the end."""
        self._stack.callback(thing.close)
        return thing

    def keep_fd(self, fd: int) -> int:
        """Has a descriptor closed at the end."""
        self._stack.callback(os.close, fd)
        return fd

    def another_poll(self) -> Poll:
        """A further Poll of the same back end."""
        poll = self.keep(Poll(backend=self.backend))
        self._watches[poll] = {}
        return poll

    def reader(self) -> sources.Ends:
        """An end to read from, of this run's kind, and what its peer sends with."""
        if self.kind == "poll":
            return self._keep_ends(sources.nested(self.backend))
        if self.kind in sources.PIPES:
            return self.one_way(self.kind)
        return self.two_way()

    def writer(self) -> sources.Ends:
        """An end to write to, of this run's kind, and its peer."""
        if self.kind in sources.PIPES:
            reader, writer = self.one_way(self.kind)
            return writer, reader
        return self.two_way()

    def two_way(self) -> sources.Ends:
        """Two ends of which each can send to the other."""
        if self.kind == "eventfd":
            fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            end = self.keep(sources.EventEnd(fd))
            return end, end
        if self.kind in sources.TERMINALS:
            master, slave = self.terminal()
            return (master, slave) if self.kind == "pty master" else (slave, master)
        return self.sockets()

    def sockets(self, kind: str = "") -> sources.Sockets:
        """Two connected sockets: ours and the peer's."""
        ours, peer = sources.connected(kind or self.kind, self.folder)
        return self.keep(ours), self.keep(peer)

    def one_way(self, kind: str = "pipe") -> tuple[FileEnd, FileEnd]:
        """A pipe's or a FIFO's read end and write end."""
        reader, writer = sources.one_way(kind, self.folder)
        return self.keep(reader), self.keep(writer)

    def terminal(self) -> tuple[FileEnd, FileEnd]:
        """A pseudo-terminal's master and slave."""
        master, slave = sources.terminal()
        return self.keep(master), self.keep(slave)

    def listener(self) -> SocketEnd:
        """A listening socket of this run's kind."""
        return self.keep(SocketEnd(sources.listener(self.kind, self.folder)))

    def _keep_ends(self, ends: sources.Ends) -> sources.Ends:
        return self.keep(ends[0]), self.keep(ends[1])

    # Registering

    def register(
        self,
        source: Source,
        token: int,
        interest: Interest = R,
        trigger: Trigger | None = None,
        poll: Poll | None = None,
    ) -> None:
        """Registers, with this run's trigger unless another is given."""
        where, how = poll or self.poll, self.trigger if trigger is None else trigger
        where.registry.register(bare(source), Token(token), interest, how)
        self._watches[where][token] = watch_of(source, interest, how)

    def reregister(
        self,
        source: Source,
        token: int,
        interest: Interest = R,
        trigger: Trigger | None = None,
        poll: Poll | None = None,
    ) -> None:
        """Changes a registration: what is ready counts as new again."""
        where, how = poll or self.poll, self.trigger if trigger is None else trigger
        where.registry.reregister(bare(source), Token(token), interest, how)
        self._forget(where, source)
        self._watches[where][token] = watch_of(source, interest, how)

    def reregister_kept(
        self, source: Source, token: int, interest: Interest = R, registry: Registry | None = None
    ) -> None:
        """Changes a registration, perhaps in a batch, without a trigger."""
        (registry or self.poll.registry).reregister(bare(source), Token(token), interest)
        self._forget(self.poll, source)
        self._watches[self.poll][token] = watch_of(source, interest, self.trigger)

    def pause(self, source: Source, change: Change | None = None) -> None:
        """Pauses a source, in a way of its own if one is given: nothing may come of it."""
        (change or self.poll.registry.pause)(bare(source))
        for watch in self._watches_of(source):
            watch.is_paused = True

    def resume(self, source: Source, change: Change | None = None) -> None:
        """Resumes it: what is ready counts as new again."""
        (change or self.poll.registry.resume)(bare(source))
        for watch in self._watches_of(source):
            watch.is_paused = False
            watch.is_armed = True
            watch.stated = frozenset()

    def _watches_of(self, source: Source) -> list[Watch]:
        return [w for w in self._watches[self.poll].values() if w.source is source]

    def deregister(self, source: Source, poll: Poll | None = None) -> None:
        """Ends a registration."""
        where = poll or self.poll
        where.registry.deregister(bare(source))
        self._forget(where, source)

    def rearm(self, poll: Poll | None = None) -> None:
        """Does what users of one-shot triggers do when they have handled an event."""
        for token, watch in list(self._watches[poll or self.poll].items()):
            if not watch.is_armed:
                self.reregister(watch.source, token, watch.interest, watch.trigger, poll)

    def waker(self, token: int, poll: Poll | None = None) -> Waker:
        """A Waker: it is to be stated as readable once for each time it is to be reported."""
        where = poll or self.poll
        waker = Waker(where.registry, Token(token))
        self._watches[where][token] = Watch(waker, R, EDGE, is_once=True)
        return waker

    @property
    def is_oneshot(self) -> bool:
        """Whether this run's trigger is a one-shot: what is armed again counts as new."""
        return self.trigger in ONESHOTS

    def forget(self, source: Source, poll: Poll | None = None) -> None:
        """Owes nothing any more of a source that was closed."""
        self._forget(poll or self.poll, source)

    def _forget(self, poll: Poll, source: Source) -> None:
        watches = self._watches[poll]
        for token in [t for t, watch in watches.items() if watch.source is source]:
            del watches[token]

    # Stating what must come

    def expect(
        self,
        ready: Mapping[int, Collection[str]],
        *,
        new: Mapping[int, Collection[str]] | None = None,
        poll: Poll | None = None,
    ) -> None:
        """States what holds now of the sources of a Poll, polls, and compares.

        `new`: what is new though it was stated before, such as more data.
        """
        where = poll or self.poll
        owed = {}
        for token, watch in self._watches[where].items():
            holds = frozenset(ready.get(token, ()))
            fresh = frozenset((new or {}).get(token, ()))
            assert fresh <= holds, "what is new does hold"
            owed[token] = owes(watch, holds, fresh)
            watch.stated = holds
        assert ready.keys() <= owed.keys(), f"{ready} names what is not registered"
        self._compare(where, owed)

    def again(self, poll: Poll | None = None) -> None:
        """Polls though nothing was done: level-triggered sources repeat, others are silent."""
        where = poll or self.poll
        self._compare(
            where,
            {
                token: Owed(watch.stated, watch.stated)
                if watch.trigger == LEVEL and not watch.is_paused
                else NOTHING
                for token, watch in self._watches[where].items()
            },
        )

    def _compare(self, poll: Poll, owed: Mapping[int, Owed]) -> None:
        """Polls until all that must come has come; fails for all that may not."""
        watches = self._watches[poll]
        seen: dict[int, Names] = dict.fromkeys(owed, frozenset())
        deadline = time.monotonic() + WAIT
        while True:
            waits = any(not owed[token].must <= seen[token] for token in owed)
            batch = batch_of(poll.poll(timeout=WAIT if waits else 0))
            for token, names in batch.items():
                said = f"Token({token}) says {sorted(names)}"
                assert token in owed, f"{said} and is not registered; {self._so_far(owed)}"
                assert names <= owed[token].may, f"{said}; {self._so_far(owed)}"
                watch = watches[token]
                if watch.trigger in ONESHOTS:
                    assert watch.is_armed, f"{said} a second time; {self._so_far(owed)}"
                    watch.is_armed = False
                    assert owed[token].must <= names, f"{said} only; {self._so_far(owed)}"
            for token in owed:
                found = batch.get(token, frozenset())
                # A level-triggered batch speaks for itself; edges add up.
                level = watches[token].trigger == LEVEL
                seen[token] = found if level else seen[token] | found
            if all(owed[token].must <= seen[token] for token in owed):
                break
            late = not batch or time.monotonic() > deadline
            assert not late, f"there came only {readable(seen)}; {self._so_far(owed)}"
        promised = {
            token: seen[token] & owed[token].must if watches[token].trigger in EDGES else names
            for token, names in seen.items()
        }
        self.trace.append({token: names for token, names in promised.items() if names})

    def _so_far(self, owed: Mapping[int, Owed]) -> str:
        must = readable({token: each.must for token, each in owed.items()})
        may = readable({token: each.may for token, each in owed.items()})
        return f"must come: {must}, may come: {may}, before it: {self.trace}"

    def see(self, fact: object) -> None:
        """Records something else that was observed, for comparing back ends."""
        self.trace.append(repr(fact))

    @contextlib.contextmanager
    def refused(self, error: type[Exception], number: int = 0, *says: str) -> Iterator[None]:
        """What is done inside raises this error, with this errno, and says these words."""
        try:
            yield
        except error as caught:
            found = getattr(caught, "errno", None) or 0
            name, expected = errno.errorcode.get(found), errno.errorcode.get(number)
            assert found == number, f"{caught!r} has errno {name}, not {expected}"
            for words in says:
                assert words in str(caught), f"{str(caught)!r} does not say {words!r}"
            self.trace.append(f"{type(caught).__name__} {name}")
        else:
            raise AssertionError(f"there was no {error.__name__}")

    # Threads and processes

    @contextlib.contextmanager
    def thread(self, work: Callable[[], object]) -> Iterator[threading.Thread]:
        """Runs work in a thread, sees it end, and passes on its failure."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            thread.join(WAIT)
        assert not thread.is_alive(), "the thread did not end"
        if failures:
            raise failures[0]


NOTHING = Owed(frozenset(), frozenset())


def watch_of(source: Source, interest: Interest, trigger: Trigger) -> Watch:
    """What a poll owes; for pollster's own watches, whatever the trigger is, each event once."""
    if not isinstance(source, pollster._watch.Watch):
        return Watch(source, interest, trigger)
    once = EDGE_ONESHOT if trigger in ONESHOTS else EDGE
    return Watch(source, interest, once, is_once=True)


def owes(watch: Watch, holds: Names, fresh: Names) -> Owed:
    """What a registration owes when these predicates hold, and these are new beyond doubt."""
    if not watch.is_armed or watch.is_paused or not holds:
        return NOTHING
    if watch.trigger in EDGES and not watch.is_once:
        return Owed(fresh | (holds - watch.stated), holds)
    return Owed(holds, holds)


def bare(source: Source) -> SourceLike:
    """What a user registers."""
    return source.source if isinstance(source, End) else source


def readable(batch: Mapping[int, Names]) -> dict[int, list[str]]:
    """A batch as a message shows it."""
    return {token: sorted(names) for token, names in batch.items() if names}


def descriptors() -> set[int]:
    """Lists this process's descriptors; FreeBSD's /dev/fd has the first three only."""
    found: set[int] = set()
    for fd in range(1024):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_GETFD)
            found.add(fd)
    return found


def open_descriptors() -> int:
    """Counts this process's; the tests' kqueue frees a closed queue's when the next is opened."""
    for name in pollster.backend.available():
        Poll(backend=name).close()
    return len(descriptors())


def interests_of(names: Names, interest: Interest) -> Names:
    """The predicates that an event for an interest may have, out of those of both directions."""
    allowed = {"error"}
    allowed |= READ_CLOSED if interest & R else set()
    allowed |= WRITE_CLOSED if interest & W else set()
    return names & frozenset(allowed)


__all__ = [
    "BOTH",
    "EDGES",
    "ERROR",
    "EVERY_TRIGGER",
    "GONE",
    "ONESHOTS",
    "READABLE",
    "READ_CLOSED",
    "WRITABLE",
    "WRITE_CLOSED",
    "Batch",
    "NotHere",
    "R",
    "Trace",
    "W",
    "World",
    "interests_of",
]
