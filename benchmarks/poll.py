"""Poll and iterate: what each event costs when n sources are ready."""

import select
import selectors
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import native
from benchmarks.contenders import AGAIN, DICT, POLLSTER, RAW, SELECTORS, C
from benchmarks.descriptors import eventfds
from benchmarks.driver import Plan, Round, Sample, interleave, timed
from pollster import Events, Interest, Poll, Token

SIZES = (1, 10, 100, 1_000, 10_000)


@dataclass(frozen=True)
class Sources:
    """What a queue watches: what is ready for ever, what never is, and what it watched once."""

    ready: Sequence[int]
    idle: Sequence[int] = ()
    gone: Sequence[int] = ()
    gone_times: int = 1

    @property
    def capacity(self) -> int:
        """For how many events a poll has room: it is never filled, and the same for everybody."""
        return max(1024, 2 * len(self.ready))

    def register(
        self, register: Callable[[int, int], object], deregister: Callable[[int], object]
    ) -> None:
        """Registers what is gone, and deregisters it; then registers what stays, with tokens."""
        for _ in range(self.gone_times):
            for token, fd in enumerate(self.gone):
                register(fd, token)
            for fd in self.gone:
                deregister(fd)
        for token, fd in enumerate([*self.ready, *self.idle]):
            register(fd, token)


def measure(plan: Plan) -> list[Sample]:
    """Measures a poll that does not wait and the loop over its events, per event."""
    samples: list[Sample] = []
    for size in SIZES:
        with eventfds(size, ready=True) as fds:
            sources = Sources(fds)
            runs = {
                C: c(plan, sources),
                RAW: raw(sources),
                AGAIN: raw(sources),
                DICT: raw_with_tokens(sources),
                SELECTORS: selector(sources),
                POLLSTER: pollster(sources),
            }
            contenders = {(f"poll-{size}", name): run for name, run in runs.items()}
            samples += interleave(contenders, plan, units=size)
    return samples


def c(plan: Plan, sources: Sources) -> Round:
    """Returns rounds of epoll_wait() in C."""
    library = native.contender(plan.native)
    queue = select.epoll()
    sources.register(lambda fd, _: queue.register(fd, select.EPOLLIN), queue.unregister)
    room = sources.capacity

    def run(loops: int) -> int:
        return int(library.poll_rounds(queue.fileno(), room, loops))

    return timed(run)


def raw(sources: Sources) -> Round:
    """Returns rounds of `select.epoll.poll()`: descriptors and masks."""
    queue = select.epoll()
    sources.register(lambda fd, _: queue.register(fd, select.EPOLLIN), queue.unregister)
    room = sources.capacity

    def run(loops: int) -> int:
        poll, readable = queue.poll, select.EPOLLIN
        found = -1
        for _ in range(loops):
            for fd, mask in poll(0, room):
                if mask & readable:
                    found = fd
        return found

    return timed(run)


def raw_with_tokens(sources: Sources) -> Round:
    """Returns rounds of `select.epoll.poll()` where each descriptor's token is looked up."""
    queue = select.epoll()
    sources.register(lambda fd, _: queue.register(fd, select.EPOLLIN), queue.unregister)
    tokens = {fd: token for token, fd in enumerate(sources.ready)}
    room = sources.capacity

    def run(loops: int) -> int:
        poll, readable = queue.poll, select.EPOLLIN
        found = -1
        for _ in range(loops):
            for fd, mask in poll(0, room):
                if mask & readable:
                    found = tokens[fd]
        return found

    return timed(run)


def selector(sources: Sources) -> Round:
    """Returns rounds of `selectors.EpollSelector.select()`; the token is the key's data."""
    queue = selectors.EpollSelector()
    sources.register(
        lambda fd, token: queue.register(fd, selectors.EVENT_READ, token), queue.unregister
    )

    def run(loops: int) -> int:
        poll, readable = queue.select, selectors.EVENT_READ
        found = -1
        for _ in range(loops):
            for key, mask in poll(0):
                if mask & readable:
                    found = key.data
        return found

    return timed(run)


def pollster(sources: Sources) -> Round:
    """Returns rounds of `Poll.poll()`."""
    queue = Poll(backend="epoll")
    registry = queue.registry
    sources.register(
        lambda fd, token: registry.register(fd, Token(token), Interest.READABLE),
        registry.deregister,
    )
    events = Events(sources.capacity)

    def run(loops: int) -> int:
        poll = queue.poll
        found = -1
        for _ in range(loops):
            for event in poll(events, timeout=0):
                if event.is_readable:
                    found = event.token
        return found

    return timed(run)
