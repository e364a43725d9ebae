"""R9: what is closed without being deregistered gives no false events and spins nowhere."""

import os
import signal
import socket
import threading
import time

import pytest

from pollster import Events, Interest, NotRegisteredError, Poll, Token, Trigger, Waker

from .conftest import WAIT

R, W = Interest.READABLE, Interest.WRITABLE
EVERY_TRIGGER = list(Trigger)


def ghost(poll, fds, trigger: Trigger = Trigger.LEVEL) -> tuple[int, int]:
    """Registers a ready fd and closes it while a copy lives; returns its number and the copy."""
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W, trigger)
    copy = fds.keep(os.dup(writer))
    fds.close(writer)
    return writer, copy


def test_a_deregistered_ghost_is_soon_no_entry_of_the_kernels(poll, fds) -> None:
    number, _ = ghost(poll, fds)
    poll.registry.deregister(number)
    deadline = time.monotonic() + WAIT
    while (told := poll.poll(timeout=0)).raw():  # epoll reports it until it is left behind
        assert not told
        assert time.monotonic() < deadline


def test_a_ghost_that_is_found_can_still_be_deregistered(poll, fds) -> None:
    number, _ = ghost(poll, fds)
    for _ in range(20_000):
        poll.poll(timeout=0)
    poll.registry.deregister(number)
    assert list(poll.registry) == []


def test_what_lives_survives_the_leaving_of_a_ghost(poll, fds, ready_now) -> None:
    pairs = {token: socket.socketpair() for token in range(2, 10)}
    triggers = dict(zip(pairs, EVERY_TRIGGER * 2, strict=True))
    for token, (ours, _) in pairs.items():
        poll.registry.register(ours, Token(token), R, triggers[token])
    fired = [token for token in pairs if token > 5]
    for token in fired:
        pairs[token][1].send(b"x")
    assert ready_now(poll) == {token: {"readable"} for token in fired}
    waker = Waker(poll.registry, Token(99))
    number, _ = ghost(poll, fds)
    poll.registry.deregister(number)
    for _ in range(3000):
        poll.poll(timeout=0)
    for _, peer in pairs.values():
        peer.send(b"y")
    waker.wake()
    silent = {t for t in fired if triggers[t] in (Trigger.ONESHOT, Trigger.EDGE_ONESHOT)}
    expected = {token: {"readable"} for token in pairs if token not in silent}
    assert ready_now(poll) == {**expected, 99: {"readable"}}
    for token in silent:
        poll.registry.reregister(pairs[token][0], Token(token), R, triggers[token])
    ready = ready_now(poll)
    assert silent <= ready.keys()
    for ours, peer in pairs.values():
        poll.registry.deregister(ours)
        ours.close()
        peer.close()


def test_an_outer_poll_does_not_notice_the_leaving_of_a_ghost(backend, poll, fds) -> None:
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(7), R)
        number, _ = ghost(poll, fds)
        poll.registry.deregister(number)
        for _ in range(3000):
            poll.poll(timeout=0)
        assert not outer.poll(timeout=0)
        _, writer = fds.pipe()
        poll.registry.register(writer, Token(2), W)
        assert [event.token for event in outer.poll(timeout=10)] == [7]
        assert [event.token for event in poll.poll(timeout=0)] == [2]


@pytest.mark.parametrize("capacity", [1, 2, 64])
def test_a_wake_is_told_once_also_where_a_ghost_is_left(poll, fds, capacity) -> None:
    """With a capacity of 1 a wake waits in the queue while the ghost is reported."""
    events = Events(capacity)
    wakers = [Waker(poll.registry, Token(token)) for token in (10, 11, 12)]
    woken, told = [0, 0, 0], [0, 0, 0]

    def look() -> None:
        for event in poll.poll(events, timeout=0):
            if event.token >= 10:
                told[event.token - 10] += 1

    for _ in range(3):
        number, _ = ghost(poll, fds)
        poll.registry.deregister(number)
        for turn in range(2500):
            for which, every in enumerate((1, 7, 2400)):
                if turn % every == 0 and told[which] == woken[which]:
                    wakers[which].wake()
                    woken[which] += 1
            look()
    for _ in range(10):
        look()
    assert told == woken


def test_who_waits_meanwhile_is_not_left_behind(poll, fds) -> None:
    woken: list[int] = []
    threads = [
        threading.Thread(target=lambda: woken.extend(int(e.token) for e in poll.poll(Events(4))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    fds.keep(os.dup(reader))
    fds.close(reader)
    poll.registry.deregister(reader)
    os.write(writer, b"x")
    for _ in range(3000):
        poll.poll(timeout=0)
    waker = Waker(poll.registry, Token(2))
    while any(thread.is_alive() for thread in threads):
        waker.wake()
        for thread in threads:
            thread.join(0.01)
    assert woken == [2, 2, 2]


def test_a_ghosts_file_that_comes_back_under_its_number_is_a_source(poll, fds) -> None:
    number, copy = ghost(poll, fds)
    poll.registry.deregister(number)
    os.dup2(copy, number)
    fds.keep(number)
    poll.registry.register(number, Token(2), W)
    assert [event.token for event in poll.poll(timeout=0)] == [2]
    poll.registry.deregister(number)
    assert not poll.poll(timeout=0)


def test_control_c_reaches_a_poll_that_meets_only_ghosts(poll, fds) -> None:
    class StopError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StopError

    for _ in range(4):
        number, _ = ghost(poll, fds)
        poll.registry.deregister(number)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with pytest.raises(StopError):
            poll.poll(Events(1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("change", ["pause", "reregister", "deregister"])
def test_a_broken_pipe_whose_number_is_anothers_leaves_nothing_to_who_takes_its_place(
    poll, fds, unix_pair, ready_now, change
) -> None:
    reader, number = fds.pipe()
    poll.registry.register(number, Token(1), W)
    fds.close(reader)
    assert 1 in ready_now(poll)
    os.dup2(fds.pipe()[1], number)
    how = (Token(2), R) if change == "reregister" else ()
    with pytest.raises(NotRegisteredError):
        getattr(poll.registry, change)(number, *how)
    poll.registry.register(unix_pair[0], Token(3), R)
    for _ in range(2):
        told = poll.poll(timeout=0)
        assert not told.raw()
        assert not told
    unix_pair[1].send(b"x")
    assert ready_now(poll) == {3: {"readable"}}
