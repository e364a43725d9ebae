"""The server: a listener, signals and all connections in one Poll."""

import errno
import signal
import socket
from collections.abc import Callable

from connection import Connection, Limits

from pollster import Interest, Poll, Signals, Slab, SourceLike, Timer, Token

AT_ONCE = 64  # connections that are taken before the others have their turn
QUEUE = 1024  # that wait to be taken, at most
RETRY = 0.1  # seconds until the next try where no descriptor was left
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC}


class Server:
    """Takes connections, and calls a function for each source that is ready."""

    def __init__(self, listener: socket.socket, root: str, limits: Limits) -> None:
        self.root, self.limits = root, limits
        self.stopping = False
        self.connections: set[Connection] = set()
        self.poll = Poll()
        self._callbacks: Slab[Callable[[], None]] = Slab()
        self._signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        self.add(self._signals, self._signalled)
        self._retry, self._paused = Timer(), False
        self.add(self._retry, self.resume)
        self._listener = listener
        listener.listen(QUEUE)
        listener.setblocking(False)
        self._token = self.add(listener, self._accept)

    def add(self, source: SourceLike, callback: Callable[[], None]) -> Token:
        """Has a function called when a source is readable; returns the token to remove it by."""
        token = self._callbacks.insert(callback)
        try:
            self.poll.registry.register(source, token, Interest.READABLE)
        except OSError:
            self._callbacks.remove(token)
            raise
        return token

    def remove(self, source: SourceLike, token: Token) -> None:
        """Ends that: the function is called no more, also not for what this poll has found."""
        self.poll.registry.deregister(source)
        self._callbacks.remove(token)

    def run(self) -> None:
        """Serves until it is stopped and every connection is done."""
        while self.connections or not self.stopping:
            for event in self.poll.poll():
                self._callbacks[event.token]()

    def _accept(self, most: int = AT_ONCE) -> None:
        for _ in range(most):
            try:
                accepted, _ = self._listener.accept()
                self.connections.add(Connection(self, accepted))
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it was gone before it was taken
            except OSError as error:
                if error.errno not in FULL:
                    raise
                # It stays ready: without a pause each poll would return at once.
                self.poll.registry.pause(self._listener)
                self._retry.set_after(RETRY)
                self._paused = True
                return

    def resume(self) -> None:
        """Takes connections again: one has ended, or others may have let go of descriptors."""
        if self._paused and not self.stopping:
            self.poll.registry.resume(self._listener)
            self._paused = False

    def _signalled(self) -> None:
        taken = self._signals.take()
        if taken.pop(signal.SIGUSR1, 0):
            print(f"{len(self.connections)} connections, {self.poll.stats()}", flush=True)
        if taken and self.stopping:
            for connection in list(self.connections):
                connection.close()
        elif taken:
            self._accept(QUEUE)  # who has connected by now would be reset
            self.stopping = True
            self.remove(self._listener, self._token)
            self._listener.close()
            for connection in self.connections:
                connection.stop()
