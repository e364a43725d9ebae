"""The parent: it holds the listeners, and sees to it that each has a worker."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import IO

from configuration import ConfigurationError, read
from listeners import listen
from worker import Worker

from pollster import Interest, PathWatch, Poll, Process, Signals, Slab, Timer, Token

Source = IO[bytes] | PathWatch | Process | Signals | Timer
SETTLED = 0.25  # seconds without another change, after which a file is read
AGAIN = 1.0  # seconds until a worker that was not ready, or not for long, is started again


class Prefork:
    """Starts workers, replaces them one after the other, and stops them.

    Raises `ConfigurationError` and `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.settings = read(path)
        self.listeners = listen(*self.settings[:4])
        self._poll = Poll()
        self._callbacks: Slab[Callable[[], None]] = Slab()
        self._tokens: dict[Source, Token] = {}
        self._current: list[Worker | None] = [None] * len(self.listeners)
        self._workers: set[Worker] = set()  # all that run
        self._to_do: list[int] = []  # the places whose workers are still to be replaced
        self._stopping = self._announced = False
        self._signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        self.add(self._signals, self._signalled)
        self._watch, self._settled = PathWatch(path), Timer()
        self.add(self._watch, self._changed)
        self.add(self._settled, self._reload)

    def add(self, source: Source, callback: Callable[[], None]) -> None:
        """Has a function called when a source is readable."""
        self._tokens[source] = self._callbacks.insert(callback)
        self._poll.registry.register(source, self._tokens[source], Interest.READABLE)

    def remove(self, source: Source) -> None:
        """Ends that."""
        self._poll.registry.deregister(source)
        self._callbacks.remove(self._tokens.pop(source))

    def run(self) -> None:
        """Goes on until it is stopped and no worker is left."""
        for place in range(len(self.listeners)):
            self._start(place)
        while self._workers or not self._stopping:
            for event in self._poll.poll():
                self._callbacks[event.token]()

    def ready(self, worker: Worker) -> None:
        """Has the one that was there before finish, now that another serves its listener."""
        self._say(f"worker {worker.pid} of listener {worker.place} is ready")
        if self._stopping:
            return
        before, self._current[worker.place] = self._current[worker.place], worker
        if before:
            before.stop()
        if not self._announced and all(self._current):
            self._announced = True
            self._say("{}:{}".format(*self.listeners[0].getsockname()))
        if self._to_do and self._to_do[0] == worker.place:
            del self._to_do[0]
            if self._to_do:
                self._start(self._to_do[0])

    def ended(self, worker: Worker, code: int) -> None:
        """Starts another one where it is missed."""
        self._workers.remove(worker)
        self._say(f"worker {worker.pid} has ended, {code}")
        if self._current[worker.place] is worker:
            self._current[worker.place] = None
            self._miss(worker.place, 0 if worker.age > AGAIN else AGAIN)
        elif not worker.ready:
            self._failed(worker.place)

    def _start(self, place: int) -> None:
        if any(one.place == place and not one.ready for one in self._workers):
            return  # it is on its way
        try:
            self._workers.add(Worker(self, place))
        except OSError as error:
            self._say(f"a worker can't be started: {error}")
            self._failed(place)

    def _failed(self, place: int) -> None:
        if self._to_do:
            self._say("the workers that are left go on as they are")
            self._to_do.clear()
        if not self._current[place]:
            self._miss(place, AGAIN)

    def _miss(self, place: int, seconds: float) -> None:
        """Starts a worker in a while. Who connects waits in the queue of the listener."""
        timer = Timer.after(seconds)

        def start() -> None:
            self.remove(timer)
            if not self._stopping and not self._current[place]:
                self._start(place)

        self.add(timer, start)

    def _changed(self) -> None:
        self._watch.take()
        self._settled.set_after(SETTLED)

    def _reload(self) -> None:
        """Replaces the workers, one after the other, by some that run what the file says now."""
        try:
            settings = read(self._path)
        except ConfigurationError as error:
            self._say(f"the old configuration goes on: {error}")
            return
        self.settings = settings
        self._say("replacing the workers")
        begins = not self._to_do
        self._to_do += range(len(self.listeners))
        if begins:
            self._start(0)

    def _signalled(self) -> None:
        taken = self._signals.take()
        if taken.pop(signal.SIGUSR1, 0):
            self._say(f"{len(self._workers)} workers, {self._poll.stats()}")
        if taken.pop(signal.SIGHUP, 0) and not self._stopping:
            self._reload()
        if taken:
            for worker in self._workers:
                worker.kill() if self._stopping else worker.stop()
            self._stopping = True
            for listener in self.listeners:  # who comes is refused once the workers have closed it
                listener.close()

    def _say(self, text: str) -> None:
        print(text, flush=True)
