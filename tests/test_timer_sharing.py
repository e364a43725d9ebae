"""`Timer`: outer Polls, threads, processes and the garbage collector."""

import contextlib
import gc
import os
import select
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from deadlines import FAR, R, due_now, register

import pollster.backend
from pollster import (
    AlreadyRegisteredError,
    Batch,
    BatchError,
    Events,
    Interest,
    Poll,
    Timer,
    Token,
    Waker,
)

from .conftest import WAIT, counts_references

FOLDER = Path(__file__).with_name("system_calls")

# Two Polls


def apply_at_once(*batches: Batch) -> None:
    """Ends each, whose block is open, in a thread of its own, all at the same time."""
    barrier = threading.Barrier(len(batches))

    def apply(batch: Batch) -> None:
        barrier.wait(WAIT)
        with contextlib.suppress(BatchError):
            batch.__exit__(None, None, None)

    threads = [threading.Thread(target=apply, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_two_batches_at_once_one_gets_a_timer(backend) -> None:
    """Each Poll looked under its own lock whose a timer was, so that both had it."""
    with Poll(backend=backend) as one, Poll(backend=backend) as other:
        for token in range(50):  # so that a timer's place differs
            one.registry.register(Timer.after(FAR), Token(token), R)
        for _ in range(30):
            timers = [Timer.after(FAR) for _ in range(1000)]
            batches = [poll.registry.batch().__enter__() for poll in (one, other)]
            for batch in batches:
                for token, timer in enumerate(timers, 100):
                    batch.register(timer, Token(token), R)
            apply_at_once(*batches)
            registered = [{id(r.source) for r in poll.registry} for poll in (one, other)]
            assert not registered[0] & registered[1]
            assert len(registered[0] | registered[1]) == 50 + len(timers)
            for timer in timers:
                timer.set_after(FAR)
                timer.close()
            assert [len(list(poll.registry)) for poll in (one, other)] == [50, 0]


def test_a_timer_that_moves_while_a_batch_is_made_is_the_polls_that_has_it(backend) -> None:
    """It was taken for the batch's, so that nothing kept the memory of the Poll that it was in."""
    for _ in range(50):
        one, other = Poll(backend=backend), Poll(backend=backend)
        timer = Timer.after(FAR)
        batch = one.registry.batch().__enter__()
        batch.register(timer, Token(1), R)
        for token in range(2, 300):
            batch.register(Timer.after(FAR), Token(token), R)
        done = threading.Event()

        def move(timer: Timer = timer, other: Poll = other, done: threading.Event = done) -> None:
            while not done.is_set():
                timer.close()
                with contextlib.suppress(AlreadyRegisteredError):
                    other.registry.register(timer, Token(7), R)

        thread = threading.Thread(target=move)
        thread.start()
        apply_at_once(batch)
        done.set()
        thread.join()
        owners = [poll for poll in (one, other) if timer in [r.source for r in poll.registry]]
        assert len(owners) == 1
        timer.set_after(0)
        assert 1 <= len(owners[0].poll(timeout=WAIT)) <= 2
        timer.close()
        assert timer not in [r.source for poll in (one, other) for r in poll.registry]


# Who else looks


def test_an_outer_poll_sees_what_is_due(poll, backend) -> None:
    early = register(poll, Timer.after(FAR), 1)
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(9), R)
        for deadline in (0, 0.002):
            early.set_after(deadline)
            assert [event.token for event in outer.poll(timeout=WAIT)] == [9]
            assert due_now(poll) == [1]
            assert due_now(outer) == []
        early.set_after(0)
        assert [event.token for event in outer.poll(timeout=WAIT)] == [9]
        early.cancel()
        assert due_now(outer) == []
        register(poll, Timer.after(0.001), 2)
        assert [event.token for event in outer.poll(timeout=WAIT)] == [9]
        early.set_after(0)
        assert due_now(poll, Events(1)) in ([1], [2])
        assert [event.token for event in outer.poll(timeout=WAIT)] == [9]
        assert due_now(poll, Events(1)) in ([1], [2])
        assert due_now(outer) == []


def test_the_descriptor_is_readable_also_for_timers_that_were_there_before(poll) -> None:
    timer = register(poll, Timer.every(0.001))
    fd = poll.fileno()
    for _ in range(5):
        assert select.select([fd], [], [], WAIT)[0] == [fd]
        assert due_now(poll) == [1]
    timer.close()
    assert select.select([fd], [], [], 0)[0] == []


def test_a_poll_that_begins_while_the_first_deadline_is_set_sees_it(backend, tmp_path) -> None:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("what holds the thread is compiled, and preloaded, on Linux only")
    library = tmp_path / "held_memory.so"
    source, program = (FOLDER / name for name in ("held_memory.c", "held_timer.py"))
    flags = ["-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-D_GNU_SOURCE"]
    subprocess.run([*compiler.split(), *flags, str(source), "-o", str(library), "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, str(program), backend],
        env={**os.environ, "LD_PRELOAD": str(library)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "[1]\n"


def test_every_expiration_goes_to_one_of_several_pollers(poll) -> None:
    count, taken, lock = 300, [], threading.Lock()
    stop = [Waker(poll.registry, Token(count + i)) for i in range(3)]

    def work() -> None:
        events = Events(4)
        while True:
            tokens = [int(event.token) for event in poll.poll(events)]
            with lock:
                taken.extend(tokens)
            if any(token >= count for token in tokens):
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for token in range(count):
        register(poll, Timer.after(token % 7 / 1000), token)
    deadline = time.monotonic() + WAIT
    while len(taken) < count and time.monotonic() < deadline:
        time.sleep(0.001)
    # A thread may take the others' wakers along.
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        for waker in stop:
            waker.wake()
        time.sleep(0.001)
    assert sorted(token for token in taken if token < count) == list(range(count))


def test_threads_may_set_register_and_end_timers_while_others_poll(poll) -> None:
    def work(base: int) -> None:
        for turn in range(300):
            timer = register(poll, Timer.after(turn % 3 / 10_000), base + turn)
            timer.set_after(turn % 2 / 10_000)
            if turn % 2:
                timer.cancel()
            timer.close()

    threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        poll.poll(timeout=0.001)
    assert list(poll.registry) == []
    assert due_now(poll) == []


# What it costs


def test_without_others_who_look_it_makes_no_system_call() -> None:
    lib = kqueue_of_the_tests()
    with Poll(backend="kqueue") as poll:
        before = lib.kqueue_calls()
        timers = [register(poll, Timer.after(FAR - token), token) for token in range(100)]
        for timer in timers:
            timer.set_after(1)
            timer.cancel()
            timer.set_after(0)
        assert lib.kqueue_calls() == before
        assert len(due_now(poll)) == 100
        assert lib.kqueue_calls() == before + 1
        for timer in timers:
            timer.close()
        assert lib.kqueue_calls() == before + 1


def kqueue_of_the_tests():
    names = pollster.backend.available()
    lib = pollster.backend.load("kqueue").lib if "kqueue" in names else None
    if not hasattr(lib, "kqueue_calls"):
        pytest.skip("only the tests' own kqueue counts its calls")
    return lib


# Memory and processes


def test_the_poll_keeps_it_alive_while_it_is_registered(poll) -> None:
    register(poll, Timer.after(0))
    gc.collect()
    (registration,) = poll.registry
    assert due_now(poll) == [1]
    assert registration.source.expirations() == 1


@counts_references
def test_a_poll_with_timers_is_let_go_of(backend, no_leak) -> None:
    poll = Poll(backend=backend)
    poll.fileno()
    timer = register(poll, Timer.after(FAR))
    gone = weakref.ref(poll)
    del poll
    gc.collect()
    assert gone() is None
    before = sys.getrefcount(timer)
    timer.cancel()
    assert sys.getrefcount(timer) == before


def test_two_thousand_polls_with_timers_leak_nothing(backend, no_leak) -> None:
    for _ in range(2000):
        with Poll(backend=backend) as poll:
            register(poll, Timer.after(0))
            poll.fileno()
            assert due_now(poll) == [1]


def test_it_outlives_a_descriptor_that_was_closed_while_a_copy_lives(poll, fds) -> None:
    """R9: on Linux the queue is rebuilt then, and the kernel's timer has to come along."""
    reader, writer = fds.pipe()
    timer = register(poll, Timer.after(FAR))
    fd = poll.fileno()
    poll.registry.register(writer, Token(7), Interest.WRITABLE)
    fds.keep(os.dup(writer))
    fds.close(writer)
    for _ in range(10_000):
        poll.poll(timeout=0)
    assert due_now(poll) == []
    assert select.select([fd], [], [], 0)[0] == []
    timer.set_after(0.002)
    assert select.select([fd], [], [], WAIT)[0] == [fd]
    assert due_now(poll) == [1]
    fds.close(reader)
