"""Limits and failing kernels: a clear error or none at all, nothing lost, nothing leaked (R21)."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import pollster.backend
from pollster import Events, Interest, Poll, Registry, Timer, Token, Trigger, Waker

from .conftest import WAIT, no_more_descriptors

R, W = Interest.READABLE, Interest.WRITABLE


Misbehave = Callable[[str, int], None]


@pytest.fixture
def misbehave() -> Iterator[Misbehave]:
    """Makes the tests' kqueue fail: see kqueue_misbehave.h."""
    names = pollster.backend.available()
    lib = pollster.backend.load("kqueue").lib if "kqueue" in names else None
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue fails on demand")
    yield lambda fault, times: lib.kqueue_misbehave(fault.encode(), times)
    for fault in ("EINTR", "ENOMEM", "no-user"):
        lib.kqueue_misbehave(fault.encode(), 0)


@pytest.fixture
def kqueue(misbehave: Misbehave) -> Iterator[Poll]:
    """A Poll over the tests' kqueue."""
    with Poll(backend="kqueue") as poll:
        yield poll


# Timers


def assert_timers_work_once_it_can(poll: Poll, timer: Timer) -> None:
    assert list(poll.registry) == []
    poll.registry.register(timer, Token(1), R)
    assert [event.token for event in poll.poll(timeout=10)] == [1]


@pytest.mark.skipif(
    "epoll" not in pollster.backend.available(), reason="kqueue's timers take no descriptor"
)
def test_a_timer_without_a_descriptor_for_the_kernels_leaves_nothing_behind() -> None:
    with Poll(backend="epoll") as poll:
        timer = Timer.after(0)
        poll.fileno()
        with no_more_descriptors():
            with pytest.raises(OSError, match="close some descriptors") as caught:
                poll.registry.register(timer, Token(1), R)
            assert caught.value.errno == errno.EMFILE
        assert_timers_work_once_it_can(poll, timer)


def test_a_timer_that_the_kernel_refuses_leaves_nothing_behind(kqueue, misbehave) -> None:
    kqueue.fileno()
    timer = Timer.after(0)
    misbehave("ENOMEM", 1)
    with pytest.raises(OSError, match="memory") as caught:
        kqueue.registry.register(timer, Token(1), R)
    assert caught.value.errno == errno.ENOMEM
    assert_timers_work_once_it_can(kqueue, timer)


def test_a_timer_that_can_not_be_set_stays_as_it_was(kqueue, misbehave) -> None:
    timer = Timer.after(1000)
    kqueue.registry.register(timer, Token(1), R)
    kqueue.fileno()
    before = timer._setting()
    misbehave("ENOMEM", 1)
    with pytest.raises(OSError, match="memory"):
        timer.set_after(0)
    assert timer._setting() == before
    timer.set_after(0)
    assert [event.token for event in kqueue.poll(timeout=10)] == [1]


# Descriptors


def test_a_waker_that_finds_no_descriptor_leaves_nothing_behind(poll, no_leak) -> None:
    needs_one = poll.backend != "kqueue"  # it has user events
    with no_more_descriptors():
        if needs_one:
            with pytest.raises(OSError, match="no waker for Token\\(1\\); close some") as caught:
                Waker(poll.registry, Token(1))
            assert caught.value.errno == errno.EMFILE
            assert list(poll.registry) == []
        else:
            Waker(poll.registry, Token(1))
            assert len(list(poll.registry)) == 1


def test_a_poll_that_can_not_end_its_waits_stays_open(backend) -> None:
    if backend == "kqueue":
        pytest.skip("a user event ends them, which needs no descriptor")
    poll = Poll(backend=backend)
    entered = threading.Event()
    ended: list[str] = []

    def wait() -> None:
        entered.set()
        try:
            poll.poll(Events(4))
        except ValueError as error:
            ended.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    entered.wait()
    refused = None
    with no_more_descriptors():
        for _ in range(100_000):  # until the thread waits in the kernel
            try:
                poll.close()
            except OSError as error:
                refused = error
                break
            if poll.closed:
                break
    if refused is not None:
        assert "free a descriptor and close again" in str(refused)
        assert not poll.closed
        poll.close()
    thread.join()
    assert len(ended) == 1


def test_a_ghost_that_can_not_be_left_behind_yet_is_left_later(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    fds.keep(os.dup(writer))
    fds.close(writer)
    poll.registry.deregister(writer)
    blocker = os.dup(0)
    with no_more_descriptors():
        for _ in range(20):
            assert not poll.poll(timeout=0.0001)
    os.close(blocker)
    deadline = time.monotonic() + WAIT
    while (told := poll.poll(timeout=0)).raw():  # it reports until it is left behind
        assert not told
        assert time.monotonic() < deadline


def test_a_batch_full_of_ghosts_does_not_outlast_a_timeout(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    fds.keep(os.dup(writer))
    fds.close(writer)
    poll.registry.deregister(writer)
    events = Events(1)
    blocker = os.dup(0)
    with no_more_descriptors():
        for timeout in (0, 0.001):
            assert not poll.poll(events, timeout)
    os.close(blocker)


# EINTR


def test_a_storm_of_interruptions_ends_no_wait(kqueue, misbehave, fds) -> None:
    reader, writer = fds.pipe()
    kqueue.registry.register(reader, Token(1), R)
    misbehave("EINTR", 5000)
    assert not kqueue.poll(timeout=0.001)
    thread = threading.Thread(target=os.write, args=(writer, b"x"))
    misbehave("EINTR", 5000)
    thread.start()
    assert [event.token for event in kqueue.poll()] == [1]
    thread.join()


# ENOMEM


@pytest.mark.parametrize("failures", range(1, 8))
@pytest.mark.parametrize("interest", [R, W, R | W])
def test_a_refused_registration_leaves_nothing_behind(
    kqueue, misbehave, unix_pair, ready_now, interest, failures
) -> None:
    ours, peer = unix_pair
    peer.send(b"x")
    misbehave("ENOMEM", failures)
    try:
        kqueue.registry.register(ours, Token(1), interest)
    except OSError as error:
        assert error.errno == errno.ENOMEM
        assert "the kernel has no memory for it" in str(error)
        misbehave("ENOMEM", 0)
        assert list(kqueue.registry) == []
        assert ready_now(kqueue) == {}
        kqueue.registry.register(ours, Token(1), interest)
    names = {"readable"} if interest & R else set()
    if interest & W:
        names |= {"writable"}
    assert ready_now(kqueue) == {1: names}


@pytest.mark.parametrize("before", [(R, Trigger.LEVEL), (R | W, Trigger.ONESHOT)])
@pytest.mark.parametrize("after", [(W, Trigger.LEVEL), (R | W, Trigger.EDGE), (R, Trigger.LEVEL)])
def test_a_refused_change_leaves_the_registration_as_it_was(
    kqueue, misbehave, unix_pair, ready_now, before, after
) -> None:
    ours, peer = unix_pair
    peer.send(b"x")
    kqueue.registry.register(ours, Token(1), *before)
    misbehave("ENOMEM", 1)
    with pytest.raises(OSError, match="can't be reregistered") as caught:
        kqueue.registry.reregister(ours, Token(2), *after)
    assert caught.value.errno == errno.ENOMEM
    assert [r[1:] for r in kqueue.registry] == [(Token(1), *before)]
    names = {"readable"} | ({"writable"} if before[0] & W else set())
    assert ready_now(kqueue) == {1: names}
    kqueue.registry.reregister(ours, Token(2), *after)
    assert [r[1:] for r in kqueue.registry] == [(Token(2), *after)]


def test_a_change_refused_in_the_middle_leaves_the_registration_as_it_was(
    kqueue, misbehave, ready_now, fds
) -> None:
    """kevent(2): a queue is READABLE only, so the second change of the list is refused."""
    with Poll(backend="kqueue") as inner:
        number = inner.fileno()
        with pytest.raises(OSError, match="READABLE only") as caught:
            kqueue.registry.register(number, Token(1), R | W)
        assert caught.value.errno == errno.EINVAL
        assert list(kqueue.registry) == []
        inner.registry.register(fds.pipe()[1], Token(9), W)
        assert ready_now(kqueue) == {}
        kqueue.registry.register(number, Token(1), R)
        with pytest.raises(OSError, match="READABLE only"):
            kqueue.registry.reregister(number, Token(2), R | W, Trigger.EDGE)
        for _ in range(3):
            assert ready_now(kqueue) == {1: {"readable"}}
        # With the same trigger the first knote stays, and had the new token's udata.
        with pytest.raises(OSError, match="READABLE only"):
            kqueue.registry.reregister(number, Token(2), R | W)
        with pytest.raises(ExceptionGroup), kqueue.registry.batch() as changes:
            changes.reregister(number, Token(2), R | W)
        for _ in range(3):
            assert ready_now(kqueue) == {1: {"readable"}}
        kqueue.registry.deregister(number)


# No user events: NetBSD 9, OpenBSD before 7.8


def test_without_user_events_wakers_are_pipes(misbehave, no_leak) -> None:
    misbehave("no-user", 1)
    with Poll(backend="kqueue") as poll:
        wakers = [Waker(poll.registry, Token(token)) for token in range(3)]
        for _ in range(3):
            for waker in wakers[1:]:
                for _ in range(70_000):  # more than a pipe holds
                    waker.wake()
            assert sorted(event.token for event in poll.poll()) == [1, 2]
            assert not poll.poll(timeout=0)
        thread = threading.Thread(target=wakers[0].wake)
        thread.start()
        assert [event.token for event in poll.poll()] == [0]
        thread.join()
        wakers[1].close()
        poll.registry.deregister(wakers[2])
        assert [r.source for r in poll.registry] == [wakers[0]]


def test_without_user_events_a_hung_up_pipe_is_reported(misbehave, fds, ready_now) -> None:
    misbehave("no-user", 1)
    with Poll(backend="kqueue") as poll, Poll(backend="kqueue") as outer:
        outer.registry.register(poll, Token(9), R)
        reader, writer = fds.pipe()
        fds.close(reader)
        poll.registry.register(writer, Token(1), W)
        for _ in range(3):
            assert ready_now(outer) == {9: {"readable"}}
            assert ready_now(poll) == {1: {"writable", "write_closed"}}
        poll.registry.deregister(writer)
        assert ready_now(poll) == {}
        assert ready_now(outer) == {}


def test_without_user_events_closing_ends_the_polls_of_others(misbehave, no_leak) -> None:
    misbehave("no-user", 1)
    poll = Poll(backend="kqueue")
    started, ended = threading.Barrier(4), []

    def wait() -> None:
        started.wait()
        try:
            poll.poll(Events(4))
        except ValueError:
            ended.append(1)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    poll.close()
    for thread in threads:
        thread.join()
    assert len(ended) == 3


@pytest.mark.parametrize("spare", range(4))
def test_without_user_events_and_descriptors_opening_leaks_nothing(
    no_leak, misbehave, spare
) -> None:
    misbehave("no-user", 1)
    held = [os.dup(0) for _ in range(spare)]
    with no_more_descriptors():
        for fd in held:
            os.close(fd)
        try:
            Poll(backend="kqueue").close()
        except OSError as error:
            assert error.errno == errno.EMFILE


# Other limits, which only their errno tells


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (
            errno.ENOSPC,
            "the limit of watched descriptors, or of registrations, is reached; deregister some",
        ),
        (errno.ENOMEM, "the kernel has no memory for it"),
        (errno.ELOOP, "queues are nested too deeply"),
    ],
)
def test_a_limit_of_the_kernel_is_named_with_its_cure(poll, fds, number, says) -> None:
    class Limited(Registry):
        def _change(self, *_: object) -> int:
            return number

    reader, _ = fds.pipe()
    with pytest.raises(OSError, match=says) as caught:
        # Named arguments are not plain: Python code sees to them.
        Limited(poll._selector).register(source=reader, token=Token(1), interest=R)
    assert caught.value.errno == number
    assert list(poll.registry) == []
    poll.registry.register(reader, Token(1), R)


def test_a_waker_that_was_never_opened_closes_nothing(backend) -> None:
    module = pollster.backend.load(backend)
    waker = module.ffi.new("waker *")
    assert module.lib.waker_wake(waker) == -errno.ENOENT
    assert module.lib.waker_close(waker) == -errno.ENOENT
    assert os.fstat(0)
