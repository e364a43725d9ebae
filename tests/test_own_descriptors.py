"""The numbers of pollster's own descriptors: nothing that a program does by number touches them.

A program comes to such a number by a source of its own that it closed: the next descriptor that
is made gets it, and that may be a waker's, a watch's or the Poll's.
"""

import os
import signal
import socket

import pytest

from pollster import (
    BatchError,
    Interest,
    NotRegisteredError,
    PathWatch,
    Poll,
    Process,
    Signals,
    Timer,
    Token,
    Trigger,
    Waker,
)

R = Interest.READABLE
HIGHEST = 512


def opened() -> set[int]:
    numbers = set()
    for number in range(HIGHEST):
        try:
            os.fstat(number)
        except OSError:
            continue
        numbers.add(number)
    return numbers


@pytest.fixture
def own(backend, tmp_path):
    """A Poll with one of each of what has descriptors of pollster's, and their numbers."""
    path = tmp_path / "watched"
    path.write_text("before")
    before = opened()
    with (
        Poll(backend=backend) as poll,
        Signals(signal.SIGUSR1, backend=backend) as signals,
        Process(os.getppid() or 1, backend=backend) as process,
        PathWatch(path, backend=backend) as watch,
    ):
        waker = Waker(poll.registry, Token(1))
        poll.registry.register(signals, Token(2), R)
        poll.registry.register(process, Token(3), R)
        poll.registry.register(watch, Token(4), R)
        poll.registry.register(Timer.after(1e-9), Token(5), R)
        yield poll, waker, path, opened() - before


def tell_all(waker, path) -> None:
    waker.wake()
    os.kill(os.getpid(), signal.SIGUSR1)
    path.write_text("after")


def reregister(registry, number) -> None:
    registry.reregister(number, Token(77), R, Trigger.ONESHOT)


def deregister(registry, number) -> None:
    registry.deregister(number)


def pause(registry, number) -> None:
    registry.pause(number)


def resume(registry, number) -> None:
    registry.resume(number)


def change_all(registry, numbers, change) -> None:
    with registry.batch() as changes:
        for number in numbers:
            change(changes, number)


CHANGES = [reregister, deregister, pause, resume]


def assert_all_told(poll, waker, path, collected) -> None:
    assert {known.token for known in poll.registry} == {1, 2, 3, 4, 5}
    tell_all(waker, path)
    assert {event.token for event in collected(poll, 4)} == {1, 2, 4, 5}


@pytest.fixture
def collected():
    """Polls until there were events of so many tokens."""

    def collect(poll, count):
        events = {}
        for _ in range(1000):
            events |= {event.token: event for event in poll.poll(timeout=10)}
            if len(events) >= count:
                break
        return events.values()

    return collect


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_by_number_touches_them(own, change, collected) -> None:
    poll, waker, path, numbers = own
    for number in numbers:
        with pytest.raises(NotRegisteredError):
            change(poll.registry, number)
        assert poll.registry.find(number) is None
        assert number not in poll.registry
    assert_all_told(poll, waker, path, collected)


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_of_a_batch_touches_them(own, change, collected) -> None:
    poll, waker, path, numbers = own
    with pytest.raises(BatchError) as caught:
        change_all(poll.registry, numbers, change)
    assert len(caught.value.failures) == len(numbers)
    assert all(isinstance(error, NotRegisteredError) for _, error in caught.value.failures)
    assert_all_told(poll, waker, path, collected)


def test_they_can_not_be_registered(own, backend, collected) -> None:
    if backend != "epoll":
        pytest.skip("kqueue needs no descriptors for them, those of the tests' are its own")
    poll, waker, path, numbers = own
    for number in numbers:
        with pytest.raises(OSError, match=f"fd {number} "):
            poll.registry.register(number, Token(77), R)
    assert_all_told(poll, waker, path, collected)


def test_a_waker_whose_descriptor_the_program_closed_leaves_the_next_file_alone(backend) -> None:
    with Poll(backend=backend) as poll:
        before = opened()
        waker = Waker(poll.registry, Token(1))
        for number in opened() - before:  # none on a kqueue with user events
            os.close(number)
        ours, peer = socket.socketpair()
        poll.registry.register(ours, Token(2), R)
        poll.registry.register(peer, Token(3), R)
        waker.wake()
        waker.close()
        for end in ours, peer:
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(100)
        ours.send(b"x")
        assert [event.token for event in poll.poll(timeout=10) if event.token != 1] == [3]
    with ours, peer:  # nor does the Poll close them as it ends
        ours.send(b"y")
        assert peer.recv(100) == b"xy"
