"""A connection: bytes to and from h11, and a limit of time for whatever it waits for."""

import contextlib
import socket
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import h11
from responses import Answer, answer, text

from pollster import Interest, Timer

if TYPE_CHECKING:
    from server import Server

STEPS = 16  # that it takes before the others have their turn
CHUNK = 1 << 16  # bytes that wait to be sent until no more are made
RECEIVE = 1 << 14  # bytes at once
LINGER = 1 << 20  # bytes that are dropped, so that they do not reset what was answered
LAST = (b"connection", b"close")
END, GO_ON = h11.EndOfMessage(), h11.InformationalResponse(status_code=100, headers=[])


class Limits(NamedTuple):
    """Seconds, and the bytes of a body."""

    idle: float = 60.0  # until a request begins
    header: float = 10.0  # from there to the end of its headers
    body: float = 30.0  # from there to its end
    send: float = 30.0  # without any of the answer being taken
    linger: float = 2.0  # until the client closes, too
    grace: float = 1.0  # instead of `idle` once the server is stopping
    length: float = 1 << 20


class Connection:
    """Answers one request after the other. While it has something to send, it does not read."""

    def __init__(self, server: "Server", accepted: socket.socket) -> None:
        accepted.setblocking(False)
        with contextlib.suppress(OSError):  # macOS refuses where the client has gone
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server, self._socket = server, accepted
        self._h11 = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body, self._out = bytearray(), bytearray()
        self._file: BinaryIO | None = None  # which is being sent
        self._left = 0  # bytes of it
        self._ending = False  # what is in `_out` is the last
        self._dropped = 0
        self._interest = Interest.READABLE
        self._token = server.add(accepted, self._ready)
        self._timer = Timer()
        self._deadline = server.add(self._timer, self._late)
        self._await("idle")

    def stop(self) -> None:
        """Ends it after the request that runs, or else after the next if that comes soon."""
        if self._phase == "idle":
            self._await("idle")

    def close(self) -> None:
        """Ends it at once."""
        self._server.remove(self._socket, self._token)
        self._server.remove(self._timer, self._deadline)
        self._socket.close()
        if self._file:
            self._file.close()
        self._server.connections.remove(self)
        self._server.resume()

    def _ready(self) -> None:
        try:
            if self._interest is Interest.READABLE:
                data = self._socket.recv(RECEIVE)
                if self._phase == "linger":
                    self._dropped += len(data)
                    if not data or self._dropped > LINGER:
                        self.close()
                    return
                self._h11.receive_data(data)
            self._go_on()
        except BlockingIOError:
            pass  # nothing there, or no room
        except (OSError, h11.ProtocolError):  # the client is gone, or the file
            self.close()

    def _late(self) -> None:
        if self._phase in ("header", "body"):
            self._refuse(408)
            self._await("send")
            self._turn_to(Interest.WRITABLE)
        else:
            self.close()

    def _await(self, phase: str) -> None:
        self._phase = phase
        stopping = phase == "idle" and self._server.stopping
        self._timer.set_after(getattr(self._server.limits, "grace" if stopping else phase))

    def _turn_to(self, interest: Interest) -> None:
        if interest is not self._interest:
            self._server.poll.registry.reregister(self._socket, self._token, interest)
            self._interest = interest

    def _go_on(self) -> None:
        """Takes some steps, sends, and sees what is to be waited for, and how long."""
        self._moved, more = False, True
        for _ in range(STEPS):
            if self._ending or len(self._out) >= CHUNK:
                break
            if not (self._read(self._file) if self._file else self._step()):
                more = False
                break
        if self._out:
            with contextlib.suppress(BlockingIOError):
                del self._out[: self._socket.send(self._out)]
                self._moved = True
        if self._out or self._file:
            phase, more = "send", True
        elif self._ending:
            self._socket.shutdown(socket.SHUT_WR)
            phase, more = "linger", False
        elif self._request:
            phase = "body"
        else:
            phase = "header" if self._h11.trailing_data[0] else "idle"
        if self._moved or phase != self._phase:  # a byte more of the same puts nothing off
            self._await(phase)
        self._turn_to(Interest.WRITABLE if more else Interest.READABLE)

    def _step(self) -> bool:
        """Sees to what comes next of a request; returns False where that is still to come."""
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            return self._refuse(error.error_status_hint)
        if isinstance(event, h11.Request):
            self._request = event
            length = dict(event.headers).get(b"content-length", 0)
            if int(length) > self._server.limits.length:
                return self._refuse(413)
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > self._server.limits.length:
                return self._refuse(413)
        elif isinstance(event, h11.EndOfMessage) and self._request:
            self._answer(answer(self._server.root, self._request, bytes(self._body)))
            # Where nothing more is here, h11 need not be asked.
            return self._file is not None or self._h11.trailing_data != (b"", False)
        elif isinstance(event, h11.ConnectionClosed):
            self._ending = True
        else:
            if self._h11.they_are_waiting_for_100_continue:
                self._out += self._h11.send(GO_ON)
            return False
        return True

    def _refuse(self, status: int) -> bool:
        """Answers what is wrong; after that, nothing that comes can be understood."""
        self._answer(text(status, ("connection", "close")))
        return True

    def _answer(self, it: Answer) -> None:
        head = it.head
        if self._server.stopping and LAST not in head.headers:
            headers = [*head.headers, LAST]
            head = h11.Response(status_code=head.status_code, headers=headers, reason=head.reason)
        self._out += self._h11.send(head)
        self._file, self._left = it.file, it.left
        if it.body and not (self._request and self._request.method == b"HEAD"):
            self._out += self._h11.send(h11.Data(data=it.body))
        if not it.file:
            self._finish()

    def _read(self, file: BinaryIO) -> bool:
        data = file.read(min(self._left, CHUNK))
        if not data:
            raise OSError("the file has become shorter")
        self._out += self._h11.send(h11.Data(data=data))
        self._left -= len(data)
        if not self._left:
            file.close()
            self._file = None
            self._finish()
        return True

    def _finish(self) -> None:
        self._out += self._h11.send(END)
        self._request = None
        self._body.clear()
        self._moved = True
        if self._h11.our_state is self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self._ending = True
