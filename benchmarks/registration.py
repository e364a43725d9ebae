"""Registering: one source there and back, changing one, a thousand in a batch."""

import ctypes
import select
import selectors
import time
from collections.abc import Callable

from benchmarks import native
from benchmarks.contenders import DICT, POLLSTER, RAW, SELECTORS, C
from benchmarks.descriptors import eventfds
from benchmarks.driver import Plan, Round, Sample, interleave, timed
from pollster import Interest, Poll, Token

BATCH = 1_000


def measure_register(plan: Plan) -> list[Sample]:
    """Measures to register one source and to deregister it, both together."""
    library = native.contender(plan.native)
    c_queue, raw_queue, dict_queue = select.epoll(), select.epoll(), select.epoll()
    selector = selectors.EpollSelector()
    poll = Poll(backend="epoll")
    registry = poll.registry
    tokens: dict[int, int] = {}
    token = Token(1)

    with eventfds(1, ready=False) as (fd,):

        def c(loops: int) -> None:
            library.register_rounds(c_queue.fileno(), fd, loops)

        def raw(loops: int) -> None:
            register, unregister = raw_queue.register, raw_queue.unregister
            readable = select.EPOLLIN
            for _ in range(loops):
                register(fd, readable)
                unregister(fd)

        def raw_with_tokens(loops: int) -> None:
            register, unregister = dict_queue.register, dict_queue.unregister
            readable = select.EPOLLIN
            for _ in range(loops):
                register(fd, readable)
                tokens[fd] = token
                unregister(fd)
                del tokens[fd]

        def with_selector(loops: int) -> None:
            register, unregister = selector.register, selector.unregister
            readable = selectors.EVENT_READ
            for _ in range(loops):
                register(fd, readable, token)
                unregister(fd)

        def pollster(loops: int) -> None:
            register, deregister = registry.register, registry.deregister
            readable = Interest.READABLE
            for _ in range(loops):
                register(fd, token, readable)
                deregister(fd)

        runs = {C: c, RAW: raw, DICT: raw_with_tokens, SELECTORS: with_selector, POLLSTER: pollster}
        return interleave({("register", name): timed(run) for name, run in runs.items()}, plan)


def measure_reregister(plan: Plan) -> list[Sample]:
    """Measures to change a registration: to what it is, and to another interest each time.

    `selectors.EpollSelector.modify()` does not ask the kernel where nothing changes; its interest
    changes in both rows.
    """
    readable, both = Interest.READABLE, Interest.READABLE | Interest.WRITABLE
    epollin, epollboth = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT
    with eventfds(1, ready=False) as (fd,):
        contenders = {
            ("reregister", C): reregister_c(plan, fd, epollin, epollin),
            ("reregister", RAW): reregister_raw(fd, epollin, epollin),
            ("reregister", DICT): reregister_raw_with_tokens(fd, epollin, epollin),
            ("reregister", SELECTORS): reregister_selector(fd),
            ("reregister", POLLSTER): reregister_pollster(fd, readable, readable),
            ("reregister-changes", C): reregister_c(plan, fd, epollboth, epollin),
            ("reregister-changes", RAW): reregister_raw(fd, epollboth, epollin),
            ("reregister-changes", DICT): reregister_raw_with_tokens(fd, epollboth, epollin),
            ("reregister-changes", SELECTORS): reregister_selector(fd),
            ("reregister-changes", POLLSTER): reregister_pollster(fd, both, readable),
        }
        return interleave(contenders, plan, units=2)


def reregister_c(plan: Plan, fd: int, first: int, second: int) -> Round:
    """Returns rounds of two changes with epoll_ctl() in C."""
    library = native.contender(plan.native)
    queue = select.epoll()
    queue.register(fd, second)

    def run(loops: int) -> None:
        library.reregister_rounds(queue.fileno(), fd, first, second, loops)

    return timed(run)


def reregister_raw(fd: int, first: int, second: int) -> Round:
    """Returns rounds of two changes with `select.epoll.modify()`."""
    queue = select.epoll()
    queue.register(fd, second)

    def run(loops: int) -> None:
        modify = queue.modify
        for _ in range(loops):
            modify(fd, first)
            modify(fd, second)

    return timed(run)


def reregister_raw_with_tokens(fd: int, first: int, second: int) -> Round:
    """Returns the same, where the token is replaced, too."""
    queue = select.epoll()
    queue.register(fd, second)
    token = Token(1)
    tokens = {fd: token}

    def run(loops: int) -> None:
        modify = queue.modify
        for _ in range(loops):
            modify(fd, first)
            tokens[fd] = token
            modify(fd, second)
            tokens[fd] = token

    return timed(run)


def reregister_selector(fd: int) -> Round:
    """Returns rounds of two changes with `selectors.EpollSelector.modify()`."""
    read, both = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE
    queue = selectors.EpollSelector()
    token = Token(1)
    queue.register(fd, read, token)

    def run(loops: int) -> None:
        modify = queue.modify
        for _ in range(loops):
            modify(fd, both, token)
            modify(fd, read, token)

    return timed(run)


def reregister_pollster(fd: int, first: Interest, second: Interest) -> Round:
    """Returns rounds of two changes with `Registry.reregister()`."""
    queue = Poll(backend="epoll")
    token = Token(1)
    queue.registry.register(fd, token, second)

    def run(loops: int) -> None:
        reregister = queue.registry.reregister
        for _ in range(loops):
            reregister(fd, token, first)
            reregister(fd, token, second)

    return timed(run)


def measure_batch(plan: Plan) -> list[Sample]:
    """Measures to register 1,000 sources at once, per source; deregistering is not timed."""
    library = native.contender(plan.native)
    c_queue, raw_queue, dict_queue = select.epoll(), select.epoll(), select.epoll()
    selector = selectors.EpollSelector()
    poll = Poll(backend="epoll")
    registry = poll.registry
    tokens: dict[int, int] = {}

    with eventfds(BATCH, ready=False) as fds:
        sources = [(fd, Token(token)) for token, fd in enumerate(fds)]
        array = (ctypes.c_int * BATCH)(*fds)

        def c() -> None:
            library.register_all(c_queue.fileno(), array, BATCH)

        def raw() -> None:
            register, readable = raw_queue.register, select.EPOLLIN
            for fd, _ in sources:
                register(fd, readable)

        def raw_with_tokens() -> None:
            register, readable = dict_queue.register, select.EPOLLIN
            for fd, token in sources:
                register(fd, readable)
                tokens[fd] = token

        def with_selector() -> None:
            register, readable = selector.register, selectors.EVENT_READ
            for fd, token in sources:
                register(fd, readable, token)

        def pollster() -> None:
            readable = Interest.READABLE
            with registry.batch() as changes:
                register = changes.register
                for fd, token in sources:
                    register(fd, token, readable)

        runs = {
            C: (c, c_queue.unregister),
            RAW: (raw, raw_queue.unregister),
            DICT: (raw_with_tokens, dict_queue.unregister),
            SELECTORS: (with_selector, selector.unregister),
            POLLSTER: (pollster, registry.deregister),
        }
        contenders = {
            ("batch", name): undone(register, deregister, fds)
            for name, (register, deregister) in runs.items()
        }
        return interleave(contenders, plan, units=BATCH)


def undone(register: Callable[[], None], undo: Callable[[int], object], fds: list[int]) -> Round:
    """Makes a round in which all is registered, timed, and deregistered, not timed."""

    def measured(loops: int) -> int:
        elapsed = 0
        for _ in range(loops):
            begin = time.thread_time_ns()
            register()
            elapsed += time.thread_time_ns() - begin
            for fd in fds:
                undo(fd)
        return elapsed

    return measured
