"""`python -m pollster.demo`: what it prints, what it makes of bad servers, and its exit code.

Order never hangs on the clock here, except with the demo's own server, whose delays are the point:
`ScriptedServer` answers one request after the other, each once the client is done with the last.
"""

import contextlib
import doctest
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from pollster.demo import options, timeline
from pollster.demo.__main__ import NoAnswerError, is_answer, main, message
from pollster.demo.server import LONGEST_DELAY, DelayServer
from pollster.demo.server import main as server_main
from pollster.demo.timeline import Span

PATIENCE = 30.0
"""Seconds after which something that should have happened long ago counts as lost."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n"
DROP = b""
RESET = b"reset"
FIVE = ["RECEIVED: 5", "RECEIVED: 4", "RECEIVED: 3", "RECEIVED: 2", "RECEIVED: 1", "FINISHED"]


class ScriptedServer:
    """A server that collects `requests` requests and then follows a script, step by step.

    A step is a request's number and what to answer: bytes, `DROP` or `RESET`. The next step
    waits until the client has closed the connection. Requests that the script leaves out are never
    answered. `log` tells what the server saw and did.
    """

    def __init__(
        self, requests: int, script: Sequence[tuple[int, bytes]], host: str = "127.0.0.1"
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._listener.settimeout(PATIENCE)
        self.port: int = self._listener.getsockname()[1]
        self.log: list[str] = []
        self.heads: dict[int, str] = {}
        self._requests = requests
        self._script = script
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._listener)
            connections: dict[int, socket.socket] = {}
            for _ in range(self._requests):
                connection = stack.enter_context(self._listener.accept()[0])
                connection.settimeout(PATIENCE)
                head = read_head(connection)
                found = re.search(r"/request/(\d+) ", head)
                assert found is not None
                number = int(found[1])
                connections[number] = connection
                self.heads[number] = head
                self.log.append(f"saw {number}")
            for number, answer in self._script:
                self.log.append(f"answered {number}")
                self._answer(connections[number], answer)
            self._over.wait(PATIENCE)

    def _answer(self, connection: socket.socket, answer: bytes) -> None:
        if answer == RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        elif answer == DROP:
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
        else:
            connection.sendall(answer)
            read_all(connection)


def read_head(connection: socket.socket) -> str:
    """Reads until the empty line that ends a request's head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        assert received, f"the request breaks off after {head!r}"
        head += received
    return head.decode()


def read_all(connection: socket.socket) -> bytes:
    """Reads until the peer closes."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while received := connection.recv(4096):
            answer += received
    return answer


def descending(requests: int, **special: bytes) -> list[tuple[int, bytes]]:
    """The script of a good server, with special answers for some: `_3=DROP`."""
    return [(number, special.get(f"_{number}", OK)) for number in range(requests, 0, -1)]


def aim(server: ScriptedServer, backend: str, *more: str) -> list[str]:
    return ["--backend", backend, "--port", str(server.port), "--delay-step", "0", *more]


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "always::ResourceWarning", "-m", "pollster.demo", *arguments]


@contextlib.contextmanager
def started(
    arguments: Sequence[str], directory: Path
) -> Generator[subprocess.Popen[str], None, None]:
    """Runs a program that Ctrl-C reaches, and kills it at the end if it still runs.

    Where the tests themselves run in the background, a shell has them ignore SIGINT, and so would
    their children.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with subprocess.Popen(
            arguments,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.kill()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, but where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class TestWithItsOwnServer:
    def test_five_answers_arrive_in_descending_order(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--backend", backend]) == 0
        out, err = capsys.readouterr()
        assert out.splitlines() == FIVE
        assert re.fullmatch(
            r"delays of 2\.00 s in all, the longest of 0\.80 s: "
            rf"took [0-9.]+ s on {backend}\n",
            err,
        )

    def test_it_runs_as_a_program_and_leaves_nothing_open(
        self, backend: str, tmp_path: Path
    ) -> None:
        done = subprocess.run(
            demo("--backend", backend),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.stdout.splitlines() == FIVE
        assert re.fullmatch(rf"delays of .* took .* on {backend}\n", done.stderr)
        assert done.returncode == 0

    def test_it_leaves_no_thread_behind(self, backend: str) -> None:
        before = threading.active_count()
        main(["--backend", backend, "--requests", "1"])
        assert threading.active_count() == before

    def test_the_number_of_requests_is_free(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--backend", backend, "--requests", "2", "--delay-step", "0.1"]) == 0
        assert capsys.readouterr().out.splitlines() == ["RECEIVED: 2", "RECEIVED: 1", "FINISHED"]

    def test_a_path_that_the_server_lacks_is_an_error_for_each_request(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--backend", backend, "--requests", "2", "--path", "/slow/{delay}"]
        assert main(arguments) == 1
        out, err = capsys.readouterr()
        assert out == "FINISHED\n"
        errors = sorted(line for line in err.splitlines() if line.startswith("request"))
        assert [re.sub(r":\d+", ":PORT", line) for line in errors] == [
            "request 1 to 127.0.0.1:PORT failed: the answer is HTTP status 404",
            "request 2 to 127.0.0.1:PORT failed: the answer is HTTP status 404",
        ]

    def test_raw_shows_what_each_poll_brought_as_the_kernel_gave_it(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--backend", backend, "--requests", "1", "--raw"]) == 0
        lines = capsys.readouterr().out.splitlines()
        entries = [line for line in lines if line.startswith("  ")]
        name, write, read = {
            "epoll": ("epoll_event", "EPOLLOUT", "EPOLLIN"),
            "kqueue": ("kevent", "EVFILT_WRITE", "EVFILT_READ"),
        }[backend]
        assert all(re.fullmatch(rf"  {name}\(.*\)", entry) for entry in entries)
        assert write in entries[0]
        assert read in entries[-1]
        assert lines[0] == "POLL:"
        assert lines[-4:] == ["POLL:", entries[-1], "RECEIVED: 1", "FINISHED"]

    def test_timeline_draws_a_bar_for_each_request_before_the_last_line(
        self,
        backend: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("COLUMNS", "60")
        arguments = ["--backend", backend, "--requests", "2", "--delay-step", "0.1", "--timeline"]
        assert main(arguments) == 0
        out = capsys.readouterr().out
        lines = out.splitlines()
        assert lines[:2] == ["RECEIVED: 2", "RECEIVED: 1"]
        assert re.fullmatch(r"1 \|-*>\.+\*\| \d\.\d\d s", lines[3])
        assert re.fullmatch(r"2 \|-*>?\.*\* +\| \d\.\d\d s", lines[4])
        assert lines[-1] == "FINISHED"
        assert max(map(len, lines)) == 60
        assert out.isascii()

    def test_ctrl_c_ends_it_without_a_traceback(self, backend: str, tmp_path: Path) -> None:
        arguments = demo("--backend", backend, "--requests", "2", "--delay-step", "250")
        with started(arguments, tmp_path) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "RECEIVED: 2\n"
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=PATIENCE)
        assert (out, err, running.returncode) == ("", "", 130)

    def test_a_reader_that_has_gone_away_ends_it_without_a_traceback(
        self, backend: str, tmp_path: Path
    ) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(
                demo("--backend", backend, "--requests", "1"),
                cwd=tmp_path,
                stdout=writer,
                stderr=subprocess.PIPE,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        finally:
            os.close(writer)
        assert (done.stderr, done.returncode) == ("", 1)


class TestWithAnotherServer:
    def test_all_requests_wait_at_the_same_time(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The server has each request before it answers one: the time is that of the longest."""
        with ScriptedServer(5, descending(5)) as server:
            assert main(aim(server, backend)) == 0
        assert capsys.readouterr().out.splitlines() == FIVE
        assert all(entry.startswith("saw") for entry in server.log[:5])
        assert server.log[5:] == [f"answered {number}" for number in (5, 4, 3, 2, 1)]

    def test_each_request_asks_for_its_delay(self, backend: str) -> None:
        with ScriptedServer(3, descending(3)) as server:
            arguments = aim(server, backend, "--requests", "3", "--delay-step", "0.25")
            assert main([*arguments, "--path", "/d/{delay}/{seconds}/request/{number}"]) == 0
        lines = {number: head.split("\r\n") for number, head in server.heads.items()}
        assert lines[1][0] == "GET /d/500/0.5/request/1 HTTP/1.1"
        assert lines[2][0] == "GET /d/250/0.25/request/2 HTTP/1.1"
        assert lines[3][0] == "GET /d/0/0/request/3 HTTP/1.1"
        assert f"Host: 127.0.0.1:{server.port}" in lines[1]
        assert "Connection: close" in lines[1]

    def test_any_other_order_of_arrival_is_printed_and_is_a_failure(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ScriptedServer(3, [(2, OK), (3, OK), (1, OK)]) as server:
            assert main(aim(server, backend, "--requests", "3")) == 1
        out, err = capsys.readouterr()
        assert out.splitlines() == ["RECEIVED: 2", "RECEIVED: 3", "RECEIVED: 1", "FINISHED"]
        assert "the answers did not come in descending order\n" in err

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (DROP, "the connection was dropped without an answer"),
            (RESET, "the connection was dropped without an answer (Connection reset by peer)"),
            (
                b"SSH-2.0-OpenSSH_9.6\r\n",
                "this is not an HTTP answer: b'SSH-2.0-OpenSSH_9.6\\r\\n'",
            ),
            (b"HTTP/1.1 fine\r\n", "this is not an HTTP answer: b'HTTP/1.1 fine\\r\\n'"),
            (b"HTTP/1.1 503 Busy\x1b[2J\r\n\r\n", "the answer is HTTP status 503"),
        ],
        ids=["dropped", "reset", "another protocol", "no status", "status 503"],
    )
    def test_one_bad_answer_is_one_clear_line_and_the_other_requests_finish(
        self, backend: str, answer: bytes, reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ScriptedServer(3, descending(3, _2=answer)) as server:
            assert main(aim(server, backend, "--requests", "3")) == 1
        out, err = capsys.readouterr()
        assert out.splitlines() == ["RECEIVED: 3", "RECEIVED: 1", "FINISHED"]
        line, summary = err.splitlines()
        assert line == f"request 2 to 127.0.0.1:{server.port} failed: {reason}"
        assert summary.startswith("delays of")

    def test_a_server_that_accepts_and_closes_has_dropped_the_connection(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def accept_and_close(listener: socket.socket) -> None:
            for _ in range(2):
                listener.accept()[0].close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            thread = threading.Thread(target=accept_and_close, args=[listener])
            thread.start()
            port = listener.getsockname()[1]
            assert main(["--backend", backend, "--port", str(port), "--requests", "2"]) == 1
            thread.join()
        out, err = capsys.readouterr()
        assert out == "FINISHED\n"
        assert len(re.findall(r"^request \d .* dropped without an answer", err, re.MULTILINE)) == 2

    def test_a_refused_connection_is_one_clear_line_for_each_request(
        self, backend: str, refusing_port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--backend", backend, "--port", str(refusing_port), "--requests", "2"]) == 1
        out, err = capsys.readouterr()
        assert out == "FINISHED\n"
        where = f"127.0.0.1:{refusing_port}"
        assert sorted(err.splitlines())[1:] == [
            f"request 1 to {where} failed: Connection refused",
            f"request 2 to {where} failed: Connection refused",
        ]

    def test_what_is_unanswered_in_time_is_one_clear_line_each(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ScriptedServer(2, []) as server:
            arguments = aim(server, backend, "--requests", "2", "--timeout", "0.25", "--timeline")
            assert main(arguments) == 1
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == "FINISHED"
        where = f"127.0.0.1:{server.port}"
        assert err.splitlines()[:2] == [
            f"request 1 to {where} failed: no answer within 0.25 s",
            f"request 2 to {where} failed: no answer within 0.25 s",
        ]

    def test_one_unanswered_request_does_not_keep_the_others(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ScriptedServer(3, [(3, OK), (1, OK)]) as server:
            assert main(aim(server, backend, "--requests", "3", "--timeout", "1")) == 1
        out, err = capsys.readouterr()
        assert out.splitlines() == ["RECEIVED: 3", "RECEIVED: 1", "FINISHED"]
        assert re.match(r"request 2 to .* failed: no answer within 1 s\n", err)

    def test_the_addresses_of_a_name_are_tried_in_turn(
        self,
        backend: str,
        refusing_port: int,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with ScriptedServer(2, descending(2)) as server:
            how = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            addresses = [(*how, ("127.0.0.1", port)) for port in (refusing_port, server.port)]

            def known(*_args: Any, **_kwargs: Any) -> list[Any]:
                return list(addresses)

            monkeypatch.setattr(socket, "getaddrinfo", known)
            arguments = aim(server, backend, "--host", "two.invalid", "--requests", "2")
            assert main(arguments) == 0
        assert capsys.readouterr().out.splitlines() == ["RECEIVED: 2", "RECEIVED: 1", "FINISHED"]
        assert f"Host: two.invalid:{server.port}\r\n" in server.heads[1]

    def test_an_ipv6_address_will_do(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            pytest.skip(f"this machine has no IPv6 loopback: {error}")
        with ScriptedServer(2, [(2, OK), (1, DROP)], host="::1") as server:
            assert main(aim(server, backend, "--host", "::1", "--requests", "2")) == 1
        out, err = capsys.readouterr()
        assert out.splitlines() == ["RECEIVED: 2", "FINISHED"]
        assert err.startswith(f"request 1 to [::1]:{server.port} failed: ")
        assert f"Host: [::1]:{server.port}\r\n" in server.heads[1]

    def test_a_name_that_does_not_resolve_is_one_clear_line_in_all(
        self,
        backend: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def unknown(*_args: Any, **_kwargs: Any) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert main(["--backend", backend, "--host", "nowhere.invalid"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == "the name nowhere.invalid does not resolve: Name or service not known\n"

    def test_a_name_that_can_be_none_is_one_clear_line_too(
        self, backend: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--backend", backend, "--host", "a..b"]) == 1
        assert re.fullmatch(r"the name a\.\.b does not resolve: .*\n", capsys.readouterr().err)


class TestTheAnswer:
    @pytest.mark.parametrize(
        "piece", [b"", b"H", b"HTTP/1.", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r"]
    )
    def test_it_has_not_begun_before_its_status_line_is_there(self, piece: bytes) -> None:
        assert not is_answer(piece)

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 204 \r\nA: b\r\n", b"HTTP/1.1 299\nmore"]
    )
    def test_it_is_one_with_a_status_of_2xx(self, answer: bytes) -> None:
        assert is_answer(answer)

    @pytest.mark.parametrize(
        "answer",
        [b"X", b"\r\n", b"HTTP/2", b"HTTP/1.1 2000 OK\r\n", b"HTTP/1.1" + b" " * 5000, b"\x16\x03"],
    )
    def test_it_is_none_as_soon_as_it_cannot_be_http(self, answer: bytes) -> None:
        with pytest.raises(NoAnswerError, match="not an HTTP answer"):
            is_answer(answer)

    @pytest.mark.parametrize("status", [101, 301, 404, 500])
    def test_any_other_status_is_a_failure(self, status: int) -> None:
        with pytest.raises(NoAnswerError, match=f"HTTP status {status}"):
            is_answer(b"HTTP/1.1 %d Well\r\n" % status)


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("example.org", 80, "example.org"),
        ("example.org", 8080, "example.org:8080"),
        ("bücher.example", 80, "xn--bcher-kva.example"),
        ("fe80::1%lo0", 80, "[fe80::1]"),
    ],
)
def test_a_request_names_the_host(host: str, port: int, name: str) -> None:
    head = message(host, port, "/delay/0").decode("ascii").split("\r\n")
    assert head[0] == "GET /delay/0 HTTP/1.1"
    assert head[1] == f"Host: {name}"
    assert head[-2:] == ["", ""]


class TestTheCommandLine:
    def test_an_unknown_backend_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--backend", "carrier-pigeon"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "carrier-pigeon" in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--requests", "0"],
            ["--requests", "-1"],
            ["--requests", "some"],
            ["--requests", "10001"],
            ["--delay-step", "-0.1"],
            ["--delay-step", "nan"],
            ["--delay-step", "inf"],
            ["--delay-step", "soon"],
            ["--timeout", "-1"],
            ["--port", "0"],
            ["--port", "65536"],
            ["--port", "http"],
            ["--host", ""],
            ["--path", "/nothing/to/fill/in"],
            ["--path", "/only/{number}"],
            ["--path", "/{delay}/{other}"],
            ["--path", "/{delay.real}"],
            ["--path", "/{delay!r}"],
            ["--path", "/{delay:>5}"],
            ["--path", "/{delay"],
            ["--path", "delay/{delay}"],
            ["--path", "/{delay} HTTP/1.1\r\nX: y"],
            ["--path", "/ü/{delay}"],
            ["--nonsense"],
            ["--requests", "2", "--delay-step", str(LONGEST_DELAY + 1)],
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as refused:
            main(arguments)
        assert refused.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "error: " in err

    def test_a_host_or_a_port_alone_will_do(self) -> None:
        assert options.parse([]).host is None
        assert options.parse(["--port", "8080"]).host == "127.0.0.1"
        assert options.parse(["--host", "example.org"]).port == 80

    def test_without_a_timeout_it_waits_longer_than_the_longest_delay(self) -> None:
        asked = options.parse(["--requests", "3", "--delay-step", "100", "--port", "8080"])
        assert asked.delay(1) == 200
        assert asked.timeout == 210

    def test_an_own_timeout_holds(self) -> None:
        assert options.parse(["--timeout", "1.5"]).timeout == 1.5

    def test_help_says_what_the_exit_code_means(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as done:
            main(["--help"])
        assert done.value.code == 0
        assert "Exit code 0" in capsys.readouterr().out


class TestTheTimeline:
    SPANS = (
        Span(number=1, sent=0.1, ended=1.0, answered=True),
        Span(number=2, sent=0.0, ended=0.5, answered=False),
        Span(number=3, sent=None, ended=0.2, answered=False),
    )

    def test_it_shows_connecting_waiting_and_the_end_to_scale(self) -> None:
        assert timeline.draw(self.SPANS, 32).splitlines() == [
            "   0 s            1.00 s",
            "1 |-->.................*| 1.00 s",
            "2 |>.........x          | 0.50 s",
            "3 |----x                | 0.20 s",
            "   - connecting  > sent",
            "   . waiting  * answered",
            "   x failed",
        ]

    @pytest.mark.parametrize("width", [40, 80, 200])
    def test_it_fills_the_width_and_no_more(self, width: int) -> None:
        assert max(map(len, timeline.draw(self.SPANS, width).splitlines())) == width

    def test_a_terminal_without_room_gets_short_bars(self) -> None:
        bars = [line for line in timeline.draw(self.SPANS, 1).splitlines() if "|" in line]
        assert {len(bar.split("|")[1]) for bar in bars} == {timeline.SHORTEST_BAR}

    def test_requests_that_took_no_time_can_be_drawn(self) -> None:
        nothing = Span(number=12, sent=0.0, ended=0.0, answered=True)
        assert f"12 |{'*':<20}| 0.00 s" in timeline.draw([nothing], 1)

    def test_its_example_is_true(self) -> None:
        assert doctest.testmod(timeline).failed == 0


def ask(server: DelayServer, request: bytes) -> bytes:
    """Sends a request and returns all that comes back."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return read_all(connection)


def get(server: DelayServer, path: str) -> str:
    return ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).decode()


class TestTheDelayServer:
    @pytest.mark.parametrize("path", ["/delay/0", "/delay/0/", "/delay/10/a/b?c=d", "/delay/007"])
    def test_it_answers_whatever_follows_the_delay(self, path: str) -> None:
        with DelayServer() as server:
            head, _, body = get(server, path).partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(body)}" in head.split("\r\n")
        assert "Connection: close" in head.split("\r\n")

    def test_a_longer_delay_is_answered_later(self) -> None:
        with DelayServer() as server, contextlib.ExitStack() as stack:
            where = (server.host, server.port)
            slow, fast = (
                stack.enter_context(socket.create_connection(where, timeout=PATIENCE))
                for _ in range(2)
            )
            slow.sendall(b"GET /delay/300000 HTTP/1.1\r\n\r\n")
            fast.sendall(b"GET /delay/10 HTTP/1.1\r\n\r\n")
            assert read_all(fast).startswith(b"HTTP/1.1 200 ")
            slow.setblocking(False)
            with pytest.raises(BlockingIOError):
                slow.recv(1)

    @pytest.mark.parametrize(
        ("request_line", "status"),
        [
            ("GET / HTTP/1.1", 404),
            ("GET /delayed/1 HTTP/1.1", 404),
            ("GET /delay HTTP/1.1", 404),
            ("GET /delay/ HTTP/1.1", 400),
            ("GET /delay/soon HTTP/1.1", 400),
            ("GET /delay/-1 HTTP/1.1", 400),
            ("GET /delay/1.5/ HTTP/1.1", 400),
            (f"GET /delay/{LONGEST_DELAY * 1000 + 1:.0f} HTTP/1.1", 400),
            (f"GET /delay/{'9' * 6000} HTTP/1.1", 400),
            ("GET /delay/0", 400),
            ("GET /delay/0 HTTP/2.0", 400),
            ("nonsense", 400),
            ("POST /delay/0 HTTP/1.1", 501),
            (f"GET /delay/0?{'x' * 100_000} HTTP/1.1", 431),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_it_refuses_what_it_cannot_do(self, request_line: str, status: int) -> None:
        with DelayServer() as server:
            answer = ask(server, f"{request_line}\r\n\r\n".encode())
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())

    def test_a_client_that_goes_away_is_no_news(
        self, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with DelayServer() as server:
            where = (server.host, server.port)
            for request in (b"", b"GET /del", b"GET /delay/20 HTTP/1.1\r\n\r\n"):
                with socket.create_connection(where, timeout=PATIENCE) as connection:
                    connection.sendall(request)
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            assert get(server, "/delay/40").startswith("HTTP/1.1 200 ")
        assert capsys.readouterr() == ("", "")
        assert caplog.records == []

    def test_it_stops_without_waiting_for_answers_that_are_due(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with DelayServer() as server:
            where = (server.host, server.port)
            connection = socket.create_connection(where, timeout=PATIENCE)
            connection.sendall(b"GET /delay/300000 HTTP/1.1\r\n\r\n")
            assert get(server, "/delay/0").startswith("HTTP/1.1 200 ")
        with connection:
            assert read_all(connection) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(where, timeout=PATIENCE)
        assert "delay server" not in [thread.name for thread in threading.enumerate()]
        assert caplog.records == []

    def test_it_runs_by_hand(self, tmp_path: Path) -> None:
        arguments = [sys.executable, "-m", "pollster.demo.server", "--port", "0"]
        with started(arguments, tmp_path) as running:
            assert running.stdout is not None
            address = re.fullmatch(
                r"http://127\.0\.0\.1:(\d+)/delay/<milliseconds>/\n", running.stdout.readline()
            )
            assert address is not None
            where = ("127.0.0.1", int(address[1]))
            with socket.create_connection(where, timeout=PATIENCE) as connection:
                connection.sendall(b"GET /delay/1 HTTP/1.1\r\n\r\n")
                assert read_all(connection).startswith(b"HTTP/1.1 200 ")
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=PATIENCE)
        assert (out, err, running.returncode) == ("", "", 130)

    def test_by_hand_it_says_why_it_cannot_listen(
        self, refusing_port: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as refused:
            server_main(["--port", str(refusing_port)])
        assert refused.value.code == 2
        assert f"can't listen on 127.0.0.1 port {refusing_port}: " in capsys.readouterr().err

    @pytest.mark.parametrize("port", ["-1", "65536", "http"])
    def test_by_hand_it_refuses_what_is_no_port(
        self, port: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as refused:
            server_main(["--port", port])
        assert refused.value.code == 2
        assert port in capsys.readouterr().err
