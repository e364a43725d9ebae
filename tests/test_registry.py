"""The registry's Python side: closed sources, batches, sources of one's own, iteration, bad input.

What is reported, and when, is stated in `conformance`.
"""

import errno
import io
import multiprocessing
import os
import re
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from pollster import (
    Events,
    Interest,
    NotRegisteredError,
    Poll,
    Registration,
    Registry,
    Timer,
    Token,
    Trigger,
    Waker,
)

from .conftest import WAIT

R, W = Interest.READABLE, Interest.WRITABLE
EVERY_TRIGGER = list(Trigger)


def state_of(registry: Registry, source: Any) -> tuple[bool, bool, Trigger]:
    """What the registry shows of a source: armed, paused, and its trigger."""
    found = registry.find(source)
    assert found is not None
    return found.armed, found.paused, found.trigger


# Closed sources


def test_a_closed_source_can_be_deregistered_by_its_object(poll) -> None:
    ours, peer = socket.socketpair()
    with peer:
        poll.registry.register(ours, Token(1), R)
        ours.close()
        poll.registry.deregister(ours)
        assert list(poll.registry) == []
        with pytest.raises(NotRegisteredError, match="is closed and was not registered"):
            poll.registry.deregister(ours)


def test_a_closed_file_object_can_be_deregistered(poll, fds) -> None:
    reader, writer = os.pipe()
    fds.keep(writer)
    with os.fdopen(reader) as file:
        poll.registry.register(file, Token(1), R)
    poll.registry.deregister(file)
    assert list(poll.registry) == []
    with pytest.raises(ValueError, match="is closed: register it while it is open"):
        poll.registry.register(file, Token(1), R)


# Batches


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_the_rest_of_the_batch_forgets_what_is_deregistered(poll, fds, trigger) -> None:
    writers = [fds.pipe()[1] for _ in range(10)]
    for token, writer in enumerate(writers):
        poll.registry.register(writer, Token(token), W, trigger)
    events = poll.poll(timeout=0)
    assert len(events) == 10
    seen = []
    for event in events:
        seen.append(event.token)
        for token, writer in enumerate(writers):
            if writer != -1 and token not in seen and token % 2:
                poll.registry.deregister(writer)
                writers[token] = -1
                break
    gone = [token for token, writer in enumerate(writers) if writer == -1]
    assert gone
    assert len(seen) == 10 - len(gone)
    assert not set(gone) & set(seen)
    assert len(events) == len(list(events)) == len(seen)
    assert events[0].token not in gone


def test_a_batch_that_lost_all_its_events_is_empty(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    events = poll.poll(timeout=0)
    assert events
    poll.registry.deregister(writer)
    assert not events
    assert len(events) == 0
    with pytest.raises(IndexError):
        events[0]


def test_an_old_batch_stays_blank_however_often_its_places_are_given_away(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(0), W)
    old = poll.poll(Events(8), timeout=0)
    assert len(old) == 1
    poll.registry.deregister(writer)
    other = Events(8)
    for token in range(1, 5000):
        poll.registry.register(writer, Token(token), W)
        assert [event.token for event in poll.poll(other, timeout=0)] == [token]
        poll.registry.deregister(writer)
    assert list(old) == []


# Files


@pytest.mark.parametrize("interest", [R, W, R | W])
def test_regular_files_are_refused(no_leak, poll, interest) -> None:
    with (
        tempfile.TemporaryFile() as file,
        pytest.raises(PermissionError, match="regular file") as caught,
    ):
        poll.registry.register(file, Token(1), interest)
    assert caught.value.errno == errno.EPERM
    assert list(poll.registry) == []


# Sources that register themselves


class Both:
    """Two ends as one source."""

    def __init__(self, ends: tuple[int, int]) -> None:
        self.ends = ends
        self.calls: list[str] = []

    def register(self, registry: Registry, token: Token, interest: Interest, trigger: Trigger):
        self.calls.append("register")
        for end in self.ends:
            registry.register(end, token, interest, trigger)

    def reregister(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger | None
    ):
        self.calls.append("reregister")
        for end in self.ends:
            registry.reregister(end, token, interest, trigger)

    def deregister(self, registry: Registry):
        self.calls.append("deregister")
        for end in self.ends:
            registry.deregister(end)


def test_a_source_with_methods_of_its_own_keeps_its_trigger_by_passing_none_on(poll, fds) -> None:
    both = Both((fds.pipe()[1], fds.pipe()[1]))
    poll.registry.register(both, 7, W, Trigger.EDGE)
    poll.registry.reregister(both, 8, W)
    assert [(r.token, r.trigger) for r in poll.registry] == [(8, Trigger.EDGE)] * 2


def test_only_a_reregistration_can_do_without_a_trigger(poll, fds) -> None:
    with pytest.raises(TypeError, match="trigger must be"):
        poll.registry.register(fds.pipe()[1], 1, W, None)


def test_the_errors_of_a_source_pass_through(poll) -> None:
    class Failing(Both):
        def register(self, registry, token, interest, trigger):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        poll.registry.register(Failing((0, 0)), Token(1), R)


# Iteration and lifetime


def test_iteration_tells_what_is_registered(poll, unix_pair) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(2**64 - 1), R, Trigger.EDGE)
    poll.registry.register(peer.fileno(), 5, R | W, Trigger.ONESHOT)
    assert set(poll.registry) == {
        Registration(ours, Token(2**64 - 1), R, Trigger.EDGE),
        Registration(peer.fileno(), Token(5), R | W, Trigger.ONESHOT),
    }
    assert [type(r.token) for r in poll.registry] == [Token, Token]


def test_what_is_registered_is_counted_and_found(poll, fds, unix_pair) -> None:
    ours, peer = unix_pair
    reader, writer = fds.pipe()
    timer, waker = Timer.after(10**6), Waker(poll.registry, Token(9))
    inner = Poll(backend=poll.backend)
    here = [ours, reader, timer, waker, inner]
    for token, source in enumerate(here):
        if source is not waker:
            poll.registry.register(source, Token(token), R, Trigger.EDGE)
    assert len(poll.registry) == len(list(poll.registry)) == len(here)
    for source in here:
        assert source in poll.registry
        assert poll.registry.find(source) in list(poll.registry)
    assert poll.registry.find(ours) == Registration(ours, Token(0), R, Trigger.EDGE)
    assert poll.registry.find(ours.fileno()) == poll.registry.find(ours)
    for source in (peer, writer, Timer(), Poll(backend=poll.backend)):
        assert source not in poll.registry
        assert poll.registry.find(source) is None
    for source in (ours, timer, inner):
        poll.registry.deregister(source)
        assert source not in poll.registry
    assert len(poll.registry) == 2
    inner.close()


def test_an_object_that_registers_others_is_not_there_itself(poll, unix_pair) -> None:
    class Both:
        def register(self, registry, *how) -> None:
            for end in unix_pair:
                registry.register(end, *how)

        def reregister(self, registry, *how) -> None:
            raise AssertionError("nobody asks")

        def deregister(self, registry) -> None:
            raise AssertionError("nobody asks")

    both = Both()
    poll.registry.register(both, Token(1), R)
    assert both not in poll.registry
    assert all(end in poll.registry for end in unix_pair)
    assert len(poll.registry) == 2


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
@pytest.mark.parametrize("once", [False, True])
def test_a_timer_is_armed_unless_it_is_paused(poll, trigger, once) -> None:
    timer = Timer.after(0, once=once)
    poll.registry.register(timer, Token(1), R, trigger)
    assert state_of(poll.registry, timer) == (True, False, trigger)
    poll.registry.pause(timer)
    assert state_of(poll.registry, timer) == (False, True, trigger)
    poll.registry.resume(timer)
    assert state_of(poll.registry, timer) == (True, False, trigger)
    assert len(poll.poll(timeout=WAIT)) == 1
    if once:
        assert timer not in poll.registry
        return
    assert state_of(poll.registry, timer) == (True, False, trigger)  # to set it is enough
    timer.set_after(0)
    assert len(poll.poll(timeout=WAIT)) == 1


def test_a_waker_is_armed_unless_it_is_paused(poll) -> None:
    waker = Waker(poll.registry, Token(1))
    for _ in range(2):
        waker.wake()
        assert len(poll.poll(timeout=WAIT)) == 1
        assert state_of(poll.registry, waker) == (True, False, Trigger.EDGE)
        poll.registry.pause(waker)
        assert state_of(poll.registry, waker) == (False, True, Trigger.EDGE)
        poll.registry.resume(waker)
        assert state_of(poll.registry, waker) == (True, False, Trigger.EDGE)


def test_the_repr_of_a_registration_says_when_it_is_not_armed(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W, Trigger.ONESHOT)
    shown = "token=Token(1), interest=<Interest.WRITABLE: 2>, trigger=<Trigger.ONESHOT: 2>)"
    as_is = f"Registration(source={writer}, {shown}"
    assert [repr(one) for one in poll.registry] == [as_is]
    poll.poll()
    assert [repr(one) for one in poll.registry] == [f"{as_is}, disarmed"]
    poll.registry.pause(writer)
    assert [repr(one) for one in poll.registry] == [f"{as_is}, paused"]


def test_a_registry_is_true_also_while_it_has_nothing(poll) -> None:
    with poll.registry.batch() as changes:
        assert [len(poll.registry), len(changes)] == [0, 0]
        assert poll.registry
        assert changes


def test_a_closed_source_is_found_until_it_is_deregistered(poll) -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        poll.registry.register(ours, Token(1), R)
    found = poll.registry.find(ours)
    assert found is not None
    assert found.token == 1
    poll.registry.deregister(ours)
    assert ours not in poll.registry


@pytest.mark.parametrize("other", [None, "socket", 1.5, True, Token(1), R, object()])
def test_what_is_no_source_is_not_looked_for(poll, other) -> None:
    with pytest.raises(TypeError, match="is no source"):
        assert other not in poll.registry
    with pytest.raises(TypeError, match="is no source"):
        poll.registry.find(other)


def test_a_closed_poll_is_not_looked_into(poll, fds) -> None:
    reader, _ = fds.pipe()
    registry = poll.registry
    poll.close()
    for look in (len, list, lambda registry: reader in registry, lambda r: r.find(reader)):
        with pytest.raises(ValueError, match="this Poll is closed"):
            look(registry)


def test_the_repr_says_whose_it_is_and_how_many_it_has(poll, fds) -> None:
    reader, _ = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    says = f"{poll.backend}, fd {poll.fileno()}, 1 registered"
    assert repr(poll.registry) == f"<Registry of a Poll: {says}>"
    with poll.registry.batch() as changes:
        assert repr(changes) == f"<Batch of a Poll: {says}>"
    poll.close()
    assert repr(poll.registry) == f"<Registry of a Poll: {poll.backend}, closed>"


@pytest.mark.parametrize(
    ("name", "instead"),
    [("unregister", "deregister()"), ("modify", "reregister()"), ("anything", "'anything'")],
)
def test_what_selectors_have_is_told_what_it_is_called_here(poll, name, instead) -> None:
    with poll.registry.batch() as changes:
        for registry in (poll.registry, changes):
            with pytest.raises(AttributeError, match=re.escape(instead)):
                getattr(registry, name)


def test_the_registry_may_change_under_iteration(poll, fds) -> None:
    for token in range(5):
        poll.registry.register(fds.pipe()[0], Token(token), R)
    for registration in poll.registry:
        poll.registry.deregister(registration.source)
    assert list(poll.registry) == []


# R21: bad input


def forged(kind, number: int):
    """A member that its class does not have."""
    made = object.__new__(kind)
    made._name_, made._value_ = "FORGED", number
    return made


BAD: list[tuple[str, Callable[[Registry, int], object], type[Exception], str]] = [
    ("no source", lambda r, fd: r.register("fd", 1, R), TypeError, "'fd' is no source"),
    ("None", lambda r, fd: r.register(None, 1, R), TypeError, "None is no source"),
    ("bool", lambda r, fd: r.register(True, 1, R), TypeError, "True is no source"),
    ("float", lambda r, fd: r.register(3.0, 1, R), TypeError, "3.0 is no source"),
    ("a registry", lambda r, fd: r.register(r, 1, R), TypeError, "is no source"),
    ("no descriptor", lambda r, fd: r.register(io.StringIO(), 1, R), TypeError, "no descriptor"),
    ("deregister a registry", lambda r, fd: r.deregister(r), TypeError, "is no source"),
    ("deregister -1", lambda r, fd: r.deregister(-1), ValueError, "fd -1 is negative"),
    ("deregister a str", lambda r, fd: r.deregister("fd"), TypeError, "is no source"),
    ("negative fd", lambda r, fd: r.register(-1, 1, R), ValueError, "fd -1 is negative"),
    ("huge fd", lambda r, fd: r.register(2**40, 1, R), ValueError, "out of range"),
    ("closed fd", lambda r, fd: r.register(2**20, 1, R), OSError, "fd 1048576 .*not open"),
    ("no interest", lambda r, fd: r.register(fd, 1, Interest(0)), ValueError, "interest is empty"),
    ("interest is an int", lambda r, fd: r.register(fd, 1, 1), TypeError, "interest must be"),
    ("interest is None", lambda r, fd: r.register(fd, 1, None), TypeError, "interest must be"),
    ("trigger is an int", lambda r, fd: r.register(fd, 1, R, 1), TypeError, "trigger must be"),
    *[
        (
            f"forged interest {n}",
            lambda r, fd, n=n: r.register(fd, 1, forged(Interest, n)),
            TypeError,
            "interest must be an Interest",
        )
        for n in (-1, 8, 2**33, 2**70)
    ],
    *[
        (
            f"forged trigger {n}",
            lambda r, fd, n=n: r.register(fd, 1, R, forged(Trigger, n)),
            TypeError,
            "trigger must be a Trigger",
        )
        for n in (-1, 4, 2**33, 2**70)
    ],
    ("negative token", lambda r, fd: r.register(fd, -1, R), ValueError, "token -1 is out of"),
    ("huge token", lambda r, fd: r.register(fd, 2**64, R), ValueError, "token 184.* is out of"),
    ("token is a str", lambda r, fd: r.register(fd, "1", R), TypeError, "token must be a Token"),
    ("token is a float", lambda r, fd: r.register(fd, 1.0, R), TypeError, "token must be a Token"),
    ("token is None", lambda r, fd: r.register(fd, None, R), TypeError, "token must be a Token"),
]


@pytest.mark.parametrize(("call", "error", "says"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_bad_input_is_told_and_changes_nothing(no_leak, poll, fds, call, error, says) -> None:
    reader, _ = fds.pipe()
    with pytest.raises(error, match=says):
        call(poll.registry, reader)
    assert list(poll.registry) == []
    poll.registry.register(reader, Token(1), R)


@pytest.mark.parametrize("token", [-1, 2**64, "1", None])
def test_a_bad_reregister_leaves_the_registration_as_it_was(poll, fds, ready_now, token) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    with pytest.raises((ValueError, TypeError)):
        poll.registry.reregister(writer, token, W, Trigger.ONESHOT)
    assert ready_now(poll) == {1: {"writable"}}
    assert ready_now(poll) == {1: {"writable"}}


def test_a_closed_socket_is_named(poll) -> None:
    closed = socket.socket()
    closed.close()
    with pytest.raises(ValueError, match=r"socket.* is closed: register it while"):
        poll.registry.register(closed, Token(1), R)


def test_a_fileno_that_is_no_integer_is_named(poll) -> None:
    class Odd:
        def fileno(self) -> str:
            return "7"

    with pytest.raises(TypeError, match=r"its fileno\(\) returned '7'"):
        poll.registry.register(Odd(), Token(1), R)


# What other libraries' sources are like


class Client:
    """A database client's shape: closed, it raises an exception of its own."""

    error: type[Exception] = RuntimeError

    def __init__(self) -> None:
        self.sock, self.peer = socket.socketpair()

    def fileno(self) -> int:
        if self.sock.fileno() < 0:
            raise self.error("the connection is closed")
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


class Broken(Client):
    error = OSError


class Untyped(Client):
    error = TypeError


class Delegating:
    """Closed, it has no `fileno` any more."""

    def __init__(self) -> None:
        self.client: Client | None = Client()

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def close(self) -> None:
        assert self.client
        self.client.close()
        self.client = None


class Emptied(Client):
    """Closed, it has no descriptor to give."""

    def fileno(self) -> int:
        fd = self.sock.fileno()
        return fd if fd >= 0 else None  # type: ignore[return-value]


CLIENTS = [Client, Broken, Untyped, Delegating, Emptied, lambda: multiprocessing.Pipe()[0]]


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("in_batch", [False, True])
def test_a_closed_source_is_found_by_its_identity_whatever_its_fileno_raises(
    no_leak, poll, make, in_batch
) -> None:
    for _ in range(2):  # the second time its class is known
        source: Any = make()
        poll.registry.register(source, Token(1), R)
        source.close()
        if in_batch:
            with poll.registry.batch() as changes:
                changes.deregister(source)
        else:
            poll.registry.deregister(source)
        assert list(poll.registry) == []
        with pytest.raises((Client.error, Broken.error, TypeError)):  # as it says it
            poll.registry.deregister(source)


def test_a_closed_source_says_itself_why_it_cannot_be_registered(poll) -> None:
    for _ in range(2):
        source = Client()
        poll.registry.register(source, Token(1), R)
        poll.registry.deregister(source)
        source.close()
        for change in (poll.registry.register, poll.registry.reregister):
            with pytest.raises(RuntimeError, match="the connection is closed"):
                change(source, Token(1), R)


def test_what_is_no_exception_passes_through_fileno(poll) -> None:
    class Interrupted(Client):
        error = KeyboardInterrupt  # type: ignore[assignment]

    source = Interrupted()
    for _ in range(2):
        poll.registry.register(source, Token(1), R)
        poll.registry.deregister(source)
    poll.registry.register(source, Token(1), R)
    source.close()
    with pytest.raises(KeyboardInterrupt):
        poll.registry.deregister(source)


class Unhashable(type):
    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


class AllTheSame(type):
    def __eq__(cls, other: object) -> bool:
        return isinstance(other, AllTheSame)

    def __hash__(cls) -> int:
        return 1


@pytest.mark.parametrize("meta", [Unhashable, AllTheSame])
def test_classes_may_be_hashed_as_they_like(poll, fds, meta) -> None:
    class Plain(socket.socket, metaclass=meta):
        pass

    class Composed(metaclass=meta):
        """Registers itself: never to be taken for the other one."""

        def __init__(self) -> None:
            self.called: list[str] = []

        def fileno(self) -> int:
            raise AssertionError("nobody asks")

        def register(self, *_: object) -> None:
            self.called.append("register")

        def reregister(self, *_: object) -> None:
            self.called.append("reregister")

        def deregister(self, *_: object) -> None:
            self.called.append("deregister")

    with Plain(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        for _ in range(3):
            poll.registry.register(plain, Token(1), W)
            assert [event.token for event in poll.poll(timeout=WAIT)] == [1]
            poll.registry.deregister(plain)
    composed = Composed()
    poll.registry.register(composed, Token(1), W)
    poll.registry.reregister(composed, Token(1), W)
    poll.registry.deregister(composed)
    assert composed.called == ["register", "reregister", "deregister"]


class Fd(int):
    def __int__(self) -> int:
        raise AssertionError("it is one already")


def test_a_descriptor_may_be_any_integer(poll, unix_pair) -> None:
    ours, peer = unix_pair

    class Holder:
        def fileno(self) -> int:
            return Fd(ours.fileno())

    peer.send(b"x")
    holder = Holder()
    for source in (Fd(ours.fileno()), holder, holder):
        poll.registry.register(source, Token(1), R)
        poll.registry.reregister(source, Token(2), R)
        assert [event.token for event in poll.poll(timeout=WAIT)] == [2]
        poll.registry.deregister(source)


def test_a_waker_is_known_by_its_identity(poll, unix_pair) -> None:
    class Odd:
        def fileno(self) -> int:
            return unix_pair[0].fileno()

        def __eq__(self, other: object) -> bool:
            raise AssertionError("nobody compares")

        __hash__ = None  # type: ignore[assignment]

    poll.registry.register(Odd(), Token(1), R)
    waker = Waker(poll.registry, Token(2))
    poll.registry.deregister(waker)
    assert [registration.token for registration in poll.registry] == [1]
