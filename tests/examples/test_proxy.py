"""examples/proxy in front of nginx, driven by real clients, and what it does to a connection."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from behind import nginx, unused
from served import (
    PATIENCE,
    Address,
    Served,
    connect,
    needs,
    needs_prlimit,
    output_of,
    read_all,
    reset,
)

GIB = 1 << 30
MIB = 1 << 20

Start = Callable[..., Served]


@pytest.fixture
def start(queue: str) -> Iterator[Start]:
    """Starts the proxy on a back end, in front of some addresses."""
    with contextlib.ExitStack() as running:

        def start(*targets: Address, before: tuple[str, ...] = (), limit: float = 30) -> Served:
            names = [f"[{host}]:{port}" for host, port, *_ in targets]
            proxy = Served("proxy", queue, *names, "--port", 0, "--limit", limit, before=before)
            return running.enter_context(proxy)

        yield start


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """What the proxy connects to; a test accepts, and answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Address]:
    """An nginx with a small and a large file."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_text("0123456789")
    with open(root / "large", "wb") as large:
        large.truncate(GIB)
        for place in range(0, GIB, 16 * MIB):
            large.seek(place + place // 1000)
            large.write(os.urandom(4096))
    with nginx(tmp_path, root) as address:
        yield address


def pair(proxy: Served, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Connects through the proxy; returns both ends."""
    client = connect(proxy.address)
    server, _ = listener.accept()
    server.settimeout(PATIENCE)
    return client, server


def peak(proxy: Served) -> int | None:
    """Returns the most bytes that it had resident; None where the system does not tell."""
    status = Path(f"/proc/{proxy.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else None


def checksum(chunks: Iterator[bytes]) -> int:
    value = 0
    for chunk in chunks:
        value = zlib.crc32(chunk, value)
    return value


@needs("nginx", "curl")
class TestNginx:
    def test_a_gibibyte_arrives_and_memory_stays_flat(
        self, start: Start, upstream: Address, tmp_path: Path
    ) -> None:
        proxy = start(upstream)
        assert (
            output_of("curl", "-sf", f"{'http://{}:{}'.format(*proxy.address)}/small")
            == "0123456789"
        )
        before = peak(proxy)
        command = ["curl", "-sf", f"http://127.0.0.1:{proxy.address[1]}/large"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            assert curl.stdout
            got = checksum(iter(lambda: curl.stdout.read(MIB), b""))  # type: ignore[union-attr]
        assert curl.returncode == 0
        with open(tmp_path / "root" / "large", "rb") as large:
            assert got == checksum(iter(lambda: large.read(MIB), b""))
        after = peak(proxy)
        if before is None or after is None:
            print("the peak of memory is not told by this system", file=sys.stderr)
        else:
            print(f"resident at most: {before / MIB:.1f} MiB before, {after / MIB:.1f} MiB after")
            assert after - before < 8 * MIB
        proxy.stop()

    def test_one_side_is_slow_and_nobody_else_waits(self, start: Start, upstream: Address) -> None:
        proxy = start(upstream)
        before = peak(proxy)
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connect(proxy.address)) for _ in range(20)]
            for client in slow:
                client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
                assert client.recv(1000)  # and no more
            for _ in range(20):
                assert output_of("curl", "-sf", f"{proxy.url}/small") == "0123456789"
            after = peak(proxy)
            assert before is None or after is None or after - before < 20 * MIB

    @needs("ab")
    def test_a_thousand_connections_at_once(
        self, start: Start, upstream: Address, queue: str
    ) -> None:
        number = 1000 if queue == "epoll" else 200
        proxy = start(upstream)
        output = output_of("ab", "-q", "-n", 2 * number, "-c", number, f"{proxy.url}/small")
        assert re.search(rf"Complete requests: +{2 * number}\nFailed requests: +0\n", output)
        proxy.wait_for_connections(0)

    @needs("wrk")
    def test_wrk(self, start: Start, upstream: Address) -> None:
        output = output_of("wrk", "-t1", "-c50", "-d1", f"{start(upstream).url}/small")
        assert "Socket errors" not in output
        assert "Non-2xx" not in output


class TestOneConnection:
    def test_a_half_close_is_passed_on_and_the_rest_goes_on(
        self, start: Start, listener: socket.socket
    ) -> None:
        proxy = start(listener.getsockname())
        for reverse in (False, True):
            ends = pair(proxy, listener)
            first, second = reversed(ends) if reverse else ends
            with first, second:
                first.sendall(b"question")
                first.shutdown(socket.SHUT_WR)
                assert read_all(second) == b"question"
                second.sendall(b"answer")
                second.shutdown(socket.SHUT_WR)
                assert read_all(first) == b"answer"
        proxy.wait_for_connections(0)
        proxy.stop()

    def test_a_reset_is_passed_on(self, start: Start, listener: socket.socket) -> None:
        proxy = start(listener.getsockname())
        for reverse in (False, True):
            ends = pair(proxy, listener)
            first, second = reversed(ends) if reverse else ends
            first.sendall(b"x")
            assert second.recv(10) == b"x"
            reset(first)
            with second, pytest.raises(ConnectionResetError):
                second.recv(10)
        proxy.wait_for_connections(0)

    def test_a_reset_is_passed_on_though_the_other_reads_nothing(
        self, start: Start, listener: socket.socket
    ) -> None:
        proxy = start(listener.getsockname())
        client, server = pair(proxy, listener)
        with server:
            client.settimeout(0.1)
            with contextlib.suppress(TimeoutError):  # both ways are full
                while True:
                    client.sendall(bytes(MIB))
            reset(client)
            proxy.wait_for_connections(0)

    def test_back_pressure_reaches_who_sends(self, start: Start, listener: socket.socket) -> None:
        proxy = start(listener.getsockname())
        for reverse in (False, True):
            ends = pair(proxy, listener)
            first, second = reversed(ends) if reverse else ends
            data = os.urandom(64 * MIB)
            with first, second, ThreadPoolExecutor(1) as pool:
                sending = pool.submit(first.sendall, data)
                while proxy.figures()["events"] < 10:
                    pass
                assert not sending.done()
                got = bytearray()
                while len(got) < len(data):
                    got += second.recv(MIB)
                sending.result(PATIENCE)
                assert got == data
        assert (peak(proxy) or 0) < 64 * MIB

    def test_both_ways_at_once(self, start: Start, listener: socket.socket) -> None:
        client, server = pair(start(listener.getsockname()), listener)
        data = os.urandom(8 * MIB)

        def send(one: socket.socket) -> None:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)

        with client, server, ThreadPoolExecutor(3) as pool:
            sends = [pool.submit(send, one) for one in (client, server)]
            reading = pool.submit(read_all, client)
            assert read_all(server) == data
            assert reading.result(PATIENCE) == data
            for each in sends:
                each.result(PATIENCE)


class TestConnecting:
    def test_who_refuses_is_followed_by_the_next_at_once(
        self, start: Start, listener: socket.socket
    ) -> None:
        proxy = start(*(unused() for _ in range(5)), listener.getsockname())
        client, server = pair(proxy, listener)
        with client, server:
            client.sendall(b"x")
            assert server.recv(10) == b"x"

    def test_where_nobody_answers_the_client_is_let_go(self, start: Start) -> None:
        proxy = start(unused(), unused())
        with connect(proxy.address) as client, contextlib.suppress(ConnectionResetError):
            assert client.recv(10) == b""
        proxy.stop()

    @pytest.mark.skipif(
        sys.platform != "linux", reason="Linux alone drops what a full queue has no room for"
    )
    def test_who_says_nothing_is_overtaken(self, start: Start, listener: socket.socket) -> None:
        with socket.socket() as silent, contextlib.ExitStack() as stack:
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            for _ in range(4):  # no further one gets an answer
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            proxy = start(silent.getsockname(), listener.getsockname())
            client, server = pair(proxy, listener)
            with client, server:
                server.sendall(b"x")
                assert client.recv(10) == b"x"
            proxy.stop()
            proxy = start(silent.getsockname(), limit=0.1)
            with connect(proxy.address) as client, contextlib.suppress(ConnectionResetError):
                assert client.recv(10) == b""
            proxy.stop()

    def test_more_clients_than_descriptors_wait_their_turn(
        self, start: Start, listener: socket.socket
    ) -> None:
        limited = ("sh", "-c", 'ulimit -n 40; exec "$@"', "sh")  # for six at once
        proxy = start(listener.getsockname(), before=limited)
        clients = [connect(proxy.address) for _ in range(30)]
        before = proxy.figures()
        asked = 1
        while (now := proxy.figures())["connections"] < 6:
            asked += 1
        for _ in range(50):
            now = proxy.figures()
        assert now["connections"] == 6
        assert now["polls"] - before["polls"] <= asked + 50 + 100
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
            client.shutdown(socket.SHUT_WR)
            server, _ = listener.accept()
            with server, client:
                got = read_all(server)
                server.shutdown(socket.SHUT_WR)
                assert got == b"%d" % number
                assert read_all(client) == b""
        proxy.wait_for_connections(0)
        proxy.stop()

    @needs_prlimit
    def test_it_sleeps_where_others_have_all_descriptors(
        self, start: Start, listener: socket.socket
    ) -> None:
        proxy = start(listener.getsockname())
        client = proxy.connect_without_descriptors()
        server, _ = listener.accept()
        with client, server:
            server.sendall(b"x")
            assert client.recv(10) == b"x"
        proxy.wait_for_connections(0)
        proxy.stop()


class TestStopping:
    @pytest.mark.skipif(
        sys.platform != "linux", reason="elsewhere a queue has room for 128, unless it is tuned"
    )
    def test_all_who_are_in_the_queue_are_taken(
        self, start: Start, listener: socket.socket
    ) -> None:
        listener.listen(1000)  # a queue that overflows may lose data: Linux sends SYN cookies
        proxy = start(listener.getsockname())
        proxy.signal(signal.SIGSTOP)
        clients = [connect(proxy.address) for _ in range(300)]
        proxy.signal(signal.SIGTERM)
        proxy.signal(signal.SIGCONT)
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
            client.shutdown(socket.SHUT_WR)
        for _ in clients:
            server, _address = listener.accept()
            server.settimeout(PATIENCE)
            with server:
                server.sendall(read_all(server))
        for number, client in enumerate(clients):
            with client:
                assert read_all(client) == b"%d" % number
        proxy.expect_end()

    def test_what_runs_goes_on_and_nobody_new_is_taken(
        self, start: Start, listener: socket.socket
    ) -> None:
        proxy = start(listener.getsockname())
        client, server = pair(proxy, listener)
        with client, server:
            proxy.signal(signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                while time.monotonic() < deadline:
                    connect(proxy.address).close()
                pytest.fail("it goes on taking connections")
            client.sendall(b"x")
            assert server.recv(10) == b"x"
        listener.close()  # which resets those who were taken and never answered
        proxy.expect_end()

    def test_a_second_signal_ends_all_at_once(self, start: Start, listener: socket.socket) -> None:
        proxy = start(listener.getsockname())
        client, server = pair(proxy, listener)
        with client, server:
            client.sendall(b"x")
            assert server.recv(10) == b"x"
            proxy.signal(signal.SIGTERM)
            proxy.figures()
            proxy.signal(signal.SIGTERM)
            proxy.expect_end()
            with pytest.raises(ConnectionResetError):
                client.recv(10)
