"""Waker (R16): coalesced, nothing to drain, never lost, never spins."""

import gc
import signal
import threading

import pytest

from pollster import Events, NotRegisteredError, Poll, Token, Waker


def tokens(events: Events) -> list[int]:
    return [int(event.token) for event in events]


def test_a_wake_before_the_poll_is_not_lost(poll) -> None:
    Waker(poll.registry, Token(1)).wake()
    assert tokens(poll.poll()) == [1]


def test_its_event_is_readable_and_nothing_else(poll) -> None:
    Waker(poll.registry, Token(1)).wake()
    assert repr(poll.poll()[0]) == "<Event Token(1) readable>"


def test_it_wakes_another_threads_poll_again_and_again(poll) -> None:
    waker = Waker(poll.registry, Token(1))
    woken = threading.Semaphore(0)
    rounds = 200

    def wake() -> None:
        for _ in range(rounds):
            waker.wake()
            woken.acquire()

    thread = threading.Thread(target=wake)
    thread.start()
    for _ in range(rounds):
        assert tokens(poll.poll()) == [1]
        woken.release()
    thread.join()
    assert not poll.poll(timeout=0)


def test_several_wakes_are_one_event_and_it_does_not_repeat(poll) -> None:
    waker = Waker(poll.registry, Token(1))
    for _ in range(3):
        for _ in range(1000):
            waker.wake()
        assert tokens(poll.poll()) == [1]
        assert tokens(poll.poll(timeout=0)) == []


def test_several_wakers_are_told_apart(poll) -> None:
    wakers = [Waker(poll.registry, Token(token)) for token in range(5)]
    wakers[1].wake()
    wakers[4].wake()
    assert sorted(tokens(poll.poll())) == [1, 4]
    for waker in wakers:
        waker.wake()
    assert sorted(tokens(poll.poll())) == [0, 1, 2, 3, 4]


def test_of_several_pollers_one_is_woken(poll) -> None:
    waker, end = Waker(poll.registry, Token(1)), Waker(poll.registry, Token(2))
    got: list[int] = []
    first = threading.Event()

    def work() -> None:
        events = Events(1)
        while True:
            for event in poll.poll(events):
                got.append(int(event.token))
                first.set()
                if event.token == 2:
                    return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    waker.wake()
    first.wait()
    while any(thread.is_alive() for thread in threads):
        end.wake()
        for thread in threads:
            thread.join(0.01)
    assert got.count(1) == 1
    assert got.count(2) == 3


def test_a_signal_handler_may_wake(poll) -> None:
    waker = Waker(poll.registry, Token(1))
    before = signal.signal(signal.SIGALRM, lambda *a: waker.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        assert tokens(poll.poll()) == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_it_is_seen_by_an_outer_poll(backend, poll) -> None:
    from pollster import Interest

    waker = Waker(poll.registry, Token(1))
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(9), Interest.READABLE)
        assert tokens(outer.poll(timeout=0)) == []
        waker.wake()
        assert tokens(outer.poll()) == [9]
        assert tokens(poll.poll()) == [1]
        assert tokens(outer.poll(timeout=0)) == []


def test_it_is_listed_in_the_registry(poll) -> None:
    waker = Waker(poll.registry, 7)
    assert [(r.source, r.token) for r in poll.registry] == [(waker, Token(7))]
    assert waker.token == Token(7)
    assert repr(waker) == "<Waker Token(7)>"


@pytest.mark.parametrize("end", ["close", "deregister"])
def test_once_it_is_ended_it_reports_nothing_and_wakes_nobody(no_leak, poll, end) -> None:
    waker = Waker(poll.registry, Token(1))
    waker.wake()
    events = poll.poll(timeout=0)
    waker.wake()
    if end == "close":
        waker.close()
    else:
        poll.registry.deregister(waker)
    assert tokens(events) == []
    assert tokens(poll.poll(timeout=0)) == []
    assert list(poll.registry) == []
    with pytest.raises(NotRegisteredError, match="make a new Waker"):
        waker.wake()
    waker.close()


def test_a_later_waker_in_its_place_is_not_woken_by_the_old_one(poll) -> None:
    old = Waker(poll.registry, Token(1))
    old.close()
    Waker(poll.registry, Token(2))
    with pytest.raises(NotRegisteredError):
        old.wake()
    assert tokens(poll.poll(timeout=0)) == []


def test_deregistering_it_elsewhere_is_an_error(backend, poll) -> None:
    waker = Waker(poll.registry, Token(1))
    with Poll(backend=backend) as other, pytest.raises(NotRegisteredError):
        other.registry.deregister(waker)
    waker.wake()
    assert tokens(poll.poll()) == [1]


def test_it_stays_registered_while_nobody_holds_it(poll) -> None:
    wake = Waker(poll.registry, Token(1)).wake
    gc.collect()
    wake()
    assert tokens(poll.poll(timeout=0)) == [1]


def test_after_the_polls_end_it_says_so(no_leak, backend) -> None:
    with Poll(backend=backend) as poll:
        waker = Waker(poll.registry, Token(1))
    with pytest.raises(ValueError, match="this Poll is closed"):
        waker.wake()
    waker.close()


@pytest.mark.parametrize("token", [-1, 2**64])
def test_a_token_out_of_range_leaves_nothing_behind(no_leak, poll, token) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Waker(poll.registry, token)
    assert list(poll.registry) == []


def test_it_needs_a_registry(poll) -> None:
    with pytest.raises(TypeError, match="registry must be a Poll's registry"):
        Waker(poll, Token(1))


@pytest.mark.parametrize("change", ["register", "reregister"])
def test_it_registers_itself_and_only_once(poll, change) -> None:
    from pollster import Interest

    waker = Waker(poll.registry, Token(1))
    with pytest.raises(TypeError, match="Waker"):
        getattr(poll.registry, change)(waker, Token(2), Interest.READABLE)
