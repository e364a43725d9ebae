"""The output of a child: a pipe, and the lines that come through it."""

import os
from collections.abc import Callable, Iterable
from typing import IO

from loop import Loop

__all__ = ["Output"]

LONGEST_LINE = 8192  # bytes; what is longer becomes several lines
AT_ONCE = 65536  # bytes
LAST_READS = 16  # a pipe holds 1 MiB at most: pipe(7)


class Output:
    """Reads a pipe whenever there is something in it, and passes it on as lines."""

    def __init__(
        self, pipe: IO[bytes], loop: Loop, pass_on: Callable[[Iterable[bytes]], None]
    ) -> None:
        self._pipe = pipe
        self._loop = loop
        self._pass_on = pass_on
        self._rest = b""  # of a line whose end has not come yet
        os.set_blocking(pipe.fileno(), False)
        self._token = loop.add(pipe, self._read)

    def finish(self) -> None:
        """Reads what is still in the pipe, and closes it.

        Not until its end: another process may have the other end for as long as it likes, and write
        to it all the time.
        """
        for _ in range(LAST_READS):
            if self._pipe.closed or not self._read():
                break
        self.close()

    def close(self) -> None:
        """Closes the pipe. What came without an end of line is a line, too."""
        if self._pipe.closed:
            return
        self._loop.remove(self._token)
        self._pipe.close()
        if self._rest:
            self._pass_on([self._rest])

    def _read(self) -> bool:
        """Reads once, so that one who writes much keeps nobody waiting; says if there was any."""
        try:
            data = os.read(self._pipe.fileno(), AT_ONCE)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        *lines, rest = (self._rest + data).split(b"\n")
        *full, self._rest = _pieces(rest)
        self._pass_on([*(piece for line in lines for piece in _pieces(line)), *full])
        return True


def _pieces(line: bytes) -> list[bytes]:
    """Cuts a line that is too long into several; an empty one is one, too."""
    return [line[at : at + LONGEST_LINE] for at in range(0, len(line) or 1, LONGEST_LINE)]
