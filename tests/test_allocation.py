"""What a running program allocates: nothing that grows.

Memory is that which tracemalloc sees: all that Python and `backend/python` ask for. What the back
end's tables take is counted by the process's own size, where that would show.
"""

import gc
import os
import resource
import sys
import weakref
from collections.abc import Callable, Iterator

import pytest

from pollster import BatchError, Event, Events, Interest, Poll, Token, Trigger, Waker

R, W = Interest.READABLE, Interest.WRITABLE
tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not trace memory")
A_LITTLE = 2000  # bytes: what tracemalloc and the test itself take, however often


@pytest.fixture
def growth() -> Iterator[Callable[[Callable[[], object], int], float]]:
    """How many bytes more there are for each time that something is done.

    Less than one is none: the interpreter fills its free lists, and then no more. It does other
    things in between, so that the least of three counts.
    """

    def measure(work: Callable[[], object], times: int) -> float:
        gc.collect()  # empties the free lists, too
        for _ in range(100 + times // 10):
            work()
        found = []
        for _ in range(3):
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(times):
                work()
            after, _ = tracemalloc.get_traced_memory()
            found.append((after - before) / times)
        return min(found)

    tracemalloc.start()
    yield measure
    tracemalloc.stop()


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """What a test does leaves nothing for the collector: references alone free it."""
    gc.collect()
    gc.disable()
    yield
    found = gc.collect()
    gc.enable()
    assert found == 0, f"{found} objects were garbage"


def resident() -> int:
    """The most bytes that the process had at a time."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# Polls


@pytest.mark.parametrize("trigger", list(Trigger))
def test_polls_that_return_what_is_known_allocate_nothing_that_grows(
    poll, fds, growth, no_garbage, trigger
) -> None:
    sources = [fds.pipe()[1] for _ in range(4)]
    for token, source in enumerate(sources):
        poll.registry.register(source, Token(token), W, trigger)
    events = Events(16)

    def work() -> None:
        for event in poll.poll(events, timeout=0):
            assert event.is_writable
            if trigger != Trigger.LEVEL:
                poll.registry.reregister(sources[event.token], event.token, W, trigger)

    assert growth(work, 10_000) < 1


def test_one_poll_of_known_events_allocates_no_event(poll, fds, growth) -> None:
    """The peak tells it: while ten events are iterated over, none of them is new."""
    for token in range(1000):
        poll.registry.register(fds.pipe()[1], Token(token), W)
    events = Events(1024)

    def work() -> None:
        for event in poll.poll(events, timeout=0):
            assert event.is_writable

    growth(work, 1)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    work()
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < A_LITTLE


def test_a_source_that_changes_its_readiness_has_an_event_for_each_and_no_more(
    poll, unix_pair, growth, no_garbage
) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R | W)
    events, seen = Events(4), set()

    def work() -> None:
        seen.update(poll.poll(events, timeout=0))
        peer.send(b"x")
        seen.update(poll.poll(events, timeout=0))
        ours.recv(1)

    assert growth(work, 5000) < 1
    assert len(seen) == 2
    assert len({id(event) for event in seen}) == 2


def test_a_waker_that_is_woken_again_and_again_allocates_nothing(poll, growth) -> None:
    waker = Waker(poll.registry, Token(1))
    events = Events(4)

    def work() -> None:
        waker.wake()
        assert len(poll.poll(events, timeout=0)) == 1

    assert growth(work, 5000) < 1


def test_what_is_asked_of_events_leaves_nothing_behind(poll, fds, growth, no_garbage) -> None:
    for token in range(3):
        poll.registry.register(fds.pipe()[1], Token(token), W)
    events = Events(4)

    def work() -> None:
        poll.poll(events, timeout=0)
        assert events
        assert len(events) == len(events.raw()) == 3
        next(iter(events))
        assert events[0] in events[:2]
        events.clear()

    assert growth(work, 2000) < 1


def test_fresh_events_for_each_poll_are_freed_with_their_iterators(
    poll, fds, growth, no_garbage
) -> None:
    poll.registry.register(fds.pipe()[1], Token(1), W)

    def work() -> None:
        iterator = iter(poll.poll(Events(1 << 16), timeout=0))
        next(iterator)

    before = resident()
    assert growth(work, 2000) < 1
    assert resident() - before < 100 << 20  # of 2,000 that have 1.3 MB each


# Changes


def test_a_hundred_thousand_registrations_of_one_source_leave_nothing(
    poll, fds, no_garbage
) -> None:
    _, writer = fds.pipe()
    register, deregister = poll.registry.register, poll.registry.deregister
    before, blocks = resident(), sys.getallocatedblocks()
    for _ in range(100_000):
        register(writer, 1, W)
        deregister(writer)
    assert sys.getallocatedblocks() - blocks < 100
    assert resident() - before < 16 << 20


def test_registrations_that_report_and_end_leave_no_event(poll, fds, growth, no_garbage) -> None:
    _, writer = fds.pipe()
    events, token = Events(4), iter(range(1 << 20))

    def work() -> None:
        poll.registry.register(writer, next(token), W)
        assert len(list(poll.poll(events, timeout=0))) == 1
        poll.registry.reregister(writer, next(token), W)
        assert len(list(poll.poll(events, timeout=0))) == 1
        poll.registry.deregister(writer)

    assert growth(work, 5000) < 1


def test_batches_leave_nothing(poll, fds, growth, no_garbage) -> None:
    ends = [fds.pipe()[1] for _ in range(20)]

    def work() -> None:
        with poll.registry.batch() as changes:
            for token, end in enumerate(ends):
                changes.register(end, Token(token), W)
        with poll.registry.batch() as changes:
            for end in ends:
                changes.deregister(end)

    assert growth(work, 500) < 1


def test_batches_that_fail_or_are_dropped_leave_nothing(poll, fds, growth, no_garbage) -> None:
    reader, writer = fds.pipe()

    def fail() -> None:
        with poll.registry.batch() as changes:
            changes.deregister(reader)
            changes.reregister(writer, Token(1), W)

    def drop() -> None:
        with poll.registry.batch() as changes:
            changes.register(reader, Token(1), R)
            raise ZeroDivisionError

    def work() -> None:
        for batch in (fail, drop):
            try:
                batch()
            except (BatchError, ZeroDivisionError):
                continue
            raise AssertionError("it was made")

    assert growth(work, 1000) < 1


def test_refused_changes_leave_nothing(poll, fds, growth, no_garbage) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    refused: list[Callable[[], object]] = [
        lambda: poll.registry.register(reader, Token(2), R),
        lambda: poll.registry.reregister(writer, Token(2), W),
        lambda: poll.registry.deregister(writer),
        lambda: poll.registry.register(1 << 20, Token(2), R),
    ]

    def work() -> None:
        for change in refused:
            try:
                change()
            except OSError:
                continue
            raise AssertionError("it was not refused")

    assert growth(work, 1000) < 1


# What ends is freed


class Source:
    """A source to which a weak reference can be made."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd


ENDS = {
    "deregister": lambda poll, fd: poll.registry.deregister(fd),
    "another token": lambda poll, fd: poll.registry.reregister(fd, Token(8), W),
    "a number used again": lambda poll, fd: poll.registry.register(fd, Token(8), W),
    "the end of the Poll": lambda poll, fd: None,
}


@pytest.mark.parametrize("how", ENDS)
def test_the_events_and_the_token_of_what_has_ended_are_freed(
    backend, fds, no_garbage, how
) -> None:
    """Events have no weak references: they are counted."""
    _, writer = fds.pipe()
    token = Token(1 << 50)
    held = sys.getrefcount(token)
    poll = Poll(backend=backend)
    poll.registry.register(writer, token, W)
    (event,) = poll.poll(timeout=0)
    own = Event(token)
    assert sys.getrefcount(event) > sys.getrefcount(own)
    if how == "a number used again":
        os.dup2(fds.pipe()[1], writer)
    ENDS[how](poll, writer)
    if how == "the end of the Poll":
        del poll
    assert sys.getrefcount(event) == sys.getrefcount(own)
    del event, own
    assert sys.getrefcount(token) == held


@pytest.mark.parametrize("how", ["deregister", "close", "batch", "reregister"])
def test_a_source_is_let_go_when_its_registration_ends(poll, fds, no_garbage, how) -> None:
    _, writer = fds.pipe()
    source = Source(writer)
    reference = weakref.ref(source)
    poll.registry.register(source, Token(1), W)
    list(poll.poll(timeout=0))
    del source
    assert reference() is not None
    if how == "deregister":
        poll.registry.deregister(writer)
    elif how == "close":
        poll.close()
    elif how == "reregister":
        poll.registry.reregister(Source(writer), Token(1), W)
    else:
        with poll.registry.batch() as changes:
            changes.deregister(writer)
    assert reference() is None


def test_what_a_batch_holds_is_let_go_when_it_is_made_or_dropped(poll, fds, no_garbage) -> None:
    sources = [Source(fds.pipe()[1]) for _ in range(4)]
    references = [weakref.ref(source) for source in sources]
    changes = poll.registry.batch()
    try:
        with changes:
            for token, source in enumerate(sources):
                changes.register(source, Token(token), W)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    del source, sources
    assert [reference() for reference in references] == [None] * 4
    assert list(poll.registry) == []
