"""`Poll.stats()`: what was done is counted, once, where it happens."""

import inspect
import os
import re
import signal
import threading

import pytest
from children import in_child

import pollster.stats
from pollster import Interest, Poll, Stats, Timer, Token, Waker

R, W = Interest.READABLE, Interest.WRITABLE


def test_checkers_know_the_fields_that_there_are() -> None:
    fields = re.findall(r"^ {8}(\w+): int$", inspect.getsource(pollster.stats), re.MULTILINE)
    assert [*Stats._fields] == fields


def test_a_new_poll_has_done_nothing(poll) -> None:
    assert poll.stats()._replace(changes=0) == Stats(*[0] * len(Stats._fields))


def test_polls_timeouts_and_events(poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    before = poll.stats()
    poll.poll()
    poll.poll(timeout=0)
    poll.registry.deregister(writer)
    poll.poll(timeout=0)
    poll.poll(timeout=0.001)
    done = poll.stats() - before
    assert (done.polls, done.events, done.timeouts) == (4, 2, 2)
    assert done.waits >= 4


def test_registrations_now_and_at_most(poll, fds) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    poll.registry.register(writer, Token(2), W)
    waker, timer = Waker(poll.registry, Token(3)), Timer.after(1000)
    poll.registry.register(timer, Token(4), R)
    now = poll.stats()
    assert (now.registrations, now.registrations_most, now.timers) == (4, 4, 1)
    timer.cancel()
    waker.close()
    poll.registry.deregister(reader)
    with pytest.raises(OSError, match="not open"):
        poll.registry.register(2**20, Token(5), R)
    now = poll.stats()
    assert (now.registrations, now.timers) == (len([*poll.registry]), 0) == (2, 0)
    assert now.registrations_most in (4, 5)  # the refused one had its place for a moment


def test_wakes_that_were_asked_for_and_told(poll) -> None:
    waker = Waker(poll.registry, Token(1))
    for _ in range(3):
        waker.wake()
    poll.poll()
    waker.wake()
    poll.poll()
    now = poll.stats()
    assert (now.wakes_asked, now.wakes_told) == (4, 2)


def test_signals_that_interrupt_a_wait(poll) -> None:
    waker, handled = Waker(poll.registry, Token(1)), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    me = threading.get_ident()

    def interrupt() -> None:
        while not poll.stats().interrupts:
            signal.pthread_kill(me, signal.SIGUSR1)
            handled.wait(0.01)
        waker.wake()

    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        poll.poll()
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert poll.stats().interrupts >= 1
    assert poll.stats().polls == 1


def test_what_outlives_its_registration(backend, poll, fds) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    fds.keep(os.dup(writer))
    fds.close(writer)
    poll.registry.deregister(writer)
    _, other = fds.pipe()
    poll.registry.register(other, Token(2), W)
    for _ in range(3000):
        poll.poll(timeout=0)
    now = poll.stats()
    if backend == "epoll":
        assert now.moves == 1
        assert now.stale >= 1000
    else:  # close(2) takes a knote away
        assert (now.moves, now.stale) == (0, 0)


def test_a_ghost_that_is_found_is_counted_once(backend, poll, fds) -> None:
    for count in (1, 2):
        _, writer = fds.pipe()
        poll.registry.register(writer, Token(count), W)
        fds.keep(os.dup(writer))
        fds.close(writer)
        for _ in range(20_000):
            if not poll.poll(timeout=0):
                break
        assert poll.stats().ghosts == (count if backend == "epoll" else 0)


def test_pipes_that_kqueue_does_not_report(poll, fds) -> None:
    reader, writer = fds.pipe()
    fds.close(reader)
    poll.registry.register(writer, Token(1), W)
    poll.poll()
    hung = poll.stats().hung_pipes
    assert hung in (0, 1)
    poll.registry.deregister(writer)
    assert poll.stats().hung_pipes == 0


def test_system_calls_are_those_that_the_kernel_sees(backend, poll, fds) -> None:
    lib = poll._selector.lib
    if not hasattr(lib, "kqueue_calls"):
        pytest.skip("only the tests' kqueue counts the calls that it gets")
    waker, ends = Waker(poll.registry, Token(0)), [fds.pipe() for _ in range(5)]
    seen, before = lib.kqueue_calls(), poll.stats()
    with poll.registry.batch() as changes:
        for number, (reader, _) in enumerate(ends):
            changes.register(reader, Token(number), R)
    for number, (_, writer) in enumerate(ends):
        poll.registry.register(writer, Token(number), W)
        poll.registry.reregister(writer, Token(number), R | W)
    waker.wake()
    poll.poll()
    poll.poll(timeout=0)
    poll.registry.deregister(ends[0][0])
    done = poll.stats() - before
    assert done.waits + done.changes == lib.kqueue_calls() - seen


def test_a_closed_poll_gives_the_last_figures(backend) -> None:
    poll = Poll(backend=backend)
    poll.poll(timeout=0)
    before = poll.stats()
    poll.close()
    assert poll.stats().polls == before.polls == 1


def test_a_forked_child_has_none(poll) -> None:
    def work() -> None:
        with pytest.raises(RuntimeError, match="process that forked"):
            poll.stats()

    in_child(work)


def test_stats_subtract_from_stats_only(poll) -> None:
    now = poll.stats()
    assert now - now == Stats(*[0] * len(now))
    with pytest.raises(TypeError):
        now - 1
