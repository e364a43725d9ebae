"""Child processes: how they are started, and that none is left over."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST = 120  # seconds that a child of a worker may live, as in c/echo_server.c


def module(name: str, *arguments: object) -> list[str]:
    """Returns the command that runs a module of this folder with this Python."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


@contextmanager
def child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Starts a child whose output can be read, and kills it in the end, whatever happens.

    Ctrl-C is for the first process only, which ends its children, and these theirs.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=Path(__file__).resolve().parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        process.wait()


def end_in_order() -> None:
    """Makes a signal that asks this process to end go the way of exceptions: children end first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def only_so_long(seconds: int = LONGEST) -> None:
    """Ends this process after a while, also when nobody is left to kill it."""
    signal.alarm(seconds)
