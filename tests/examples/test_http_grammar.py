"""examples/http and HTTP's grammar: what is a request gets an answer, what is none does no harm.

h11 is the client, too: it makes requests of its grammar, and must understand what it gets.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Served, connect

TOKENS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
tokens = st.text(TOKENS, min_size=1, max_size=12)
values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30
).map(lambda text: text.strip().encode("latin-1"))
targets = st.one_of(
    st.sampled_from([b"/a.txt", b"/", b"/echo", b"/missing", b"*", b"http://x/a.txt"]),
    st.binary(max_size=30).map(
        lambda raw: b"/" + bytes(byte for byte in raw if 0x21 <= byte <= 0x7E)
    ),
)
MEANT = {b"content-length", b"transfer-encoding", b"host", b"connection", b"expect"}
headers = st.lists(
    st.one_of(
        st.tuples(tokens.map(str.encode), values).filter(lambda it: it[0].lower() not in MEANT),
        st.tuples(
            st.just(b"Range"), st.from_regex(rb"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True)
        ),
        st.just((b"Upgrade", b"websocket")),
    ),
    max_size=5,
)
bodies = st.one_of(st.just(b""), st.just(b'{"a": 1}'), st.binary(max_size=2000))
methods = st.one_of(st.sampled_from(["GET", "HEAD", "POST", "CONNECT", "OPTIONS"]), tokens)
requests = st.tuples(methods, targets, headers, bodies, st.booleans())
lightly = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def server(tmp_path: Path, queue: str) -> Iterator[Served]:
    (tmp_path / "a.txt").write_text("0123456789")
    with Served("http", queue, tmp_path, "--port", 0) as server:
        yield server
        server.stop()


Request = tuple[str, bytes, list[tuple[bytes, bytes]], bytes, bool]


def sent(client: h11.Connection, request: Request) -> bytes:
    """Returns the bytes of a request, as h11 writes them."""
    method, target, more, body, is_chunked = request
    framing = (
        (b"Transfer-Encoding", b"chunked")
        if is_chunked
        else (b"Content-Length", str(len(body)).encode())
    )
    head = h11.Request(method=method, target=target, headers=[(b"Host", b"x"), framing, *more])
    parts = [client.send(head)]
    if body:
        half = len(body) // 2 if is_chunked else len(body)
        parts += [client.send(h11.Data(data=part)) for part in (body[:half], body[half:]) if part]
    return b"".join([*parts, client.send(h11.EndOfMessage())])


def answer(client: h11.Connection, connection: socket.socket) -> tuple[int, bytes]:
    """Reads an answer to its end; returns its status and its body."""
    status, body = 0, bytearray()
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)
        else:
            assert event is h11.NEED_DATA, event
            client.receive_data(connection.recv(65536))


@lightly
@given(st.lists(requests, min_size=1, max_size=4), st.integers(1, 5000))
def test_each_request_of_the_grammar_gets_an_answer_of_the_grammar(
    server: Served, asked: list[Request], size: int
) -> None:
    with connect(server.address) as connection:
        for request in asked:
            client = h11.Connection(h11.CLIENT)
            data = sent(client, request)
            for begin in range(0, len(data), size):
                connection.sendall(data[begin : begin + size])
            status, _ = answer(client, connection)
            assert status in (200, 206, 301, 400, 403, 404, 405, 416)


@lightly
@given(
    st.lists(requests, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0), st.integers(0, 20), st.binary(max_size=20)), max_size=6),
)
def test_whatever_comes_the_server_goes_on(
    server: Served, asked: list[Request], changes: list[tuple[int, int, bytes]]
) -> None:
    data = bytearray().join(sent(h11.Connection(h11.CLIENT), request) for request in asked)
    for place, length, put in changes:
        begin = place % len(data)
        data[begin : begin + length] = put
        data = data or bytearray(b"\n")
    with connect(server.address) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65536):
                got += more
    assert got[:5] in (b"HTTP/", b"")
    client = h11.Connection(h11.CLIENT)
    with connect(server.address) as connection:
        connection.sendall(sent(client, ("GET", b"/a.txt", [], b"", False)))
        assert answer(client, connection) == (200, b"0123456789")
