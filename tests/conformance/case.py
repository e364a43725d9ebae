"""`Case`: what a user does and what must come; `Gate`: why that can't hold somewhere.

A case is run for each of its kinds of source and each of its triggers, on every back end present.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernels import systems

from pollster import Trigger
from pollster.backend import NAMES

if TYPE_CHECKING:
    from world import World

    Scenario = Callable[[World], None]

LEVEL, EDGE = Trigger.LEVEL, Trigger.EDGE
ONESHOT, EDGE_ONESHOT = Trigger.ONESHOT, Trigger.EDGE_ONESHOT
EVERY_TRIGGER = tuple(Trigger)

SYSTEMS = (
    "Linux",
    "Darwin",
    "FreeBSD",
    "FreeBSD 14",
    "FreeBSD 15",
    "NetBSD",
    "OpenBSD",
    "DragonFly",
)
EMULATED = "tests/kqueue"  # the tests' own kqueue for Linux; its README says what it can't do
RULES = tuple(f"R{number}" for number in range(1, 23))


@dataclass(frozen=True)
class Gate:
    """A case does not hold on some kernel.

    `where`: back ends, systems, or EMULATED. `reason`: what that kernel does not know or do.
    `source`: who says so: a man page, an issue, a recorded case. `instead`: what happens there;
    None where nothing is promised. `kinds`, `triggers`: where it is only about some of the case's.
    """

    where: tuple[str, ...]
    reason: str
    source: str
    instead: "Scenario | None" = None
    kinds: tuple[str, ...] = ()
    triggers: tuple[Trigger, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a gate that does not say why."""
        unknown = {*self.where} - {*NAMES, *SYSTEMS, EMULATED}
        if not self.where or unknown:
            raise ValueError(f"a gate names the kernels it is for, not {unknown or 'none'}")
        if not self.reason.strip() or not self.source.strip():
            raise ValueError("a gate has a reason, and a source for it")

    @property
    def is_of_linux_alone(self) -> bool:
        """Whether it names every other system."""
        return {"Darwin", "FreeBSD", "NetBSD", "OpenBSD", "DragonFly"} <= {*self.where}

    def holds(self, kind: str, trigger: Trigger, backend: str) -> bool:
        """Tells whether it is about this run."""
        here = {backend, *systems(backend)}
        if (backend, os.uname().sysname) == ("kqueue", "Linux"):
            here.add(EMULATED)
        return (
            not here.isdisjoint(self.where)
            and (not self.kinds or kind in self.kinds)
            and (not self.triggers or trigger in self.triggers)
        )

    def __str__(self) -> str:
        only = [*self.kinds, *(trigger.name for trigger in self.triggers)]
        places = ", ".join(self.where) + (f" ({', '.join(only)})" if only else "")
        return f"{places}: {self.reason} ({self.source})"


@dataclass(frozen=True)
class Case:
    """A scenario, the rule that it shows (DESIGN, section 2), and what it is run for."""

    name: str
    rule: str
    scenario: "Scenario"
    kinds: tuple[str, ...]
    triggers: tuple[Trigger, ...]
    gates: tuple[Gate, ...]

    @property
    def theme(self) -> str:
        """The module that states it."""
        return self.scenario.__module__


@dataclass(frozen=True)
class Variant:
    """A case for one kind of source and one trigger."""

    case: Case
    kind: str
    trigger: Trigger

    def gate(self, backend: str) -> Gate | None:
        """The gate that is about this variant on this back end here."""
        for gate in self.case.gates:
            if gate.holds(self.kind, self.trigger, backend):
                return gate
        return None

    def __str__(self) -> str:
        kind = f"-{self.kind}" if self.kind else ""
        return f"{self.case.rule}-{self.case.name}{kind}-{self.trigger.name}"


CASES: list[Case] = []


def case(
    rule: str,
    name: str,
    *,
    kinds: tuple[str, ...] = ("",),
    triggers: tuple[Trigger, ...] = EVERY_TRIGGER,
    gates: tuple[Gate, ...] = (),
) -> "Callable[[Scenario], Scenario]":
    """Makes a case of a scenario."""
    if rule not in RULES or not kinds or not triggers:
        raise ValueError(f"{name}: a case shows a rule, for some source and some trigger")
    if name in (known.name for known in CASES):
        raise ValueError(f"{name}: there is a case of that name")

    def add(scenario: "Scenario") -> "Scenario":
        CASES.append(Case(name, rule, scenario, kinds, triggers, gates))
        return scenario

    return add


def variants() -> list[Variant]:
    """All runs of all cases."""
    return [
        Variant(case, kind, trigger)
        for case in CASES
        for kind in case.kinds
        for trigger in case.triggers
    ]
