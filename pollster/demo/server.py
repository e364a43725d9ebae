"""An HTTP/1.1 server whose delay the request chooses: `GET /delay/<milliseconds>/...`.

It stands in for the slow server on the network that the demo needs, and answers one request per
connection. It is built on asyncio and knows nothing of pollster, so that the client is judged by
somebody else's server. By hand: `python -m pollster.demo.server --port 8080`.
"""

import argparse
import asyncio
import contextlib
import email.utils
import http
import re
import socket
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

__all__ = ["LONGEST_DELAY", "DelayServer", "main"]

LONGEST_DELAY = 300.0
"""The longest delay, in seconds, that the server agrees to."""

# The kernel cuts this down to what it allows. Too short a queue makes clients wait for a second
# try, and their answers come out of order.
BACKLOG = 1024

DELAY_PATH = re.compile(r"/delay/([^/?]*)(?:[/?].*)?")


class DelayServer:
    """The server, in a thread of its own while the `with` block lasts.

    Leaving the block ends the thread at once: answers still due are not waited for.

    Parameters: `host`, an IPv4 or IPv6 address; `port`, 0 for a free one. The attributes of these
    names say where it listens. Raises `OSError` if it can't listen there.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = _listen(host, port)
        self.host: str
        self.port: int
        self.host, self.port = self._listener.getsockname()[:2]
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="delay server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(_serve(self._listener, self._stopping))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the address and serves until interrupted; returns the exit code for that, 130."""
    parser = argparse.ArgumentParser(
        prog="python -m pollster.demo.server",
        description="Answer GET /delay/<milliseconds>/... after that delay.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (a free one)")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        parser.error(f"{options.port} is not a port from 0 to 65535")
    try:
        listener = _listen(options.host, options.port)
    except OSError as error:
        parser.error(f"can't listen on {options.host} port {options.port}: {error}")
    with listener:
        host, port = listener.getsockname()[:2]
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        print(f"http://{where}/delay/<milliseconds>/", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(listener, asyncio.Event()))
    return 130


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


async def _serve(listener: socket.socket, stopping: asyncio.Event) -> None:
    """Answers on `listener` until `stopping` is set, then closes it."""
    asyncio.get_running_loop().set_exception_handler(_report)
    server = await asyncio.start_server(_converse, sock=listener, backlog=BACKLOG)
    try:
        await stopping.wait()
    finally:
        # Not wait_closed(): since Python 3.12 it waits for the connections too. asyncio cancels
        # those that are left when this coroutine returns.
        server.close()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keeps quiet about connections that fail: the client has noticed, and says so in one line."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads one request, waits for as long as it asks, answers, and closes."""
    # To be cancelled is to be finished: Python 3.11 takes a cancelled connection for a failed one.
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        try:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                status, delay, text = _refusal(431, "the request's head is too long")
            else:
                status, delay, text = _judge(head)
            await asyncio.sleep(delay)
            writer.write(_answer(status, text))
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()


Verdict = tuple[http.HTTPStatus, float, str]


def _refusal(status: int, text: str) -> Verdict:
    return http.HTTPStatus(status), 0.0, text


def _judge(head: bytes) -> Verdict:
    """Returns the status, the delay in seconds and the text that the request is to get."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return _refusal(400, "this is not an HTTP/1 request")
    method, path, _ = words
    if method != "GET":
        return _refusal(501, "only GET is spoken here")
    match = DELAY_PATH.fullmatch(path)
    if match is None:
        return _refusal(404, "try /delay/<milliseconds>/")
    number = match[1]
    if not (number.isascii() and number.isdigit()):
        return _refusal(400, "the delay is a number of milliseconds")
    # The length first: Python refuses to read numbers of thousands of digits.
    if len(number) > 9 or int(number) > LONGEST_DELAY * 1000:
        return _refusal(400, f"the delay is at most {LONGEST_DELAY * 1000:.0f} milliseconds")
    return http.HTTPStatus.OK, int(number) / 1000, f"{number} milliseconds later"


def _answer(status: http.HTTPStatus, text: str) -> bytes:
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {email.utils.formatdate(usegmt=True)}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text) + 1}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", f"{text}\n"]).encode()


if __name__ == "__main__":
    sys.exit(main())
