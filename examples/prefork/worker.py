"""A worker: one process that serves a listener, from its start to its end."""

import os
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING

from pollster import Process, Timer

if TYPE_CHECKING:
    from prefork import Prefork

READY = 30.0  # seconds until it has to have said so


class Worker:
    """A process. It is ready once it has printed something, and SIGTERM asks it to finish.

    Raises `OSError` where it can't be started.
    """

    def __init__(self, prefork: "Prefork", place: int) -> None:
        self._prefork, self.place = prefork, place
        self.ready = False
        fd = prefork.listeners[place].fileno()
        command = [word.replace("{fd}", str(fd)) for word in prefork.settings.command]
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=[fd],
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self.pid, self._started = self._popen.pid, time.monotonic()
        self._stopped = False
        assert self._popen.stdout
        self._output: IO[bytes] | None = self._popen.stdout
        os.set_blocking(self._output.fileno(), False)
        self._process, self._limit = Process(self._popen), Timer.after(READY)
        prefork.add(self._process, self._ended)
        prefork.add(self._output, self._said)
        prefork.add(self._limit, self.kill)

    @property
    def age(self) -> float:
        """How long it has been there, in seconds."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """Has it finish what runs, within its time; it is asked once."""
        if self._stopped:
            return
        self._stopped = True
        os.kill(self.pid, signal.SIGTERM)
        self._limit.set_after(self._prefork.settings.stop)

    def kill(self) -> None:
        """Ends it at once."""
        os.kill(self.pid, signal.SIGKILL)

    def _said(self) -> None:
        assert self._output
        if os.read(self._output.fileno(), 65536):
            if not self.ready:
                self.ready = True
                self._limit.cancel()
                self._prefork.ready(self)
        else:
            self._close_output()

    def _close_output(self) -> None:
        if self._output:
            self._prefork.remove(self._output)
            self._output.close()
            self._output = None

    def _ended(self) -> None:
        self._close_output()
        for source in (self._process, self._limit):
            self._prefork.remove(source)
            source.close()
        # Not before: until it was waited for its number is nobody else's.
        self._prefork.ended(self, self._popen.wait())
