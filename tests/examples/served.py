"""A program of examples/ that serves, and the clients that tests drive it with."""

import contextlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 30.0
"""Seconds after which something that should have happened long ago counts as lost."""

Address = tuple[str, int]


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test where a program that drives it is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


class Served:
    """Runs a program of examples/ on a back end, and ends it. It prints where it is.

    `before` stands before the command, such as a shell that sets a limit.
    """

    def __init__(
        self,
        name: str,
        backend: str,
        *arguments: object,
        before: tuple[str, ...] = (),
        stdin: int = subprocess.DEVNULL,
        cwd: Path | None = None,
    ) -> None:
        command = [*before, sys.executable, "-W", "error", str(EXAMPLES / name)]
        self._popen = subprocess.Popen(
            command + [str(argument) for argument in arguments],
            env={**os.environ, "POLLSTER_BACKEND": backend},
            stdin=stdin,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self._popen.pid
        self._rest = b""
        try:
            found = self.expect(r"(?:http://)?127\.0\.0\.1:(\d+)/?")
            self.address: Address = ("127.0.0.1", int(found[1]))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._popen.kill()
        _, complaint = self._popen.communicate()
        if kind is not None:
            sys.stderr.write(complaint.decode())

    def line(self) -> str:
        """Waits for the next line that it prints."""
        assert self._popen.stdout
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self._rest:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self._popen.stdout], [], [], left)[0]
            data = os.read(self._popen.stdout.fileno(), 65536) if ready else b""
            if not data:
                self._popen.kill()
                pytest.fail(f"it printed no further line: {self._popen.communicate()[1].decode()}")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def expect(self, pattern: str) -> re.Match[str]:
        """Waits for a line, after those that came before; returns the match."""
        while not (found := re.fullmatch(pattern, self.line())):
            pass
        return found

    def type(self, text: str) -> None:
        """Writes to its standard input, which is a pipe."""
        assert self._popen.stdin
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def figures(self) -> dict[str, int]:
        """Asks what it has done: "connections" (or workers), and the fields of `Stats`."""
        self.signal(signal.SIGUSR1)
        line = self.expect(r"(\d+) .*, Stats\(.*\)")
        found = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line[0])}
        return {"connections": int(line[1]), **found}

    def wait_for_connections(self, number: int) -> None:
        """Waits until it has so many."""
        deadline = time.monotonic() + PATIENCE
        while (now := self.figures()["connections"]) != number:
            assert time.monotonic() < deadline, f"it has {now} connections, not {number}"

    def expect_end(self) -> None:
        """Waits for its end, which must be a good one."""
        code = self._popen.wait(PATIENCE)
        assert self._popen.stderr
        assert (code, self._popen.stderr.read().decode()) == (0, "")

    def stop(self) -> None:
        """Has it end."""
        self.signal(signal.SIGTERM)
        self.expect_end()

    def connect_without_descriptors(self) -> socket.socket:
        """Connects while it can open none; it must sleep then, and try again now and then."""
        before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        # Below it all are open; and poll(2), in the kqueue for tests, wants it above their number.
        fds = {int(entry.name) for entry in Path(f"/proc/{self.pid}/fd").iterdir()}
        free = min(set(range(len(fds) + 1)) - fds)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (free, before[1]))
        first = now = self.figures()
        client = connect(self.address)
        deadline, asked = time.monotonic() + PATIENCE, 0
        while now["changes"] < first["changes"] + 10:
            assert time.monotonic() < deadline, "it does not try again"
            now = self.figures()
            asked += 1
        assert now["polls"] - first["polls"] <= asked + 2 * (now["changes"] - first["changes"])
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, before)
        return client

    def descriptors(self) -> int | None:
        """Returns how many it has open; None where the system does not tell."""
        folder = Path(f"/proc/{self.pid}/fd")
        return len(list(folder.iterdir())) if folder.is_dir() else None


needs_prlimit = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="Linux alone sets the limits of a process that runs"
)


def connect(address: Address) -> socket.socket:
    """Connects; nothing waits for ever then."""
    return socket.create_connection(address, timeout=PATIENCE)


def read_all(client: socket.socket) -> bytes:
    """Reads to the end, which must be one, and no reset."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def reset(client: socket.socket) -> None:
    """Ends a connection by a reset, which leaves no port behind that has to time out."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def output_of(*command: object) -> str:
    """Runs a client to its end, which must be a good one; returns what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, timeout=4 * PATIENCE)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


@contextlib.contextmanager
def descriptors_for(wanted: int) -> Iterator[int]:
    """Raises the limit of this process, and of those that it starts.

    Says for how many of the connections that are wanted there is room then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, 20_000 if hard == resource.RLIM_INFINITY else hard)
    number = min(wanted, most - 200)
    if number < wanted:
        print(f"{number:,} connections: RLIMIT_NOFILE allows no more")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        yield number
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connected(server: Served, number: int) -> Iterator[list[socket.socket]]:
    """Connects so many clients, and waits until the server has them all; resets them in the end."""
    clients: list[socket.socket] = []
    try:
        for count in range(number):
            clients.append(connect(server.address))
            if count % 100 == 0:  # the queue of those who wait is not endless
                server.wait_for_connections(count + 1)
        server.wait_for_connections(number)
        yield clients
    finally:
        for client in clients:
            reset(client)
