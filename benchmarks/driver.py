"""Measures contenders against each other: interleaved rounds of some milliseconds.

It owns the clock, the order and the garbage collector. It knows nothing of what a round does.
"""

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROUND = 3_000_000  # nanoseconds, about, of each round
Round = Callable[[int], int]
"""Does something so many times; returns the nanoseconds that it took."""

Key = tuple[str, str]
"""A row of the table, and a contender."""


@dataclass(frozen=True)
class Plan:
    """How much to measure in one worker process."""

    rounds: int
    seed: int
    native: Path
    """Where the C contenders are built."""


@dataclass
class Sample:
    """What one contender's rounds in one process came to, in `unit`, in the order of the rounds."""

    row: str
    contender: str
    values: list[float]
    unit: str = "second"
    notes: dict[str, float] = field(default_factory=dict)


def timed(run: Callable[[int], object]) -> Round:
    """Makes a round of a function that does something so many times.

    The clock is the thread's CPU time: what never waits is not charged for its neighbours.
    """

    def measured(loops: int) -> int:
        begin = time.thread_time_ns()
        run(loops)
        return time.thread_time_ns() - begin

    return measured


def interleave(
    contenders: Mapping[Key, Round], plan: Plan, *, units: int = 1, loops: int | None = None
) -> list[Sample]:
    """Runs all contenders in turns, in an order that each turn shuffles; seconds per unit.

    Parameters: `units` that each loop does; `loops` of a round, None for as many as fill ROUND.

    Value i of one contender was measured within milliseconds of value i of every other, so what
    disturbs the machine for longer disturbs all of them.
    """
    repeat = {key: loops or _loops(run) for key, run in contenders.items()}
    values: dict[Key, list[float]] = {key: [] for key in contenders}
    order = list(contenders)
    shuffle = random.Random(plan.seed).shuffle
    for _ in range(plan.rounds):
        shuffle(order)
        for key in order:
            elapsed = _uncollected(contenders[key], repeat[key])
            values[key].append(elapsed / repeat[key] / units / 1e9)
    return [Sample(row, contender, values[row, contender]) for row, contender in contenders]


def _loops(run: Round) -> int:
    """Finds how often to repeat for a round of the right length; this is the warm-up, too."""
    loops = 1
    # The least of three: a stray disturbance must not make the rounds short, and so cold.
    while (elapsed := min(_uncollected(run, loops) for _ in range(3))) < ROUND // 2:
        loops *= 2
    return max(1, loops * ROUND // elapsed)


def _uncollected(run: Round, loops: int) -> int:
    """Runs a round without the garbage collector, whose turn would be charged to one contender."""
    gc.disable()
    try:
        return run(loops)
    finally:
        gc.enable()
