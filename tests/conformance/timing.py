"""Timeouts and signals: R6, R7.

Only lower bounds of time are stated: that a wait is never early. How late it is, the machine says.
"""

import contextlib
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import FrameType

from case import LEVEL, case
from sources import WAIT, wait_until
from world import READABLE, WRITABLE, R, W, World

from pollster import Waker

LEVEL_ONLY = (LEVEL,)
Handler = Callable[[int, FrameType | None], object]


@case("R6", "polling#75, epoll-shim#18, mio#1541 a wait is never early", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for timeout, rounds in ((100e-6, 1000), (1e-9, 100), (3.1e-3, 50)):
        for _ in range(rounds):
            before = time.monotonic_ns()
            assert not world.poll.poll(timeout=timeout)
            assert time.monotonic_ns() - before >= timeout * 1e9
    world.see("never early")


@case("R6", "a timedelta is a timeout", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    before = time.monotonic_ns()
    assert not world.poll.poll(timeout=timedelta(milliseconds=2))
    assert time.monotonic_ns() - before >= 2_000_000


@case("R6", "mio#1657 a timeout of any size works, infinity is none", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    # Darwin refuses long ones (Go's netpoll caps at 1e6 s), old OpenBSD more than 24 h.
    waker = world.waker(1)
    for timeout in (
        None,
        math.inf,
        1e6 + 1,
        86401,
        2**31 / 1000 + 1,
        2.0**31,
        2**63,
        1e300,
        timedelta.max,
    ):
        waker.wake()
        assert len(world.poll.poll(timeout=timeout)) == 1
    world.see("each worked")


@case("R6", "a long wait ends when something becomes ready", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.register(reader, 1, R)
    for timeout in (None, 1e300, 2e6):
        with world.thread(lambda: writer.send(b"x")):
            assert len(world.poll.poll(timeout=timeout)) == 1
        reader.recv()


@case("R6", "negative timeouts, NaN and other types are refused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    world.waker(1).wake()
    for timeout in (-1, -0.001, -1e-300, -math.inf, timedelta(microseconds=-1)):
        with world.refused(ValueError, 0, "negative"):
            world.poll.poll(timeout=timeout)
    with world.refused(ValueError, 0, "NaN"):
        world.poll.poll(timeout=math.nan)
    with world.refused(TypeError, 0, "timeout"):
        world.poll.poll(timeout="1")  # type: ignore[arg-type]
    world.expect({1: READABLE})


@case("R6", "mio: a zero timeout still collects what is pending")
def _(world: World) -> None:
    world.register(world.one_way()[1], 1, W)
    assert len(world.poll.poll(timeout=0)) == 1


# Signals


@contextlib.contextmanager
def handling(number: int, handler: Handler) -> Iterator[None]:
    """Has a handler for a signal meanwhile."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(number, before)


def interrupting(
    waker: Waker, begin: threading.Event, handled: threading.Event, times: int
) -> Callable[[], None]:
    """Signals this thread until its handler has run so many times, and then wakes it."""
    me = threading.get_ident()

    def work() -> None:
        begin.wait(WAIT)
        for _ in range(times):
            handled.clear()
            # Python runs a handler after the wait where the signal came just before it.
            for _ in range(1000):
                signal.pthread_kill(me, signal.SIGUSR1)
                if handled.wait(0.01):
                    break
        waker.wake()

    return work


@case("R7", "mio#494, polling#162 a handler that returns does not end a poll", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker, begin, handled, count = world.waker(5), threading.Event(), threading.Event(), 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        handled.set()

    with (
        handling(signal.SIGUSR1, handler),
        world.thread(interrupting(waker, begin, handled, 20)),
    ):
        begin.set()
        world.expect({5: READABLE})
    assert count >= 20


@case("R7", "a signal does not shorten a timeout", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    with handling(signal.SIGALRM, lambda number, frame: None):
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        before = time.monotonic_ns()
        assert not world.poll.poll(timeout=0.03)
        assert time.monotonic_ns() - before >= 30_000_000


class StopError(Exception):
    """What a handler raises."""


@case("R7", "a handler that raises ends a poll", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker, begin, handled = world.waker(5), threading.Event(), threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        if not handled.is_set():
            handled.set()
            raise StopError

    with (
        handling(signal.SIGUSR1, handler),
        world.thread(interrupting(waker, begin, handled, 1)),
        world.refused(StopError),
    ):
        begin.set()
        world.poll.poll()
    world.expect({5: READABLE})


@case("R7", "Ctrl-C ends a program that polls", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    program = (
        "import pollster, signal\n"
        # A parent that runs in the background hands down an ignored SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with pollster.Poll(backend={world.backend!r}) as poll:\n"
        "    print('polling', flush=True)\n"
        "    poll.poll()\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "polling\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT)
    assert "KeyboardInterrupt" in errors
    world.see(process.returncode == -signal.SIGINT)


@case("R7", "kqueue(2): a change that a signal interrupts is applied, and only once")
def _(world: World) -> None:
    ours, peer = world.sockets("socketpair")
    handled = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal handled
        handled += 1

    def change() -> bool:
        world.register(ours, 1, R | W)
        world.expect({1: WRITABLE})
        world.reregister(ours, 2, R)
        world.expect({})
        world.deregister(ours)
        world.trace.clear()
        return handled >= 20

    with handling(signal.SIGALRM, handler):
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        wait_until(change)
    assert peer.fileno() >= 0
    world.see("each change was applied")
