"""The log: one line after the other, with the time, on a descriptor."""

import contextlib
import os
import time

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
        self._write(b"supervisor: " + text.encode(errors="backslashreplace"))

    def pass_on(self, name: str, pid: int, line: bytes) -> None:
        """Writes a line that a program has written, under its name."""
        self._write(b"%s[%d]: %s" % (name.encode(), pid, line))

    def _write(self, line: bytes) -> None:
        seconds, fraction = divmod(time.time(), 1)
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        left = b"%s.%03d %s\n" % (date.encode(), fraction * 1000, line)
        with contextlib.suppress(OSError):
            while left:
                left = left[os.write(self._fd, left) :]
