"""`pollster.asyncio`: what programs do besides streams: TLS, datagrams, sockets, files, pipes."""

import asyncio
import os
import socket
import ssl
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from test_asyncio import LIMIT, the_loop
from test_asyncio import run as run_alone

T = TypeVar("T")

# Of localhost, which nobody else trusts: made for this test alone.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsHXNKN74FPMAzS6w
CVr3JUbLs9ncWlwgtwKyiZKQv3mhRANCAAS01X8IJKFk0sW/hwPxNhOuA6FtIa41
o2bhcrG7Y5kKzg7jrgoGk+FKrU7saP5z0Zc8OoFhscSXzsuVJ2IcUjZN
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUSRXj2RTEzt9LQITLjeUG1SM/4sUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTA3MzgzMVoYDzIxMjYxMTA1
MDczODMxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS01X8IJKFk0sW/hwPxNhOuA6FtIa41o2bhcrG7Y5kKzg7jrgoGk+FK
rU7saP5z0Zc8OoFhscSXzsuVJ2IcUjZNo28wbTAdBgNVHQ4EFgQUbryii9DgZ4ZY
kzjxUHI3tECRyfswHwYDVR0jBBgwFoAUbryii9DgZ4ZYkzjxUHI3tECRyfswDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgVPK3NM1lTV/XqYFBkN8q2TMI2QniZ+l0R5kqB5y8Vs8CIADx
NAYPwN7+uspV9NnUZzxXo1wbJZPfZYYuhtS3dn2p
-----END CERTIFICATE-----
"""


def run(backend: str, main: Coroutine[Any, Any, T]) -> T:
    """Also lets the tasks of servers end, whose transports a loop that is closed would leave."""

    async def whole() -> T:
        ours = asyncio.all_tasks()
        result = await main
        rest = asyncio.all_tasks() - ours
        if rest:
            await asyncio.wait(rest, timeout=LIMIT)
        return result

    return run_alone(backend, whole())


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cafile=str(file))
    return server, client


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    """Has a message echoed while it is sent."""
    message = os.urandom(size)

    async def send() -> None:
        writer.write(message)
        await writer.drain()

    _, got = await asyncio.gather(send(), reader.readexactly(size))
    assert got == message


def test_tls(backend: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts[0])
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=contexts[1], server_hostname="localhost"
        )
        await exchange(reader, writer, 3 << 20)
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())
        server.close()

    run(backend, main())


def test_a_connection_that_becomes_tls(
    backend: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """First it reads and writes in the clear: the same transport is asyncio's from then on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(contexts[0])
        await echo(reader, writer)

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(contexts[1], server_hostname="localhost")
        assert writer.get_extra_info("cipher")
        await exchange(reader, writer, 1 << 20)
        writer.close()
        await writer.wait_closed()
        server.close()

    run(backend, main())


@pytest.mark.parametrize("fallback", [False, True])
def test_a_file_is_sent(backend: str, fallback: bool) -> None:
    content = os.urandom(3 << 20)

    async def main() -> bytes:
        got: asyncio.Future[bytes] = the_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.set_result(await reader.read())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with tempfile.TemporaryFile() as file:
            file.write(content)
            transport: Any = writer.transport
            if fallback:
                transport._sendfile_compatible = asyncio.constants._SendfileMode.FALLBACK
            writer.write(b"before")
            assert await the_loop().sendfile(transport, file, 100) == len(content) - 100
        writer.write(b"after")
        writer.close()
        server.close()
        return await got

    assert run(backend, main()) == b"before" + content[100:] + b"after"


def test_a_lost_connection_may_get_another_protocol(backend: str) -> None:
    """`sendfile` does that, where the peer went meanwhile."""

    async def main() -> None:
        lost = the_loop().create_future()

        class Lost(asyncio.Protocol):
            def connection_lost(self, error: Exception | None) -> None:
                lost.set_result(error)

        ours, peer = socket.socketpair()
        transport, _ = await the_loop().create_connection(Lost, sock=ours)
        transport.abort()
        assert await lost is None
        other = asyncio.Protocol()
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        peer.close()

    run(backend, main())


def test_datagrams(backend: str) -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.transport.sendto(data.upper(), address)

    class Client(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.got: asyncio.Queue[bytes] = asyncio.Queue()

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.got.put_nowait(data)

    async def main() -> None:
        loop = the_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        client, protocol = await loop.create_datagram_endpoint(
            Client, remote_addr=server.get_extra_info("sockname")
        )
        for number in range(100):
            client.sendto(b"d%d" % number)
            assert await protocol.got.get() == b"D%d" % number
        client.close()
        server.close()

    run(backend, main())


def test_sockets_without_a_transport(backend: str) -> None:
    async def main() -> None:
        loop = the_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
            listener.setblocking(False)
            ours.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(ours, listener.getsockname())
            peer, _ = await accepting
            with peer, tempfile.TemporaryFile() as file:
                message = os.urandom(2 << 20)
                file.write(message)
                file.seek(0)

                async def receive() -> bytes:
                    got = b""
                    while len(got) < len(message):
                        got += await loop.sock_recv(peer, 1 << 16)
                    return got

                _, got = await asyncio.gather(loop.sock_sendall(ours, message), receive())
                assert got == message
                _, got = await asyncio.gather(loop.sock_sendfile(ours, file), receive())
                assert got == message
                room = bytearray(10)
                waiting = asyncio.create_task(loop.sock_recv_into(peer, room))
                await asyncio.sleep(0)
                await loop.sock_sendall(ours, b"abc")
                assert await waiting == 3
                assert room[:3] == b"abc"
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, peer:
            ours.setblocking(False)
            peer.send(b"datagram")
            assert (await loop.sock_recvfrom(ours, 100))[0] == b"datagram"

    run(backend, main())


def test_unix_sockets(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a Unix socket is short

    async def main() -> None:
        server = await asyncio.start_unix_server(echo, "socket")
        reader, writer = await asyncio.open_unix_connection("socket")
        await exchange(reader, writer, 1 << 20)
        writer.close()
        await writer.wait_closed()
        server.close()

    run(backend, main())


def test_a_protocol_with_a_buffer_of_its_own(backend: str) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self, size: int) -> None:
            self.room, self.got = bytearray(100), b""
            self.size = size
            self.complete: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def get_buffer(self, _: int) -> bytearray:
            return self.room

        def buffer_updated(self, count: int) -> None:
            self.got += self.room[:count]
            if len(self.got) == self.size:
                self.complete.set_result(self.got)

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        transport, protocol = await the_loop().create_connection(
            lambda: Buffered(10_000), *server.sockets[0].getsockname()
        )
        message = os.urandom(10_000)
        for start in range(0, 10_000, 1_000):
            transport.write(message[start : start + 1_000])
        assert await protocol.complete == message
        transport.close()
        server.close()

    run(backend, main())


def test_pipes(backend: str) -> None:
    async def main() -> bytes:
        loop = the_loop()
        reading, writing = os.pipe()
        reader = asyncio.StreamReader()
        read, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
        )
        write, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(writing, "wb", 0))
        write.write(b"through ")
        write.write(b"a pipe")
        write.close()
        data = await reader.read()
        read.close()
        return data

    assert run(backend, main()) == b"through a pipe"
