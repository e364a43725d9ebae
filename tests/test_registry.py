"""Registering: R2, R8, R14, R21, and what iteration tells."""

import errno
import gc
import io
import os
import pty
import resource
import socket
import tempfile
import weakref
from collections.abc import Callable

import pytest

from pollster import (
    AlreadyRegisteredError,
    Events,
    Interest,
    NotRegisteredError,
    Poll,
    Registration,
    Registry,
    Token,
    Trigger,
)

R, W = Interest.READABLE, Interest.WRITABLE
EVERY_TRIGGER = list(Trigger)


# R2: once, and only what is there


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_registering_twice_names_the_fd_and_its_token(poll, unix_pair, trigger) -> None:
    ours, _ = unix_pair
    poll.registry.register(ours, Token(3), R, trigger)
    with pytest.raises(AlreadyRegisteredError) as caught:
        poll.registry.register(ours, Token(4), W, trigger)
    assert caught.value.errno == errno.EEXIST
    assert f"fd {ours.fileno()}" in str(caught.value)
    assert "Token(3)" in str(caught.value)
    assert [r.token for r in poll.registry] == [3]


def test_the_fd_and_the_object_are_the_same_source(poll, unix_pair) -> None:
    ours, _ = unix_pair
    poll.registry.register(ours, Token(1), W)
    with pytest.raises(AlreadyRegisteredError):
        poll.registry.register(ours.fileno(), Token(2), W)
    poll.registry.deregister(ours.fileno())
    assert list(poll.registry) == []


def test_a_refused_duplicate_leaves_the_first_as_it_was(poll, unix_pair, ready_now) -> None:
    ours, _ = unix_pair
    poll.registry.register(ours, Token(1), W)
    with pytest.raises(AlreadyRegisteredError):
        poll.registry.register(ours, Token(2), R, Trigger.EDGE)
    assert ready_now(poll) == {1: {"writable"}}
    assert ready_now(poll) == {1: {"writable"}}


@pytest.mark.parametrize("change", ["reregister", "deregister"])
def test_what_was_never_registered_is_not_registered(poll, unix_pair, change) -> None:
    ours, _ = unix_pair
    arguments = () if change == "deregister" else (Token(1), R)
    with pytest.raises(NotRegisteredError, match=f"fd {ours.fileno()} .*register") as caught:
        getattr(poll.registry, change)(ours, *arguments)
    assert caught.value.errno == errno.ENOENT


def test_deregistering_twice_is_an_error(poll, unix_pair) -> None:
    ours, _ = unix_pair
    poll.registry.register(ours, Token(1), R)
    poll.registry.deregister(ours)
    with pytest.raises(NotRegisteredError):
        poll.registry.deregister(ours)


def test_what_was_deregistered_can_be_registered_again(poll, unix_pair, ready_now) -> None:
    ours, _ = unix_pair
    for token in range(3):
        poll.registry.register(ours, Token(token), W)
        assert ready_now(poll) == {token: {"writable"}}
        poll.registry.deregister(ours)


def reuse_number(fds, fd: int) -> int:
    """Closes fd and opens a pipe's write end under the same number; returns its reader."""
    reader, writer = fds.pipe()
    os.dup2(writer, fd)
    fds.close(writer)
    return int(reader)


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_a_reused_number_is_a_new_source(poll, fds, ready_now, trigger) -> None:
    _, old = fds.pipe()
    poll.registry.register(old, Token(1), W, trigger)
    reuse_number(fds, old)
    assert ready_now(poll) == {}
    poll.registry.register(old, Token(2), W, trigger)
    assert ready_now(poll) == {2: {"writable"}}
    assert [(r.source, r.token) for r in poll.registry] == [(old, 2)]


def test_a_reused_number_of_a_pipes_end_watched_the_wrong_way_is_a_new_source(
    poll, fds, ready_now
) -> None:
    """Found by the model test: kqueue had no knote that could tell."""
    _, old = fds.pipe()
    poll.registry.register(old, Token(1), R)
    reuse_number(fds, old)
    with pytest.raises(NotRegisteredError):
        poll.registry.reregister(old, Token(2), W)
    poll.registry.register(old, Token(3), W)
    assert ready_now(poll) == {3: {"writable"}}


@pytest.mark.parametrize("change", ["reregister", "deregister"])
def test_a_reused_number_is_not_the_old_source(poll, fds, ready_now, change) -> None:
    _, old = fds.pipe()
    poll.registry.register(old, Token(1), W)
    assert ready_now(poll) == {1: {"writable"}}
    reuse_number(fds, old)
    arguments = () if change == "deregister" else (Token(2), W)
    with pytest.raises(NotRegisteredError):
        getattr(poll.registry, change)(old, *arguments)
    assert list(poll.registry) == []
    assert ready_now(poll) == {}
    poll.registry.register(old, Token(3), W)
    assert ready_now(poll) == {3: {"writable"}}


def test_a_closed_source_can_be_deregistered_by_its_number(poll, fds, ready_now) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    fds.close(writer)
    poll.registry.deregister(writer)
    assert list(poll.registry) == []
    assert ready_now(poll) == {}


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


def test_a_closed_poll_can_be_deregistered_from_another(backend, poll) -> None:
    with Poll(backend=backend) as inner:
        poll.registry.register(inner, Token(1), R)
    poll.registry.deregister(inner)
    assert list(poll.registry) == []


def test_two_polls_may_watch_one_source(backend, poll, unix_pair, ready_now) -> None:
    ours, _ = unix_pair
    with Poll(backend=backend) as other:
        poll.registry.register(ours, Token(1), W)
        other.registry.register(ours, Token(2), W)
        assert ready_now(poll) == {1: {"writable"}}
        assert ready_now(other) == {2: {"writable"}}


# reregister


@pytest.mark.parametrize("before", EVERY_TRIGGER)
@pytest.mark.parametrize("after", EVERY_TRIGGER)
def test_reregister_replaces_token_interest_and_trigger(
    poll, unix_pair, ready_now, before, after
) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), W, before)
    assert ready_now(poll) == {1: {"writable"}}
    peer.send(b"x")
    poll.registry.reregister(ours, Token(2), R, after)
    assert ready_now(poll) == {2: {"readable"}}
    assert ready_now(poll) == ({2: {"readable"}} if after == Trigger.LEVEL else {})
    assert list(poll.registry) == [Registration(ours, Token(2), R, after)]


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_reregister_arms_again_what_is_still_ready(poll, unix_pair, ready_now, trigger) -> None:
    ours, peer = unix_pair
    peer.send(b"x")
    poll.registry.register(ours, Token(1), R | W, trigger)
    assert ready_now(poll) == {1: {"readable", "writable"}}
    poll.registry.reregister(ours, Token(1), R | W, trigger)
    assert ready_now(poll) == {1: {"readable", "writable"}}


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_interest_can_shrink_and_grow(poll, unix_pair, ready_now, trigger) -> None:
    ours, peer = unix_pair
    peer.send(b"x")
    poll.registry.register(ours, Token(1), R | W, trigger)
    poll.registry.reregister(ours, Token(1), W, trigger)
    assert ready_now(poll) == {1: {"writable"}}
    poll.registry.reregister(ours, Token(1), R, trigger)
    assert ready_now(poll) == {1: {"readable"}}
    poll.registry.reregister(ours, Token(1), R | W, trigger)
    assert ready_now(poll) == {1: {"readable", "writable"}}


# R8: nothing after deregister


@pytest.mark.parametrize("trigger", EVERY_TRIGGER)
def test_pending_readiness_goes_with_deregister(poll, unix_pair, ready_now, trigger) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R, trigger)
    peer.send(b"x")
    poll.registry.deregister(ours)
    assert ready_now(poll) == {}


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


def test_a_number_that_is_reused_in_mid_batch_does_not_inherit_an_event(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    events = poll.poll(timeout=0)
    poll.registry.deregister(writer)
    reuse_number(fds, writer)
    poll.registry.register(writer, Token(2), W)
    assert [int(event.token) for event in poll.poll(Events(4), timeout=0)] == [2]
    assert list(events) == []


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


def test_a_changed_token_takes_the_old_one_out_of_the_batch(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    events = poll.poll(timeout=0)
    poll.registry.reregister(writer, Token(2), W)
    assert list(events) == []
    assert [int(event.token) for event in poll.poll(timeout=0)] == [2]


# R14: what can be watched


@pytest.mark.parametrize("interest", [R, W, R | W])
def test_regular_files_are_refused(no_leak, poll, interest) -> None:
    with (
        tempfile.TemporaryFile() as file,
        pytest.raises(PermissionError, match="regular file") as caught,
    ):
        poll.registry.register(file, Token(1), interest)
    assert caught.value.errno == errno.EPERM
    assert list(poll.registry) == []


def test_directories_are_refused(poll, fds, tmp_path) -> None:
    with pytest.raises(PermissionError):
        poll.registry.register(fds.keep(os.open(tmp_path, os.O_RDONLY)), Token(1), R)


def test_a_terminal_is_a_source(poll, fds, wait_for) -> None:
    master, slave = map(fds.keep, pty.openpty())
    poll.registry.register(master, Token(1), R)
    poll.registry.register(slave, Token(2), W)
    os.write(slave, b"hello")
    wait_for(poll, {1: {"readable"}, 2: {"writable"}})


def test_a_fifo_is_a_source(poll, fds, tmp_path, ready_now) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = fds.keep(os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK))
    writer = fds.keep(os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK))
    poll.registry.register(reader, Token(1), R)
    poll.registry.register(writer, Token(2), W)
    os.write(writer, b"x")
    assert ready_now(poll) == {1: {"readable"}, 2: {"writable"}}


def test_udp_is_a_source(poll, wait_for) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        poll.registry.register(receiver, Token(1), R)
        poll.registry.register(sender, Token(2), W)
        sender.sendto(b"", receiver.getsockname())
        wait_for(poll, {1: {"readable"}, 2: {"writable"}})


def test_a_poll_is_a_source(backend, poll, fds, ready_now) -> None:
    reader, writer = fds.pipe()
    with Poll(backend=backend) as inner:
        inner.registry.register(reader, Token(1), R)
        poll.registry.register(inner, Token(2), R)
        assert ready_now(poll) == {}
        os.write(writer, b"x")
        assert ready_now(poll) == {2: {"readable"}}
        assert ready_now(inner) == {1: {"readable"}}
        os.read(reader, 1)
        assert ready_now(inner) == {}
        assert ready_now(poll) == {}


@pytest.mark.parametrize("interest", [W, R | W])
def test_a_poll_is_readable_only(backend, poll, interest) -> None:
    with (
        Poll(backend=backend) as inner,
        pytest.raises(ValueError, match="can only be READABLE"),
    ):
        poll.registry.register(inner, Token(1), interest)


def test_a_poll_can_not_watch_itself(poll) -> None:
    with pytest.raises(OSError, match="in themselves") as caught:
        poll.registry.register(poll, Token(1), R)
    assert caught.value.errno == errno.ELOOP
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

    def reregister(self, registry: Registry, token: Token, interest: Interest, trigger: Trigger):
        self.calls.append("reregister")
        for end in self.ends:
            registry.reregister(end, token, interest, trigger)

    def deregister(self, registry: Registry):
        self.calls.append("deregister")
        for end in self.ends:
            registry.deregister(end)


def test_a_source_with_methods_of_its_own_is_asked_once(poll, fds) -> None:
    both = Both((fds.pipe()[1], fds.pipe()[1]))
    poll.registry.register(both, 7, W)
    assert [event.token for event in poll.poll(timeout=0)] == [7, 7]
    poll.registry.reregister(both, 8, W)
    assert [event.token for event in poll.poll(timeout=0)] == [8, 8]
    poll.registry.deregister(both)
    assert both.calls == ["register", "reregister", "deregister"]
    assert not poll.poll(timeout=0)


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


def test_the_registry_may_change_under_iteration(poll, fds) -> None:
    for token in range(5):
        poll.registry.register(fds.pipe()[0], Token(token), R)
    for registration in poll.registry:
        poll.registry.deregister(registration.source)
    assert list(poll.registry) == []


def test_a_source_is_kept_alive_until_it_is_deregistered(poll) -> None:
    class Source:
        def __init__(self, fd: int) -> None:
            self.fd = fd

        def fileno(self) -> int:
            return self.fd

    ours, peer = socket.socketpair()
    with ours, peer:
        source = Source(ours.fileno())
        watcher = weakref.ref(source)
        poll.registry.register(source, Token(1), R)
        del source
        gc.collect()
        assert watcher() is not None
        poll.registry.deregister(ours.fileno())
        gc.collect()
        assert watcher() is None


# R21: bad input


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


def test_a_closed_poll_registers_nothing(backend, unix_pair) -> None:
    ours, _ = unix_pair
    poll = Poll(backend=backend)
    poll.close()
    for call in (poll.registry.register, poll.registry.reregister):
        with pytest.raises(ValueError, match="this Poll is closed"):
            call(ours, Token(1), R)
    with pytest.raises(ValueError, match="this Poll is closed"):
        poll.registry.deregister(ours)
    with pytest.raises(ValueError, match="this Poll is closed"):
        iter(poll.registry)


def test_the_largest_possible_fd_is_a_source(poll, fds, ready_now) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, writer = fds.pipe()
    high = min(soft, 200_000) - 1
    os.dup2(writer, high)
    fds.keep(high)
    poll.registry.register(high, Token(1), W)
    assert ready_now(poll) == {1: {"writable"}}
