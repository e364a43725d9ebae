"""The proxy: a listener, and what is called for each source that is ready."""

import resource
import signal
import socket
from collections.abc import Callable

from addresses import Target
from connecting import Connecting
from relay import Relay

from pollster import Event, Interest, Poll, Signals, Slab, Timer, Token, Trigger

Source = socket.socket | Timer | Signals
Callback = Callable[[Event], None]
AT_ONCE = 64  # connections that are taken before the others have their turn
QUEUE = 1024  # that wait to be taken, at most
RETRY = 0.1  # seconds until the next try where no descriptor was left
EACH = 4  # descriptors that one connection may take: two, and attempts that are beside


class Proxy:
    """Takes connections, as many as there are descriptors for, and has them relayed."""

    def __init__(self, listener: socket.socket, targets: list[Target], limit: float) -> None:
        self.targets, self._limit = targets, limit
        self._poll = Poll()
        self._callbacks: Slab[Callback] = Slab()
        self._tokens: dict[Source, Token] = {}
        self._again: set[Relay] = set()
        self._running: set[Relay | Connecting] = set()
        self._most = max(1, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 16) // EACH)
        self._stopping = self._paused = False
        self._signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        self.add(self._signals, self._signalled)
        self._retry = Timer()
        self.add(self._retry, lambda _: self._resume())
        self._listener = listener
        listener.listen(QUEUE)
        listener.setblocking(False)
        self.add(listener, lambda _: self._accept())

    def add(
        self,
        source: Source,
        callback: Callback,
        interest: Interest = Interest.READABLE,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        """Has a function called when a source is ready. Raises `OSError` as `register` does."""
        token = self._callbacks.insert(callback)
        self._poll.registry.register(source, token, interest, trigger)
        self._tokens[source] = token

    def remove(self, source: Source) -> None:
        """Ends that, before the source is closed."""
        self._poll.registry.deregister(source)
        self._callbacks.remove(self._tokens.pop(source))

    def again(self, relay: Relay) -> None:
        """Has a relay go on in the next turn: it had enough in this one, and no edge will come."""
        self._again.add(relay)

    def run(self) -> None:
        """Relays until it is stopped, and the last connection has ended."""
        while self._running or not self._stopping:
            for event in self._poll.poll(timeout=0 if self._again else None):
                self._callbacks[event.token](event)
            again, self._again = self._again, set()
            for relay in again:
                relay.go_on()

    def _accept(self, most: int = AT_ONCE) -> None:
        for _ in range(most):
            if len(self._running) >= self._most:
                break  # when one ends it goes on
            try:
                client, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it was gone before it was taken
            except OSError:  # no descriptor is left: others may have them
                self._retry.set_after(RETRY)
                break
            client.setblocking(False)
            self._running.add(Connecting(self, client, self._limit))
        else:
            return
        self._poll.registry.pause(self._listener)
        self._paused = True

    def _resume(self) -> None:
        if self._paused and not self._stopping:
            self._poll.registry.resume(self._listener)
            self._paused = False

    def connected(self, attempts: Connecting, server: socket.socket | None) -> None:
        """Has a client and its server relayed; where there is none, lets the client go."""
        if server:
            self._running.add(Relay(self, attempts.client, server))
        else:
            attempts.client.close()
        self.ended(attempts)

    def ended(self, one: Relay | Connecting) -> None:
        """Has room for another connection."""
        self._running.remove(one)
        self._again -= {one}
        self._resume()

    def _signalled(self, _: Event) -> None:
        taken = self._signals.take()
        if taken.pop(signal.SIGUSR1, 0):
            print(f"{len(self._running)} connections, {self._poll.stats()}", flush=True)
        if taken and self._stopping:
            for one in list(self._running):
                one.abort()
        elif taken:
            self._accept(QUEUE)  # who is in the queue would be reset
            self._stopping = True
            self.remove(self._listener)
            self._listener.close()
