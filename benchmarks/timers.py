"""Timers: scheduling 100,000 deadlines, ending them, and running 10,000 that are due."""

import heapq
import random
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from benchmarks.contenders import HEAPQ, POLLSTER, NewEventLoop, event_loops
from benchmarks.driver import Plan, Round, Sample, interleave
from pollster import Events, Interest, Poll, Timer, Token

MANY, DUE = 100_000, 10_000
FEWER = 3  # of so many rounds one: each does as much work as ten of the others

Delays = list[float]
NewTimer = Callable[[float], Timer]
Rounds = dict[str, Round]
"""By row."""


def measure(plan: Plan) -> list[Sample]:
    """Measures timers: schedule and cancel 100,000, run 10,000 that are due; per timer."""
    fewer = Plan(max(1, plan.rounds // FEWER), plan.seed, plan.native)
    rounds = {name: make() for name, make in contenders().items()}
    samples = []
    for row, units in (
        ("schedule", MANY),
        ("cancel", MANY),
        ("close", MANY),
        ("run", DUE),
        ("run-close", DUE),
        ("run-once", DUE),
    ):
        chosen = {(f"timers-{row}", name): by_row[row] for name, by_row in rounds.items()}
        samples += interleave(chosen, fewer, units=units, loops=1)
    return samples


def contenders() -> dict[str, Callable[[], Rounds]]:
    """Returns what makes the three rounds of each contender."""
    found: dict[str, Callable[[], Rounds]] = {HEAPQ: heap, POLLSTER: pollster}
    for name, new_event_loop in event_loops().items():
        found[name] = lambda new=new_event_loop: loop(new)  # type: ignore[misc]
    return found


def far() -> Delays:
    """Returns delays that do not end here, the same for everybody."""
    generator = random.Random(1)
    return [generator.uniform(10, 100) for _ in range(MANY)]


def near() -> Delays:
    """Returns delays that end soon; over 1 ms, since uvloop calls at once what is sooner."""
    generator = random.Random(2)
    return [generator.uniform(0.002, 0.01) for _ in range(DUE)]


def callback() -> None:
    """What is to be done when a timer is due."""


def clocked(run: Callable[[], object]) -> int:
    """Returns the nanoseconds of CPU time that something takes."""
    begin = time.thread_time_ns()
    run()
    return time.thread_time_ns() - begin


def every(schedule: Round, cancel: Round, run: Round) -> Rounds:
    """Returns the rounds of those whose handles are gone once cancelled or called."""
    return {
        "schedule": schedule,
        "cancel": cancel,
        "close": cancel,
        "run": run,
        "run-close": run,
        "run-once": run,
    }


def heap() -> Rounds:
    """Returns rounds of a bare `heapq` of lists, which are emptied to cancel them."""
    delays, soon, numbers = far(), near(), count()

    def schedule(delays: Delays) -> tuple[list[list[Any]], list[list[Any]]]:
        queue: list[list[Any]] = []
        entries = []
        push, now, order = heapq.heappush, time.monotonic, numbers
        for delay in delays:
            entry = [now() + delay, next(order), callback]
            push(queue, entry)
            entries.append(entry)
        return queue, entries

    def run(queue: list[list[Any]]) -> None:
        pop, now = heapq.heappop, time.monotonic
        while queue and queue[0][0] <= now():
            call = pop(queue)[2]
            if call is not None:
                call()

    def cancel(entries: list[list[Any]]) -> None:
        for entry in entries:
            entry[2] = None

    def cancelled(_: int) -> int:
        queue, entries = schedule(delays)
        elapsed = clocked(lambda: cancel(entries))
        assert len(queue) == MANY
        return elapsed

    def due(_: int) -> int:
        queue, _entries = schedule(soon)
        del _entries
        time.sleep(0.011)
        elapsed = clocked(lambda: run(queue))
        assert not queue
        return elapsed

    def scheduled(_: int) -> int:
        return clocked(lambda: schedule(delays))

    return every(scheduled, cancelled, due)


def loop(new_event_loop: NewEventLoop) -> Rounds:
    """Returns rounds of an event loop's `call_later` and its handles' `cancel`."""
    delays, soon = far(), near()

    def schedule(loop: Any, delays: Delays) -> list[Any]:
        handles = []
        call_later = loop.call_later
        for delay in delays:
            handles.append(call_later(delay, callback))
        return handles

    def cancel(handles: list[Any]) -> None:
        for handle in handles:
            handle.cancel()

    def scheduled(_: int) -> int:
        loop = new_event_loop()
        elapsed = clocked(lambda: schedule(loop, delays))
        loop.close()
        return elapsed

    def cancelled(_: int) -> int:
        loop = new_event_loop()
        handles = schedule(loop, delays)
        elapsed = clocked(lambda: cancel(handles))
        loop.close()
        return elapsed

    def due(_: int) -> int:
        loop = new_event_loop()
        schedule(loop, soon)
        loop.call_later(0.012, loop.stop)
        time.sleep(0.014)
        elapsed = clocked(loop.run_forever)
        loop.close()
        return elapsed

    return every(scheduled, cancelled, due)


def pollster() -> Rounds:
    """Returns rounds of `Timer`s: made and registered, deregistered, reported and deregistered."""
    delays, soon = far(), near()
    tokens = [Token(number) for number in range(MANY)]
    events = Events(DUE)

    def schedule(poll: Poll, delays: Delays, after: NewTimer = Timer.after) -> list[Timer]:
        timers = []
        register, readable = poll.registry.register, Interest.READABLE
        for token, delay in zip(tokens, delays):  # noqa: B905 - there may be more tokens
            timer = after(delay)
            register(timer, token, readable)
            timers.append(timer)
        return timers

    def scheduled(_: int) -> int:
        with Poll(backend="epoll") as poll:
            return clocked(lambda: schedule(poll, delays))

    def ended(end: Callable[[list[Timer]], None]) -> Round:
        def measured(_: int) -> int:
            with Poll(backend="epoll") as poll:
                timers = schedule(poll, delays)
                return clocked(lambda: end(timers))

        return measured

    def cancel(timers: list[Timer]) -> None:
        for timer in timers:
            timer.cancel()

    def close(timers: list[Timer]) -> None:
        for timer in timers:
            timer.close()

    def due(run: Callable[[Poll, list[Timer]], None], after: NewTimer = Timer.after) -> Round:
        def measured(_: int) -> int:
            with Poll(backend="epoll") as poll:
                timers = schedule(poll, soon, after)
                time.sleep(0.011)
                elapsed = clocked(lambda: run(poll, timers))
                assert not poll.poll(timeout=0), "some were not due"
                return elapsed

        return measured

    def call(poll: Poll, timers: list[Timer]) -> None:
        for event in poll.poll(events, timeout=0):
            callbacks[event.token]()

    def call_and_close(poll: Poll, timers: list[Timer]) -> None:
        for event in poll.poll(events, timeout=0):
            timers[event.token].close()
            callbacks[event.token]()

    callbacks = [callback] * DUE
    return {
        "schedule": scheduled,
        "cancel": ended(cancel),
        "close": ended(close),
        "run": due(call),
        "run-close": due(call_and_close),
        "run-once": due(call, lambda seconds: Timer.after(seconds, once=True)),
    }
