"""The benchmarks run and say what they should; how fast anything is, no test asks."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
# The checkout comes last in the path: the pollster that is installed is the one to measure.
RUN = f"""
import runpy, sys
sys.path.append({str(CHECKOUT)!r})
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "eventfd"),
    reason="the contenders are Linux's epoll, on CPython (benchmarks/README.md)",
)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_prints_its_table_and_keeps_json_that_pyperf_reads(tmp_path):
    kept = tmp_path / "kept.json"
    printed = run("benchmarks", "poll", "--rounds", 2, "--processes", 1, "--json", kept)
    assert printed.returncode == 0, printed.stderr
    version = platform.python_version()
    assert f"{version} /raw" in printed.stdout
    assert "| poll and iterate, per event, 1 |" in printed.stdout
    assert "| 1.15 |  1.50 |" in printed.stdout

    names = {
        benchmark["metadata"]["name"] for benchmark in json.loads(kept.read_text())["benchmarks"]
    }
    contenders = ("C", "raw", "raw, again", "raw+dict", "selectors", "pollster")
    sizes = (1, 10, 100, 1000, 10000)
    assert names == {f"poll-{size}/{name}" for size in sizes for name in contenders}

    stats = subprocess.run(
        [sys.executable, "-m", "pyperf", "stats", kept], capture_output=True, text=True, check=True
    )
    assert "poll-1000/pollster" in stats.stdout
    again = run("benchmarks.table", kept, kept)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count(f"{version} /raw") == 2


def test_timers_are_compared_with_asyncio():
    printed = run("benchmarks", "timers", "--rounds", 1, "--processes", 1)
    assert printed.returncode == 0, printed.stderr
    assert f"{platform.python_version()} /asyncio" in printed.stdout
    assert "| make and register a timer, of 100,000 " in printed.stdout


def test_the_end_of_a_child_is_compared_with_asyncio():
    printed = run("benchmarks", "exit", "--rounds", 1, "--processes", 1)
    assert printed.returncode == 0, printed.stderr
    assert f"{platform.python_version()} /asyncio" in printed.stdout
    assert "| have waited for a child, after it ended " in printed.stdout


def test_the_import_is_compared_with_asyncio():
    printed = run("benchmarks", "import", "--rounds", 1, "--processes", 1)
    assert printed.returncode == 0, printed.stderr
    assert "| import it, where socket is imported " in printed.stdout


@pytest.mark.skipif(shutil.which("wrk") is None, reason="not installed: wrk")
def test_http_servers_are_compared():
    printed = run("benchmarks", "http", "--rounds", 1, "--processes", 1)
    assert printed.returncode == 0, printed.stderr
    assert "| HTTP, CPU per request, 1 connection " in printed.stdout
    assert "requests a second: pollster " in printed.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="not installed: curl")
def test_proxies_are_compared():
    printed = run("benchmarks", "proxy", "--rounds", 1, "--processes", 1)
    assert printed.returncode == 0, printed.stderr
    assert "| a proxy, CPU per MiB " in printed.stdout
    assert "MiB a second: pollster " in printed.stdout


def test_a_benchmark_that_is_not_there_is_named():
    refused = run("benchmarks", "pole")
    assert refused.returncode == 2
    assert "no such benchmark: pole" in refused.stderr
