"""Runs what depends on the kernel on each kernel that the tests' kqueue can be, two at a time.

Linux has no kqueue but the tests' own; where a system has one, its tests run on that.
"""

import os
import runpy
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
KERNELS = list(runpy.run_path(str(CHECKOUT / "tests" / "kernels.py"))["EMULATED"])
ON_EACH = ["tests/conformance", "tests/test_model.py", "tests/test_demo.py"]
ON_ALL = ["tests/kqueue"]  # its tests are of every kernel themselves


def run(kernel: str | None, tests: list[str]) -> int:
    """Runs tests on one kernel, or tests that choose it; returns pytest's exit code."""
    chosen = {"KQUEUE_KERNEL": kernel, "POLLSTER_BACKEND": "kqueue"} if kernel else {}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", *tests, *sys.argv[1:]],
        cwd=CHECKOUT,
        env={**os.environ, **chosen},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    last = done.stdout.rstrip().rpartition("\n")[2]
    print(f"{kernel or 'tests/kqueue'}: {last} ({time.monotonic() - began:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode


def main() -> int:
    """Runs all; returns the exit code."""
    if not sys.platform.startswith("linux"):
        print("this system has a kernel of its own")
        return 0
    with ThreadPoolExecutor(2) as pool:
        each = [pool.submit(run, kernel, ON_EACH) for kernel in KERNELS]
        each.append(pool.submit(run, None, ON_ALL))
    return max(one.result() for one in each)


if __name__ == "__main__":
    sys.exit(main())
