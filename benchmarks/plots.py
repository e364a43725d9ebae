"""The plots, as SVG: ratios by the number of events, and echo by contender."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.contenders import AGAIN, POLLSTER, RAW, SELECTORS
from benchmarks.results import Results
from benchmarks.rows import ROWS, Row

# Text stays text, and the same results give the same file.
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "pollster", "font.size": 9}


def draw(runs: Sequence[Results], folder: Path) -> list[Path]:
    """Writes the plots of what was measured into a folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(STYLE):
        for name, plot, prefix in (("poll", poll, "poll-"), ("echo", echo, "echo-")):
            rows = [row for row in ROWS if row.key.startswith(prefix)]
            measured = [run for run in runs if run.median(rows[0].key, POLLSTER)]
            if not measured:
                continue
            path = folder / f"{name}.svg"
            plot(measured, rows).savefig(path, metadata={"Date": None}, bbox_inches="tight")
            drawn.append(path)
    return drawn


def poll(runs: Sequence[Results], rows: Sequence[Row]) -> Figure:
    """Draws pollster's ratios to raw and to selectors, by the number of events."""
    figure = Figure(figsize=(9, 3.6))
    left, right = figure.subplots(1, 2)
    ratios(left, runs, rows, RAW)
    ratios(right, runs, rows, SELECTORS)
    left.legend()
    return figure


def ratios(axes: Axes, runs: Sequence[Results], rows: Sequence[Row], base: str) -> None:
    """Draws one panel: the runs' ratios."""
    sizes = [int(row.key.rpartition("-")[2]) for row in rows]
    nothing = float("nan")
    for run in runs:
        found = [run.ratio(row.key, POLLSTER, base) for row in rows]
        heights = [nothing if ratio is None else ratio for ratio in found]
        axes.plot(sizes, heights, marker="o", label=f"pollster, Python {run.label}")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("events per poll")
    axes.set_title(f"poll and iterate: pollster / {base}")
    axes.grid(alpha=0.3)


def echo(runs: Sequence[Results], rows: Sequence[Row]) -> Figure:
    """Draws the server's CPU time per request, contender by contender."""
    figure = Figure(figsize=(9, 3.6))
    for panel, row in zip(figure.subplots(1, len(rows)), rows, strict=True):
        names = [name for name in runs[0].contenders([row.key]) if name != AGAIN]
        height = 0.8 / len(runs)
        for number, run in enumerate(runs):
            times = [(run.median(row.key, name) or 0) * 1e6 for name in names]
            places = [place + number * height for place in range(len(names))]
            bars = panel.barh(places, times, height=height * 0.9, label=f"Python {run.label}")
            panel.bar_label(bars, fmt="%.1f", padding=2)
        panel.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
        panel.invert_yaxis()
        panel.margins(x=0.15)
        panel.set_title(row.work)
        panel.set_xlabel("µs of server CPU per request")
    figure.axes[0].legend(loc="upper right")
    figure.tight_layout()
    return figure
