"""A relay: two sockets, and what one sends passed on to the other, edge-triggered."""

import contextlib
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

from pollster import Event, Interest, Trigger

if TYPE_CHECKING:
    from proxy import Proxy

CHUNK = 1 << 18  # bytes at once, and at most what waits in one direction
TURNS = 4  # chunks until the others have their turn
BOTH = Interest.READABLE | Interest.WRITABLE
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset

room = memoryview(bytearray(CHUNK))  # what is received, until it is sent: one at a time needs it


class Direction:
    """From one socket to the other. What an edge has told is kept, since it is told once."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source, self._sink = source, sink
        self.readable = self.writable = self.done = False
        self._waiting = memoryview(
            b""
        )  # what the sink has not taken; until it has, no more is received

    def turn(self) -> bool:
        """Passes a chunk on; returns whether to go on. Raises `OSError` where either was reset."""
        if self.done or not self.writable or not (self._waiting or self.readable):
            return False
        if self._waiting:
            data = self._waiting
        else:
            try:
                data = room[: self._source.recv_into(room)]
            except BlockingIOError:
                self.readable = False
                return False
            if not data:
                self._sink.shutdown(socket.SHUT_WR)  # the other direction goes on
                self.done = True
                return False
        try:
            sent = self._sink.send(data)
        except BlockingIOError:
            sent = 0
        rest = data[sent:]
        self._waiting = rest if self._waiting else memoryview(bytes(rest))
        self.writable = not rest
        return self.writable


class Relay:
    """Both directions. A connection that one side resets is reset on the other side, too."""

    def __init__(self, proxy: "Proxy", client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._sockets = proxy, (client, server)
        self._there, self._back = Direction(client, server), Direction(server, client)
        for one, out, into in (
            (client, self._there, self._back),
            (server, self._back, self._there),
        ):
            with contextlib.suppress(OSError):  # macOS refuses where the other has gone
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            proxy.add(one, partial(self._ready, out, into), BOTH, Trigger.EDGE)

    def _ready(self, out: Direction, into: Direction, event: Event) -> None:
        if event.is_error:
            self.abort()
            return
        out.readable |= event.is_readable or event.is_read_closed
        into.writable |= event.is_writable or event.is_write_closed
        self.go_on()

    def go_on(self) -> None:
        """Passes on what there is, for some turns."""
        try:
            for _ in range(TURNS):
                there, back = self._there.turn(), self._back.turn()
                if not there and not back:
                    break
            else:
                self._proxy.again(self)
        except OSError:
            self.abort()
            return
        if self._there.done and self._back.done:
            self._end()

    def abort(self) -> None:
        """Ends it at once, by a reset to both."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._end()

    def _end(self) -> None:
        for one in self._sockets:
            self._proxy.remove(one)
            one.close()
        self._proxy.ended(self)
