"""Memory: resident bytes for each registered source.

Each contender is measured in a process of its own, `python -m benchmarks.memory CONTENDER`.
"""

import gc
import os
import select
import selectors
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.children import child, module, only_so_long
from benchmarks.contenders import DICT, POLLSTER, RAW, SELECTORS
from benchmarks.descriptors import eventfds
from benchmarks.driver import Plan, Sample
from pollster import Events, Interest, Poll, Token

SOURCES = 18_000
CAPACITY = 1_024
NOTHING = 0.01  # bytes; pyperf takes no zero

Register = Callable[[int, Token], object]
Report = Callable[[], list[int]]


def measure(plan: Plan) -> list[Sample]:
    """Measures what registering 18,000 sources adds, and then what reporting each of them adds."""
    samples = []
    for contender in CONTENDERS:
        with child(module("memory", contender)) as process:
            output, _ = process.communicate()
        registered, reported = map(float, output.split())
        samples.append(Sample("memory", contender, [registered], "byte"))
        samples.append(Sample("memory-reported", contender, [reported], "byte"))
    return samples


def raw() -> tuple[Register, Report]:
    """Returns how `select.epoll` registers, and the descriptors that it reports."""
    queue = select.epoll()
    return (
        lambda fd, _: queue.register(fd, select.EPOLLIN),
        lambda: [fd for fd, _ in queue.poll(0, CAPACITY)],
    )


def raw_with_tokens() -> tuple[Register, Report]:
    """Returns the same with a dict of tokens."""
    queue = select.epoll()
    tokens: dict[int, Token] = {}

    def register(fd: int, token: Token) -> None:
        queue.register(fd, select.EPOLLIN)
        tokens[fd] = token

    return register, lambda: [tokens[fd] for fd, _ in queue.poll(0, CAPACITY)]


def selector() -> tuple[Register, Report]:
    """Returns how `selectors.EpollSelector` registers, and the tokens that it reports."""
    queue = selectors.EpollSelector()
    return (
        lambda fd, token: queue.register(fd, selectors.EVENT_READ, token),
        lambda: [key.data for key, _ in queue.select(0)],
    )


def pollster() -> tuple[Register, Report]:
    """Returns how a `Poll` registers, and the tokens that it reports."""
    queue = Poll(backend="epoll")
    events = Events(CAPACITY)
    registry = queue.registry
    return (
        lambda fd, token: registry.register(fd, token, Interest.READABLE),
        lambda: [event.token for event in queue.poll(events, timeout=0)],
    )


CONTENDERS = {RAW: raw, DICT: raw_with_tokens, SELECTORS: selector, POLLSTER: pollster}


def resident() -> int:
    """Returns this process's resident bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def main() -> None:
    """Prints the bytes per source, when all are registered and when all were reported."""
    only_so_long()
    with eventfds(SOURCES, ready=True) as fds:
        tokens = [Token(number) for number in range(SOURCES)]
        register, report = CONTENDERS[sys.argv[1]]()
        register(fds[0], tokens[0])  # so that what is made once is there
        report()
        seen = bytearray(2 * SOURCES)  # by token, or by descriptor
        before = resident()
        for fd, token in zip(fds[1:], tokens[1:], strict=True):
            register(fd, token)
        registered = resident()
        while seen.count(1) < SOURCES:
            for number in report():
                seen[number] = 1
        reported = resident()
    for after in (registered, reported):
        print(max((after - before) / (SOURCES - 1), NOTHING))


if __name__ == "__main__":
    main()
