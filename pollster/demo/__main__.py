"""`python -m pollster.demo`: five slow answers, one Poll.

Five requests go out together. The first asks for the longest delay and the last for none, so the
answers come as 5, 4, 3, 2, 1, and all of them take as long as the longest, not as their sum.

This file is the client, to be read from top to bottom: one request first, then all of them at
once, then the program around them. It is the same on every kernel.
"""

import contextlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pollster import Event, Interest, Poll, Registry, Token, Trigger
from pollster.demo import options as command_line
from pollster.demo import timeline
from pollster.demo.options import Options
from pollster.demo.server import DelayServer

__all__ = ["main"]

LONGEST_STATUS_LINE = 4096
STATUS_LINE = re.compile(rb"HTTP/1\.\d ([1-5]\d\d)(?: .*)?\r?")

# At once, also when stdout is a pipe: the order of arrival is what there is to see.
say = partial(print, flush=True)

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def complain(line: str) -> None:
    """Prints a line on stderr, which leaves stdout the same on every machine."""
    print(line, file=sys.stderr, flush=True)


class NoAnswerError(Exception):
    """A request got no proper answer; the text says why."""


class NotConnectedError(NoAnswerError):
    """An address can't be reached; another one may do."""


@dataclass
class Request:
    """One request, and when (`time.monotonic()`) what became of it."""

    number: int
    message: bytes
    sent: float | None = None
    ended: float | None = None
    answered: bool = False


# One request. Each `yield` waits for the one event that has just been asked for: a one-shot source
# is disabled with its event, and nothing more comes of it until `reregister` arms it again.


def exchange(
    request: Request, address: Address, registry: Registry
) -> Generator[None, Event, None]:
    """Connects, sends the request, and returns when its answer begins to arrive.

    Raises `NotConnectedError` if the address can't be reached, `NoAnswerError` if no proper answer
    comes from there.
    """
    family, kind, protocol, _, peer = address
    token = Token(request.number)
    with contextlib.ExitStack() as cleanup:
        try:
            sock = cleanup.enter_context(socket.socket(family, kind, protocol))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(peer)
            registry.register(sock, token, Interest.WRITABLE, Trigger.ONESHOT)
        except OSError as error:
            raise NotConnectedError(error.strerror or error) from error
        cleanup.callback(registry.deregister, sock)

        event = yield
        if event.is_error:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            raise NotConnectedError(os.strerror(code))

        try:
            unsent = request.message
            while unsent := unsent[sock.send(unsent) :]:
                registry.reregister(sock, token, Interest.WRITABLE, Trigger.ONESHOT)
                yield
            request.sent = time.monotonic()

            answer = b""
            while not is_answer(answer):
                registry.reregister(sock, token, Interest.READABLE, Trigger.ONESHOT)
                yield
                received = sock.recv(LONGEST_STATUS_LINE)
                if not received:
                    raise NoAnswerError("the connection was dropped without an answer")
                answer += received
        except OSError as error:
            raise NoAnswerError(
                f"the connection was dropped without an answer ({error.strerror})"
            ) from error


def is_answer(received: bytes) -> bool:
    """Says whether the status line is there in full.

    Raises `NoAnswerError` as soon as it can't be that of HTTP/1 any more, or if its status is not
    2xx.
    """
    line, newline, _ = received.partition(b"\n")
    status = STATUS_LINE.fullmatch(line)
    if not b"HTTP/1.".startswith(line[:7]) or (
        not status and (newline or len(line) >= LONGEST_STATUS_LINE)
    ):
        raise NoAnswerError(f"this is not an HTTP answer: {received[:40]!r}")
    if not newline or status is None:
        return False
    if not status[1].startswith(b"2"):
        raise NoAnswerError(f"the answer is HTTP status {status[1].decode()}")
    return True


def exchange_with_any(
    request: Request, addresses: Iterable[Address], registry: Registry
) -> Generator[None, Event, None]:
    """Tries the host's addresses in turn until one accepts the connection."""
    failure = NotConnectedError("there is no address to connect to")
    for address in addresses:
        try:
            yield from exchange(request, address, registry)
        except NotConnectedError as error:
            failure = error
        else:
            return
    raise failure


# All of them at once.


class Client:
    """The requests that share one Poll.

    `received` has the numbers of the answered ones, in the order in which the answers came.
    """

    def __init__(
        self, poll: Poll, requests: Iterable[Request], addresses: Sequence[Address], server: str
    ) -> None:
        self.received: list[int] = []
        self._poll = poll
        self._server = server
        self._running = {
            request.number: (request, exchange_with_any(request, addresses, poll.registry))
            for request in requests
        }

    def run(self, timeout: float, *, raw: bool) -> None:
        """Carries on until each request is answered or has failed, for `timeout` seconds at most.

        With `raw`, prints what each poll brought, as the kernel gave it.
        """
        deadline = time.monotonic() + timeout
        try:
            for number in list(self._running):
                self._advance(number, None)
            while self._running and (left := deadline - time.monotonic()) > 0:
                events = self._poll.poll(timeout=left)
                if raw:
                    say("POLL:")
                    for entry in events.raw():
                        say(f"  {entry}")
                for event in events:
                    self._advance(event.token, event)
        finally:
            for request, course in self._running.values():
                course.close()
                request.ended = time.monotonic()
        for number in self._running:
            self._fail(number, f"no answer within {timeout:g} s")

    def _advance(self, number: int, event: Event | None) -> None:
        """Lets one request go on with the event it has waited for, or begin (None)."""
        request, course = self._running[number]
        try:
            if event is None:
                next(course)
            else:
                course.send(event)
            return
        except StopIteration:
            request.answered = True
            self.received.append(number)
            say(f"RECEIVED: {number}")
        except NoAnswerError as failure:
            self._fail(number, str(failure))
        request.ended = time.monotonic()
        del self._running[number]

    def _fail(self, number: int, reason: str) -> None:
        complain(f"request {number} to {self._server} failed: {reason}")


# The program.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns 0 if every answer came, in descending order.

    Raises `SystemExit` (2) if `argv`, by default the command line, makes no sense.
    """
    options = command_line.parse(argv)
    try:
        poll = Poll(backend=options.backend)
    except ValueError as error:
        complain(f"python -m pollster.demo: {error}")
        return 2
    try:
        with poll, contextlib.ExitStack() as stack:
            if options.host is not None:
                return demonstrate(poll, options, options.host, options.port)
            server = stack.enter_context(DelayServer())
            return demonstrate(poll, options, server.host, server.port)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads stdout any more. What is left in its buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def demonstrate(poll: Poll, options: Options, host: str, port: int) -> int:
    """Sends the requests to a server, reports on them, and returns the exit code."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else error
        complain(f"the name {host} does not resolve: {reason}")
        return 1

    server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    requests = [
        Request(number, message(host, port, options.target(number)))
        for number in range(1, options.requests + 1)
    ]
    client = Client(poll, requests, addresses, server)
    begin = time.monotonic()
    client.run(options.timeout, raw=options.raw)
    took = time.monotonic() - begin

    if options.timeline:
        say(timeline.draw(spans(requests, begin), shutil.get_terminal_size().columns))
    say("FINISHED")

    delays = [options.delay(request.number) for request in requests]
    complain(
        f"delays of {sum(delays):.2f} s in all, the longest of {max(delays):.2f} s: "
        f"took {took:.2f} s on {poll.backend}"
    )
    in_order = client.received == sorted(client.received, reverse=True)
    if not in_order:
        complain("the answers did not come in descending order")
    return 0 if in_order and len(client.received) == len(requests) else 1


def message(host: str, port: int, target: str) -> bytes:
    """Returns the bytes that ask for `target`."""
    name = f"[{host.partition('%')[0]}]" if ":" in host else host.encode("idna").decode()
    if port != 80:
        name = f"{name}:{port}"
    return (
        f"GET {target} HTTP/1.1\r\n"
        f"Host: {name}\r\n"
        "User-Agent: pollster-demo\r\n"
        "Accept: */*\r\n"
        "Connection: close\r\n"
        "\r\n"
    ).encode()


def spans(requests: Iterable[Request], begin: float) -> list[timeline.Span]:
    """Returns what the picture needs to know, in seconds since `begin`."""
    return [
        timeline.Span(
            number=request.number,
            sent=None if request.sent is None else request.sent - begin,
            ended=request.ended - begin,
            answered=request.answered,
        )
        for request in requests
        if request.ended is not None
    ]


if __name__ == "__main__":
    sys.exit(main())
