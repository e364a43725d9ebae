"""A program: what is to run, whether it does, and when it is started again."""

import enum
import signal
from collections.abc import Callable

from child import Child
from configuration import Settings
from log import Log
from loop import Loop

from pollster import Timer

__all__ = ["Program"]


class State(enum.Enum):
    """What a program is doing. The timer stands for the end of `WAITING`, and of `STOPPING`."""

    RUNNING = "running"
    WAITING = "waiting"  # to be started again
    STOPPING = "stopping"
    ENDED = "ended"  # by itself, and is not to be started again


class Program:
    """Starts a program, and again when it ends, until it is stopped; `gone` is called then."""

    def __init__(
        self, settings: Settings, loop: Loop, log: Log, gone: Callable[["Program"], None]
    ) -> None:
        self._settings = settings
        self._next: Settings | None = settings  # what to run from the next start on; None: nothing
        self._loop = loop
        self._log = log
        self._gone = gone
        self._child: Child | None = None
        self._starts = 0
        self._delay = 0.0
        self._timer = Timer()
        self._token = loop.add(self._timer, self._at_time)
        self._start()

    @property
    def name(self) -> str:
        """Its name."""
        return self._settings.name

    @property
    def pid(self) -> int | None:
        """The number of the process that runs; None where none does."""
        return self._child.pid if self._child else None

    @property
    def settings(self) -> Settings | None:
        """What is to run; None where it is to be stopped."""
        return self._next

    @property
    def status(self) -> str:
        """What an operator wants to know, on one line."""
        restarts = f"{max(self._starts - 1, 0)} restarts"
        if self._child:
            age = f"up {self._child.age:.1f} s"
            return f"{self._state.value}, pid {self._child.pid}, {restarts}, {age}"
        return f"{self._state.value}, {restarts}"

    def change(self, settings: Settings) -> None:
        """Has it run with other settings."""
        self._next = settings
        self._stop()

    def stop(self) -> None:
        """Has it stopped for good; it is asked to end, and made to once its time is over."""
        self._next = None
        self._stop()

    def kill(self) -> None:
        """Has it end now."""
        if self._child:
            self._say(f"killing pid {self._child.pid}")
            self._child.kill()

    def end(self) -> None:
        """Ends it, and returns when it is gone; for when the loop does not turn any more."""
        if self._child:
            self._child.end()

    def _start(self) -> None:
        assert self._next
        if self._next != self._settings:
            self._delay = 0.0
        self._settings = self._next
        self._starts += 1
        try:
            self._child = Child(self._settings, self._loop, self._log, self._ended)
        except OSError as error:
            self._say(f"can't be started: {error}")
            self._wait(0.0)
        else:
            self._state = State.RUNNING
            self._say(f"started, pid {self._child.pid}")

    def _stop(self) -> None:
        if self._state is State.STOPPING:
            return
        if not self._child:
            self._stopped()
            return
        self._state = State.STOPPING
        number = self._settings.stop_signal
        self._say(f"stopping pid {self._child.pid} with {number.name}")
        self._child.stop(number)
        self._timer.set_after(self._settings.stop_timeout)

    def _stopped(self) -> None:
        self._timer.cancel()
        if self._next:
            self._start()
            return
        self._loop.remove(self._token)
        self._say("stopped")
        self._gone(self)

    def _at_time(self) -> None:
        if self._state is State.WAITING:
            self._start()
        elif self._child:
            self._say(f"still runs after {self._settings.stop_timeout:g} s")
            self.kill()

    def _ended(self, code: int) -> None:
        assert self._child
        child, self._child = self._child, None
        self._say(f"pid {child.pid} {_how(code)} after {child.age:.1f} s")
        again = self._settings.restart
        if self._state is State.STOPPING:
            self._stopped()
        elif again == "always" or (again == "on-failure" and code != 0):
            self._wait(child.age)
        else:
            self._state = State.ENDED
            self._say("is not to be started again")

    def _wait(self, age: float) -> None:
        """Has it started again after a while, which is the longer the more often it has ended."""
        back_off = self._settings.back_off
        if self._delay == 0.0 or age >= back_off.reset:
            self._delay = back_off.initial
        else:
            self._delay = min(self._delay * back_off.factor, back_off.maximum)
        self._state = State.WAITING
        self._timer.set_after(self._delay)
        self._say(f"starts again in {self._delay:g} s")

    def _say(self, text: str) -> None:
        self._log.say(f"{self.name}: {text}")


def _how(code: int) -> str:
    """Says in words how a process has ended."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
