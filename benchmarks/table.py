"""The tables, as Markdown: `python -m benchmarks.table a.json b.json` puts several runs into one.

It knows how figures are written down, and not where they come from.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.contenders import (
    AGAIN,
    ASYNCIO,
    DICT,
    HAPROXY,
    ORDER,
    POLLSTER,
    RAW,
    SELECTORS,
    SOCAT,
    UVICORN,
    UVLOOP,
    C,
)
from benchmarks.results import Results, load
from benchmarks.rows import (
    BESIDE_ASYNCIO,
    BESIDE_PROXIES,
    BESIDE_UVICORN,
    GROWTH,
    GROWTH_BASE,
    LOOPS,
    NOT_TO_GROW,
    ROWS,
    Limit,
    Row,
)

AIM, FLOOR, NEITHER = "✓", "~", "✗"
LEGEND = (
    f"{AIM} the aim is met, {FLOOR} the floor is, {NEITHER} neither (or there is no floor); "
    "± is the median absolute deviation of the rounds' own ratios."
)
SPREAD = "± is the median absolute deviation of the rounds' own ratios."
BUSY = 0.95  # of a processor


def render(runs: Sequence[Results], *, plain: bool = False) -> str:
    """Returns all tables of these runs; with `plain` without what the figures should be."""
    text = tables(runs)
    return without_aims(text) if plain else text


def without_aims(text: str) -> str:
    """Leaves out the columns of aims and floors, and the marks."""
    blocks = []
    for block in text.split("\n\n"):
        if block == LEGEND:
            blocks.append(SPREAD)
        elif block.startswith("|"):
            head, _, *lines = (
                [cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()
            )
            kept = [i for i, name in enumerate(head) if not name.startswith(("aim", "floor"))]
            blocks.append(
                markdown(
                    [head[i] for i in kept],
                    [
                        [re.sub(f" [{AIM}{FLOOR}{NEITHER}]", "", line[i]) for i in kept]
                        for line in lines
                    ],
                )
            )
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


def tables(runs: Sequence[Results]) -> str:
    """Returns all tables of these runs, judged."""
    parts = []
    if any(run.median(row.key, POLLSTER) for run in runs for row in ROWS):
        parts += ["## Ratios", ratios(runs), LEGEND]
    if any(run.median(row.key, POLLSTER) for run in runs for row in BESIDE_ASYNCIO):
        parts += ["## Beside asyncio", beside_asyncio(runs)]
    if any(run.median(row.key, POLLSTER) for run in runs for row in LOOPS):
        parts += ["## asyncio's programs", loops(runs)]
    if any(run.median(row.key, POLLSTER) for run in runs for row in BESIDE_UVICORN):
        parts += ["## A whole server", beside_uvicorn(runs)]
    if any(run.median(row.key, POLLSTER) for run in runs for row in BESIDE_PROXIES):
        parts += ["## A proxy", beside_proxies(runs)]
    if any(run.median(GROWTH_BASE.key, POLLSTER) for run in runs):
        parts += ["## What must not grow", growth(runs)]
    for run in runs:
        parts += [f"## Medians, Python {run.label}", about(run), medians(run), *remarks(run)]
    return "\n\n".join(parts)


def ratios(runs: Sequence[Results]) -> str:
    """Returns the table with the targets."""
    head = ["work"]
    for against in (RAW, SELECTORS):
        head += [f"{run.label} /{against}" for run in runs] + ["aim", "floor"]
    lines = []
    for row in ROWS:
        if not any(run.median(row.key, POLLSTER) for run in runs):
            continue
        line = [row.work]
        for against, limit in ((RAW, row.raw), (SELECTORS, row.selectors)):
            if against == RAW and runs[0].unit(row.key) == "byte":
                # Of what raw needs, which is nothing, there is no ratio: pollster's own bytes.
                own = [run.median(row.key, POLLSTER) for run in runs]
                line += [judged(figure, limit, "{:.0f}") for figure in own]
                line += [f"{limit.aim:.0f}" if limit else "", ""]
                continue
            line += compared(runs, row, against, limit)
        lines.append(line)
    return markdown(head, lines)


def compared(runs: Sequence[Results], row: Row, against: str, limit: Limit | None) -> list[str]:
    """Returns the cells of a row: each run's ratio and its spread, then the aim and the floor."""
    cells = []
    for run in runs:
        found = judged(run.ratio(row.key, POLLSTER, against), limit)
        spread = run.spread(row.key, POLLSTER, against)
        cells.append(f"{found} ±{spread:.2f}" if found and spread is not None else found)
    return cells + (["", ""] if limit is None else [number(limit.aim), number(limit.floor)])


def judged(figure: float | None, limit: Limit | None, form: str = "{:.2f}") -> str:
    """Writes a figure with the mark that it earned; as it is written, so it is judged."""
    if figure is None:
        return ""
    written = form.format(figure)
    if limit is None:
        return written
    if float(written) <= limit.aim:
        return f"{written} {AIM}"
    if limit.floor is not None and float(written) <= limit.floor:
        return f"{written} {FLOOR}"
    return f"{written} {NEITHER}"


def growth(runs: Sequence[Results]) -> str:
    """Returns what a poll costs beside idle sources, relative to what it costs without."""
    head = ["a poll, of its cost with no idle source"]
    columns = [(run, name) for run in runs for name in run.contenders([GROWTH_BASE.key])]
    head += [f"{run.label} {name}" for run, name in columns] + ["aim for pollster"]
    lines = []
    for row in GROWTH:
        line = [row.work]
        for run, name in columns:
            ratio = run.ratio(row.key, name, name, GROWTH_BASE.key)
            line.append(judged(ratio, Limit(NOT_TO_GROW) if name == POLLSTER else None))
        lines.append([*line, number(NOT_TO_GROW)])
    return markdown(head, lines)


def beside_asyncio(runs: Sequence[Results]) -> str:
    """Returns what timers and processes cost, relative to asyncio's."""
    head = ["work", *(f"{run.label} /{ASYNCIO}" for run in runs), "aim"]
    lines = []
    for row in BESIDE_ASYNCIO:
        found = [judged(run.ratio(row.key, POLLSTER, ASYNCIO), row.asyncio) for run in runs]
        if any(found):
            lines.append([row.work, *found, number(row.asyncio.aim if row.asyncio else None)])
    return markdown(head, lines)


def loops(runs: Sequence[Results]) -> str:
    """Returns what programs of asyncio cost on pollster's loop, relative to two others."""
    head = ["work, on pollster's event loop"]
    for against in (ASYNCIO, UVLOOP):
        head += [f"{run.label} /{against}" for run in runs] + ["aim", "floor"]
    lines = []
    for row in LOOPS:
        if not any(run.median(row.key, POLLSTER) for run in runs):
            continue
        line = [row.work]
        for against, limit in ((ASYNCIO, row.asyncio), (UVLOOP, row.uvloop)):
            line += compared(runs, row, against, limit)
        lines.append(line)
    return markdown(head, lines)


def beside_uvicorn(runs: Sequence[Results]) -> str:
    """Returns what a request costs an HTTP server, relative to uvicorn's and asyncio's."""
    head = ["work"]
    head += [f"{run.label} /{against}" for against in (UVICORN, ASYNCIO) for run in runs]
    lines = []
    for row in BESIDE_UVICORN:
        line = [judged(run.ratio(row.key, POLLSTER, UVICORN), row.uvicorn) for run in runs]
        line += [judged(run.ratio(row.key, POLLSTER, ASYNCIO), None) for run in runs]
        lines.append([row.work, *line, number(row.uvicorn.aim if row.uvicorn else None)])
    return markdown([*head, "aim for /uvicorn"], lines)


def beside_proxies(runs: Sequence[Results]) -> str:
    """Returns what a mebibyte costs a proxy, relative to others."""
    head, others = ["work"], (SOCAT, HAPROXY)
    head += [f"{run.label} /{against}" for against in others for run in runs]
    lines = [
        [row.work]
        + [judged(run.ratio(row.key, POLLSTER, other), None) for other in others for run in runs]
        for row in BESIDE_PROXIES
    ]
    return markdown(head, lines)


def medians(run: Results) -> str:
    """Returns what each contender took, and the ratios that have no target."""
    rows = [*ROWS, GROWTH_BASE, *GROWTH, *BESIDE_ASYNCIO, *BESIDE_UVICORN, *BESIDE_PROXIES, *LOOPS]
    names = [name for name in run.contenders(row.key for row in rows) if name != AGAIN]
    extra = ((C, RAW), (DICT, RAW), (AGAIN, RAW))
    head = ["work", "", *names, "C/raw", "dict/raw", "raw/raw"]
    lines = []
    for row in rows:
        found = [run.median(row.key, name) for name in names]
        present = [figure for figure in found if figure is not None]
        if not present:
            continue
        factor, unit = scale(run.unit(row.key), max(present))
        line = [row.work, unit]
        line += ["" if figure is None else digits(figure * factor) for figure in found]
        if run.unit(row.key) == "byte":
            line += [""] * len(extra)
        else:
            line += [number(run.ratio(row.key, *pair)) for pair in extra]
        lines.append(line)
    return markdown(head, lines)


def scale(unit: str, most: float) -> tuple[float, str]:
    """Returns by what to multiply the figures of a row, and what they are then."""
    if unit == "byte":
        return 1, "bytes"
    return (1e9, "ns") if most < 10e-6 else (1e6, "µs")


def about(run: Results) -> str:
    """Returns on what machine a run was, and who was not there."""
    machine = run.machine
    text = (
        f"{machine['cpu_model_name']}, {machine['cpu_count']} processors, {machine['platform']}; "
        f"load average before {machine['load_average_before']}, "
        f"after {machine['load_average_after']}."
    )
    return f"{text} Not measured: {run.missing}." if run.missing else text


def remarks(run: Results) -> Iterable[str]:
    """Says of each echo row how busy both sides were, and where that spoils it."""
    for row in (*ROWS, *LOOPS):
        shares = {
            name: (server, load)
            for name in ORDER
            if (server := run.notes(row.key, name, "server_share")) is not None
            and (load := run.notes(row.key, name, "load_share")) is not None
        }
        if not shares:
            continue
        words = ", ".join(
            f"{name} {server:.0%}/{load:.0%}" for name, (server, load) in shares.items()
        )
        text = f"{row.work}: processor share of server/load generator: {words}."
        if idle := [name for name, (server, load) in shares.items() if server < BUSY]:
            text += f" Servers that were not kept busy, or were disturbed: {', '.join(idle)}."
        if slow := [name for name, (server, load) in shares.items() if load >= BUSY]:
            text += f" The load generator had no time left with: {', '.join(slow)}."
        yield text
    for row in BESIDE_UVICORN:
        rates = {name: run.notes(row.key, name, "request_rate") for name in ORDER}
        words = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items() if rate)
        if words:
            yield f"{row.work}: requests a second: {words}."
    for row in BESIDE_PROXIES:
        rates = {name: run.notes(row.key, name, "byte_rate") for name in ORDER}
        words = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items() if rate)
        if words:
            yield f"{row.work}: MiB a second: {words}."


def digits(figure: float) -> str:
    """Writes a figure with three digits that count."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def number(figure: float | None) -> str:
    """Writes a ratio."""
    return "" if figure is None else f"{figure:.2f}"


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """Returns a table whose columns are lined up, to be read as it is."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = ["-" * width for width in widths[:1]]
    rule += ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(
        f"| {line[0]:<{widths[0]}} | "
        + " | ".join(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        + " |"
        for line in (head, rule, *lines)
    )


def main() -> None:
    """Prints the tables of the files that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("json", type=Path, nargs="+", help="written by --json")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="also draw the plots there")
    parser.add_argument("--plain", action="store_true", help="without aims and floors")
    arguments = parser.parse_args()
    runs = [load(path) for path in arguments.json]
    print(render(runs, plain=arguments.plain))
    if arguments.svg:
        from benchmarks.plots import draw

        draw(runs, arguments.svg)


if __name__ == "__main__":
    main()
