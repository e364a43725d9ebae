"""Results of a run: kept in pyperf's JSON, so that its own commands read them, too.

It owns the figures that are drawn from samples, and how they are kept. It formats nothing.
"""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pyperf

from benchmarks.contenders import ORDER
from benchmarks.driver import Sample


@dataclass
class Results:
    """All samples of one run, and the machine that they were taken on."""

    machine: dict[str, str]
    missing: str = ""
    samples: list[Sample] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The Python that was measured."""
        return self.machine["python_version"]

    def contenders(self, rows: Iterable[str]) -> list[str]:
        """Returns the contenders that were measured in any of these rows, in their order."""
        wanted = set(rows)
        names = {sample.contender for sample in self.samples if sample.row in wanted}
        return [name for name in ORDER if name in names]

    def values(self, row: str, contender: str) -> list[float]:
        """Returns what was measured in all rounds of all processes, in order."""
        return [
            value
            for sample in self.samples
            if (sample.row, sample.contender) == (row, contender)
            for value in sample.values
        ]

    def unit(self, row: str) -> str:
        """Returns the unit of a row."""
        return next((sample.unit for sample in self.samples if sample.row == row), "second")

    def median(self, row: str, contender: str) -> float | None:
        """Returns the median, or None where this was not measured."""
        values = self.values(row, contender)
        return median(values) if values else None

    def ratio(self, row: str, contender: str, base: str, base_row: str = "") -> float | None:
        """Returns the ratio of two medians, or None where either was not measured."""
        ours, theirs = self.median(row, contender), self.median(base_row or row, base)
        return ours / theirs if ours is not None and theirs is not None else None

    def spread(self, row: str, contender: str, base: str) -> float | None:
        """Returns the median absolute deviation of the ratios of each round."""
        pairs = zip(self.values(row, contender), self.values(row, base), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs]
        if not ratios:
            return None
        middle = median(ratios)
        return median(abs(ratio - middle) for ratio in ratios)

    def notes(self, row: str, contender: str, note: str) -> float | None:
        """Returns the median of what a benchmark noted beside its values."""
        values = [
            sample.notes[note]
            for sample in self.samples
            if (sample.row, sample.contender) == (row, contender) and note in sample.notes
        ]
        return median(values) if values else None

    def save(self, path: Path) -> None:
        """Writes a JSON file for `pyperf stats`, `hist`, `compare_to`; each process is a run."""
        runs: dict[str, list[pyperf.Run]] = {}
        for sample in self.samples:
            name = f"{sample.row}/{sample.contender}"
            about: dict[str, str | float] = {**self.machine, **sample.notes}
            about |= {"name": name, "unit": sample.unit, "missing": self.missing or "none"}
            run = pyperf.Run(sample.values, metadata=about, collect_metadata=False)
            runs.setdefault(name, []).append(run)
        suite = pyperf.BenchmarkSuite([pyperf.Benchmark(of_one) for of_one in runs.values()])
        suite.dump(str(path), replace=True)


def load(path: Path) -> Results:
    """Reads what `save()` has written."""
    results: Results | None = None
    for benchmark in pyperf.BenchmarkSuite.load(str(path)):
        for run in benchmark.get_runs():
            about = run.get_metadata()
            row, _, contender = about.pop("name").rpartition("/")
            unit, missing = about.pop("unit"), about.pop("missing")
            notes = {
                key: value for key, value in about.items() if key.endswith(("_share", "_rate"))
            }
            if results is None:
                machine = {key: value for key, value in about.items() if key not in notes}
                results = Results(machine, missing="" if missing == "none" else missing)
            results.samples.append(Sample(row, contender, list(run.values), unit, notes))
    if results is None:
        raise ValueError(f"{path} has no results")
    return results


def machine() -> dict[str, str]:
    """Returns what the figures depend on, without the names of this machine and its people."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "python_version": platform.python_version(),
        "cpu_model_name": models[0] if models else platform.machine(),
        "cpu_count": str(len(os.sched_getaffinity(0))),
        "platform": platform.platform(),
        "load_average_before": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
    }
