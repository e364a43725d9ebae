"""Ties a scenario to the titles of the cases that it replays."""

from __future__ import annotations

from collections.abc import Callable

from recording import Entry
from replay import Replay

Scenario = Callable[[Replay], None]
SCENARIOS: dict[str, Scenario] = {}


def replays(*titles: str) -> Callable[[Scenario], Scenario]:
    """Registers a function as the scenario of these cases."""

    def register(scenario: Scenario) -> Scenario:
        for title in titles:
            assert title not in SCENARIOS, title
            SCENARIOS[title] = scenario
        return scenario

    return register


def replays_pair(title: str) -> Callable[[Scenario], Scenario]:
    """Registers a function for the case recorded with a socketpair and that with TCP."""
    return replays(f"socketpair {title}", f"tcp {title}")


def entry(which: str, ident: int, flags: str, udata: int, data: int = 0, error: str = "") -> Entry:
    """Returns what is expected on Linux in place of a recorded entry."""
    names = frozenset(flags.split("|")) - {""}
    return Entry(which, ident, names, error or 0, data, udata)
