"""R7, R16: what comes together with a signal whose handler raises is reported by the next poll."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

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

from .conftest import WAIT, counts_references

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


def interrupted(poll: Poll, act: Callable[[], object], events: Events | None = None) -> None:
    """Polls; what another thread does makes events come, together with the signal.

    The signal goes to that thread, so the wait goes on. Python runs the handler in this one when
    the wait has returned.
    """
    go = threading.Event()

    def work() -> None:
        go.wait(WAIT)
        signal.raise_signal(signal.SIGUSR1)
        act()

    def wait() -> None:
        go.set()
        poll.poll(events, WAIT)

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(Boom):
        wait()
    thread.join(WAIT)


def seen(poll: Poll, events: Events | None = None, timeout: float = WAIT) -> list[int]:
    return [int(event.token) for event in poll.poll(events, timeout)]


@pytest.fixture(params=["own", "the Poll's"])
def events(request: pytest.FixtureRequest) -> Events | None:
    return Events(8) if request.param == "own" else None


@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_source_is_reported_once_more(poll, unix_pair, events, trigger) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, trigger)
    interrupted(poll, lambda: peer.send(b"x"), events)
    assert not events
    assert [one.armed for one in poll.registry] == [True]
    assert seen(poll, events) == [1]
    assert [one.armed for one in poll.registry] == [trigger in (Trigger.LEVEL, Trigger.EDGE)]
    again = seen(poll, events, timeout=0)
    assert again == ([1] if trigger == Trigger.LEVEL else [])


@pytest.mark.parametrize("trigger", [Trigger.EDGE, Trigger.ONESHOT, Trigger.EDGE_ONESHOT])
def test_what_is_not_ready_any_more_is_not_reported(poll, unix_pair, trigger) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, trigger)
    interrupted(poll, lambda: peer.send(b"x"))
    ours.recv(1)
    assert seen(poll, timeout=0) == []
    peer.send(b"y")
    assert seen(poll) == [1]


def test_what_was_deregistered_meanwhile_is_not_reported(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    waker = Waker(poll.registry, Token(2))
    interrupted(poll, lambda: (peer.send(b"x"), waker.wake()))
    poll.registry.deregister(ours)
    waker.close()
    assert seen(poll, timeout=0) == []


def test_a_wake_is_told_once(poll, events) -> None:
    wakers = [Waker(poll.registry, Token(token)) for token in range(3)]
    interrupted(poll, lambda: (wakers[0].wake(), wakers[1].wake()), events)
    found = seen(poll, events)
    while len(found) < 2:
        found += seen(poll, events)
    assert sorted(found) == [0, 1]
    assert seen(poll, events, timeout=0) == []


@pytest.mark.parametrize("periodic", [False, True])
def test_a_timer_is_told_and_counted_once(poll, events, periodic) -> None:
    timer = Timer()
    poll.registry.register(timer, Token(1), R)
    change = timer.set_every if periodic else timer.set_after
    interrupted(poll, lambda: change(0.5 if periodic else 0.000_001), events)
    assert seen(poll, events) == [1]
    assert timer.expirations() == 1
    assert seen(poll, events, timeout=0) == []


@counts_references
def test_a_timer_for_a_single_use_is_registered_until_it_is_told(poll, events) -> None:
    timer = Timer.after(1000, once=True)
    poll.registry.register(timer, Token(1), R)
    holders = sys.getrefcount(timer)
    interrupted(poll, lambda: timer.set_after(0.000_001), events)
    assert [(r.source, r.token) for r in poll.registry] == [(timer, Token(1))]
    assert sys.getrefcount(timer) == holders
    assert poll.stats().registrations == 1
    assert seen(poll, Events(8)) == [1]
    assert seen(poll, events, timeout=0) == []
    assert list(poll.registry) == []
    assert sys.getrefcount(timer) == holders - 1
    assert timer.expirations() == 1


def test_one_for_a_single_use_can_be_let_go_of_meanwhile(poll, events) -> None:
    for change in (Timer.close, Timer.cancel, poll.registry.deregister, poll.registry.pause):
        timer = Timer.after(1000, once=True)
        poll.registry.register(timer, Token(1), R)
        interrupted(poll, lambda timer=timer: timer.set_after(0.000_001), events)
        change(timer)
        assert seen(poll, events, timeout=0) == []
        timer.close()
        assert list(poll.registry) == []


def test_a_handler_that_polls_has_seen_its_own_batch(poll) -> None:
    events, told = Events(8), []
    first, second = Timer.after(1000, once=True), Timer.after(1000, once=True)
    poll.registry.register(first, Token(1), R)
    poll.registry.register(second, Token(2), R)

    def handle(*_: object) -> None:
        second.set_after(0)
        told.extend(seen(poll, events))
        raise Boom

    signal.signal(signal.SIGUSR1, handle)
    interrupted(poll, lambda: first.set_after(0.000_001), events)
    while list(poll.registry):
        told += seen(poll, events)
    assert told.count(2) == 1
    assert told.count(1) <= 1


def test_signals_are_told_once(backend, poll, events) -> None:
    with Signals(signal.SIGUSR2, backend=backend) as signals:
        poll.registry.register(signals, Token(1), R)
        interrupted(poll, lambda: os.kill(os.getpid(), signal.SIGUSR2), events)
        assert seen(poll, events) == [1]
        assert signals.take() == {signal.SIGUSR2: 1}
        assert seen(poll, events, timeout=0) == []


def test_the_end_of_a_process_is_told_once(backend, poll, events) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child,
        Process(child, backend=backend) as process,
    ):
        poll.registry.register(process, Token(1), R)
        interrupted(poll, child.kill, events)
        assert seen(poll, events) == [1]
        assert seen(poll, events, timeout=0) == []


@pytest.mark.parametrize("trigger", [Trigger.LEVEL, Trigger.ONESHOT])
def test_a_change_of_a_path_is_told_once(backend, poll, events, tmp_path, trigger) -> None:
    path = Path(tmp_path, "file")
    path.touch()
    with PathWatch(path, backend=backend) as watch:
        poll.registry.register(watch, Token(1), R, trigger)
        interrupted(poll, lambda: os.truncate(path, 1), events)
        assert seen(poll, events) == [1]
        assert watch.take() == PathChange.WRITTEN | PathChange.EXTENDED
        assert seen(poll, events, timeout=0) == []


def test_another_thread_is_told(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    interrupted(poll, lambda: peer.send(b"x"))
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(seen(poll, Events())))
    thread.start()
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


def test_the_poll_that_was_closed_has_nothing_to_put_back(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, Trigger.ONESHOT)
    close: Callable[[], None] = poll.close

    def closing(*_: object) -> None:
        close()
        raise Boom

    signal.signal(signal.SIGUSR1, closing)
    interrupted(poll, lambda: peer.send(b"x"))
    with pytest.raises(ValueError, match="closed"):
        poll.poll()
