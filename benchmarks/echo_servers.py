"""`python -m benchmarks.echo_servers [KIND] CONTENDER`: echo servers in Python, one thread each.

All do the same: accept, receive at most 64 KiB, send that back, close at the end. A client has one
message of 64 bytes under way, so the send never comes short.
"""

import asyncio
import select
import selectors
import socket
import sys
from collections.abc import Callable
from typing import cast

from benchmarks.children import only_so_long
from benchmarks.contenders import (
    ASYNCIO,
    POLLSTER,
    RAW,
    SELECTORS,
    NewEventLoop,
    event_loops,
    with_ours,
)
from pollster import Events, Interest, Poll, Token

ROOM = 65536
CAPACITY = 1023  # of select.epoll's polls, where nothing is said
LISTENER = Token(0)


def raw(listener: socket.socket) -> None:
    """Serves with `select.epoll`."""
    queue = select.epoll()
    queue.register(listener, select.EPOLLIN)
    listening = listener.fileno()
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, mask in queue.poll():
            if not mask & select.EPOLLIN:
                continue
            if fd == listening:
                connection, _ = listener.accept()
                connection.setblocking(False)
                queue.register(connection, select.EPOLLIN)
                connections[connection.fileno()] = connection
            else:
                connection = connections[fd]
                data = connection.recv(ROOM)
                if data:
                    connection.send(data)
                else:
                    queue.unregister(fd)
                    connections.pop(fd).close()


def selector(listener: socket.socket) -> None:
    """Serves with `selectors.EpollSelector`."""
    queue = selectors.EpollSelector()
    queue.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, mask in queue.select():
            if not mask & selectors.EVENT_READ:
                continue
            connection = key.data
            if connection is None:
                connection, _ = listener.accept()
                connection.setblocking(False)
                queue.register(connection, selectors.EVENT_READ, connection)
            else:
                data = connection.recv(ROOM)
                if data:
                    connection.send(data)
                else:
                    queue.unregister(connection)
                    connection.close()


def pollster(listener: socket.socket) -> None:
    """Serves with `Poll`."""
    queue = Poll(backend="epoll")
    registry = queue.registry
    registry.register(listener, LISTENER, Interest.READABLE)
    events = Events(CAPACITY)
    connections: dict[int, socket.socket] = {}
    while True:
        for event in queue.poll(events):
            if not event.is_readable:
                continue
            token = event.token
            if token == LISTENER:
                connection, _ = listener.accept()
                connection.setblocking(False)
                token = Token(connection.fileno())
                registry.register(connection, token, Interest.READABLE)
                connections[token] = connection
            else:
                connection = connections[token]
                data = connection.recv(ROOM)
                if data:
                    connection.send(data)
                else:
                    registry.deregister(connection)
                    connections.pop(token).close()


class Echo(asyncio.Protocol):
    """Sends back what it receives; the fastest form on uvloop and rloop."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast(asyncio.Transport, transport)  # rloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Sends it back."""
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends back what it receives, from a buffer of its own; the fastest form on asyncio.

    For a `Protocol`, asyncio allocates 256 KiB with each recv: glibc maps and unmaps them, which
    made this server four times as slow.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(ROOM))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns where to receive."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Sends it back."""
        self.transport.write(bytes(self.buffer[:nbytes]))


def event_loop(
    new_event_loop: NewEventLoop, protocol: Callable[[], asyncio.BaseProtocol]
) -> Callable[[socket.socket], None]:
    """Returns a server on an event loop."""

    def serve(listener: socket.socket) -> None:
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(loop.create_server(protocol, sock=listener))
        loop.run_forever()

    return serve


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what it receives."""
    while data := await reader.read(ROOM):
        writer.write(data)
        await writer.drain()
    writer.close()


def streams(new_event_loop: NewEventLoop) -> Callable[[socket.socket], None]:
    """Returns a server by streams on an event loop."""

    def serve(listener: socket.socket) -> None:
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.start_server(echo_stream, sock=listener))
        loop.run_forever()

    return serve


def loop_servers(kind: str) -> dict[str, Callable[[socket.socket], None]]:
    """Returns servers that differ in their event loop alone: by "protocol" or by "streams"."""
    if kind == "streams":
        return {name: streams(new) for name, new in with_ours().items()}
    return {name: event_loop(new, Echo) for name, new in with_ours().items()}


def churn() -> None:
    """Leaves malloc room between what is in use, as a program has that has run for a while.

    A buffer of 256 KiB finds its place there, and is not mapped and unmapped each time.
    """
    blocks = [bytes(1 << 16) for _ in range(64)]
    CHURNED.extend(bytes(1 << 12) for _ in range(256))  # some of them behind the blocks
    del blocks


CHURNED: list[bytes] = []


def servers() -> dict[str, Callable[[socket.socket], None]]:
    """Returns the servers of all contenders that are installed."""
    loops = {
        name: event_loop(new, BufferedEcho if name == ASYNCIO else Echo)
        for name, new in event_loops().items()
    }
    return {RAW: raw, SELECTORS: selector, POLLSTER: pollster, **loops}


def main() -> None:
    """Prints the port and serves until it is killed."""
    only_so_long()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(listener.getsockname()[1], flush=True)
        *words, name = sys.argv[1:]
        if "churned" in words:
            churn()
        (loop_servers(words[0]) if words else servers())[name](listener)


if __name__ == "__main__":
    main()
