"""Runs what depends on the kernel on each kernel that the tests' kqueue can be, two at a time.

The default one is left out, and so are tests/kqueue, which are of every kernel themselves: the test
suite runs both. Linux has no kqueue but the tests' own; where a system has one, its tests run on
that.
"""

import os
import runpy
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
KNOWN = runpy.run_path(str(CHECKOUT / "tests" / "kernels.py"))
KERNELS = [kernel for kernel in KNOWN["EMULATED"] if kernel != KNOWN["DEFAULT"]]
TESTS = [
    "tests/conformance",
    "tests/test_selector_masks.py",
    "tests/test_model.py",
    "tests/test_demo.py",
]


def run(kernel: str) -> int:
    """Runs the tests on one kernel; returns pytest's exit code."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", *TESTS, *sys.argv[1:]],
        cwd=CHECKOUT,
        env={**os.environ, "KQUEUE_KERNEL": kernel, "POLLSTER_BACKEND": "kqueue"},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    last = done.stdout.rstrip().rpartition("\n")[2]
    print(f"{kernel}: {last} ({time.monotonic() - began:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode


def main() -> int:
    """Runs all; returns the exit code."""
    if not sys.platform.startswith("linux"):
        print("this system has a kernel of its own")
        return 0
    with ThreadPoolExecutor(2) as pool:
        return max(pool.map(run, KERNELS))


if __name__ == "__main__":
    sys.exit(main())
