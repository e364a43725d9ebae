"""R7, R16: what comes together with a signal whose handler raises is reported by the next poll."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollster import (
    Events,
    Interest,
    PathChange,
    PathWatch,
    Poll,
    Process,
    Signals,
    Timer,
    Token,
    Trigger,
    Waker,
)

from .conftest import WAIT

R, W = Interest.READABLE, Interest.WRITABLE


class Boom(Exception):  # noqa: N818  # no error
    """What the handler raises."""


def boom(*_: object) -> None:
    raise Boom


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """A handler of SIGUSR1 that raises."""
    before = signal.signal(signal.SIGUSR1, boom)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupted(poll: Poll, events: Events | None = None, timeout: float = WAIT) -> None:
    """Polls, and the signal comes when the events are there, and nobody has seen them."""
    wait = poll._wait

    def with_signal(*arguments: Any) -> Any:
        batch = wait(*arguments)
        assert len(batch) > 0
        signal.raise_signal(signal.SIGUSR1)
        return batch

    poll._wait = with_signal
    try:
        with pytest.raises(Boom):
            poll.poll(events, timeout)
    finally:
        poll._wait = wait


def seen(poll: Poll, events: Events | None = None, timeout: float = WAIT) -> list[int]:
    return [int(event.token) for event in poll.poll(events, timeout)]


@pytest.fixture(params=["own", "the Poll's"])
def events(request: pytest.FixtureRequest) -> Events | None:
    return Events(8) if request.param == "own" else None


@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_source_is_reported_once_more(poll, unix_pair, events, trigger) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, trigger)
    peer.send(b"x")
    interrupted(poll, events)
    assert not events
    assert seen(poll, events) == [1]
    again = seen(poll, events, timeout=0)
    assert again == ([1] if trigger == Trigger.LEVEL else [])


@pytest.mark.parametrize("trigger", [Trigger.EDGE, Trigger.ONESHOT, Trigger.EDGE_ONESHOT])
def test_what_is_not_ready_any_more_is_not_reported(poll, unix_pair, trigger) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, trigger)
    peer.send(b"x")
    interrupted(poll)
    ours.recv(1)
    assert seen(poll, timeout=0) == []
    peer.send(b"y")
    assert seen(poll) == [1]


def test_what_was_deregistered_meanwhile_is_not_reported(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    waker = Waker(poll.registry, Token(2))
    peer.send(b"x")
    waker.wake()
    interrupted(poll)
    poll.registry.deregister(ours)
    waker.close()
    assert seen(poll, timeout=0) == []


def test_a_wake_is_told_once(poll, events) -> None:
    wakers = [Waker(poll.registry, Token(token)) for token in range(3)]
    for waker in wakers[:2]:
        waker.wake()
    for _ in range(3):
        interrupted(poll, events)
    found = set(seen(poll, events))
    while len(found) < 2:
        found.update(seen(poll, events))
    assert found == {0, 1}
    assert seen(poll, events, timeout=0) == []


def test_a_timer_is_told_and_counted_once(poll, events) -> None:
    once, every = Timer.after(0), Timer.every(0.000_001)
    poll.registry.register(once, Token(1), R)
    interrupted(poll, events)
    interrupted(poll, events)
    assert seen(poll, events) == [1]
    assert once.expirations() == 1
    assert seen(poll, events, timeout=0) == []
    poll.registry.register(every, Token(2), R)
    interrupted(poll, events)
    assert seen(poll, events) == [2]
    assert every.expirations() >= 1
    every.set_every(3600)
    assert seen(poll, events, timeout=0) == []


def test_signals_are_told_once(backend, poll, events) -> None:
    with Signals(signal.SIGUSR2, backend=backend) as signals:
        poll.registry.register(signals, Token(1), R)
        os.kill(os.getpid(), signal.SIGUSR2)
        interrupted(poll, events)
        assert seen(poll, events) == [1]
        assert signals.take() == {signal.SIGUSR2: 1}
        assert seen(poll, events, timeout=0) == []


def test_the_end_of_a_process_is_told_once(backend, poll, events) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", ""]) as child,
        Process(child, backend=backend) as process,
    ):
        poll.registry.register(process, Token(1), R)
        interrupted(poll, events)
        assert seen(poll, events) == [1]
        assert seen(poll, events, timeout=0) == []


@pytest.mark.parametrize("trigger", [Trigger.LEVEL, Trigger.ONESHOT])
def test_a_change_of_a_path_is_told_once(backend, poll, events, tmp_path, trigger) -> None:
    path = Path(tmp_path, "file")
    path.touch()
    with PathWatch(path, backend=backend) as watch:
        poll.registry.register(watch, Token(1), R, trigger)
        path.write_bytes(b"x")
        interrupted(poll, events)
        assert seen(poll, events) == [1]
        assert watch.take() == PathChange.WRITTEN | PathChange.EXTENDED
        assert seen(poll, events, timeout=0) == []


def test_another_thread_that_waits_is_told(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    peer.send(b"x")
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(seen(poll, Events())))
    wait = poll._wait

    def with_signal(*arguments: Any) -> Any:
        batch = wait(*arguments)
        poll._wait = wait
        thread.start()
        signal.raise_signal(signal.SIGUSR1)
        return batch

    poll._wait = with_signal
    with pytest.raises(Boom):
        poll.poll(Events())
    thread.join(WAIT)
    assert found == [1]


@pytest.mark.parametrize("call", [lambda poll: poll.poll(timeout=-1), lambda poll: poll.poll(3)])
def test_an_error_of_the_call_itself_brings_nothing_back(poll, unix_pair, call) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    peer.send(b"x")
    assert seen(poll) == [1]
    with pytest.raises((ValueError, TypeError)):
        call(poll)
    assert seen(poll, timeout=0) == []


def test_a_signal_and_a_wake_of_another_thread(poll) -> None:
    """The handler runs where Python does it: in poll(), when the wait has returned."""
    waker = Waker(poll.registry, Token(1))

    def act() -> None:
        signal.raise_signal(signal.SIGUSR1)  # to this thread: the wait goes on
        waker.wake()

    def handle(_: int, frame: Any) -> None:
        if frame.f_code is Poll.poll.__code__:
            raise Boom

    signal.signal(signal.SIGUSR1, handle)
    for _ in range(30):
        thread = threading.Thread(target=act)
        thread.start()
        try:
            told = seen(poll)
        except Boom:
            told = seen(poll)
        thread.join()
        assert told == [1]
        assert seen(poll, timeout=0) == []


def test_the_poll_that_was_closed_has_nothing_to_put_back(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    peer.send(b"x")
    close: Callable[[], None] = poll.close

    def closing(*_: object) -> None:
        close()
        raise Boom

    signal.signal(signal.SIGUSR1, closing)
    interrupted(poll)
    with pytest.raises(ValueError, match="closed"):
        poll.poll()
