"""Runs CPython's own tests of asyncio with pollster's event loop in the place of asyncio's.

    python .ci/check_asyncio.py                        all of them
    python .ci/check_asyncio.py test_events test_ssl   these files

POLLSTER_BACKEND chooses the back end. It takes the tests that this Python came with.
"""

import asyncio
import concurrent.futures
import importlib.util
import os
import re
import signal
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from pollster.asyncio import EventLoop

# Windows has other loops, and nothing else uses these files.
OF_WINDOWS = {"test_proactor_events", "test_windows_events", "test_windows_utils"}
# What is left out, by file; docs/guide/asyncio.md says so, too.
LEFT_OUT = {
    # pollster's loop has no child watcher, so there is none that could be inactive. Python 3.14 has
    # neither watchers nor this test.
    "test_subprocess": ["GenericWatcherTests.test_create_subprocess_fails_with_inactive_watcher"]
}
LONGEST = ["test_tasks", "test_ssl", "test_subprocess", "test_events"]  # these begin
SECONDS = 600


class Loop(EventLoop):
    """The tests bring selectors of the standard library's along; this one has its own."""

    made = 0

    def __init__(self, selector: Any = None) -> None:
        super().__init__()
        if selector is not None:
            selector.close()
        Loop.made += 1


def put_in_place() -> None:
    """Has asyncio make this loop wherever it would make its own."""
    events: Any = asyncio.unix_events
    policy = getattr(events, "_UnixDefaultEventLoopPolicy", None)
    policy = getattr(events, "_DefaultEventLoopPolicy", policy)
    if policy is not None:  # Python 3.16 has none
        policy._loop_factory = Loop
    for module in (asyncio, events):
        for name in ("SelectorEventLoop", "EventLoop"):  # 3.13 has the second name
            if hasattr(module, name):
                setattr(module, name, Loop)


def run_file(name: str) -> None:
    """Runs one file in this process, and ends it."""
    put_in_place()
    module: Any = importlib.import_module(f"test.test_asyncio.{name}")
    for test in LEFT_OUT.get(name, []):
        case, _, method = test.partition(".")
        if hasattr(module, case):
            setattr(getattr(module, case), method, unittest.skip("left out")(lambda _: None))
            # That is left of it, and 3.12's next test, which fails on its own, counts on it.
            asyncio.set_event_loop(None)
    result = unittest.main(module=module, argv=[name], exit=False).result
    print(f"loops made: {Loop.made}", file=sys.stderr)
    sys.exit(not result.wasSuccessful())


def run_in_child(name: str) -> tuple[str, int, str]:
    """Returns the name of a file, the exit code and what was printed."""
    command = [sys.executable, __file__, "--here", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        return name, -1, f"{error}\n{(error.stderr or b'').decode(errors='replace')}"
    return name, done.returncode, done.stderr


def numbers(pattern: str, output: str) -> int:
    """Returns the sum of all numbers that a pattern finds."""
    return sum(map(int, re.findall(pattern, output, re.MULTILINE)))


def check(names: list[str]) -> int:
    """Runs files, each in a process of its own, a few at a time; returns the exit code."""
    failed, ran, made, skipped = [], 0, 0, 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in concurrent.futures.as_completed(pool.submit(run_in_child, n) for n in names):
            name, code, output = future.result()
            ran += numbers(r"^Ran (\d+) tests?", output)
            made += numbers(r"^loops made: (\d+)", output)
            skipped += numbers(r"skipped=(\d+)", output)
            if code:
                failed.append(name)
                print(f"{name}: exit code {code}\n{output}", flush=True)
    print(f"{ran} tests, {skipped} of them skipped, with {made} of pollster's loops")
    print(f"failed: {', '.join(sorted(failed)) or 'none'}")
    return 1 if failed or not ran or not made else 0


def main() -> int:
    """Returns the exit code."""
    # Some tests interrupt themselves; what is in the background of a shell ignores that, and so
    # would what it starts, unless there is a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1:2] == ["--here"]:
        run_file(sys.argv[2])
    tests = importlib.util.find_spec("test.test_asyncio")
    if tests is None or tests.origin is None:
        print("this Python came without test.test_asyncio")
        return 1
    names = {path.stem for path in Path(tests.origin).parent.glob("test_*.py")} - OF_WINDOWS
    return check(sys.argv[1:] or sorted(names, key=lambda name: (name not in LONGEST, name)))


if __name__ == "__main__":
    sys.exit(main())
