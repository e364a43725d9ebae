"""A Sphinx extension: a page for each system, made of `kernels.md` and of the cases' gates.

Owns what of them is about which system. It writes `kernels/*.md` before the pages are read; these
are in no commit.
"""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sphinx.application import Sphinx

TESTS = Path(__file__).resolve().parents[2] / "tests"
SECTION = re.compile(r"^(##+) (.+)$", re.MULTILINE)
ELSEWHERE = "others"


class System(NamedTuple):
    """A system with a page; `names` are what gates may call it, `known` how the cases are run."""

    page: str
    name: str
    backend: str
    names: frozenset[str]
    known: str


ITSELF = "pollster's tests run on this system itself."
BY_SOURCE = (
    "What is said here comes from this system's sources and manual pages. pollster's tests run\n"
    "it, too: on Linux, over a small kqueue that does what these say."
)
SYSTEMS = (
    System("linux", "Linux", "epoll", frozenset({"epoll", "Linux"}), ITSELF),
    System("macos", "macOS", "kqueue", frozenset({"kqueue", "Darwin"}), BY_SOURCE),
    System(
        "freebsd",
        "FreeBSD",
        "kqueue",
        frozenset({"kqueue", "FreeBSD", "FreeBSD 14", "FreeBSD 15"}),
        "pollster's tests were run on FreeBSD 15.1 itself. What is said of FreeBSD 14 comes from\n"
        "its sources.",
    ),
    System("openbsd", "OpenBSD", "kqueue", frozenset({"kqueue", "OpenBSD"}), BY_SOURCE),
    System("netbsd", "NetBSD", "kqueue", frozenset({"kqueue", "NetBSD"}), BY_SOURCE),
    System("dragonfly", "DragonFly", "kqueue", frozenset({"kqueue", "DragonFly"}), BY_SOURCE),
)
NAMES = "|".join(system.name for system in SYSTEMS)
# "FreeBSD 15, OpenBSD: what is so there", and "others: ...".
CLAUSE = re.compile(rf"((?:(?:{NAMES})(?: \d+)?(?:, | and )?)+|{ELSEWHERE}): (.*)", re.DOTALL)


def sections(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yields the tables of `kernels.md`, each with the heading that it stands under."""
    found = list(SECTION.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=True):
        lines = text[match.end() : end].splitlines()
        rows = [
            [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            for line in lines
            if line.startswith("| ")
        ]
        if rows:
            yield match[2], [row for row in rows if not row[0].startswith("---")]


def said_of(cells: list[str], system: System) -> str:
    """Returns what a row's two cells, epoll's and kqueue's, say of one system."""
    cell = cells[0] if system.backend == "epoll" else cells[1]
    plain: list[str] = []
    named: list[tuple[str, list[str]]] = []  # of which systems, and what
    for clause in re.split(r"(?<=[;.]) ", cell):
        text = clause.rstrip(";.")
        match = CLAUSE.fullmatch(text)
        if match:
            named.append((match[1], [same_as(match[2], cells)]))
        else:
            (named[-1][1] if named else plain).append(same_as(text, cells))
    own = [
        (label[0], "; ".join(said))
        for names, said in named
        if (label := re.search(rf"{system.name}(?: \d+)?", names))
    ]
    elsewhere = ["; ".join(said) for names, said in named if names == ELSEWHERE]
    if not own:
        return "; ".join(plain + elsewhere)
    if any(label != system.name for label, _ in own):
        said_own = [f"{label}: {said}" for label, said in own]
        return "; ".join(plain + said_own + [f"other releases: {said}" for said in elsewhere])
    return "; ".join(plain + [said for _, said in own])


def same_as(text: str, cells: list[str]) -> str:
    """Returns what a clause says that points to Linux' column."""
    return cells[0] if text in ("the same", "as Linux") else text


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a Markdown table, or nothing if it had no rows."""
    cells = [list(row) for row in rows]
    lines = [[*head], ["---"] * len([*head]), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n" if cells else ""


def gates_of(system: System) -> dict[str, list[str]]:
    """Returns what the cases know of a system: what is different, and who says so."""
    sys.path[:0] = [str(TESTS), str(TESTS / "conformance")]
    matrix = importlib.import_module("matrix")
    known: dict[str, list[str]] = {}
    for gate in (gate for case in matrix.ordered() for gate in case.gates):
        its = system.names.intersection(gate.where)
        if not its:
            continue
        reason = gate.reason
        if all(re.search(r"\d", name) for name in its):
            reason = f"{', '.join(sorted(its))}: {reason}"
        sources = known.setdefault(reason, [])
        if gate.source not in sources:
            sources.append(gate.source)
    return known


def page(system: System, text: str) -> str:
    """Returns a system's page."""
    parts = [
        f"# On {system.name}\n\n",
        "```{note}\n",
        "This page is made of [Kernels](../kernels.md), which has all systems side by side, and\n",
        "of the [cases](../conformance.md) in which pollster's tests compare them.\n",
        "```\n\n",
        f"The back end is `{system.backend}`. {system.known}\n\n",
    ]
    level = "##"
    for heading, (head, *rows) in sections(text):
        if heading == "One source, one event":
            parts.append(f"## What a registration becomes\n\n{of_system(system, rows)}")
        elif heading == "What is different on one system":
            own = [row[1:] for row in rows if system.name in row[0].split(", ")]
            shown = table(("what", "use instead"), own)
            if shown:
                parts.append(f"## Where a rule does not hold\n\n{shown}")
        elif heading == "Timeouts":
            own = [row for row in rows if (row[0] == "kqueue") == (system.backend == "kqueue")]
            parts.append(f"## Timeouts\n\n{table(('', 'resolution'), own)}")
        elif head[1:] == ["epoll", "kqueue"]:
            if level == "##":
                parts.append("## What only one kernel can know\n\n")
                parts.append(
                    "A program that is to run on every system does not build on these.\n\n"
                )
                level = "###"
            parts.append(f"### {heading}\n\n{of_system(system, rows)}")
    known = gates_of(system)
    if known:
        parts.append("## What the tests state, and who says so\n\n")
        parts += [f"- {reason} ({'; '.join(sources)})\n" for reason, sources in known.items()]
    return "".join(parts)


def of_system(system: System, rows: list[list[str]]) -> str:
    """Returns a table of both kernels as a table of one system."""
    said = ((row[0], said_of(row[1:], system)) for row in rows if len(row) > 2)
    return table(("", system.name), ([what, text] for what, text in said if text))


def write(app: Sphinx) -> None:
    """Writes the pages that have changed."""
    source = Path(app.srcdir)
    text = (source / "kernels.md").read_text(encoding="utf-8")
    folder = source / "kernels"
    folder.mkdir(exist_ok=True)
    for system in SYSTEMS:
        path = folder / f"{system.page}.md"
        made = page(system, text)
        if not path.exists() or path.read_text(encoding="utf-8") != made:
            path.write_text(made, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Is called by Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
