"""A program that does each thing once, and says how many system calls each took.

python program.py BACKEND COUNTER; prints a JSON object.

COUNTER: "preloaded", epoll_calls.c stands in front of the C library; "kqueue", the tests' kqueue
counts; "traced", somebody watches from outside: between access("NAME") and access("end").
"""

import contextlib
import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable

import pollster.backend
from pollster import BatchError, Events, Interest, Poll, Token, Trigger, Waker

R, W = Interest.READABLE, Interest.WRITABLE
EDGE, ONESHOT, EDGE_ONESHOT = Trigger.EDGE, Trigger.ONESHOT, Trigger.EDGE_ONESHOT
MANY = 100

Steps = dict[str, Callable[[], object]]


def steps_of(poll: Poll, stack: contextlib.ExitStack) -> Steps:
    """What a program does, in an order in which each step finds what it wants.

    What stands in brackets is done, and not counted.
    """
    wakers: list[Waker] = []
    registry, events, full = poll.registry, Events(2 * MANY), Events(MANY)
    ours, peer = (stack.enter_context(end) for end in socket.socketpair())
    pairs = [socket.socketpair() for _ in range(MANY)]
    many = [stack.enter_context(pair[0]) for pair in pairs]
    silent = [stack.enter_context(pair[1]) for pair in pairs]

    def batch(change: str, *how: object) -> Callable[[], None]:
        def work() -> None:
            with contextlib.suppress(BatchError), registry.batch() as changes:
                for token, source in enumerate(many):
                    getattr(changes, change)(source, *((Token(token), *how) if how else ()))

        return work

    def in_place() -> None:
        with registry.batch() as changes:
            for token, source in enumerate(many[: MANY // 2]):
                changes.deregister(source)
                changes.register(silent[token], Token(token), R)

    def nothing() -> None:
        with registry.batch():
            pass

    def one() -> None:
        with registry.batch() as changes:
            changes.reregister(ours, 3, R, EDGE)

    def refused(change: Callable[[], object]) -> Callable[[], None]:
        def work() -> None:
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                change()

        return work

    def change(*how: object) -> Callable[[], None]:
        return lambda: registry.reregister(ours, *how)  # type: ignore[arg-type]

    return {
        "poll: nothing registered": lambda: poll.poll(events, 0),
        "register": lambda: registry.register(ours, Token(1), W),
        "register: it is registered": refused(lambda: registry.register(ours, Token(1), W)),
        "poll: one is ready": lambda: poll.poll(events, 0),
        "poll: one is ready, with a timeout": lambda: poll.poll(events, 10.0),
        "poll: one is ready, for ever": lambda: poll.poll(events),
        "iterate": lambda: [event.token for event in events],
        "reregister: nothing changes": change(Token(1), W),
        "reregister: another token": change(Token(2), W),
        "reregister: another interest": change(Token(2), R),
        "poll: nothing is ready": lambda: poll.poll(events, 0),
        "poll: a timeout passes": lambda: poll.poll(events, 0.001),
        "reregister: one interest more": change(Token(2), R | W),
        "reregister: one interest less": change(Token(2), R),
        "reregister: another trigger": change(Token(2), R, EDGE),
        "reregister: an edge again": change(Token(2), R, EDGE),
        "reregister: a one-shot": change(Token(2), W, ONESHOT),
        "poll: a one-shot": lambda: poll.poll(events, 0),
        "reregister: a one-shot again": change(Token(2), W, ONESHOT),
        "reregister: everything": change(Token(3), R | W, EDGE_ONESHOT),
        "batch: nothing": nothing,
        "batch: one change": one,
        "deregister": lambda: registry.deregister(ours),
        "deregister: it is not registered": refused(lambda: registry.deregister(ours)),
        "reregister: it is not registered": refused(change(Token(1), W)),
        "register: both directions": lambda: registry.register(peer, Token(1), R | W),
        "deregister: both directions": lambda: registry.deregister(peer),
        "batch: many are registered": batch("register", W),
        "poll: many are ready": lambda: poll.poll(events, 0),
        "poll: as many are ready as there is room for": lambda: poll.poll(full, 0),
        "batch: many are reregistered, nothing changes": batch("reregister", W),
        "batch: many get another trigger and interest": batch("reregister", R | W, EDGE),
        "poll: many edges": lambda: poll.poll(events, 0),
        "batch: many are replaced by others": in_place,
        "batch: many are deregistered, half of them were not registered": batch("deregister"),
        "(a waker)": lambda: wakers.append(Waker(registry, Token(1))),
        "wake": lambda: wakers[0].wake(),
        "wake: it was woken, and nobody was told": lambda: wakers[0].wake(),
        "poll: a wake": lambda: poll.poll(events, 0),
        "wake: somebody was told": lambda: wakers[0].wake(),
    }


def counter(name: str) -> Callable[[str], int]:
    """Returns what tells how many calls there were; "traced" only makes a mark."""
    if name == "traced":
        return lambda mark: os.access(mark, os.F_OK)
    if name == "kqueue":
        calls = pollster.backend.load("kqueue").lib.kqueue_calls
    else:
        calls = ctypes.CDLL(None).epoll_calls
    return lambda mark: int(calls())


def main(backend: str, how: str) -> None:
    """Does all steps twice: what is done for the first time may ask for memory, too."""
    found = {}
    count = counter(how)
    for _ in range(2):
        with Poll(backend=backend) as poll, contextlib.ExitStack() as stack:
            for name, step in steps_of(poll, stack).items():
                before = count(name)
                step()
                spent = count("end") - before
                if not name.startswith("("):
                    found[name] = spent
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
