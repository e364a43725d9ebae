"""Waking: two threads on one processor, each waits until the other wakes it."""

import asyncio
import os
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable

from benchmarks import native
from benchmarks.contenders import POLLSTER, RAW, SELECTORS, C, NewEventLoop, event_loops
from benchmarks.driver import Plan, Round, Sample, interleave
from pollster import Events, Poll, Token, Waker


def measure(plan: Plan) -> list[Sample]:
    """Measures a round trip: a wakes b's poll, b wakes a's poll. By the clock on the wall."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    try:
        library = native.contender(plan.native)
        contenders: dict[tuple[str, str], Round] = {
            ("wake", C): lambda loops: int(library.wake_rounds(loops)),
            ("wake", RAW): raw(),
            ("wake", SELECTORS): selector(),
            ("wake", POLLSTER): pollster(),
        }
        for name, new_event_loop in event_loops().items():
            contenders["wake", name] = callbacks(new_event_loop)
        return interleave(contenders, plan)
    finally:
        os.sched_setaffinity(0, processors)


def ping_pong(here: Callable[[int], None], there: Callable[[int], None]) -> Round:
    """Makes a round of what two threads do so many times; `here` wakes first."""

    def measured(loops: int) -> int:
        thread = threading.Thread(target=there, args=(loops + 1,), daemon=True)
        thread.start()
        here(1)  # once before the clock starts: now the thread runs
        begin = time.perf_counter_ns()
        here(loops)
        elapsed = time.perf_counter_ns() - begin
        thread.join()
        return elapsed

    return measured


def raw() -> Round:
    """Returns rounds of `select.epoll` and eventfds."""
    ours, theirs = select.epoll(), select.epoll()
    our_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    their_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    ours.register(our_fd, select.EPOLLIN)
    theirs.register(their_fd, select.EPOLLIN)

    def here(loops: int) -> None:
        poll, wake, drain = ours.poll, os.eventfd_write, os.eventfd_read
        for _ in range(loops):
            wake(their_fd, 1)
            for fd, _mask in poll():
                drain(fd)

    def there(loops: int) -> None:
        poll, wake, drain = theirs.poll, os.eventfd_write, os.eventfd_read
        for _ in range(loops):
            for fd, _mask in poll():
                drain(fd)
            wake(our_fd, 1)

    return ping_pong(here, there)


def selector() -> Round:
    """Returns rounds of `selectors.EpollSelector` and socketpairs, as asyncio has them."""
    ours, theirs = selectors.EpollSelector(), selectors.EpollSelector()
    our_end, wakes_us = socket.socketpair()
    their_end, wakes_them = socket.socketpair()
    ours.register(our_end, selectors.EVENT_READ, our_end)
    theirs.register(their_end, selectors.EVENT_READ, their_end)

    def here(loops: int) -> None:
        poll, wake = ours.select, wakes_them.send
        for _ in range(loops):
            wake(b"\0")
            for key, _mask in poll():
                key.data.recv(4096)

    def there(loops: int) -> None:
        poll, wake = theirs.select, wakes_us.send
        for _ in range(loops):
            for key, _mask in poll():
                key.data.recv(4096)
            wake(b"\0")

    return ping_pong(here, there)


def pollster() -> Round:
    """Returns rounds of `Poll` and `Waker`."""
    ours, theirs = Poll(backend="epoll"), Poll(backend="epoll")
    wakes_us, wakes_them = Waker(ours.registry, Token(1)), Waker(theirs.registry, Token(2))
    our_events, their_events = Events(), Events()

    def here(loops: int) -> None:
        poll, wake = ours.poll, wakes_them.wake
        for _ in range(loops):
            wake()
            for event in poll(our_events):
                assert event.token == 1

    def there(loops: int) -> None:
        poll, wake = theirs.poll, wakes_us.wake
        for _ in range(loops):
            for event in poll(their_events):
                assert event.token == 2
            wake()

    return ping_pong(here, there)


def callbacks(new_event_loop: NewEventLoop) -> Round:
    """Returns rounds of two event loops that call each other with `call_soon_threadsafe()`."""

    def measured(loops: int) -> int:
        ours, theirs = new_event_loop(), new_event_loop()
        begin = 0
        left = loops + 1

        def ping() -> None:
            nonlocal begin, left
            if left == loops:
                begin = time.perf_counter_ns()
            if left == 0:
                theirs.call_soon_threadsafe(theirs.stop)
                ours.stop()
            else:
                left -= 1
                theirs.call_soon_threadsafe(pong)

        def pong() -> None:
            ours.call_soon_threadsafe(ping)

        thread = threading.Thread(target=run, args=(theirs,), daemon=True)
        thread.start()
        ours.call_soon(ping)
        run(ours)
        elapsed = time.perf_counter_ns() - begin
        thread.join()
        ours.close()
        theirs.close()
        return elapsed

    return measured


def run(loop: asyncio.AbstractEventLoop) -> None:
    """Runs an event loop in this thread until it is stopped."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
