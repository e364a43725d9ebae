"""Prints which case holds on which back end, as Markdown.

python tests/conformance/matrix.py           runs every case on this machine and prints the matrix
python tests/conformance/matrix.py --write   writes the list of cases and gates into the docs
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

# As a program it has no conftest.py that lets what all tests share be imported.
sys.path.append(str(Path(__file__).parents[1]))

from case import CASES, RULES, Case, Gate, variants
from differences import DIFFERENCES, known
from runner import backends, run
from sources import GROUPS

COMMAND = "tests/conformance/matrix.py"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
# A column for each kernel: what a gate may call it. "Run": on that kernel itself; "source": on the
# tests' kqueue, which does what that kernel's source says.
KERNELS = {
    "Linux (run)": {"epoll", "Linux"},
    "FreeBSD 15.1 (run)": {"kqueue", "FreeBSD", "FreeBSD 15"},
    "FreeBSD 14 (source)": {"kqueue", "FreeBSD", "FreeBSD 14"},
    "macOS (source)": {"kqueue", "Darwin"},
    "OpenBSD (source)": {"kqueue", "OpenBSD"},
    "NetBSD (source)": {"kqueue", "NetBSD"},
    "DragonFly (source)": {"kqueue", "DragonFly"},
}
BEGIN, END = "<!-- cases: begin -->\n", "<!-- cases: end -->\n"


def ordered() -> list[Case]:
    """The cases, rule by rule."""
    return sorted(CASES, key=lambda case: RULES.index(case.rule))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    cells = [[*head], ["---"] * len([*head]), *([*row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def said_of(gate: Gate) -> str:
    """A gate as a note."""
    stated = {True: "What happens there is stated and run.", False: "Nothing is promised there."}
    return f"{gate}. {stated[gate.instead is not None]}"


def note_all(case: Case, notes: list[str]) -> None:
    """Adds a case's gates and its difference to the notes."""
    said = [said_of(gate) for gate in case.gates]
    if case.name in DIFFERENCES:
        said.append(f"{DIFFERENCES[case.name]}.")
    notes.extend(note for note in said if note not in notes)


def cells_of(case: Case, notes: list[str]) -> list[str]:
    """What becomes of a case on each kernel: the numbers of the notes that are about it."""
    cells = []
    for names in KERNELS.values():
        gates = [gate for gate in case.gates if not names.isdisjoint(gate.where)]
        difference = DIFFERENCES.get(case.name)
        said = [said_of(gate) for gate in gates]
        if difference and difference.backend in names:
            said.append(f"{difference}.")
        cells.append(", ".join(f"[{notes.index(note) + 1}]" for note in said) or "holds")
    return cells


def numbered(notes: list[str]) -> str:
    """The notes as a list."""
    return "".join(f"{number}. {note}\n" for number, note in enumerate(notes, 1))


def kinds_of(case: Case) -> str:
    """The kinds of source, by their group's name where they are one."""
    groups = {kinds: name for name, kinds in GROUPS.items()}
    return groups.get(case.kinds, ", ".join(filter(None, case.kinds)))


def listing() -> str:
    """All cases and gates, the same on every machine."""
    notes: list[str] = []
    rows = []
    for case in ordered():
        names = ", ".join(trigger.name for trigger in case.triggers)
        every = len(case.triggers) == 4
        note_all(case, notes)
        of_case = [case.rule, case.name, kinds_of(case), "all" if every else names]
        rows.append([*of_case, *cells_of(case, notes)])
    head = ("rule", "case", "sources", "triggers", *KERNELS)
    groups = table(("sources", "are"), ([name, ", ".join(kinds)] for name, kinds in GROUPS.items()))
    return f"\n{groups}\n{table(head, rows)}\n{numbered(notes)}\n"


def matrix() -> str:
    """Runs all, and says what ran, what passed, and what was gated and why."""
    found: dict[tuple[str, str], Counter[str]] = {}
    notes: list[str] = []
    for variant in variants():
        for backend in backends():
            try:
                outcome = run(variant, backend)
            except Exception as error:
                said, why = "failed", str(known(variant, backend) or f"{variant}: {error!r}")
            else:
                why = str(outcome.missing or outcome.gate or "")
                said = "passed" if outcome.trace is not None else "not run"
            count = found.setdefault((variant.case.name, backend), Counter())
            if why and why not in notes:
                notes.append(why)
            count[f"{said} [{notes.index(why) + 1}]" if why else said] += 1
    rows = (
        [case.rule, case.name]
        + [
            ", ".join(f"{number} {said}" for said, number in found[case.name, backend].items())
            for backend in backends()
        ]
        for case in ordered()
    )
    kernel = f"{os.uname().sysname} {os.uname().release}"
    return f"{kernel}\n\n{table(('rule', 'case', *backends()), rows)}\n{numbered(notes)}"


def between_markers(page: str) -> str:
    """The part of the page that is generated."""
    return page.partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Puts the listing into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, _ = page.partition(BEGIN)
    after = page.partition(END)[2]
    PAGE.write_text(before + begin + listing() + END + after, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        print(matrix())
