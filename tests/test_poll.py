"""Polling: timeouts (R6), signals (R7), capacity (R10), opening, closing, nesting, bad input."""

import errno
import fcntl
import math
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from pollster import Events, Interest, Poll, Token, Trigger, Waker

from .conftest import counts_references

R, W = Interest.READABLE, Interest.WRITABLE


# Opening and closing


def test_a_poll_names_its_backend(backend) -> None:
    with Poll(backend=backend) as poll:
        assert poll.backend == backend
        assert backend in repr(poll)


def test_its_descriptor_is_closed_on_exec(poll) -> None:
    assert fcntl.fcntl(poll.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_closing_twice_changes_nothing(backend) -> None:
    poll = Poll(backend=backend)
    assert not poll.closed
    poll.close()
    poll.close()
    assert poll.closed


def test_any_use_of_a_closed_poll_is_a_value_error(backend) -> None:
    poll = Poll(backend=backend)
    events = poll.poll(timeout=0)
    poll.close()
    for use in (
        poll.fileno,
        poll.poll,
        lambda: poll.poll(timeout=0),
        lambda: poll.poll(events, 1),
        lambda: poll.poll(Events(1)),
        poll.__enter__,
        lambda: Waker(poll.registry, Token(1)),
    ):
        with pytest.raises(ValueError, match="this Poll is closed"):
            use()
    assert "closed" in repr(poll)


@counts_references
def test_a_poll_that_nobody_holds_closes_itself(no_leak, backend) -> None:
    Poll(backend=backend).poll(timeout=0)


def test_two_thousand_polls_leak_nothing(no_leak, backend) -> None:
    for _ in range(2000):
        with Poll(backend=backend) as poll:
            Waker(poll.registry, Token(1)).wake()
            assert len(poll.poll(timeout=0)) == 1


@counts_references
def test_what_a_poll_gave_does_not_keep_it_open(no_leak, backend) -> None:
    poll = Poll(backend=backend)
    events, registry = poll.poll(timeout=0), poll.registry
    del poll
    with pytest.raises(ValueError, match="closed"):
        list(registry)
    assert not events


def test_events_outlive_their_poll(backend, fds) -> None:
    _, writer = fds.pipe()
    with Poll(backend=backend) as poll:
        poll.registry.register(writer, Token(1), W)
        events = poll.poll(Events(4), timeout=0)
        iterator = iter(events)
    del poll
    assert [event.token for event in events] == [1]
    del events
    assert [event.token for event in iterator] == [1]


def test_an_unknown_backend_is_named_with_those_that_are_there() -> None:
    with pytest.raises(ValueError, match=r"backend='iocp' is not a back end .* it has '"):
        Poll(backend="iocp")


def test_a_backend_is_a_name() -> None:
    with pytest.raises(TypeError, match="backend must be a name"):
        Poll(backend=7)  # type: ignore[arg-type]


def test_the_environment_names_the_default(backend, monkeypatch) -> None:
    monkeypatch.setenv("POLLSTER_BACKEND", backend)
    with Poll() as poll:
        assert poll.backend == backend


def test_a_wrong_environment_is_named(monkeypatch) -> None:
    monkeypatch.setenv("POLLSTER_BACKEND", "iocp")
    with pytest.raises(ValueError, match="POLLSTER_BACKEND='iocp' is not a back end"):
        Poll()


def test_the_descriptor_limit_is_told_with_its_cure(no_leak, backend) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Poll(backend=backend):  # what a first Poll loads is loaded
        pass
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(OSError, match="close some descriptors or raise the limit") as caught:
            Poll(backend=backend)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE


def test_closing_ends_the_polls_of_other_threads(no_leak, backend) -> None:
    poll = Poll(backend=backend)
    started, errors = threading.Barrier(4), []

    def wait() -> None:
        started.wait()
        try:
            poll.poll(Events(4))
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    poll.close()
    for thread in threads:
        thread.join()
    assert len(errors) == 3
    assert all("closed" in error for error in errors)


# Timeouts


@pytest.mark.parametrize(
    "timeout",
    [0, 0.0, timedelta(0), 1e-9, 0.001, Fraction(1, 1000), timedelta(milliseconds=1), True - 1],
)
def test_a_timeout_ends_an_idle_poll(poll, timeout) -> None:
    assert not poll.poll(timeout=timeout)


@pytest.mark.parametrize("timeout", [1e-6, 100e-6, 0.0031, timedelta(microseconds=1500)])
def test_a_poll_is_never_early(poll, timeout) -> None:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    for _ in range(50):
        before = time.monotonic_ns()
        assert not poll.poll(timeout=timeout)
        assert time.monotonic_ns() - before >= seconds * 1e9


@pytest.mark.parametrize(
    "timeout",
    [None, math.inf, 1e300, 2**200, 3e6, timedelta.max, timedelta(days=40), 2**31 / 1000 + 1],
)
def test_a_timeout_of_any_size_works(poll, timeout) -> None:
    Waker(poll.registry, Token(1)).wake()
    assert len(poll.poll(timeout=timeout)) == 1


@pytest.mark.parametrize("timeout", [-1, -0.001, -1e-300, -math.inf, timedelta(microseconds=-1)])
def test_a_negative_timeout_is_a_value_error(poll, timeout) -> None:
    with pytest.raises(ValueError, match="is negative"):
        poll.poll(timeout=timeout)


def test_nan_is_a_value_error(poll) -> None:
    with pytest.raises(ValueError, match="NaN"):
        poll.poll(timeout=math.nan)


@pytest.mark.parametrize("timeout", ["1", b"1", [], object()])
def test_a_timeout_of_another_type_is_a_type_error(poll, timeout) -> None:
    with pytest.raises(TypeError, match="timeout must be seconds"):
        poll.poll(timeout=timeout)


def test_a_zero_timeout_still_collects_what_is_pending(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    assert len(poll.poll(timeout=0)) == 1


def test_an_event_ends_a_wait(poll, fds) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    thread = threading.Thread(target=os.write, args=(writer, b"x"))
    thread.start()
    assert [event.token for event in poll.poll()] == [1]
    thread.join()


# Signals


def interrupt(poll: Poll, handler, after_waking: Waker) -> None:
    """Signals this thread while it polls, until 20 were handled, then wakes it.

    Python handles a signal that comes just before the kernel waits only after the wait (as with
    `select`), so each is sent until it was handled.
    """
    me = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    begin, handled, stop = (threading.Event() for _ in range(3))

    def send() -> None:
        begin.wait()  # a handler that raises does not do so while the thread is being started
        for _ in range(20):
            if stop.is_set():
                return
            handled.clear()
            for _ in range(1000):
                signal.pthread_kill(me, signal.SIGUSR1)
                if handled.wait(0.01):
                    break
        after_waking.wake()

    signal.signal(signal.SIGUSR1, lambda *a: (handled.set(), handler(*a)))
    thread = threading.Thread(target=send)
    try:
        thread.start()
        begin.set()
        poll.poll()
    finally:
        stop.set()
        begin.set()
        handled.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_whose_handler_returns_does_not_end_a_poll(poll) -> None:
    handled = []
    waker = Waker(poll.registry, Token(5))
    interrupt(poll, lambda *a: handled.append(1), waker)
    assert len(handled) >= 20


def test_a_signal_does_not_shorten_a_timeout(poll) -> None:
    before = signal.signal(signal.SIGALRM, lambda *a: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        start = time.monotonic_ns()
        assert not poll.poll(timeout=0.05)
        assert time.monotonic_ns() - start >= 50_000_000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_raises_ends_a_poll(poll) -> None:
    class StopError(Exception):
        pass

    def handler(*arguments: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # further ones would end other things
        raise StopError

    waker = Waker(poll.registry, Token(5))
    with pytest.raises(StopError):
        interrupt(poll, handler, waker)


def test_control_c_ends_a_program_that_polls(backend, tmp_path) -> None:
    program = (
        "import pollster, signal\n"
        # A parent that runs in the background hands down an ignored SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with pollster.Poll(backend={backend!r}) as poll:\n"
        "    print('polling', flush=True)\n"
        "    poll.poll()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "polling\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert process.returncode == -signal.SIGINT


def test_a_handler_may_close_the_poll_in_the_middle_of_anything(backend, fds) -> None:
    reader, writer = fds.pipe()
    polls: list[Poll] = []

    def close_last(*_: object) -> None:
        for poll in polls[-1:]:
            poll.close()

    before = signal.signal(signal.SIGALRM, close_last)

    def work(poll: Poll) -> None:
        while True:
            poll.registry.register(reader, Token(1), R)
            poll.registry.register(writer, Token(2), W)
            poll.poll(timeout=0)
            poll.registry.deregister(reader)
            poll.registry.deregister(writer)

    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for _ in range(300):
            with Poll(backend=backend) as poll:
                polls.append(poll)
                with pytest.raises(ValueError, match="this Poll is closed"):
                    work(poll)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Capacity


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize("capacity", [1, 3, 7, 64])
def test_more_ready_sources_than_capacity_come_in_turn(poll, fds, trigger, capacity) -> None:
    writers = [fds.pipe()[1] for _ in range(20)]
    for token, writer in enumerate(writers):
        poll.registry.register(writer, Token(token), W, trigger)
    events, seen = Events(capacity), set()
    for _ in range(math.ceil(20 / capacity)):
        batch = poll.poll(events, timeout=0)
        assert len(batch) <= capacity
        seen |= {int(event.token) for event in batch}
    assert seen == set(range(20))


def test_none_starves_however_long_it_goes_on(poll, fds) -> None:
    for token in range(10):
        poll.registry.register(fds.pipe()[1], Token(token), W)
    events, count = Events(3), dict.fromkeys(range(10), 0)
    for _ in range(100):
        for event in poll.poll(events, timeout=0):
            count[int(event.token)] += 1
    assert sum(count.values()) == 300
    assert min(count.values()) >= 25


# Batches


def test_the_polls_own_events_are_used_again(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    first = poll.poll(timeout=0)
    assert poll.poll(timeout=0) is first


def test_events_can_be_used_with_several_polls(backend, fds) -> None:
    _, writer = fds.pipe()
    events = Events(4)
    with Poll(backend=backend) as one, Poll(backend=backend) as two:
        one.registry.register(writer, Token(1), W)
        two.registry.register(writer, Token(2), W)
        assert [event.token for event in one.poll(events, 0)] == [1]
        assert [event.token for event in two.poll(events, 0)] == [2]
        assert [event.token for event in one.poll(events, 0)] == [1]


def test_an_idle_poll_empties_the_batch(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W, Trigger.EDGE)
    assert len(poll.poll(timeout=0)) == 1
    assert list(poll.poll(timeout=0)) == []


def test_two_polls_at_once_need_events_of_their_own(poll) -> None:
    events, waker = Events(4), Waker(poll.registry, Token(1))
    entered = threading.Event()

    def wait() -> None:
        entered.set()
        poll.poll(events)

    thread = threading.Thread(target=wait)
    thread.start()
    entered.wait()
    error = None
    for _ in range(10_000):  # until the thread is in the kernel
        try:
            poll.poll(events, 0)
        except RuntimeError as caught:
            error = caught
            break
    waker.wake()
    thread.join()
    assert "give each thread Events of its own" in str(error)


@pytest.mark.parametrize("events", [[], 16, "events"])
def test_events_of_another_type_are_a_type_error(poll, events) -> None:
    with pytest.raises(TypeError, match="events must be an Events"):
        poll.poll(events, 0)


def registered_in_the_kernel(poll: Poll, fd: int, token: int) -> Any:
    """What a thread has done that was stopped in the middle of register()."""
    selector = poll._selector
    lib = selector.lib
    change = selector.ffi.new(
        "change *",
        {"what": lib.REGISTER, "fd": fd, "token": token, "interest": lib.INTEREST_WRITABLE},
    )
    assert lib.selector_apply(selector.handle, change, 1) == change.result == 0
    return change.made


def test_an_event_that_comes_before_register_has_ended_is_not_lost(poll, fds) -> None:
    writer = fds.pipe()[1]
    made = registered_in_the_kernel(poll, writer, 7)
    events = poll.poll(timeout=0)
    assert len(events) == 1
    assert [event.token for event in events] == [7]
    poll._selector.keep(made.index, made.generation, writer, Token(7))
    assert [(r.source, r.token) for r in poll.registry] == [(writer, 7)]
    assert [event.token for event in poll.poll(timeout=0)] == [7]


def test_deregistering_before_register_has_ended_leaves_no_event(poll, fds) -> None:
    writer = fds.pipe()[1]
    made = registered_in_the_kernel(poll, writer, 7)
    events = poll.poll(timeout=0)
    poll.registry.deregister(writer)
    assert list(events) == []
    poll._selector.keep(made.index, made.generation, writer, Token(7))
    assert list(events) == []
    assert list(poll.registry) == []


# Under another loop


def test_a_poll_works_under_select(poll, fds) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    assert select.select([poll], [], [], 0) == ([], [], [])
    os.write(writer, b"x")
    assert select.select([poll], [], [], 10) == ([poll], [], [])
    assert [event.token for event in poll.poll(timeout=0)] == [1]


def test_a_poll_works_under_poll_of_the_standard_library(poll, fds) -> None:
    outer = select.poll()
    outer.register(poll, select.POLLIN)
    assert outer.poll(0) == []
    waker = Waker(poll.registry, Token(1))
    waker.wake()
    assert outer.poll(10_000) == [(poll.fileno(), select.POLLIN)]
    assert [event.token for event in poll.poll(timeout=0)] == [1]
    assert outer.poll(0) == []
