"""Reads recorded/*.txt into cases and steps.

Owns the text format; knows nothing of how a case is replayed. ``##`` starts a case. In it,
``change`` is one kevent() call with one change and no room for events, ``wait[note]`` one with no
changes, ``rc=`` the result of a call with a change list; ``->`` lines are the entries returned.
Every other line is what the recorded program saw outside of kevent().
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

NO_ERROR = "No error: 0"  # FreeBSD's text; OpenBSD has another
RECORDED = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Entry:
    """One ``->`` line. Errors are texts, since their numbers differ between systems."""

    filter: str
    ident: int
    flags: frozenset[str]
    fflags: int | str
    data: int | str
    udata: int


@dataclass(frozen=True)
class Change:
    """One ``change`` line."""

    filter: str
    ident: int
    flags: frozenset[str]
    fflags: int
    data: int
    error: str | None


@dataclass(frozen=True)
class Result:
    """A line that counts entries, and those.

    The note is that of ``wait[note]: n=``, empty for ``rc=``, else the whole line.
    """

    note: str
    count: int
    error: str | None
    entries: list[Entry] = field(default_factory=list)


Step = Change | Result | str


@dataclass(frozen=True)
class Case:
    """One ``##`` block."""

    title: str
    steps: list[Step]


CHANGE = re.compile(
    r"change (?P<filter>\S+) id=(?P<id>-?\d+) flags=(?P<flags>\S+) ff=(?P<ff>0x[0-9a-f]+)"
    r" data=(?P<data>-?\d+) : rc=-?\d+(?: errno=(?P<error>.+))?"
)
RESULT = re.compile(r"(?:wait\[(?P<note>.*)\]: n|rc)=(?P<count>-?\d+)(?: (?P<error>\S.*))?")
ENTRY = re.compile(
    r"-> (?P<filter>\S+) id=(?P<id>\d+) flags=(?P<flags>\S+) fflags=(?P<ff>0x[0-9a-f]+)"
    r" data=(?P<data>-?\d+)(?:\((?P<error>[^)]+)\))?(?: \(fflags=(?P<fferror>[^)]+)\))?"
    r" udata=(?P<udata>\d+)"
)


def flags_of(text: str) -> frozenset[str]:
    """Returns the names in ``ADD|CLEAR``; ``0`` has none."""
    return frozenset(text.split("|")) - {"0"}


def entry_of(line: str) -> Entry:
    """Parses a ``->`` line."""
    match = ENTRY.fullmatch(line)
    assert match is not None, line
    error = match["error"]
    return Entry(
        match["filter"],
        int(match["id"]),
        flags_of(match["flags"]),
        match["fferror"] or int(match["ff"], 16),
        error if error and error != "0" else int(match["data"]),
        int(match["udata"]),
    )


def step_of(line: str) -> Step:
    """Parses any other line."""
    if match := CHANGE.fullmatch(line):
        return Change(
            match["filter"],
            int(match["id"]),
            flags_of(match["flags"]),
            int(match["ff"], 16),
            int(match["data"]),
            match["error"],
        )
    if match := RESULT.fullmatch(line):
        return Result(match["note"] or "", int(match["count"]), match["error"])
    return line


def cases_of(text: str) -> list[Case]:
    """Parses a recording."""
    cases: list[Case] = []
    for line in map(str.strip, text.replace("Undefined error: 0", NO_ERROR).splitlines()):
        if line.startswith("## "):
            cases.append(Case(line[3:], []))
        elif not line or not cases:
            continue
        elif line.startswith("->"):
            last = cases[-1].steps[-1]
            if isinstance(last, Result):
                last.entries.append(entry_of(line))
            else:
                cases[-1].steps[-1] = Result(str(last), 1, None, [entry_of(line)])
        else:
            cases[-1].steps.append(step_of(line))
    return [case for case in cases if case.title != "DONE"]


def load(system: str) -> dict[str, Case]:
    """Returns every case of a system's recordings by its title."""
    cases = [
        case
        for path in sorted(RECORDED.glob(f"{system}-*.txt"))
        for case in cases_of(path.read_text())
    ]
    named = {case.title: case for case in cases}
    assert len(named) == len(cases), "two cases have one title"
    return named
