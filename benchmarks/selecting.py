"""Select: `PollsterSelector` in the place of the standard library's selector, and nothing else."""

import selectors
from collections.abc import Callable

from benchmarks.contenders import POLLSTER, SELECTORS
from benchmarks.descriptors import eventfds
from benchmarks.driver import Plan, Round, Sample, interleave, timed
from pollster.selectors import PollsterSelector

SIZES = (1, 10, 100, 1_000)

Make = Callable[[], selectors.BaseSelector]
MAKE: dict[str, Make] = {
    SELECTORS: selectors.EpollSelector,
    POLLSTER: lambda: PollsterSelector(backend="epoll"),
}


def measure(plan: Plan) -> list[Sample]:
    """Measures select() of PollsterSelector and the loop over its keys; to register and modify."""
    samples: list[Sample] = []
    for size in SIZES:
        with eventfds(size, ready=True) as fds:
            rounds = {(f"select-{size}", name): select(make(), fds) for name, make in MAKE.items()}
            samples += interleave(rounds, plan, units=size)
    with eventfds(1, ready=False) as (fd,):
        rounds = {("select-register", name): register(make(), fd) for name, make in MAKE.items()}
        samples += interleave(rounds, plan)
    with eventfds(1, ready=False) as (fd,):
        rounds = {("select-modify", name): modify(make(), fd) for name, make in MAKE.items()}
        samples += interleave(rounds, plan, units=2)
    return samples


def select(selector: selectors.BaseSelector, fds: list[int]) -> Round:
    """Returns rounds of a `select()` that does not wait, and of the loop over what it found."""
    for token, fd in enumerate(fds):
        selector.register(fd, selectors.EVENT_READ, token)

    def run(loops: int) -> object:
        select, readable = selector.select, selectors.EVENT_READ
        found = None
        for _ in range(loops):
            for key, mask in select(0):
                if mask & readable:
                    found = key.data
        return found

    return timed(run)


def register(selector: selectors.BaseSelector, fd: int) -> Round:
    """Returns rounds of `register()` and `unregister()`."""

    def run(loops: int) -> None:
        register, unregister = selector.register, selector.unregister
        readable = selectors.EVENT_READ
        for _ in range(loops):
            register(fd, readable, run)
            unregister(fd)

    return timed(run)


def modify(selector: selectors.BaseSelector, fd: int) -> Round:
    """Returns rounds of two `modify()`s, each to other events."""
    read, both = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE

    def run(loops: int) -> None:
        modify = selector.modify
        for _ in range(loops):
            modify(fd, both, run)
            modify(fd, read, run)

    selector.register(fd, read, run)
    return timed(run)
