"""`python -m benchmarks.worker NAME ...`: one process's share of a benchmark, as JSON."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import (
    echo,
    http,
    idle,
    importing,
    memory,
    poll,
    processes,
    proxy,
    registration,
    selecting,
    timers,
    wake,
)
from benchmarks.children import end_in_order, only_so_long
from benchmarks.driver import Plan, Sample

LONGEST = 600  # seconds for one process of one benchmark

BENCHMARKS: dict[str, Callable[[Plan], list[Sample]]] = {
    "poll": poll.measure,
    "register": registration.measure_register,
    "reregister": registration.measure_reregister,
    "batch": registration.measure_batch,
    "select": selecting.measure,
    "wake": wake.measure,
    "echo": echo.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "import": importing.measure,
    "timers": timers.measure,
    "exit": processes.measure,
    "http": http.measure,
    "proxy": proxy.measure,
}


def main() -> None:
    """Measures and prints; ends its own children when it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--native", type=Path, required=True)
    arguments = vars(parser.parse_args())
    end_in_order()
    only_so_long(LONGEST)
    samples = BENCHMARKS[arguments.pop("name")](Plan(**arguments))
    json.dump([asdict(sample) for sample in samples], sys.stdout)


if __name__ == "__main__":
    main()
