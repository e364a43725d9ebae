"""A child: one process that runs, its group, and the pipe that its output comes through."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

from configuration import Settings
from log import Log
from loop import Loop
from output import Output

from pollster import Process

__all__ = ["Child"]


class Child:
    """Starts a process, in a session and so a process group of its own, and calls back at its end.

    It is not waited for before its `Process` has told that it ended, and everything else that is to
    be done with its number is done before that: until then the number belongs to nobody else. (For
    that reason nothing of `Popen` is called that could wait behind our back: `terminate()` may.)

    Raises `OSError` where it can't be started.
    """

    def __init__(
        self, settings: Settings, loop: Loop, log: Log, ended: Callable[[int], None]
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._popen = subprocess.Popen(
            settings.command,
            cwd=settings.directory,
            env={**os.environ, **settings.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if settings.output == "log" else None,
            stderr=subprocess.STDOUT if settings.output == "log" else None,
            bufsize=0,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self._started = time.monotonic()
        with contextlib.ExitStack() as undo:
            undo.callback(self._popen.wait)
            undo.callback(self.kill)
            self._output = None
            if self._popen.stdout:
                undo.callback(self._popen.stdout.close)
                self._output = Output(
                    self._popen.stdout,
                    loop,
                    lambda lines: log.pass_on(settings.name, self.pid, lines),
                )
                undo.callback(self._output.close)
            # It may have ended by now. It was not waited for, so this finds it all the same.
            self._process = undo.enter_context(Process(self._popen))
            self._token = loop.add(self._process, self._at_end)
            undo.pop_all()

    @property
    def age(self) -> float:
        """How long it has been running, in seconds."""
        return time.monotonic() - self._started

    def stop(self, number: signal.Signals) -> None:
        """Asks it to end; one that is stopped, by SIGSTOP, goes on so that it can."""
        self._signal(number)
        self._signal_group(signal.SIGCONT)

    def kill(self) -> None:
        """Has it ended, and all that it has started in its group."""
        self._signal(signal.SIGKILL)
        self._signal_group(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(PermissionError):  # it has become somebody else
            os.kill(self.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        # Some systems refuse to signal a group in which all have ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _at_end(self) -> None:
        self._signal_group(signal.SIGKILL)  # what it has left behind
        if self._output:
            self._output.finish()
        self._loop.remove(self._token)
        self._process.close()
        self._ended(self._popen.wait())

    def end(self) -> None:
        """Kills it, and returns when it is gone. Nobody is called back."""
        self.kill()
        if self._output:
            self._output.close()
        self._loop.remove(self._token)
        self._process.close()
        self._popen.wait()
