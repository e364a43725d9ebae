"""Runs every case: on each back end against what it states, and back end against back end."""

import sys
from itertools import combinations
from pathlib import Path

import matrix
import pytest
import world
from case import CASES, RULES, Gate, Variant, case, variants
from differences import DIFFERENCES, known
from runner import backends, holds, run
from sources import missing
from world import Trace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
VARIANTS = variants()

ALONE = pytest.param((), marks=pytest.mark.skip("there is one back end here, and none to compare"))
PAIRS = list(combinations(backends(), 2))

# What is gated here, by case and kind, for which triggers. A real kernel may be of another release
# than the gate.
GATED: dict[str, list[Variant]] = {}
for one in VARIANTS if sys.platform == "linux" and "kqueue" in backends() else ():
    found = one.gate("kqueue")
    # What only Linux has is not there on another system, and yet in the tests' kqueue's reach.
    if found and not found.is_of_linux_alone:
        GATED.setdefault(f"{one.case.rule}-{one.case.name}-{one.kind}", []).append(one)
NOWHERE = pytest.param(None, marks=pytest.mark.skip("no case is gated here"))

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


def expect_difference(request: pytest.FixtureRequest, variant: Variant, *names: str) -> None:
    """Lets a run fail, and no more than fail, where it is known to."""
    difference = known(variant, *names)
    if difference:
        mark = pytest.mark.xfail(strict=True, raises=AssertionError, reason=str(difference))
        request.applymarker(mark)


def trace_of(variant: Variant, backend: str) -> Trace:
    """Runs it; skips where a gate or the machine has nothing to run."""
    outcome = run(variant, backend)
    if outcome.trace is None:
        pytest.skip(str(outcome.missing or outcome.gate))
    return outcome.trace


@every_variant
def test_what_a_case_states_comes(
    request: pytest.FixtureRequest, variant: Variant, backend: str
) -> None:
    expect_difference(request, variant, backend)
    trace_of(variant, backend)


@pytest.mark.parametrize("pair", PAIRS or [ALONE], ids="-".join)
@every_variant
def test_back_ends_report_the_same(
    request: pytest.FixtureRequest, variant: Variant, pair: tuple[str, str]
) -> None:
    gates = [gate for gate in map(variant.gate, pair) if gate]
    if gates:
        pytest.skip(" ".join(map(str, gates)))
    expect_difference(request, variant, *pair)
    one, other = (trace_of(variant, name) for name in pair)
    assert one == other


@pytest.mark.parametrize("gated", GATED.values() or [NOWHERE], ids=list(GATED) or None)
def test_a_gate_is_not_contradicted_by_the_kernel_that_it_names(
    gated: list[Variant], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = missing(gated[0].kind)
    if lacks:
        pytest.skip(lacks)
    monkeypatch.setattr(world, "WAIT", 0.2)  # seconds until what can't come has not come
    gate = gated[0].gate("kqueue")
    assert not all(holds(variant, "kqueue") for variant in gated), f"it holds here: {gate}"


def test_each_difference_is_of_a_case() -> None:
    assert DIFFERENCES.keys() <= {case.name for case in CASES}


def test_every_rule_has_cases() -> None:
    assert {case.rule for case in CASES} == {*RULES}


@pytest.mark.parametrize(
    ("where", "reason", "source"),
    [((), "a reason", "a source"), (("Multics",), "a reason", "a source")]
    + [(("kqueue",), reason, source) for reason, source in (("", "man"), ("why", " "), ("", ""))],
)
def test_a_gate_without_a_place_a_reason_or_a_source_can_not_be_written(
    where: tuple[str, ...], reason: str, source: str
) -> None:
    with pytest.raises(ValueError, match="gate"):
        Gate(where, reason, source)


def test_a_case_of_no_rule_or_of_a_known_name_can_not_be_written() -> None:
    for rule, name in (("R99", "a new name"), (CASES[0].rule, CASES[0].name)):
        with pytest.raises(ValueError, match="case"):
            case(rule, name)(CASES[0].scenario)


def test_the_page_lists_these_cases() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = f"run `python {matrix.COMMAND} --write`"
    assert matrix.between_markers(page) == matrix.listing(), written
