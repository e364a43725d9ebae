"""Polls in Polls: circles and threads, forks, batches (R14)."""

import errno
import os
import threading

import pytest
from children import in_child

from pollster import BatchError, Events, Interest, Poll, Signals, Token, Waker

R = Interest.READABLE


def test_of_two_threads_that_would_close_a_circle_one_is_refused(backend) -> None:
    for _ in range(50):
        with Poll(backend=backend) as first, Poll(backend=backend) as second:
            start = threading.Barrier(2)
            refused: list[int | None] = []

            def nest(
                outer: Poll,
                inner: Poll,
                start: threading.Barrier = start,
                refused: list[int | None] = refused,
            ) -> None:
                start.wait()
                try:
                    outer.registry.register(inner, Token(1), R)
                except OSError as error:
                    refused.append(error.errno)

            pairs = (first, second), (second, first)
            threads = [threading.Thread(target=nest, args=pair) for pair in pairs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert refused == [errno.ELOOP]
            assert len([*first.registry, *second.registry]) == 1


def test_a_batch_refuses_a_circle_and_makes_the_rest(backend, poll, fds) -> None:
    reader, _ = fds.pipe()
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(1), R)
        with pytest.raises(BatchError) as caught, poll.registry.batch() as changes:
            changes.register(reader, Token(1), R)
            changes.register(outer, Token(2), R)
            changes.register(poll, Token(3), R)
        assert [problem.errno for _, problem in caught.value.failures] == [errno.ELOOP] * 2
        assert [r.token for r in poll.registry] == [1]


def test_a_batch_that_lets_a_poll_go_leaves_it_for_others(backend, poll, fds) -> None:
    reader, _ = fds.pipe()
    with Poll(backend=backend) as inner:
        poll.registry.register(inner, Token(1), R)
        with poll.registry.batch() as changes:
            changes.register(reader, Token(2), R)
            changes.deregister(inner)
        inner.registry.register(poll, Token(3), R)


def test_a_number_that_a_poll_had_is_no_poll(backend, poll, fds) -> None:
    reader, writer = fds.pipe()
    inner = Poll(backend=backend)
    number = inner.fileno()
    inner.registry.register(poll, Token(1), R)
    inner.close()
    os.dup2(reader, number)
    try:
        poll.registry.register(number, Token(2), R)
        os.write(writer, b"x")
        assert [event.token for event in poll.poll(timeout=10)] == [2]
    finally:
        os.close(number)


def test_watches_and_wakers_make_no_circles(backend, poll) -> None:
    with Signals(10, backend=backend) as signals, Poll(backend=backend) as outer:
        poll.registry.register(signals, Token(1), R)
        outer.registry.register(poll, Token(2), R)
        Waker(poll.registry, Token(3)).wake()
        assert [event.token for event in outer.poll(timeout=10)] == [2]
        assert [event.token for event in poll.poll(timeout=10)] == [3]


def test_a_forked_child_nests_polls_of_its_own(backend, poll) -> None:
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(1), R)

        def work() -> None:
            with Poll(backend=backend) as first, Poll(backend=backend) as second:
                first.registry.register(second, Token(1), R)
                with pytest.raises(OSError, match="circle"):
                    second.registry.register(first, Token(1), R)

        in_child(work)
        with pytest.raises(OSError, match="circle"):
            poll.registry.register(outer, Token(1), R)


def test_polls_come_and_go_in_threads_while_others_nest_them(backend) -> None:
    done = threading.Event()
    problems: list[Exception] = []

    def churn() -> None:
        try:
            while not done.is_set():
                with Poll(backend=backend) as inner, Poll(backend=backend) as outer:
                    outer.registry.register(inner, Token(1), R)
                    outer.poll(Events(4), timeout=0)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        with Poll(backend=backend) as one, Poll(backend=backend) as two:
            one.registry.register(two, Token(1), R)
            with pytest.raises(OSError, match="circle"):
                two.registry.register(one, Token(1), R)
    done.set()
    for thread in threads:
        thread.join()
    assert not problems
