"""The log: one line after the other, with the time, on a descriptor."""

import contextlib
import os
import time
from collections.abc import Iterable

__all__ = ["Log"]


class Log:
    """Writes lines to a descriptor.

    A log that can't be written to is no reason to end: children would be left without a supervisor.
    What it does not take is dropped.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, text: str) -> None:
        """Writes what the supervisor itself has to tell."""
        self._write("supervisor", [text.encode(errors="backslashreplace")])

    def pass_on(self, name: str, pid: int, lines: Iterable[bytes]) -> None:
        """Writes lines that a program has written, under its name."""
        self._write(f"{name}[{pid}]", lines)

    def _write(self, name: str, lines: Iterable[bytes]) -> None:
        seconds, fraction = divmod(time.time(), 1)
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        start = f"{date}.{fraction * 1000:03.0f} {name}: ".encode()
        left = b"".join(start + line + b"\n" for line in lines)
        with contextlib.suppress(OSError):
            while left:
                left = left[os.write(self._fd, left) :]
