"""`python -m benchmarks.worker NAME ...`: one process's share of a benchmark, as JSON."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import echo, idle, memory, poll, registration, wake
from benchmarks.driver import Plan, Sample

BENCHMARKS: dict[str, Callable[[Plan], list[Sample]]] = {
    "poll": poll.measure,
    "register": registration.measure_register,
    "reregister": registration.measure_reregister,
    "batch": registration.measure_batch,
    "wake": wake.measure,
    "echo": echo.measure,
    "memory": memory.measure,
    "idle": idle.measure,
}


def main() -> int:
    """Measures and prints; ends its own children when it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--native", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = vars(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        samples = BENCHMARKS[arguments.pop("name")](Plan(**arguments))
    except KeyboardInterrupt:
        return 130
    json.dump([asdict(sample) for sample in samples], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
