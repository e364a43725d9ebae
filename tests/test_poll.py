"""`Poll` from Python: opening, closing, arguments, and work under other loops.

What a poll reports, and when, is stated in `conformance`.
"""

import errno
import fcntl
import math
import os
import re
import resource
import select
import signal
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from pollster import Interest, Poll, Token, Waker

from .conftest import counts_references

R, W = Interest.READABLE, Interest.WRITABLE


# Opening and closing


def test_a_poll_names_its_backend(backend) -> None:
    with Poll(backend=backend) as poll:
        assert poll.backend == backend
        assert backend in repr(poll)


def test_its_descriptor_is_closed_on_exec(poll) -> None:
    assert fcntl.fcntl(poll.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC


@counts_references
def test_a_poll_that_nobody_holds_closes_itself(no_leak, backend) -> None:
    Poll(backend=backend).poll(timeout=0)


@counts_references
def test_what_a_poll_gave_does_not_keep_it_open(no_leak, backend) -> None:
    poll = Poll(backend=backend)
    events, registry = poll.poll(timeout=0), poll.registry
    del poll
    with pytest.raises(ValueError, match="closed"):
        list(registry)
    assert not events


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


# Timeouts


@pytest.mark.parametrize(
    "timeout",
    [0, 0.0, timedelta(0), 1e-9, 0.001, Fraction(1, 1000), timedelta(milliseconds=1), True - 1],
)
def test_a_timeout_ends_an_idle_poll(poll, timeout) -> None:
    assert not poll.poll(timeout=timeout)


@pytest.mark.parametrize(
    "timeout",
    [None, math.inf, 1e300, 2**200, 3e6, timedelta.max, timedelta(days=40), 2**31 / 1000 + 1],
)
def test_a_timeout_of_any_size_works(poll, timeout) -> None:
    Waker(poll.registry, Token(1)).wake()
    assert len(poll.poll(timeout=timeout)) == 1


@pytest.mark.parametrize("timeout", ["1", b"1", [], object()])
def test_a_timeout_of_another_type_is_a_type_error(poll, timeout) -> None:
    with pytest.raises(TypeError, match="timeout must be seconds"):
        poll.poll(timeout=timeout)


# Signals


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


# Batches


def test_the_polls_own_events_are_used_again(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    first = poll.poll(timeout=0)
    assert poll.poll(timeout=0) is first


@pytest.mark.parametrize("events", [[], 16, "events"])
def test_events_of_another_type_are_a_type_error(poll, events) -> None:
    with pytest.raises(TypeError, match="events must be an Events"):
        poll.poll(events, 0)


@pytest.mark.parametrize("seconds", [1.0, 0, -1, True])
def test_a_timeout_without_its_name_is_told_where_it_belongs(poll, seconds) -> None:
    with pytest.raises(TypeError, match=re.escape(f"poll(timeout={seconds!r})")):
        poll.poll(seconds)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("register", "poll.registry.register()"),
        ("unregister", "poll.registry.deregister()"),
        ("modify", "poll.registry.reregister()"),
        ("select", "poll.poll(timeout=seconds)"),
        ("anything", "no attribute 'anything'"),
    ],
)
def test_what_other_libraries_have_is_told_where_it_is_here(poll, name, instead) -> None:
    with pytest.raises(AttributeError, match=re.escape(instead)):
        getattr(poll, name)
    assert not hasattr(poll, name)


def registered_in_the_kernel(poll: Poll, fd: int, token: int) -> Any:
    """What a thread has done that was stopped in the middle of register()."""
    selector = poll._selector
    lib = selector.lib
    change = selector.ffi.new(
        "change *",
        {"what": lib.REGISTER, "fd": fd, "token": token, "interest": lib.INTEREST_WRITABLE},
    )
    selector.promise()
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
