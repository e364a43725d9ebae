"""`python -m benchmarks.http_servers CONTENDER`: what examples/http is beside; prints its port.

Each answers with what was asked, in JSON, and parses by h11. The one by hand knows the two things
that save most of h11's time: a head that was made is used again, and h11 is not asked for more
where no more has come. Neither has limits of time.
"""

import asyncio
import importlib
import json
import socket
import sys
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any, cast

import h11

from benchmarks.children import only_so_long
from benchmarks.contenders import ASYNCIO, UVICORN

END = h11.EndOfMessage()


def echoed(method: str, target: str) -> bytes:
    """Returns the body of an answer."""
    return json.dumps({"method": method, "target": target, "json": None}).encode()


@lru_cache
def head(second: int, length: int) -> h11.Response:
    """Returns the head of an answer."""
    headers = [("date", formatdate(second, usegmt=True)), ("content-type", "application/json")]
    return h11.Response(
        status_code=200, headers=[*headers, ("content-length", str(length))], reason="OK"
    )


class Connection(asyncio.Protocol):
    """A connection of asyncio's, with h11."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast(asyncio.Transport, transport)
        self._h11 = h11.Connection(h11.SERVER)

    def data_received(self, data: bytes) -> None:
        """Answers the requests that have come."""
        self._h11.receive_data(data)
        while (event := self._h11.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                body = echoed(request.method.decode(), request.target.decode())
                self._transport.write(
                    self._h11.send(head(int(time.time()), len(body)))
                    + self._h11.send(h11.Data(data=body))
                    + self._h11.send(END)
                )
                self._h11.start_next_cycle()
                if not self._h11.trailing_data[0]:
                    break


async def by_hand(listener: socket.socket) -> None:
    """Serves with asyncio."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, sock=listener)
    await server.serve_forever()


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serves with whatever knows ASGI."""
    body = echoed(scope["method"], scope["path"])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serves with the one that is named."""
    only_so_long()
    # By its protocol asyncio knows that it is TCP, and turns Nagle's algorithm off.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    if sys.argv[1] == ASYNCIO:
        asyncio.run(by_hand(listener))
    elif sys.argv[1] == UVICORN:
        uvicorn: Any = importlib.import_module("uvicorn")
        config = uvicorn.Config(
            application, http="h11", loop="asyncio", lifespan="off", log_level="warning"
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
