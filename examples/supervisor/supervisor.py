"""The supervisor: the programs of a configuration, and what signals and changes of it ask for."""

import os
import signal
from pathlib import Path

import orphans
from configuration import ConfigurationError, Settings, read
from log import Log
from loop import Loop
from program import Program

from pollster import PathChange, PathWatch, Signals, Timer

__all__ = ["Supervisor"]

SETTLED = 0.25
"""Seconds without a change after which the configuration counts as completely written."""


class Supervisor:
    """Runs the programs of a configuration file until SIGTERM or SIGINT comes.

    Parameters: `path`, of the configuration; `log`; `reaps`, whether orphans fall to this process.
    Raises `ConfigurationError` where the file can't be watched.
    """

    def __init__(self, path: Path, log: Log, *, reaps: bool) -> None:
        self._path = path
        self._log = log
        self._reaps = reaps
        self._loop = Loop()
        self._programs: dict[str, Program] = {}
        self._stopping = False

        self._on_signal = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
            signal.SIGUSR1: self._tell,
        }
        if reaps:
            self._on_signal[signal.SIGCHLD] = self._reap
        self._signals = Signals(*self._on_signal)
        self._loop.add(self._signals, self._signalled)

        try:
            self._watch = PathWatch(path, PathChange.WRITTEN | PathChange.REPLACED)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be watched: {error.strerror}") from None
        self._loop.add(self._watch, self._changed)
        self._settled = Timer()
        self._loop.add(self._settled, self._reload)

    def run(self) -> None:
        """Returns once it was asked to stop, and everything has ended.

        Raises `ConfigurationError` where the configuration is wrong at the beginning.
        """
        try:
            self._apply(read(self._path))  # what changes from here on is seen by the watch
            while self._programs or not self._stopping:
                self._loop.turn()
                self._reap()
        finally:  # if this itself goes wrong, it leaves nothing behind
            for program in self._programs.values():
                program.end()
            for number in self._on_signal:  # a signal that comes now is too late to matter
                signal.signal(number, signal.SIG_IGN)

    def _signalled(self) -> None:
        for number in self._signals.take().elements():
            self._on_signal[signal.Signals(number)]()

    def _changed(self) -> None:
        """Something was written: perhaps not everything yet."""
        self._watch.take()
        self._settled.set_after(SETTLED)

    def _reload(self) -> None:
        if self._stopping:
            return
        try:
            programs = read(self._path)
        except ConfigurationError as error:
            self._log.say(f"the old configuration goes on: {error}")
        else:
            self._apply(programs)

    def _apply(self, wanted: dict[str, Settings]) -> None:
        """Leaves alone what has not changed, and starts, restarts and stops the rest."""
        running = {name: program.settings for name, program in self._programs.items()}
        new = wanted.keys() - running.keys()
        gone = running.keys() - wanted.keys()
        changed = {name for name in wanted.keys() & running.keys() if wanted[name] != running[name]}
        self._log.say(
            f"pid {os.getpid()} has read {self._path}: {len(new)} programs to start, "
            f"{len(changed)} to restart, {len(gone)} to stop"
        )
        for name in gone:
            self._programs[name].stop()
        for name, settings in wanted.items():
            if name in changed:
                self._programs[name].change(settings)
            elif name in new:
                self._programs[name] = Program(settings, self._loop, self._log, self._gone)

    def _gone(self, program: Program) -> None:
        del self._programs[program.name]

    def _stop(self) -> None:
        hasten = self._stopping
        self._stopping = True
        self._log.say("killing what still runs" if hasten else "stopping")
        for program in list(self._programs.values()):
            if hasten:
                program.kill()
            else:
                program.stop()

    def _tell(self) -> None:
        for name, program in self._programs.items():
            self._log.say(f"{name}: {program.status}")

    def _reap(self) -> None:
        if self._reaps:
            orphans.reap({program.pid for program in self._programs.values()})
