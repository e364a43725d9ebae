"""Memory lives as long as anybody can call into it: in reference cycles, too, whose finalizers use
what the cycle has. The same programs are run under the sanitizers: see .ci/check_memory.py.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs")


def run(name: str, *arguments: str) -> str:
    """Runs a program, with memory that is overwritten when it is freed; returns what it said."""
    environment = {**os.environ, "MALLOC_PERTURB_": "165", "PYTHONMALLOC": "debug"}
    environment.pop("PYTHONSAFEPATH", None)  # they import what stands beside them
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / name), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,  # one that never ends is named, and the others go on
    )
    return done.stdout if done.returncode == 0 else f"{done.stdout}exit code {done.returncode}"


def test_finalizers_of_a_cycle_find_polls_and_watches_open_or_closed(backend) -> None:
    assert run("cycles.py", backend, "60") == "done\n"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_program_meets_no_error_that_it_should_not_see(backend, seed, threads) -> None:
    assert run("random_program.py", backend, str(seed), "1000", str(threads)) == "done\n"


@pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None,
    reason="only CPython has allocations fail on demand, where its own tests are installed",
)
def test_where_memory_ends_registry_and_kernel_agree_and_no_event_is_lost(backend) -> None:
    assert run("no_memory.py", backend) == "done\n"
