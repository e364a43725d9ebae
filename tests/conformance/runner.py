"""Runs a variant of a case on a back end, once."""

import os
from dataclasses import dataclass
from functools import cache

import batches  # noqa: F401 - each states its cases
import changing  # noqa: F401
import closed_sources  # noqa: F401
import closing  # noqa: F401
import connecting  # noqa: F401
import error_queue  # noqa: F401
import forking  # noqa: F401
import input_errors  # noqa: F401
import paths  # noqa: F401
import pausing  # noqa: F401
import pausing_own  # noqa: F401
import pausing_together  # noqa: F401
import priority  # noqa: F401
import processes  # noqa: F401
import readiness  # noqa: F401
import registering  # noqa: F401
import sharing  # noqa: F401
import signals  # noqa: F401
import single_use  # noqa: F401
import timers  # noqa: F401
import timing  # noqa: F401
import triggers  # noqa: F401
import waking  # noqa: F401
import watching  # noqa: F401
from case import Gate, Variant
from kernels import is_chosen
from sources import missing
from world import NotHere, Trace, World

import pollster.backend


@dataclass(frozen=True)
class Outcome:
    """What came of a run that did not fail.

    `trace`: what was reported; None where it was not run. `gate`: why the case does not hold here.
    `missing`: what this machine lacks for it.
    """

    trace: Trace | None = None
    gate: Gate | None = None
    missing: str | None = None


def backends() -> tuple[str, ...]:
    """The back ends to test, as tests/conftest.py has it: all, or the one that is asked for.

    That one is compared with this machine's default, unless KQUEUE_KERNEL is about it alone.
    """
    here = pollster.backend.available()
    chosen = os.environ.get("POLLSTER_BACKEND")
    compared = "" if is_chosen() else here[0]
    return tuple(name for name in here if chosen in (None, name) or name == compared)


def holds(variant: Variant, backend: str) -> bool:
    """Tells whether a case holds, be it gated or not."""
    try:
        with World(backend, variant.kind, variant.trigger) as world:
            variant.case.scenario(world)
    except Exception:
        return False
    return True


@cache
def run(variant: Variant, backend: str) -> Outcome:
    """Runs it. Raises what the scenario raises where something else came than it states."""
    gate = variant.gate(backend)
    scenario = gate.instead if gate else variant.case.scenario
    lacks = missing(variant.kind)
    if lacks or scenario is None:
        return Outcome(gate=gate, missing=lacks)
    try:
        with World(backend, variant.kind, variant.trigger) as world:
            scenario(world)
    except NotHere as reason:
        return Outcome(gate=gate, missing=str(reason))
    return Outcome(world.trace, gate)
