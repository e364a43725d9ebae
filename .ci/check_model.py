"""Runs the model test for long: on the back ends as they are, and a tenth on each other kernel.

`python check_model.py [PROGRAMS]`: so many random programs of STEPS steps, with a seed that is
printed. The other kernels are those that the tests' kqueue can be; where a system has a kqueue of
its own there are none.
"""

import os
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
KNOWN = runpy.run_path(str(CHECKOUT / "tests" / "kernels.py"))
PROGRAMS, STEPS = 2000, 150


def run(kernel: str | None, programs: int, seed: int) -> int:
    """Runs programs on one kernel, None for those that are there; returns pytest's exit code."""
    chosen = {"KQUEUE_KERNEL": kernel, "POLLSTER_BACKEND": "kqueue"} if kernel else {}
    many = {"POLLSTER_MODEL_EXAMPLES": str(programs), "POLLSTER_MODEL_STEPS": str(STEPS)}
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_model.py"]
    done = subprocess.run(
        [*command, f"--hypothesis-seed={seed}"],
        cwd=CHECKOUT,
        env={**os.environ, **many, **chosen},
        check=False,
    )
    took = time.monotonic() - began
    name = kernel or "as it is"
    print(f"{name}: {programs} programs of {STEPS}, seed {seed}, {took:.0f} s", flush=True)
    return done.returncode


def main() -> int:
    """Runs all; returns the exit code."""
    programs = int(sys.argv[1]) if len(sys.argv) > 1 else PROGRAMS
    others = [kernel for kernel in KNOWN["EMULATED"] if kernel != KNOWN["DEFAULT"]]
    if not sys.platform.startswith("linux"):
        others = []
    codes = [run(None, programs, random.randrange(2**32))]
    codes += [run(kernel, max(1, programs // 10), random.randrange(2**32)) for kernel in others]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
