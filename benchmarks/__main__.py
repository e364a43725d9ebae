"""`python -m benchmarks [NAME ...]`: measures, prints the tables, keeps JSON and plots."""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from benchmarks import native
from benchmarks.children import child, end_in_order, module
from benchmarks.contenders import missing
from benchmarks.driver import Sample
from benchmarks.results import Results, machine
from benchmarks.table import render
from benchmarks.worker import BENCHMARKS, LONGEST

ROUNDS, PROCESSES = 60, 5
DRIVERS = {"http": "wrk", "proxy": "curl"}  # left out where that is missing
QUICK_ROUNDS, QUICK_PROCESSES = 15, 2


def arguments() -> argparse.Namespace:
    """Returns what the command line says."""
    names = "\n".join(
        f"  {name:<12}{(measure.__doc__ or '').splitlines()[0]}"
        for name, measure in BENCHMARKS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What pollster costs beside C, select.epoll, selectors and event loops.",
        epilog=f"benchmarks:\n{names}\n\nHow to read the tables: benchmarks/README.md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", help="what to measure (default: everything)")
    parser.add_argument("--quick", action="store_true", help="little time, a first impression")
    parser.add_argument("--rounds", type=int, help=f"in each process (default: {ROUNDS})")
    parser.add_argument("--processes", type=int, help=f"in turn (default: {PROCESSES})")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the contenders")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all values, for pyperf")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="draw the plots there")
    chosen = parser.parse_args()
    if unknown := set(chosen.name) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; see --help")
    if chosen.json and not chosen.json.parent.is_dir():
        parser.error(f"--json: {chosen.json.parent} is no folder")
    if chosen.svg and importlib.util.find_spec("matplotlib") is None:
        parser.error("--svg needs matplotlib, of the dependency group bench")
    rounds, processes = (QUICK_ROUNDS, QUICK_PROCESSES) if chosen.quick else (ROUNDS, PROCESSES)
    chosen.rounds = chosen.rounds or rounds
    chosen.processes = chosen.processes or processes
    chosen.name = chosen.name or [
        name for name in BENCHMARKS if name not in DRIVERS or shutil.which(DRIVERS[name])
    ]
    return chosen


def measure(name: str, options: argparse.Namespace, seed: int, built: Path) -> list[Sample]:
    """Runs one benchmark in a process of its own. Raises `RuntimeError` where it fails."""
    command = module("worker", name, "--rounds", options.rounds, "--seed", seed, "--native", built)
    with child(command) as worker:
        try:
            output, _ = worker.communicate(timeout=LONGEST)
        finally:
            worker.terminate()  # if it still runs, so that it ends its own children
            with suppress(subprocess.TimeoutExpired):
                worker.wait(timeout=5)
    if worker.returncode != 0:
        raise RuntimeError(f"{name} failed, exit code {worker.returncode}")
    return [Sample(**sample) for sample in json.loads(output)]


def measure_all(options: argparse.Namespace, built: Path, results: Results) -> bool:
    """Runs what was asked for into the results; returns whether all of it worked.

    It goes process by process and not benchmark by benchmark: a bad minute spoils no row alone.
    """
    names = list(options.name)
    for process in range(options.processes):
        for name in list(names):
            print(f"{name}, {process + 1} of {options.processes}", file=sys.stderr)
            try:
                results.samples += measure(name, options, options.seed + process, built)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(error, file=sys.stderr)
                names.remove(name)
    return len(names) == len(options.name)


def main() -> int:
    """Measures, prints, keeps and draws; returns 1 where a benchmark failed."""
    options = arguments()
    if sys.platform != "linux":
        print("the contenders are Linux's epoll; there is nothing to measure here", file=sys.stderr)
        return 2
    end_in_order()
    results = Results(machine(), ", ".join(f"{name} (not installed)" for name in missing()))
    with tempfile.TemporaryDirectory() as folder:
        try:
            native.build(Path(folder))
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            return 2
        complete = measure_all(options, Path(folder), results)
    results.machine["load_average_after"] = "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg())
    if not results.samples:
        return 1
    print(render([results]))
    if options.json:
        results.save(options.json)
    if options.svg:
        from benchmarks.plots import draw

        draw([results], options.svg)
    return 0 if complete else 1


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
