"""Connecting to the first of several addresses that answers, as RFC 8305 has it."""

import socket
from typing import TYPE_CHECKING

from pollster import Event, Interest, Timer

if TYPE_CHECKING:
    from proxy import Proxy

DELAY = 0.25  # seconds until the next address is tried beside: RFC 8305, 5


class Connecting:
    """Tries one address after the other, each with a head start, and tells the proxy."""

    def __init__(self, proxy: "Proxy", client: socket.socket, limit: float) -> None:
        self._proxy, self.client = proxy, client
        self._left = list(proxy.targets)
        self._running: list[socket.socket] = []
        self._next, self._limit = Timer.after(0), Timer.after(limit)
        proxy.add(self._next, self._try)
        proxy.add(self._limit, lambda _: self.abort())

    def _try(self, _: Event) -> None:
        """Begins with another address; the one after that has its turn soon."""
        if self._left:
            family, address = self._left.pop(0)
            self._next.set_after(DELAY)
            try:
                attempt = socket.socket(family, socket.SOCK_STREAM)
            except OSError:  # there is no such family here, or no descriptor
                self._next.set_after(0)
                return
            attempt.setblocking(False)
            self._running.append(attempt)
            # What has failed by now is writable, too, and says why.
            attempt.connect_ex(address)
            self._proxy.add(attempt, lambda _: self._answered(attempt), Interest.WRITABLE)
        elif not self._running:
            self.abort()

    def _answered(self, attempt: socket.socket) -> None:
        self._proxy.remove(attempt)
        self._running.remove(attempt)
        if attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and connected(attempt):
            self._end(attempt)
        else:
            attempt.close()
            self._next.set_after(0)  # nobody waits for an address that has refused

    def abort(self) -> None:
        """Ends it without a server."""
        self._end(None)

    def _end(self, winner: socket.socket | None) -> None:
        sources: list[socket.socket | Timer] = [self._next, self._limit, *self._running]
        for source in sources:
            self._proxy.remove(source)
            source.close()
        self._proxy.connected(self, winner)


def connected(attempt: socket.socket) -> bool:
    """Whether there is somebody at the other end; SO_ERROR tells an error once, and may have."""
    try:
        attempt.getpeername()
    except OSError:
        return False
    return True
