"""What happens outside of descriptors, to be watched: each kind as a source and what causes it.

What was caused has happened when the call returns, as far as the system lets a program know.
"""

import contextlib
import os
import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from children import wait_for_zombie

from pollster import PathWatch, Process, Signals
from pollster._watch import Watch

if TYPE_CHECKING:
    from world import World

RULES = {"signals": "R18", "process": "R19", "path": "R20"}
NUMBER = signal.SIGUSR1


class Child:
    """A forked child that waits until it is told to end. It is reaped in any case."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from 3.12 on
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writer)  # so that it ends with its parent, whatever becomes of that
            told = os.read(reader, 1)
            os._exit(told[0] if told else 1)
        os.close(reader)
        self._reaped = False

    def exit(self, code: int = 0) -> None:
        """Ends it, and returns when it can be waited for."""
        os.write(self._writer, bytes([code]))
        self.wait_for_end()

    def kill(self, number: int) -> None:
        """Ends it by a signal, and returns when it can be waited for."""
        os.kill(self.pid, number)
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """Returns when it can be waited for; it still can be."""
        wait_for_zombie(self.pid)

    def reap(self) -> int:
        """Waits for it; returns its exit code."""
        self._reaped = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Ends and reaps it."""
        os.close(self._writer)
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.reap()


class Happening(ABC):
    """Something to be watched."""

    source: Watch

    @abstractmethod
    def happen(self) -> None:
        """Makes it happen; of a process only once."""

    @abstractmethod
    def take(self) -> object:
        """Asks the source what has happened."""


class SignalHappening(Happening):
    """A signal that comes."""

    def __init__(self, world: "World") -> None:
        self.source = self._signals = world.keep(Signals(NUMBER, backend=world.backend))

    def happen(self) -> None:
        os.kill(os.getpid(), NUMBER)

    def take(self) -> object:
        return dict(self._signals.take())


class ProcessHappening(Happening):
    """A child that ends."""

    def __init__(self, world: "World") -> None:
        self._child = world.keep(Child())
        self.source = self._process = world.keep(Process(self._child.pid, backend=world.backend))

    def happen(self) -> None:
        self._child.exit(7)

    def take(self) -> object:
        return self._process.returncode


class PathHappening(Happening):
    """A file that grows."""

    def __init__(self, world: "World") -> None:
        self._path = world.folder / "watched"
        self._path.touch()
        self.source = self._watch = world.keep(PathWatch(self._path, backend=world.backend))

    def happen(self) -> None:
        append(self._path)

    def take(self) -> object:
        return self._watch.take()


HAPPENINGS: dict[str, Callable[["World"], Happening]] = {
    "signals": SignalHappening,
    "process": ProcessHappening,
    "path": PathHappening,
}


def append(path: Path, data: bytes = b"x") -> None:
    """Makes a file longer."""
    with path.open("ab") as file:
        file.write(data)


__all__ = ["HAPPENINGS", "NUMBER", "RULES", "Child", "Happening", "append"]
