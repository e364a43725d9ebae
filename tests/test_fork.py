"""R13: a forked child can't use its parent's Poll, and can't disturb it."""

import multiprocessing
import os
import threading
import warnings

import pytest
from children import in_child

from pollster import Interest, Poll, Token, Waker

R, W = Interest.READABLE, Interest.WRITABLE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


@pytest.mark.parametrize("end", ["with", "forget", "exit"])
def test_the_end_of_a_childs_copy_does_not_disturb_the_parent(poll, fds, ready_now, end) -> None:
    _, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    waker = Waker(poll.registry, Token(2))

    def work() -> None:
        nonlocal waker
        if end == "with":
            poll.__exit__(None, None, None)
        elif end == "forget":
            del waker

    in_child(work)
    waker.wake()
    assert ready_now(poll) == {1: {"writable"}, 2: {"readable"}}


def test_a_fork_while_others_poll_and_register_leaves_no_lock_behind(backend, poll, fds) -> None:
    reader, _ = fds.pipe()
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            poll.registry.register(reader, Token(1), R)
            poll.registry.deregister(reader)

    threads = [threading.Thread(target=churn)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):

            def work() -> None:
                with pytest.raises(RuntimeError):
                    poll.registry.register(reader, Token(1), R)
                poll.close()
                Poll(backend=backend).close()

            in_child(work)
    finally:
        done.set()
        for thread in threads:
            thread.join()


# Filters are the whole process's: a thread that leaves in_child() puts back those of another.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_threads_that_fork_at_once_do_not_wait_for_each_other(poll, fds) -> None:
    reader, _ = fds.pipe()
    done = threading.Event()

    def fork() -> None:
        for _ in range(20):
            in_child(lambda: None)

    def churn() -> None:
        while not done.is_set():
            poll.registry.register(reader, Token(1), R)
            poll.registry.deregister(reader)

    forkers = [threading.Thread(target=fork, daemon=True) for _ in range(3)]
    churner = threading.Thread(target=churn, daemon=True)
    for thread in [*forkers, churner]:
        thread.start()
    for thread in forkers:
        thread.join(60)
    done.set()
    churner.join(60)
    assert not any(thread.is_alive() for thread in [*forkers, churner])


def test_a_child_that_lives_on_keeps_no_outer_poll_busy(backend, poll, fds) -> None:
    """On epoll the child's copy keeps the queue alive that a ghost was left in."""
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(7), R)
        _, writer = fds.pipe()
        poll.registry.register(writer, Token(1), W)
        held, release = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(release)
            os.read(held, 1)
            os._exit(0)
        try:
            fds.close(writer)
            poll.registry.deregister(writer)
            for _ in range(3000):
                poll.poll(timeout=0)
            assert not outer.poll(timeout=0)
            poll.registry.register(fds.pipe()[1], Token(2), W)
            assert [event.token for event in outer.poll(timeout=10)] == [7]
        finally:
            os.close(release)
            os.close(held)
            os.waitpid(child, 0)


# A text, since a spawned process can't import this module by its name.
SEND_TOKEN = """
from pollster import Poll, Token, Waker
with Poll(backend=backend) as poll:
    Waker(poll.registry, Token(3)).wake()
    connection.send([int(event.token) for event in poll.poll(timeout=10)])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(backend, poll, method) -> None:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    waker = Waker(poll.registry, Token(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        names = {"backend": backend, "connection": theirs}
        process = context.Process(target=exec, args=(SEND_TOKEN, names))
        process.start()
    poll.registry.register(ours, Token(2), R)
    assert [event.token for event in poll.poll(timeout=60)] == [2]
    assert ours.recv() == [3]
    process.join()
    waker.wake()
    assert 1 in [event.token for event in poll.poll(timeout=0)]
    ours.close()
    theirs.close()
