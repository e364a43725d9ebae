"""Threads that share Polls, Events and sources: R8, R11, R12 under load, with and without the GIL.

Each test has its threads do what may clash, a bounded number of times, and states what holds
whichever was first. None waits for a time to pass.
"""

import contextlib
import gc
import itertools
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from pollster import (
    Event,
    Events,
    Interest,
    NotRegisteredError,
    Poll,
    Registry,
    Token,
    Trigger,
    Waker,
)

from .conftest import counts_references

R, W = Interest.READABLE, Interest.WRITABLE
LEVEL, EDGE, ONESHOT = Trigger.LEVEL, Trigger.EDGE, Trigger.ONESHOT
WAIT = 60.0  # seconds until a thread that is not done hangs
STOP = Token(1 << 40)  # tokens from here on are wakers'


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Has threads take turns more often than they do by themselves."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def run(*works: Callable[[], None]) -> None:
    """Runs each in a thread, all from the same moment on; raises the first that one raised."""
    start = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            start.wait(WAIT)
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"


@pytest.fixture
def pairs() -> Iterator[Callable[[int], list[socket.socket]]]:
    """Makes sockets that are writable, and readable once."""
    opened: list[socket.socket] = []

    def make(count: int) -> list[socket.socket]:
        made = []
        for _ in range(count):
            ours, peer = socket.socketpair()
            ours.setblocking(False)
            peer.send(b"x")
            opened.extend((ours, peer))
            made.append(ours)
        return made

    yield make
    for end in opened:
        end.close()


class Pollers:
    """Threads that poll one Poll with Events of their own until they are told to stop."""

    def __init__(self, poll: Poll, take: Callable[[Event], None], count: int = 2) -> None:
        self.poll = poll
        self.take = take
        self.wakers = [Waker(poll.registry, Token(STOP + number)) for number in range(count)]

    def work(self) -> None:
        """Polls until one of the wakers' events comes: each gives its event to one thread."""
        events = Events(1)  # nobody takes two of the wakers'
        while True:
            for event in self.poll.poll(events):
                if event.token >= STOP:
                    return
                self.take(event)

    def stop(self) -> None:
        """Stops them all."""
        for waker in self.wakers:
            waker.wake()


def stopping(pollers: Pollers, work: Callable[[], None]) -> Callable[[], None]:
    """Does the work, and then stops the pollers."""

    def both() -> None:
        try:
            work()
        finally:
            pollers.stop()

    return both


def change(registry: Registry, batched: bool, what: str, *how: object) -> None:
    """Makes a change at once, or as a batch."""
    with registry.batch() if batched else contextlib.nullcontext(registry) as target:
        getattr(target, what)(*how)


# R8


@pytest.mark.parametrize("batched", [False, True])
def test_nothing_comes_of_a_token_whose_end_was_seen_before(backend, poll, pairs, batched) -> None:
    ended: list[int] = []
    late: list[int] = []
    done: list[bool] = []
    tokens = itertools.count(1)

    def look() -> None:
        events = Events(8)
        while len(done) < len(sources):
            poll.poll(events, 0)
            iterator = iter(events)
            while True:
                before = len(ended)  # what had ended when the event was asked for
                event = next(iterator, None)
                if event is None:
                    break
                if event.token in ended[:before]:
                    late.append(int(event.token))

    def work(source: socket.socket) -> Callable[[], None]:
        def changing() -> None:
            try:
                for turn in range(60):
                    first, second = next(tokens), next(tokens)
                    trigger = (LEVEL, EDGE, ONESHOT)[turn % 3]
                    change(poll.registry, batched, "register", source, first, R | W, trigger)
                    change(poll.registry, batched, "reregister", source, second, W, trigger)
                    ended.append(first)
                    change(poll.registry, batched, "deregister", source)
                    ended.append(second)
            finally:
                done.append(True)

        return changing

    sources = pairs(2)
    run(look, look, *map(work, sources))
    assert not late
    assert not poll.poll(timeout=0)
    assert not list(poll.registry)


def test_threads_that_register_and_deregister_one_source_leave_it_in_one_state(poll, pairs) -> None:
    (source,) = pairs(1)
    counts: list[int] = []
    tokens = itertools.count(1)

    def work() -> None:
        made = 0
        for _ in range(150):
            with contextlib.suppress(OSError):
                poll.registry.register(source, next(tokens), W)
                made += 1
            with contextlib.suppress(OSError):
                poll.registry.reregister(source, next(tokens), R | W)
            with contextlib.suppress(OSError):
                poll.registry.deregister(source)
                made -= 1
        counts.append(made)

    def look() -> None:
        events = Events(4)
        for _ in range(300):
            assert len(list(poll.poll(events, 0))) <= 1
            for registration in poll.registry:
                assert registration.source is source

    run(work, work, work, look)
    left = list(poll.registry)
    assert sum(counts) == len(left) == len(poll.poll(timeout=0))
    with contextlib.suppress(NotRegisteredError):
        poll.registry.deregister(source)
    assert not list(poll.registry)


def test_counting_and_iterating_while_others_deregister(poll, pairs) -> None:
    sources = pairs(24)
    rounds = 12
    events = Events(64)
    meet = threading.Barrier(3)

    def fill() -> None:
        for number, source in enumerate(sources):
            poll.registry.register(source, number, W)
        assert len(poll.poll(events, 0)) == len(sources)

    def deregister() -> None:
        for _ in range(rounds):
            fill()
            meet.wait(WAIT)
            for source in sources:
                poll.registry.deregister(source)
            assert len(events) == 0
            assert not events
            assert list(events) == []
            meet.wait(WAIT)

    def count() -> None:
        for _ in range(rounds):
            meet.wait(WAIT)
            last = len(sources)
            while last:
                now = len(events)
                assert now <= last
                assert len(list(events)) <= now
                assert not events or now
                last = now
            meet.wait(WAIT)

    run(deregister, count, count)


# R11


def test_a_one_shot_goes_to_exactly_one(poll, pairs) -> None:
    turns = 25
    sources = pairs(12)
    given = [0] * len(sources)
    lock = threading.Lock()
    left = len(sources) * turns

    def take(event: Event) -> None:
        nonlocal left
        token = int(event.token)
        with lock:  # who has the event is alone with the source until it is armed again
            given[token] += 1
            left -= 1
            over = left == 0
            again = given[token] < turns
        if again:
            poll.registry.reregister(sources[token], token, R | W, ONESHOT)
        if over:
            pollers.stop()

    def register() -> None:
        for token, source in enumerate(sources):
            poll.registry.register(source, token, R | W, ONESHOT)

    pollers = Pollers(poll, take, 3)
    run(pollers.work, pollers.work, pollers.work, register)
    assert given == [turns] * len(sources)
    assert not poll.poll(timeout=0)


@pytest.mark.parametrize("trigger", [LEVEL, EDGE])
@pytest.mark.parametrize("batched", [False, True])
def test_nothing_is_lost_that_other_threads_register(poll, pairs, trigger, batched) -> None:
    sources = pairs(60)
    seen: set[int] = set()
    complete = threading.Event()

    def take(event: Event) -> None:
        if event.is_readable:
            seen.add(int(event.token))
        if len(seen) == len(sources):
            complete.set()

    def register(numbers: range) -> Callable[[], None]:
        def work() -> None:
            for number in numbers:
                change(poll.registry, batched, "register", sources[number], number, W, trigger)
                change(
                    poll.registry, batched, "reregister", sources[number], number, R | W, trigger
                )

        return work

    def wait() -> None:
        assert complete.wait(WAIT), f"{set(range(len(sources))) - seen} did not come"

    pollers = Pollers(poll, take)
    run(
        pollers.work,
        pollers.work,
        register(range(30)),
        register(range(30, 60)),
        stopping(pollers, wait),
    )


def test_a_pipe_can_be_deregistered_while_others_hear_of_its_end(poll) -> None:
    pollers = Pollers(poll, lambda _: None)

    def hang_up() -> None:
        for turn in range(2000):
            reader, writer = os.pipe()
            poll.registry.register(writer, Token(turn), W, EDGE)
            os.close(reader)
            for _ in range(turn % 400):
                pass  # so that the others come to each point of it
            poll.registry.deregister(writer)
            os.close(writer)

    run(pollers.work, pollers.work, stopping(pollers, hang_up))


def test_every_wake_is_followed_by_an_event(poll) -> None:
    woken = threading.Semaphore(0)

    def take(event: Event) -> None:
        assert event.token == 7
        woken.release()

    waker = Waker(poll.registry, Token(7))

    def wake() -> None:
        for _ in range(150):
            waker.wake()
            assert woken.acquire(timeout=WAIT), "a wake was lost"

    pollers = Pollers(poll, take)
    run(pollers.work, pollers.work, stopping(pollers, wake))


def test_wakers_that_are_closed_while_others_wake_them(poll) -> None:
    ended: list[int] = []
    late: list[int] = []
    turns = 80
    over = threading.Event()
    current: list[Waker] = [Waker(poll.registry, Token(0))]

    def wake() -> None:
        while not over.is_set():
            with contextlib.suppress(NotRegisteredError):
                current[0].wake()

    def replace() -> None:
        try:
            for number in range(1, turns):
                fresh = Waker(poll.registry, Token(number))
                old, current[0] = current[0], fresh
                old.close()
                ended.append(number - 1)
        finally:
            over.set()

    def look() -> None:
        events = Events(4)
        while not over.is_set():
            before = len(ended)
            late.extend(e.token for e in poll.poll(events, 0) if e.token in ended[:before])

    run(wake, wake, replace, look)
    assert not late
    current[0].close()
    assert not list(poll.registry)
    assert not poll.poll(timeout=0)


def test_a_batch_that_several_threads_fill_makes_each_change_once(poll, pairs) -> None:
    sources = pairs(90)
    with poll.registry.batch() as changes:

        def fill(numbers: range) -> Callable[[], None]:
            def work() -> None:
                for number in numbers:
                    changes.register(sources[number], number, W)

            return work

        run(*(fill(range(first, first + 30)) for first in range(0, 90, 30)))
    assert sorted(event.token for event in poll.poll(timeout=0)) == list(range(90))
    assert {r.source for r in poll.registry} == set(sources)


# Events that threads share though they should not: an error, or an end, and no crash


def use(events: Events, size: int) -> None:
    assert 0 <= len(events) <= size
    assert bool(events) in (True, False)
    taken = list(events)
    assert len(taken) <= size
    assert all(isinstance(event, Event) and event.is_writable for event in taken)
    assert len(events.raw()) <= 2 * size
    assert "capacity" in repr(events)


@pytest.mark.parametrize("polls", [1, 2])
def test_events_that_other_threads_poll_with(backend, pairs, polls) -> None:
    size, turns = 6, 120
    events = Events(size)
    refused: list[str] = []
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(Poll(backend=backend)) for _ in range(polls)]
        for poll in opened:
            for number, source in enumerate(pairs(size)):
                poll.registry.register(source, number, W)

        def fill(poll: Poll) -> Callable[[], None]:
            def work() -> None:
                for _ in range(turns):
                    try:
                        poll.poll(events, 0)
                    except RuntimeError as error:
                        refused.append(str(error))

            return work

        def look() -> None:
            for _ in range(turns):
                use(events, size)

        def clear() -> None:
            for _ in range(turns):
                events.clear()
                assert events.capacity == size

        run(*map(fill, [*opened, opened[0]]), look, look, clear)
    assert all("give each thread Events of its own" in text for text in refused)


def test_an_iterator_that_threads_share_gives_each_event_once(poll, pairs) -> None:
    size = 60
    for number, source in enumerate(pairs(size)):
        poll.registry.register(source, number, W)
    for _ in range(8):
        iterator = iter(poll.poll(timeout=0))
        taken: list[int] = []

        def take(iterator: Iterator[Event] = iterator, taken: list[int] = taken) -> None:
            taken.extend(int(event.token) for event in iterator)

        run(take, take, take)
        assert sorted(taken) == list(range(size))


def test_events_that_outlive_their_poll_in_another_thread(backend, pairs) -> None:
    sources = pairs(8)
    for _ in range(10):
        poll = Poll(backend=backend)
        for number, source in enumerate(sources):
            poll.registry.register(source, number, W)
        given = [poll.poll(Events(8), 0)]
        again = [poll.poll(Events(8), 0)]

        def drop(given: list[Events] = given) -> None:
            use(given.pop(), 8)

        def close(poll: Poll = poll) -> None:
            poll.close()

        del poll
        run(drop, lambda again=again: use(again.pop(), 8), close)


# R12


def test_closing_while_others_do_everything(backend, pairs) -> None:
    for turn in range(12):
        sources = pairs(3)
        poll = Poll(backend=backend)
        ends: list[str] = []
        waker = Waker(poll.registry, Token(99))

        def until_closed(work: Callable[[], object], ends: list[str] = ends) -> Callable[[], None]:
            def working() -> None:
                while True:
                    try:
                        work()
                    except OSError:
                        continue  # it is another thread's turn with this source
                    except ValueError as error:
                        ends.append(str(error))
                        return

            return working

        def toggle(poll: Poll = poll, source: socket.socket = sources[0]) -> None:
            poll.registry.register(source, 1, R | W)
            poll.registry.deregister(source)

        def together(poll: Poll = poll, sources: list[socket.socket] = sources[1:]) -> None:
            with poll.registry.batch() as changes:
                for number, source in enumerate(sources):
                    changes.register(source, number, W, EDGE)
            with poll.registry.batch() as changes:
                for source in sources:
                    changes.deregister(source)

        events = Events(4)

        def wait(poll: Poll = poll, events: Events = events, turn: int = turn) -> None:
            poll.poll(events, None if turn % 2 else 1e9)

        def close(poll: Poll = poll, waker: Waker = waker, turn: int = turn) -> None:
            with contextlib.suppress(ValueError):  # the other one was first
                for _ in range(turn):
                    waker.wake()
            poll.close()
            assert poll.closed

        works = [wait, toggle, together, waker.wake, lambda poll=poll: list(poll.registry)]
        run(*map(until_closed, works), close, close)
        assert len(ends) == len(works)
        assert all("is closed" in text for text in ends)
        waker.close()


class Watched:
    """A source that can be seen to go."""

    def __init__(self, source: socket.socket) -> None:
        self.source = source

    def fileno(self) -> int:
        return self.source.fileno()


@counts_references
@pytest.mark.parametrize("how", ["deregister", "close"])
def test_sources_are_freed_whichever_thread_was_first(backend, pairs, how) -> None:
    sources = pairs(4)
    living: list[weakref.ref[Watched]] = []
    for _ in range(6):
        poll = Poll(backend=backend)

        def register(sources: list[socket.socket], poll: Poll = poll) -> Callable[[], None]:
            def work() -> None:
                with contextlib.suppress(ValueError):  # closed
                    for _ in range(5):
                        watched = [Watched(source) for source in sources]
                        living.extend(map(weakref.ref, watched))
                        for number, source in enumerate(watched):
                            poll.registry.register(source, number, W)
                            poll.registry.reregister(source.fileno(), number + 9, W)
                            poll.registry.reregister(source, number, W)
                        list(poll.poll(Events(4), 0))
                        if how == "close":
                            return
                        for source in watched:
                            poll.registry.deregister(source)

            return work

        if how == "close":
            run(register(sources[:2]), register(sources[2:]), poll.close)
        else:
            run(register(sources[:2]), register(sources[2:]))
        gc.collect()
        left = [watched() for watched in living]
        assert left == [None] * len(left), f"poll {poll} holds them"
        living.clear()
        poll.close()
