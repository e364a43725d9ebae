"""examples/prefork with examples/http as its workers: hand-overs that no client notices."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest
from served import EXAMPLES, PATIENCE, Served, connect, needs, output_of, read_all

from pollster import Interest, Poll, Process, Token

BIG = os.urandom(5_000_000)
READY = r"worker (\d+) of listener (\d+) is ready"
SERVE = [sys.executable, str(EXAMPLES / "http")]

Start = Callable[..., "Prefork"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration, and what is served by it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    (tmp_path / "one" / "big").write_bytes(BIG)
    return tmp_path / "prefork.toml"


def configuration(
    file: Path, site: str, *, command: list[str] | None = None, spread: bool = True
) -> str:
    words = command or [
        *SERVE,
        str(file.parent / site),
        "--fd",
        "{fd}",
        "--grace",
        "5",
        "--header",
        "1000",
    ]
    return f"""
listen = "127.0.0.1:0"
workers = 2
spread = {str(spread).lower()}
command = {words!r}
"""


@pytest.fixture
def start(queue: str, file: Path) -> Iterator[Start]:
    """Starts it on a back end, and ends its workers, whatever happens."""
    with contextlib.ExitStack() as running:

        def start(spread: bool = True) -> "Prefork":
            file.write_text(configuration(file, "one", spread=spread))
            return running.enter_context(Prefork(queue, file))

        yield start


class Prefork(Served):
    """It, and its workers, of which it tells."""

    def __init__(self, backend: str, file: Path, cwd: Path | None = None) -> None:
        self.workers: set[int] = set()
        super().__init__("prefork", backend, file, cwd=cwd)

    def line(self) -> str:
        line = super().line()
        if found := re.match(r"worker (\d+) (of|has ended)", line):
            (self.workers.add if found[2] == "of" else self.workers.discard)(int(found[1]))
        return line

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        for pid in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_for_workers(self, gone: set[int]) -> None:
        """Waits until there are two, and none of those from before."""
        while len(self.workers) != 2 or self.workers & gone:
            self.line()


def get(prefork: Served) -> str:
    with connect(prefork.address) as client:
        client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return read_all(client).rpartition(b"\r\n\r\n")[2].decode()


def wait_for_end(pid: int, backend: str) -> None:
    try:
        process = Process(pid, backend=backend)
    except ProcessLookupError:
        return
    with process, Poll(backend=backend) as poll:
        poll.registry.register(process, Token(0), Interest.READABLE)
        assert poll.poll(timeout=PATIENCE)


class TestHandOver:
    @needs("wrk")
    @pytest.mark.parametrize("spread", [True, False])
    def test_workers_are_replaced_and_no_client_notices(
        self, start: Start, file: Path, spread: bool
    ) -> None:
        prefork = start(spread=spread)
        command = ["wrk", "-t1", "-c20", "-d2", f"{prefork.url}/a.txt"]
        rounds = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            while load.poll() is None and rounds < 20:
                before = set(prefork.workers)
                if rounds % 2:
                    prefork.signal(signal.SIGHUP)
                else:
                    new = file.with_suffix(".new")
                    new.write_text(configuration(file, "two", spread=spread))
                    new.rename(file)
                prefork.wait_for_workers(before)
                rounds += 1
            output, _ = load.communicate(timeout=PATIENCE)
        assert rounds >= 1
        print(f"{rounds} times", re.findall(r"\d+ requests in", output))
        assert "Socket errors" not in output, output
        assert "Non-2xx" not in output, output
        assert get(prefork) == "two"
        prefork.stop()

    def test_what_is_being_sent_arrives_from_the_old_worker(self, start: Start) -> None:
        prefork = start()
        before = set(prefork.workers)
        with connect(prefork.address) as client:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = client.recv(10)
            prefork.signal(signal.SIGHUP)
            while len(prefork.workers - before) < 2:
                prefork.line()
            assert (got + read_all(client)).endswith(BIG)
        prefork.wait_for_workers(before)
        prefork.stop()

    def test_a_worker_that_was_killed_is_missed_by_nobody(self, start: Start) -> None:
        prefork = start()
        before = set(prefork.workers)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        for _ in range(20):  # they wait until somebody is there
            assert get(prefork) == "one"
        prefork.wait_for_workers(before)
        prefork.stop()

    @pytest.mark.parametrize(
        "command",
        [["/missing", "{fd}"], [sys.executable, "-c", "exit(3)", "{fd}"]],
        ids=["missing", "fails"],
    )
    def test_the_old_workers_go_on_where_the_new_ones_fail(
        self, start: Start, file: Path, command: list[str]
    ) -> None:
        prefork = start()
        before = set(prefork.workers)
        file.write_text(configuration(file, "two", command=command))
        prefork.expect(r"the workers that are left go on as they are")
        assert get(prefork) == "one"
        assert prefork.workers == before
        file.write_text(configuration(file, "two"))
        prefork.wait_for_workers(before)
        assert get(prefork) == "two"
        prefork.stop()

    def test_a_wrong_configuration_changes_nothing(self, start: Start, file: Path) -> None:
        prefork = start()
        for wrong in ("", "listen = 1\n", "command = [", 'listen = "x:1"\ncommand = ["x"]\n'):
            file.write_text(wrong)
            prefork.signal(signal.SIGHUP)
            prefork.expect(r"the old configuration goes on: .*")
        assert get(prefork) == "one"
        prefork.stop()


class TestStopping:
    def test_a_request_that_is_half_here_is_finished(self, start: Start) -> None:
        prefork = start()
        with connect(prefork.address) as client:
            client.sendall(b"GET /a.txt HTTP/1.1\r\n")
            assert get(prefork) == "one"
            prefork.signal(signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                while time.monotonic() < deadline:
                    connect(prefork.address).close()
                pytest.fail("it goes on taking connections")
            client.sendall(b"Host: x\r\n\r\n")
            assert read_all(client).endswith(b"one")
        prefork.expect_end()

    def test_a_second_signal_kills(self, start: Start, queue: str) -> None:
        prefork = start()
        with connect(prefork.address) as client:
            client.sendall(b"GET /a.txt HTTP/1.1\r\n")
            assert get(prefork) == "one"
            workers = set(prefork.workers)
            prefork.signal(signal.SIGTERM)
            prefork.figures()
            prefork.signal(signal.SIGTERM)
            prefork.expect_end()
        for pid in workers:
            wait_for_end(pid, queue)

    def test_a_configuration_that_is_wrong_at_the_start_is_told(self, file: Path) -> None:
        for text, told in (
            ('listen = "127.0.0.1:0"\n', "the key 'command' is missing"),
            ('command = ["x"]\nlisten = "127.0.0.1:0"\n', "a command without {fd}"),
            ('command = ["{fd}"]\nlisten = "127.0.0.1:0"\nworker = 1\n', "no key worker"),
        ):
            file.write_text(text)
            command = [sys.executable, str(EXAMPLES / "prefork"), str(file)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            assert (done.returncode, done.stdout) == (1, "")
            assert told in done.stderr


@needs("curl")
def test_the_file_of_the_page_runs(queue: str, tmp_path: Path) -> None:
    page = EXAMPLES.parent / "docs" / "prefork.md"
    sample = re.search(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    assert sample
    text = sample[1].replace(":8000", ":0").replace('"python"', repr(sys.executable))
    (tmp_path / "page.toml").write_text(text.replace("examples/http", str(EXAMPLES / "http")))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# pollster")
    with Prefork(queue, tmp_path / "page.toml", cwd=tmp_path) as prefork:
        assert output_of("curl", "-sf", f"{prefork.url}/index.md") == "# pollster"
        prefork.stop()
