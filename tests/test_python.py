"""What `backend/python` promises to the interpreter: iterators, arguments, references, no crash."""

import contextlib
import copy
import enum
import gc
import io
import itertools
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from pollster import (
    Event,
    Events,
    Interest,
    NotRegisteredError,
    PathWatch,
    Poll,
    Process,
    Registry,
    Signals,
    Slab,
    Timer,
    Token,
    Trigger,
    Waker,
)
from pollster.backend import _python
from pollster.backend.selector import Selector

from .conftest import counts_references

R, W = Interest.READABLE, Interest.WRITABLE
LEVEL = Trigger.LEVEL


def tokens(events) -> list[int]:
    return [int(event.token) for event in events]


def watch_writers(poll: Poll, fds, count: int, first: int = 0) -> list[int]:
    writers = [fds.pipe()[1] for _ in range(count)]
    for token, writer in enumerate(writers, first):
        poll.registry.register(writer, Token(token), W)
    return writers


# Iterators


def test_iterations_over_a_batch_are_independent(poll, fds) -> None:
    watch_writers(poll, fds, 3)
    events = poll.poll(timeout=0)
    pairs = [(one.token, other.token) for one in events for other in events]
    assert sorted(pairs) == [(one, other) for one in range(3) for other in range(3)]


def test_an_iteration_ends_with_the_next_poll_of_its_events(poll, fds) -> None:
    watch_writers(poll, fds, 3)
    events = poll.poll(timeout=0)
    iterator = iter(events)
    next(iterator)
    poll.poll(events, timeout=0)
    assert list(iterator) == []
    assert len(list(events)) == 3


def test_a_loop_that_polls_into_its_own_batch_ends(poll, fds) -> None:
    watch_writers(poll, fds, 3)
    turns = 0
    for _ in poll.poll(timeout=0):
        turns += 1
        poll.poll(timeout=0)
    assert turns == 1


def test_an_iteration_ends_with_clear(poll, fds) -> None:
    watch_writers(poll, fds, 3)
    events = poll.poll(timeout=0)
    iterator = iter(events)
    next(iterator)
    events.clear()
    assert list(iterator) == []


def test_an_iteration_that_ended_stays_ended(poll, fds) -> None:
    watch_writers(poll, fds, 1)
    events = poll.poll(timeout=0)
    iterator = iter(events)
    assert len(list(iterator)) == 1
    poll.poll(events, timeout=0)
    assert list(iterator) == []


def test_an_iterator_of_empty_events_is_empty_when_they_are_filled(poll, fds) -> None:
    watch_writers(poll, fds, 1)
    events = Events(4)
    iterator = iter(events)
    poll.poll(events, timeout=0)
    assert list(iterator) == []


def test_events_serve_polls_of_different_back_ends_in_turn(backend, poll, fds) -> None:
    watch_writers(poll, fds, 2)
    events = Events(8)
    with Poll(backend=backend) as other, Poll() as default:
        watch_writers(other, fds, 1, first=10)
        watch_writers(default, fds, 1, first=20)
        for _ in range(3):
            assert sorted(tokens(poll.poll(events, timeout=0))) == [0, 1]
            iterator = iter(events)
            next(iterator)
            assert tokens(other.poll(events, timeout=0)) == [10]
            assert list(iterator) == []
            assert tokens(default.poll(events, timeout=0)) == [20]


def test_events_outlive_their_poll(backend, fds) -> None:
    events = Events(4)
    poll = Poll(backend=backend)
    watch_writers(poll, fds, 2)
    poll.poll(events, timeout=0)
    iterator = iter(events)
    del poll
    gc.collect()
    assert sorted(tokens(events)) == [0, 1]
    assert len(events.raw()) == 2
    assert "writable" in repr(events)
    del events
    gc.collect()
    assert sorted(tokens(iterator)) == [0, 1]


def test_the_registry_of_a_poll_that_is_gone_is_closed(backend, fds) -> None:
    registry = Poll(backend=backend).registry
    gc.collect()
    with pytest.raises(ValueError, match="this Poll is closed"):
        registry.register(fds.pipe()[0], Token(1), R)


LEAVES_IN_MID_EVENT = """
import gc, os, sys
from pollster import Events, Interest, Poll, Token

first, second = (Poll(backend=sys.argv[1]) for _ in range(2))
held, events = [first], Events(4)
first.registry.register(os.pipe()[1], 1, Interest.WRITABLE)
first.poll(events, 0)
del first

def leave(frame, what, argument):  # as another thread may, or a signal handler
    if what == "call" and frame.f_code is Token.__new__.__code__:
        sys.setprofile(None)
        held.clear()
        second.poll(events, 0)
        gc.collect()

iterator = iter(events)
sys.setprofile(leave)
print(len(list(iterator)))
"""


def test_a_poll_may_go_while_its_event_is_made(backend) -> None:
    """Found in the C code: the iterator looked at the slots of a Selector that had been freed."""
    command = [sys.executable, "-c", LEAVES_IN_MID_EVENT, backend]
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@counts_references
def test_events_that_change_their_poll_are_not_lent_to_the_finalizers_of_the_old_one(
    backend, fds
) -> None:
    """Found in the C code: the wait went on with the batch of whom the finalizer had polled."""
    events, refused = Events(4), []
    with Poll() as other, Poll() as third:
        watch_writers(third, fds, 1, first=7)
        _, writer = fds.pipe()

        class Source:
            def fileno(self) -> int:
                return writer

            def __del__(self) -> None:
                with pytest.raises(RuntimeError, match="polls with these events") as caught:
                    third.poll(events, timeout=0)
                refused.append(caught.type)

        first = Selector(backend)  # a Poll lets its sources go before
        Registry(first).register(Source(), 1, W)
        first.wait(events, 0)
        del first
        assert list(other.poll(events, timeout=0)) == []
    assert refused == [RuntimeError]


# Garbage


class Object:
    """A source that may hold what it likes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.held: object = None

    def fileno(self) -> int:
        return self.fd


@contextlib.contextmanager
def collected(make: Callable[[], weakref.ref]) -> Iterator[None]:
    """What `make` returns a reference to is gone after a collection, and not before."""
    gc.collect()
    gc.disable()
    try:
        reference = make()
        assert reference() is not None
        yield
        gc.collect()
        assert reference() is None
    finally:
        gc.enable()


@counts_references
def test_a_source_that_holds_its_poll_is_collected_with_it(backend, no_leak, fds) -> None:
    def make() -> weakref.ref:
        poll, source = Poll(backend=backend), Object(fds.pipe()[1])
        poll.registry.register(source, Token(1), W)
        source.held = poll
        return weakref.ref(poll)

    with collected(make):
        pass


@counts_references
def test_a_source_that_holds_its_events_and_their_iterator_is_collected(
    backend, no_leak, fds
) -> None:
    def make() -> weakref.ref:
        poll, source = Poll(backend=backend), Object(fds.pipe()[1])
        poll.registry.register(source, Token(1), W)
        events = poll.poll(Events(4), timeout=0)
        source.held = (events, iter(events), poll)
        return weakref.ref(source)

    with collected(make):
        pass


@counts_references
@pytest.mark.filterwarnings("ignore:a batch was let go:ResourceWarning")
def test_a_batch_that_its_source_holds_is_collected(backend, no_leak, fds) -> None:
    def make() -> weakref.ref:
        poll, source = Poll(backend=backend), Object(fds.pipe()[1])
        changes = poll.registry.batch().__enter__()
        changes.register(source, Token(1), W)
        source.held = changes
        return weakref.ref(source)

    with collected(make):
        pass


def test_a_poll_that_is_dropped_warns_of_nothing(backend, no_leak, fds) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        poll = Poll(backend=backend)
        poll.registry.register(fds.pipe()[1], Token(1), W)
        poll.registry.batch()
        del poll
        gc.collect()


@pytest.mark.parametrize(("count", "said"), [(1, "1 change will"), (2000, "2,000 changes will")])
def test_a_batch_that_is_let_go_with_changes_in_it_warns(poll, fds, count, said) -> None:
    def let_go() -> None:
        changes = poll.registry.batch().__enter__()
        for token in range(count):
            changes.register(writer, Token(token), W)
        del changes
        gc.collect()

    _, writer = fds.pipe()
    with pytest.warns(ResourceWarning, match=said):
        let_go()
    assert list(poll.registry) == []


@pytest.mark.parametrize("changed", [True, False])
def test_a_batch_whose_block_ended_warns_of_nothing(poll, fds, changed) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(ZeroDivisionError), poll.registry.batch() as changes:
            changes.register(fds.pipe()[1], Token(1), W)
            if not changed:
                raise ZeroDivisionError
        del changes
        gc.collect()
    assert len(list(poll.registry)) == changed


# References


@counts_references
def test_a_registration_holds_its_source_and_token_and_no_more(poll, fds) -> None:
    source, token = Object(fds.pipe()[1]), Token(1 << 40)
    before = sys.getrefcount(source), sys.getrefcount(token)
    registry = poll.registry
    for _ in range(100):
        registry.register(source, token, W)
        registry.reregister(source, token, W)
        registry.reregister(source, token, W, Trigger.EDGE)
        poll.poll(timeout=0)
        with pytest.raises(FileExistsError):
            registry.register(source, token, W)
        registry.deregister(source)
        with registry.batch() as changes:
            changes.register(source, token, W)
            changes.deregister(source)
        with contextlib.suppress(ExceptionGroup), registry.batch() as changes:
            changes.deregister(source)
        with contextlib.suppress(ZeroDivisionError), registry.batch() as changes:
            changes.register(source, token, W)
            raise ZeroDivisionError
    del changes
    poll.poll(timeout=0)
    gc.collect()
    assert (sys.getrefcount(source), sys.getrefcount(token)) == before


@counts_references
@pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="they are immortal from 3.12 on, and what was built for older Pythons counts (PEP 683)",
)
def test_none_true_and_false_are_as_often_referred_to_as_before(poll, fds) -> None:
    reader, writer = fds.pipe()
    constants = (None, True, False)

    def use() -> None:
        for _ in range(1000):
            poll.registry.register(writer, Token(1), W)
            list(poll.poll(timeout=0))
            poll.poll(timeout=0).clear()
            poll.registry.deregister(writer)
            with poll.registry.batch() as changes:
                changes.register(reader, Token(2), R)
                changes.deregister(reader)

    use()
    before = [sys.getrefcount(constant) for constant in constants]
    use()
    after = [sys.getrefcount(constant) for constant in constants]
    assert all(abs(late - early) < 500 for early, late in zip(before, after, strict=True))


# Arguments


class Number(int):
    """No plain int."""


class Name(enum.IntEnum):
    LISTENER = 5


class Index:
    """An integer by __index__ only, as numpy's are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


@pytest.mark.parametrize("token", [Number(5), Name.LISTENER, Index(5), Token(5), 5])
def test_any_integer_is_a_token_and_comes_back_as_a_token(poll, fds, token) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, token, W)
    for _ in range(2):
        (event,) = poll.poll(timeout=0)
        assert type(event.token) is Token
        assert event == Event(Token(5), is_writable=True)
        poll.registry.reregister(writer, Token(6), W)
        poll.registry.reregister(writer, token, W)
    with poll.registry.batch() as changes:
        changes.reregister(writer, Token(6), W)
        changes.reregister(writer, token, W)
    assert tokens(poll.poll(timeout=0)) == [5]


@pytest.mark.parametrize("flag", [True, False])
def test_a_bool_is_a_token_and_no_source(poll, fds, flag) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, flag, W)
    assert repr(poll.poll(timeout=0)[0].token) == f"Token({int(flag)})"
    with pytest.raises(TypeError, match="is no source"):
        poll.registry.register(flag, Token(1), W)
    with pytest.raises(TypeError, match="is no source"):
        poll.registry.deregister(flag)


def test_an_integer_of_another_type_is_a_descriptor(poll, fds) -> None:
    _, writer = fds.pipe()
    source = Number(writer)
    poll.registry.register(source, Token(1), W)
    assert [type(registration.source) for registration in poll.registry] == [Number]
    assert tokens(poll.poll(timeout=0)) == [1]
    poll.registry.reregister(source, Token(2), W)
    poll.registry.deregister(source)
    with poll.registry.batch() as changes:
        changes.register(source, Token(3), W)
    assert tokens(poll.poll(timeout=0)) == [3]


HUGE = [2**31, 2**32, 2**63, 2**64, 2**100]


@pytest.mark.parametrize("number", [*HUGE, *(-huge for huge in HUGE), -1])
@pytest.mark.parametrize("kind", [int, Number, Object])
def test_what_is_no_descriptor_by_its_number_is_a_value_error(poll, kind, number) -> None:
    source = kind(number)
    for registry in (poll.registry, poll.registry.batch().__enter__()):
        for change in (registry.register, registry.reregister):
            with pytest.raises(ValueError, match=r"out of range|negative|is closed"):
                change(source, Token(1), R)
        with pytest.raises((ValueError, NotRegisteredError)):
            registry.deregister(source)


@pytest.mark.parametrize("token", [-1, 2**64, -(2**64), 2**100, Number(-1), Index(2**64)])
def test_a_token_out_of_range_is_a_value_error(poll, fds, token) -> None:
    reader, _ = fds.pipe()
    for registry in (poll.registry, poll.registry.batch().__enter__()):
        for change in (registry.register, registry.reregister):
            with pytest.raises(ValueError, match=r"token .* is out of range"):
                change(reader, token, R)


# fileno()


class Answers:
    """A source whose fileno() answers as it is told; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = itertools.chain(answers, itertools.repeat(answers[-1]))

    def fileno(self) -> int:
        answer = next(self.answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[return-value]


@pytest.fixture(params=["plain", "batch"])
def registry(request, poll):
    """A Poll's registry and a batch, both of which know a plain class already."""
    reader, writer = os.pipe()
    with poll.registry.batch() as changes:
        changes.register(Answers(reader), Token(99), R)
        changes.deregister(Answers(reader))
    with poll.registry.batch() as changes:
        yield poll.registry if request.param == "plain" else changes
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError, SystemExit])
def test_an_error_of_fileno_passes_through(registry, error) -> None:
    source = Answers(error("said fileno"))
    for change in (registry.register, registry.reregister):
        with pytest.raises(error, match="said fileno"):
            change(source, Token(1), R)
    with pytest.raises(error, match="said fileno"):
        registry.deregister(source)


def test_a_file_without_a_descriptor_is_no_source(registry) -> None:
    source = Answers(io.UnsupportedOperation("fileno"))
    with pytest.raises(TypeError, match="it has no descriptor"):
        registry.register(source, Token(1), R)


@pytest.mark.parametrize("answer", ["3", None, 3.0, True, b"3"])
def test_a_fileno_that_is_no_integer_is_a_type_error(registry, answer) -> None:
    for change in (registry.register, registry.reregister):
        with pytest.raises(TypeError, match="not an integer"):
            change(Answers(answer), Token(1), R)
    with pytest.raises(TypeError, match="not an integer"):
        registry.deregister(Answers(answer))


@pytest.mark.parametrize("answer", [-1, ValueError("I/O operation on closed file")])
def test_a_source_that_is_closed_says_so(registry, answer) -> None:
    with pytest.raises(ValueError, match="is closed: register it while it is open"):
        registry.register(Answers(answer), Token(1), R)
    with pytest.raises(NotRegisteredError, match="is closed and was not registered"):
        registry.deregister(Answers(answer))


def test_a_source_is_what_its_fileno_says_at_the_time(poll, fds) -> None:
    (_, first), (_, second) = fds.pipe(), fds.pipe()
    source = Object(first)
    poll.registry.register(source, Token(1), W)
    source.fd = second
    with pytest.raises(NotRegisteredError, match=f"fd {second}"):
        poll.registry.reregister(source, Token(2), W)
    poll.registry.register(source, Token(2), W)
    assert sorted(tokens(poll.poll(timeout=0))) == [1, 2]
    poll.registry.deregister(first)
    poll.registry.deregister(second)


def test_a_fileno_that_changes_the_registry_meanwhile_is_no_trouble(poll, fds) -> None:
    (_, other), (_, writer) = fds.pipe(), fds.pipe()

    class Meddling:
        def fileno(self) -> int:
            with contextlib.suppress(FileExistsError):
                poll.registry.register(other, Token(7), W)
            poll.poll(timeout=0)
            return int(writer)

    for _ in range(2):
        poll.registry.register(Meddling(), Token(1), W)
        assert sorted(tokens(poll.poll(timeout=0))) == [1, 7]
        poll.registry.deregister(writer)
        poll.registry.deregister(other)
    with poll.registry.batch() as changes:
        changes.register(Meddling(), Token(1), W)
    assert sorted(tokens(poll.poll(timeout=0))) == [1, 7]


def register(poll: Poll, source: Answers, in_batch: bool) -> None:
    with poll.registry.batch() if in_batch else contextlib.nullcontext(poll.registry) as registry:
        registry.register(source, Token(1), W)


def test_a_fileno_that_closes_the_poll_is_a_clear_error(backend, fds) -> None:
    for in_batch in (False, True):
        poll = Poll(backend=backend)
        _, writer = fds.pipe()

        class Closing(Answers):
            def fileno(self, poll: Poll = poll, writer: int = writer) -> int:
                poll.close()
                return writer

        with pytest.raises(ValueError, match="this Poll is closed"):
            register(poll, Closing(writer), in_batch)


# Signals


def test_events_can_be_used_again_when_control_c_has_ended_a_wait(poll, fds) -> None:
    events = Events(4)
    interrupted: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        if not interrupted:
            interrupted.append(number)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)  # again where it came before the wait
        with pytest.raises(KeyboardInterrupt):
            poll.poll(events)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert list(events) == []
    watch_writers(poll, fds, 1)
    assert tokens(poll.poll(events, timeout=0)) == [0]


def test_a_handler_that_polls_with_the_same_events_does_not_disturb_the_wait(
    backend, poll, fds
) -> None:
    events, found = Events(4), []
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    with Poll(backend=backend) as other:
        watch_writers(other, fds, 1, first=9)

        def handle(*_: object) -> None:
            if not found:
                found.extend(tokens(other.poll(events, timeout=0)))
                os.write(writer, b"x")

        before = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
            assert tokens(poll.poll(events)) == [1]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert found == [9]


# Entry points

NUMBERS = [-1, 0, 1, 2**20, 2**31, 2**32 - 1, 2**32, 2**64, 2.5, float("nan"), True]
OBJECTS = [None, "fd", b"fd", (), [], {}, object, Events(1), Number(3), Index(3)]
REFUSALS = (
    TypeError,
    ValueError,
    OverflowError,
    RuntimeError,
    OSError,
    DeprecationWarning,  # Python 3.15's, of a number that it cuts to the size it is asked for
)
JUNK = st.sampled_from([*NUMBERS, *OBJECTS, Token(1), R, R | W, Trigger.EDGE])


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_argument_crashes_an_entry_point(backend, data) -> None:
    with Poll(backend=backend) as poll:
        selector = poll._selector
        methods = [selector.keep, selector.forget, selector.registered, selector.forget_sources]
        methods += [Events(1)._reserve]
        batch = poll.registry.batch().__enter__()
        for registry in (poll.registry, batch):
            methods += [registry.register, registry.reregister, registry.deregister]
            methods += [registry._begin, registry._change, registry._apply, registry._drop]
            methods += [registry._gather, registry._check]
        for _ in range(5):
            method = data.draw(st.sampled_from(methods))
            arguments = data.draw(st.lists(JUNK, max_size=6))
            with contextlib.suppress(*REFUSALS):
                method(*arguments)
        batch._drop()  # what is let go with it would be a warning
        list(poll.registry)


@pytest.mark.parametrize(
    "arguments", [(), (None, 0), (Events,), (Events(1),), (Events(1), 0, 0), ("", 0), (1, None)]
)
def test_a_wait_wants_events_and_a_timeout(poll, arguments) -> None:
    with pytest.raises(TypeError, match="events must be an Events"):
        poll._selector.wait(*arguments)


@pytest.mark.parametrize("timeout", ["", (), object(), 1j, b"1", [0]])
def test_a_timeout_of_another_type_is_a_type_error(poll, timeout) -> None:
    with pytest.raises(TypeError):
        poll.poll(timeout=timeout)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), float("-inf"), -(2**100), Number(-1)])
def test_a_negative_timeout_is_a_value_error(poll, timeout) -> None:
    with pytest.raises(ValueError, match="timeout"):
        poll.poll(timeout=timeout)


@pytest.mark.parametrize("timeout", [2**100, float("inf"), 1e300, 9e9, Number(5), True, Index(1)])
def test_a_timeout_of_any_size_is_waited_for(poll, fds, timeout) -> None:
    watch_writers(poll, fds, 1)
    try:
        assert tokens(poll.poll(timeout=timeout)) == [0]
    except TypeError:
        assert isinstance(timeout, Index)  # no number of seconds


def test_what_was_never_opened_is_refused(poll) -> None:
    """Found by calling them: each of these ended the interpreter, or went on for ever."""
    unopened, nobodys = _python.Selector(), Registry.__new__(Registry)
    of_unopened = Registry.__new__(Registry)
    of_unopened._begin(unopened, False)
    calls: list[Callable[[], object]] = [lambda: unopened.wait(Events(1), 0)]
    for registry in (nobodys, of_unopened):
        calls += [
            lambda registry=registry: registry.register(0, 1, R),
            lambda registry=registry: registry.reregister(0, 1, R),
            lambda registry=registry: registry.deregister(0),
            lambda registry=registry: registry._change(0, 0, 0, 1, R),
            registry._apply,
        ]
    for call in calls:
        with pytest.raises(RuntimeError, match="no queue was opened"):
            call()
    with pytest.raises(ValueError, match="no capacity"):
        poll.poll(Events.__new__(Events), timeout=0)
    for index in (2**20, 2**31, 2**32 - 1, -1):
        with pytest.raises(ValueError, match="there is no registration"):
            poll._selector.keep(index, 1, None, 1)
        with pytest.raises(ValueError, match="there is no registration"):
            poll._selector.forget(index, 1)


def test_a_registry_belongs_to_one_selector(poll) -> None:
    with pytest.raises(TypeError, match="made by its Poll"):
        poll.registry._begin(poll._selector, False)
    for other in (None, poll, 5):
        with pytest.raises(TypeError):
            poll.registry._begin(other, False)


def test_events_that_were_used_keep_their_capacity(poll) -> None:
    events = poll.poll(Events(3), timeout=0)
    with pytest.raises(RuntimeError, match="Events were made already"):
        events.__init__(4)  # type: ignore[misc]
    assert events.capacity == 3


@counts_references
@pytest.mark.parametrize("kind", [_python.Selector, _python.Ready, _python.Registry])
def test_the_types_of_the_module_are_made_without_arguments_and_collected(kind) -> None:
    things = [kind() for _ in range(100)]
    assert all(gc.is_tracked(thing) for thing in things)
    del things
    gc.collect()


def test_what_there_is_once_can_not_be_copied(backend, poll, fds, tmp_path) -> None:
    """A copy of a Poll closed the original when it went away."""
    watch_writers(poll, fds, 1)
    watches = [
        Signals(signal.SIGUSR1, backend=backend),
        Process(os.getppid(), backend=backend),
        PathWatch(tmp_path, backend=backend),
    ]
    things = [
        *(poll, poll.registry, poll.registry.batch(), Waker(poll.registry, Token(1))),
        *(Events(1), poll.poll(timeout=0), Timer(), Slab(), *watches),
    ]
    for thing in things:
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=re.escape(f"{thing!r} can't be copied or pickled")):
                copied(thing)
    for watch in watches:
        watch.close()
    assert not poll.closed


def test_iterators_that_are_given_up_and_made_again_are_independent(poll, fds) -> None:
    """The next one has the memory of the last."""
    watch_writers(poll, fds, 2)
    for _ in range(3):
        events = poll.poll(Events(4), timeout=0)
        one, other = iter(events), iter(events)
        next(one)
        del one
        third = iter(events)
        assert len(list(third)) == len(list(other)) == 2
        fourth = iter(events)
        del third, other, events
        gc.collect()
        assert len(list(fourth)) == 2


def test_an_iterator_can_not_be_made_by_its_type(poll) -> None:
    for events in (Events(1), poll.poll(timeout=0)):
        with pytest.raises(TypeError, match="cannot create"):
            type(iter(events))()


def test_a_debug_build_counts_no_reference_too_many(backend) -> None:
    count = getattr(sys, "gettotalrefcount", None)
    if count is None:
        pytest.skip("this Python counts no references: it is no debug build")

    def use() -> None:
        with Poll(backend=backend) as poll, contextlib.ExitStack() as stack:
            for token in range(50):
                ours, peer = (stack.enter_context(end) for end in socket.socketpair())
                with poll.registry.batch() as changes:
                    changes.register(ours, Token(token), R | W)
                    changes.register(peer, Token(token), R)
                list(poll.poll(timeout=0))
        gc.collect()

    for _ in range(3):
        use()
    before = count()
    use()
    assert abs(count() - before) < 20
