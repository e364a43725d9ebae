"""examples/http, driven from outside: by real clients, and by rude ones."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served import (
    PATIENCE,
    Address,
    Served,
    connect,
    connected,
    descriptors_for,
    needs,
    output_of,
    read_all,
    reset,
)

BIG = os.urandom(5_000_000)
GET = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

Start = Callable[..., Served]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder to serve, with things beside it that nobody may see."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "site-2").mkdir()
    (tmp_path / "site-2" / "secret").write_text("secret")
    folder = tmp_path / "site"
    (folder / "inner").mkdir(parents=True)
    (folder / "outer").mkdir()
    (folder / "a.txt").write_text("0123456789")
    (folder / "empty").write_text("")
    (folder / "big").write_bytes(BIG)
    (folder / "index.html").write_text("<p>start")
    (folder / "inner" / "index.html").symlink_to(folder / "a.txt")
    (folder / "outer" / "index.html").symlink_to(tmp_path / "secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def start(site: Path, queue: str) -> Iterator[Start]:
    """Starts the server on a back end; limits are keywords."""
    with contextlib.ExitStack() as running:

        def start(before: tuple[str, ...] = (), **limits: float) -> Served:
            options = [word for name, limit in limits.items() for word in (f"--{name}", limit)]
            server = Served("http", queue, site, "--port", 0, *options, before=before)
            return running.enter_context(server)

        yield start


def ask(address: Address, request: bytes) -> bytes:
    """Sends bytes on a connection of their own, and reads until the server ends it."""
    with connect(address) as client:
        client.sendall(request)
        return read_all(client)


def status(response: bytes) -> int:
    return int(response.split(maxsplit=2)[1])


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


def wait_until_refused(address: Address) -> None:
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        while time.monotonic() < deadline:
            connect(address).close()
        pytest.fail("it goes on taking connections")


class TestFiles:
    @needs("curl")
    def test_curl_gets_files_and_what_they_are(self, start: Start, tmp_path: Path) -> None:
        server = start()
        url = server.url
        assert output_of("curl", "-sf", f"{url}/a.txt") == "0123456789"
        assert output_of("curl", "-sf", f"{url}/") == "<p>start"
        assert output_of("curl", "-sfL", f"{url}/inner") == "0123456789"
        copy = tmp_path / "copy"
        output_of("curl", "-sf", f"{url}/big", f"{url}/empty", "-o", copy, "-o", tmp_path / "none")
        assert copy.read_bytes() == BIG
        assert not (tmp_path / "none").exists() or (tmp_path / "none").read_bytes() == b""
        head = output_of("curl", "-sfI", f"{url}/big")
        assert re.match(r"HTTP/1.1 200 OK\r\ndate: \w{3}, .* GMT\r\n", head)
        assert "content-length: 5000000\r\n" in head
        server.stop()

    @needs("curl")
    def test_curl_gets_a_range(self, start: Start) -> None:
        url = start().url
        for wanted, code, body, said in (
            ("2-4", 206, "234", "2-4/10"),
            ("2-", 206, "23456789", "2-9/10"),
            ("-3", 206, "789", "7-9/10"),
            ("-30", 206, "0123456789", "0-9/10"),
            ("9-99999999", 206, "9", "9-9/10"),
            ("10-", 416, None, "*/10"),
            ("-0", 416, None, "*/10"),
        ):
            got = output_of("curl", "-si", "-r", wanted, f"{url}/a.txt")
            head, _, content = got.partition("\r\n\r\n")
            assert head.startswith(f"HTTP/1.1 {code} ")
            assert f"content-range: bytes {said}" in head
            assert body is None or content == body

    def test_what_is_no_single_range_is_ignored(self, start: Start) -> None:
        address = start().address
        many = "9" * 5000
        for wrong in ("4-2", "-", "1-2,4-5", f"0-{many}", f"{many}-", f"-{many}", "a-b", "+1-2"):
            response = ask(address, get("/a.txt", f"Range: bytes={wrong}"))
            assert (status(response), response[-10:]) == (200, b"0123456789"), wrong
        for request in (
            get("/a.txt", "Range: bytes=2-4", 'If-Range: "1"'),
            get("/a.txt", "Range: bytes=2-4", method="HEAD"),
        ):
            assert b"content-length: 10\r\n" in ask(address, request)
        assert status(ask(address, get("/empty", "Range: bytes=0-"))) == 416

    def test_nothing_outside_of_the_folder_is_served(self, start: Start) -> None:
        address = start().address
        for path in (
            "/../secret",
            "/..%2fsecret",
            "/%2e%2e/secret",
            "/../site-2/secret",
            "//../secret",
            "/link",
            "/outer/",
            "/loop",
            "/pipe",
            "/missing",
            "/a.txt/",
            "/a.txt%00",
            "/" + "x" * 5000,
            "http://x/../secret",
            "*",
        ):
            response = ask(address, get(path))
            assert status(response) in (301, 404), (path, response)
            assert b"secret" not in response
        assert status(ask(address, get("http://example.net/a.txt"))) == 200
        assert b"\r\nlocation: outer/\r\n" in ask(address, get("//outer"))
        assert b"\r\nlocation: outer/?a=b%20c\r\n" in ask(address, get("/outer?a=b%20c"))

    def test_a_method_that_is_not_for_it_is_refused(self, start: Start) -> None:
        address = start().address
        for method in ("POST", "DELETE", "OPTIONS", "BREW"):
            assert status(ask(address, get("/a.txt", method=method))) == 405
        assert status(ask(address, get("x:1", method="CONNECT"))) == 405

    def test_head_leaves_no_file_open(self, start: Start) -> None:
        server = start()
        with connect(server.address) as client:
            client.sendall(GET)
            assert client.recv(1)
            before = server.descriptors()
            for _ in range(20):
                ask(server.address, get("/big", method="HEAD"))
                ask(server.address, get("/big", "Range: bytes=6000000-"))
                ask(server.address, get("/empty"))
            server.wait_for_connections(1)
            assert server.descriptors() == before


class TestEcho:
    @needs("curl")
    def test_curl_sends_json_whole_and_in_chunks(self, start: Start) -> None:
        url = f"{start().url}/echo?x=1"
        said = {"method": "POST", "target": "/echo?x=1", "json": {"a": [1, None]}}
        command = ["curl", "-sf", "-d", json.dumps(said["json"]), url]
        for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
            assert json.loads(output_of(*command, *more)) == said
        assert json.loads(output_of("curl", "-sf", url))["json"] is None

    def test_what_is_no_json_is_refused(self, start: Start) -> None:
        address = start().address
        for body in ("{", "[" * 100_000, "9" * 5000, "\0", "\x80", "NaN", "-1e999"):
            request = get("/echo", f"Content-Length: {len(body)}", method="POST")
            assert status(ask(address, request + body.encode("latin-1"))) == 400, body[:10]

    def test_who_expects_to_go_on_is_told(self, start: Start) -> None:
        expects = ("Expect: 100-continue", "Content-Length: 2")
        with connect(start().address) as client:
            client.sendall(get("/echo", *expects, method="POST"))
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
            client.sendall(b"{}")
            assert status(read_all(client)) == 200

    def test_who_expects_to_send_too_much_is_not(self, start: Start) -> None:
        expects = ("Expect: 100-continue", "Content-Length: 2000000")
        assert status(ask(start().address, get("/echo", *expects, method="POST"))) == 413


class TestRudeClients:
    def test_one_byte_at_a_time(self, start: Start) -> None:
        with connect(start().address) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in LAST:
                client.send(bytes([byte]))
            assert read_all(client).endswith(b"0123456789")

    @pytest.mark.parametrize(
        ("limit", "begin"),
        [("header", b"GET / HTTP/1.1\r\nX: "), ("body", get("/echo", "Content-Length: 100000"))],
    )
    def test_bytes_one_by_one_do_not_put_a_limit_off(
        self, start: Start, limit: str, begin: bytes
    ) -> None:
        server = start(linger=30, **{limit: 0.3})
        deadline = time.monotonic() + PATIENCE
        with connect(server.address) as client:
            client.sendall(begin)
            client.settimeout(0.02)
            answered = b""
            while not answered:
                assert time.monotonic() < deadline
                client.send(b"x")
                with contextlib.suppress(TimeoutError):
                    answered = client.recv(1000)
        assert status(answered) == 408

    def test_who_says_nothing_is_let_go(self, start: Start) -> None:
        server = start(idle=0.1)
        with connect(server.address) as new:
            assert read_all(new) == b""
        answered, deadline = b"", time.monotonic() + PATIENCE
        while not answered:  # who is slow to ask is let go before
            assert time.monotonic() < deadline
            with connect(server.address) as old, contextlib.suppress(ConnectionError):
                old.sendall(GET)
                answered = read_all(old)
        assert status(answered) == 200
        server.stop()

    def test_who_reads_nothing_is_let_go(self, start: Start) -> None:
        server = start(send=0.1)
        before = server.descriptors()
        with connect(server.address) as client:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
            server.wait_for_connections(0)
        assert server.descriptors() == before

    def test_half_closed_gets_all_answers(self, start: Start) -> None:
        with connect(start().address) as client:
            client.sendall(GET * 3)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client).count(b"HTTP/1.1 200 OK") == 3

    def test_half_closed_in_the_middle_of_a_request(self, start: Start) -> None:
        for half in (GET[:-5], get("/echo", "Content-Length: 10", method="POST") + b"12345"):
            with connect(start().address) as client:
                client.sendall(half)
                client.shutdown(socket.SHUT_WR)
                assert status(read_all(client)) == 400

    def test_a_reset_in_the_middle_leaves_nothing(self, start: Start) -> None:
        server = start()
        before = server.descriptors()
        for begin in (b"", GET[:-5], get("/big"), get("/echo", "Content-Length: 10") + b"1"):
            for _ in range(5):
                client = connect(server.address)
                client.sendall(begin)
                if begin == get("/big"):
                    assert client.recv(1000)
                reset(client)
        server.wait_for_connections(0)
        assert server.descriptors() == before
        server.stop()

    def test_the_status_arrives_though_more_is_being_sent(self, start: Start) -> None:
        chunk = b"f0000\r\n" + b"x" * 0xF0000 + b"\r\n"
        address = start(linger=30).address
        for code, rude in (
            (431, b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000),
            (413, get("/echo", "Content-Length: 2000000") + b"x" * 300_000),
            (413, get("/echo", "Transfer-Encoding: chunked") + chunk * 2),
            (400, b"\x16\x03\x01" + b"x" * 300_000 + b"\r\n\r\n"),
            (400, get("/", "Content-Length: 1", "Content-Length: 2")),
            (400, b"GET / HTTP/1.1\r\n\r\n"),  # no Host
            (501, get("/", "Transfer-Encoding: gzip")),
        ):
            response = ask(address, rude)
            assert status(response) == code, rude[:80]
            assert b"\r\nconnection: close\r\n" in response.lower()

    def test_pipelined_requests_are_answered_in_their_order(self, start: Start) -> None:
        requests = b"".join(
            f"GET /echo?{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for number in range(500)
        )
        response = ask(start().address, requests + LAST)
        assert re.findall(rb"/echo\?(\d+)", response) == [b"%d" % i for i in range(500)]
        assert response.endswith(b"0123456789")

    def test_who_pipelines_without_end_keeps_nobody_waiting(self, start: Start) -> None:
        server = start()
        with connect(server.address) as greedy, ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read_all, greedy)
            for _ in range(20):
                greedy.sendall(GET * 200)
                assert status(ask(server.address, LAST)) == 200
            greedy.sendall(LAST)
            assert reading.result(PATIENCE).count(b"HTTP/1.1 200 OK") == 4001

    def test_a_file_that_becomes_shorter_ends_the_connection(
        self, start: Start, site: Path
    ) -> None:
        with connect(start().address) as client:
            client.sendall(get("/big"))
            got = len(client.recv(1000))
            os.truncate(site / "big", 1000)
            with contextlib.suppress(ConnectionResetError):
                while data := client.recv(65536):
                    got += len(data)
        assert got < len(BIG)


class TestManyConnections:
    def test_thousands_that_are_idle(self, start: Start, queue: str) -> None:
        with descriptors_for(10_000 if queue == "epoll" else 1_000) as number:
            server = start(idle=1000)
            with connected(server, number) as clients:
                for client in (clients[0], clients[number // 2], clients[-1]):
                    client.sendall(LAST)
                    assert status(read_all(client)) == 200
            server.wait_for_connections(0)
            server.stop()

    def test_more_than_there_are_descriptors(self, start: Start) -> None:
        server = start(before=("sh", "-c", 'ulimit -n 40; exec "$@"', "sh"))
        clients = [connect(server.address) for _ in range(80)]
        try:
            before = server.figures()
            asked, now = 0, before
            while now["changes"] < before["changes"] + 10:  # it has tried again, some times
                now = server.figures()
                asked += 1
            assert 20 < now["connections"] < 40
            tries = now["changes"] - before["changes"]
            assert now["polls"] - before["polls"] <= asked + 2 * tries
            for client in clients:
                client.sendall(LAST)
                assert status(read_all(client)) in (200, 503)
                client.close()
        finally:
            for client in clients:
                client.close()
        server.stop()


class TestStopping:
    def test_a_request_that_is_half_here_is_finished(self, start: Start) -> None:
        server = start(grace=1000)
        with connect(server.address) as running, connect(server.address) as idle:
            running.sendall(GET[:-5])
            server.wait_for_connections(2)
            server.signal(signal.SIGTERM)
            wait_until_refused(server.address)
            running.sendall(GET[-5:])
            for client in (running, idle):
                if client is idle:
                    client.sendall(GET)
                response = read_all(client)
                assert b"\r\nconnection: close\r\n" in response.lower()
                assert response.endswith(b"0123456789")
        server.expect_end()

    def test_who_is_idle_is_let_go(self, start: Start) -> None:
        server = start(grace=0.1)
        with connect(server.address) as client:
            server.wait_for_connections(1)
            server.signal(signal.SIGTERM)
            assert read_all(client) == b""
        server.expect_end()

    def test_what_is_being_sent_arrives(self, start: Start) -> None:
        server = start(grace=0.1)
        with connect(server.address) as client:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            got = client.recv(10)
            server.signal(signal.SIGTERM)
            assert (got + read_all(client)).endswith(BIG)
        server.expect_end()

    def test_a_second_signal_ends_it_at_once(self, start: Start) -> None:
        server = start(grace=1000)
        with connect(server.address) as client:
            client.sendall(GET[:-5])
            server.wait_for_connections(1)
            server.signal(signal.SIGTERM)
            server.figures()
            server.signal(signal.SIGINT)
            server.expect_end()

    @needs("wrk")
    def test_nothing_is_lost_under_load(self, start: Start) -> None:
        server = start(grace=30)
        command = ["wrk", "-t1", "-c20", "-d2", f"{server.url}/a.txt"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            server.wait_for_connections(20)
            before = server.figures()["events"]
            while load.poll() is None and server.figures()["events"] < before + 100:
                pass
            server.stop()
            output, _ = load.communicate(timeout=PATIENCE)
        assert re.search(r"Socket errors: connect \d+, read 0, write \d+, timeout 0", output), (
            output
        )
        assert "Non-2xx" not in output


class TestLoad:
    @needs("wrk")
    def test_wrk(self, start: Start) -> None:
        output = output_of("wrk", "-t1", "-c50", "-d1", f"{start().url}/a.txt")
        assert int(re.findall(r"(\d+) requests in", output)[0]) > 0
        assert "Socket errors" not in output
        assert "Non-2xx" not in output

    @needs("ab")
    def test_ab(self, start: Start) -> None:
        output = output_of("ab", "-q", "-n", 100, "-c", 10, f"{start().url}/big")
        assert re.search(r"Complete requests: +100\nFailed requests: +0\n", output), output

    @needs("h2load")
    def test_h2load(self, start: Start) -> None:
        output = output_of("h2load", "--h1", "-n", 1000, "-c", 10, f"{start().url}/echo")
        assert "1000 done, 1000 succeeded, 0 failed" in output
