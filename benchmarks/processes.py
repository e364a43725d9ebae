"""Processes: how long after a child's last instruction its parent has waited for it."""

import asyncio
import os
import select
import subprocess
import time
from collections.abc import Callable

from benchmarks.contenders import POLLSTER, RAW, NewEventLoop, event_loops
from benchmarks.driver import Plan, Round, Sample, interleave
from pollster import Events, Interest, Poll, Process, Token


class Child:
    """What starts the children, and knows when the last one ended."""

    def __init__(self, plan: Plan) -> None:
        self._go, self._told = os.pipe()
        self._words, said = os.pipe()
        self.fds = (self._go, said)
        self.command = [str(plan.native / "last_words"), *map(str, self.fds)]

    def start(self) -> subprocess.Popen[bytes]:
        """Starts one, which waits."""
        return subprocess.Popen(self.command, pass_fds=self.fds)

    def end(self) -> None:
        """Has the one that was started end, in 2 ms."""
        os.write(self._told, b"!")

    def since(self) -> int:
        """Returns the nanoseconds since it ended."""
        now = time.monotonic_ns()
        return now - int.from_bytes(os.read(self._words, 8), "little")


def measure(plan: Plan) -> list[Sample]:
    """Measures the time from a child's end until its parent's poll has told it, by the clock."""
    child = Child(plan)
    contenders: dict[tuple[str, str], Round] = {
        ("exit", RAW): each(raw(child)),
        ("exit", POLLSTER): each(pollster(child)),
    }
    for name, new_event_loop in event_loops().items():
        contenders["exit", name] = each(loop(child, new_event_loop))
    return interleave(contenders, plan, loops=5)


def each(once: Callable[[], int]) -> Round:
    """Makes a round of what is done with one child."""
    return lambda loops: sum(once() for _ in range(loops))


def raw(child: Child) -> Callable[[], int]:
    """Returns what waits with a pidfd and `select.epoll`."""
    epoll = select.epoll()

    def once() -> int:
        process = child.start()
        pidfd = os.pidfd_open(process.pid)
        epoll.register(pidfd, select.EPOLLIN)
        child.end()
        epoll.poll()
        process.wait()
        elapsed = child.since()
        os.close(pidfd)
        return elapsed

    return once


def pollster(child: Child) -> Callable[[], int]:
    """Returns what waits with a `Process`."""
    poll, events = Poll(backend="epoll"), Events(16)

    def once() -> int:
        popen = child.start()
        with Process(popen, backend="epoll") as process:
            poll.registry.register(process, Token(1), Interest.READABLE)
            child.end()
            poll.poll(events)
            popen.wait()
            return child.since()

    return once


def loop(child: Child, new_event_loop: NewEventLoop) -> Callable[[], int]:
    """Returns what waits with an event loop's `create_subprocess_exec().wait()`."""
    loop = new_event_loop()

    async def one() -> int:
        process = await asyncio.create_subprocess_exec(*child.command, pass_fds=child.fds)
        child.end()
        await process.wait()
        return child.since()

    return lambda: loop.run_until_complete(one())
