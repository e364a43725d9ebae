"""A supervisor that runs: its configuration, its log, and an end to all that it has started."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from pollster import Interest, Poll, Process, Token

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "supervisor"
PATIENCE = 30.0
"""Seconds after which something that should have happened long ago counts as lost."""

STARTED = re.compile(r"supervisor: (\S+): started, pid (\d+)$")
ENDED = re.compile(r"supervisor: (\S+): pid (\d+) (exited|was killed)")


SOON = {"initial": 0.01, "maximum": 0.05}
"""A back-off that tests need not wait for."""


class Supervised:
    """Runs examples/supervisor on a back end, and ends it and its children in the end.

    `text` is its configuration, unless a `path` names another. `before` stands before the command,
    such as a shell that sets a limit.
    """

    def __init__(
        self,
        folder: Path,
        backend: str,
        text: str,
        *,
        path: Path | None = None,
        arguments: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        cwd: Path | None = None,
    ) -> None:
        self.path = path or folder / "supervisor.toml"
        if not path:
            self.path.write_text(text)
        self.lines: list[str] = []  # of the log, without their times
        self._seen = 0  # how many of them expect() has looked at
        self._rest = b""
        self._popen = subprocess.Popen(
            [*before, sys.executable, "-W", "error", str(PROGRAM), *arguments, str(self.path)],
            env={**os.environ, "POLLSTER_BACKEND": backend},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
        )
        self.pid = self._popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._popen.stdout
        assert self._popen.stderr
        self._popen.kill()
        self._popen.wait()
        while not self._popen.stdout.closed and self._read(0):
            pass
        self._popen.stdout.close()
        self._popen.stderr.close()
        for _, pid in self.running():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._popen.send_signal(number)

    def write(self, text: str) -> None:
        """Writes the configuration in place."""
        self.path.write_text(text)

    def replace(self, text: str) -> None:
        """Writes another file, which takes the place of the configuration."""
        other = self.path.with_suffix(".new")
        other.write_text(text)
        other.rename(self.path)

    def close_log(self) -> None:
        """Nobody reads its log any more."""
        assert self._popen.stdout
        self._popen.stdout.close()

    def running(self) -> list[tuple[str, int]]:
        """Returns (program, pid) of those that the log has as running."""
        found: dict[tuple[str, int], None] = {}
        for line in self.lines:
            if started := STARTED.match(line):
                found[started[1], int(started[2])] = None
            elif ended := ENDED.match(line):
                del found[ended[1], int(ended[2])]
        return list(found)

    def read_log(self, timeout: float) -> list[str]:
        """Returns what the log has got since anybody looked, after waiting for it for a while."""
        if self._seen == len(self.lines):
            self._read(timeout)
        new = self.lines[self._seen :]
        self._seen = len(self.lines)
        return new

    def expect(self, pattern: str) -> re.Match[str]:
        """Waits for a line of the log, after those that came before; returns the match."""
        deadline = time.monotonic() + PATIENCE
        while True:
            while self._seen < len(self.lines):
                line = self.lines[self._seen]
                self._seen += 1
                if found := re.fullmatch(pattern, line):
                    return found
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                log = "\n".join(self.lines)
                pytest.fail(f"the log has no further line {pattern!r}:\n{log}\n{self._complaint()}")

    def expect_start(self, name: str) -> int:
        """Waits until a program is started; returns its pid."""
        return int(self.expect(rf"supervisor: {name}: started, pid (\d+)")[1])

    def expect_end(self) -> None:
        """Waits for its end, after which nothing of it is left."""
        while self._read(PATIENCE):
            pass
        code = self._popen.wait(PATIENCE)
        assert (code, self._complaint()) == (0, ""), "\n".join(self.lines)
        assert self.running() == []

    def stop(self) -> None:
        """Has it end."""
        self.signal(signal.SIGTERM)
        self.expect_end()

    def wait(self) -> int:
        """Waits for its end; returns the exit code."""
        return self._popen.wait(PATIENCE)

    def refusal(self) -> str:
        """Returns what it says where it does not even start."""
        assert self._popen.stderr
        assert self._popen.wait(PATIENCE) == 2
        assert not self._read(0)
        assert self.lines == []
        return self._popen.stderr.read().decode()

    def _complaint(self) -> str:
        """Returns what is on the standard error by now."""
        assert self._popen.stderr
        os.set_blocking(self._popen.stderr.fileno(), False)
        return (self._popen.stderr.read() or b"").decode()

    def _read(self, timeout: float) -> bool:
        """Reads from the log; says whether there was something to read."""
        assert self._popen.stdout
        fd = self._popen.stdout.fileno()
        if not select.select([fd], [], [], timeout)[0]:
            return False
        data = os.read(fd, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [re.sub(r"^[-\d]+ [:.\d]+ ", "", line.decode()) for line in lines]
        return bool(data)


def program(name: str, command: list[str], **more: object) -> str:
    """Writes a program's part of a configuration; underscores of a key stand for hyphens."""
    lines = [f"{key.replace('_', '-')} = {toml(value)}" for key, value in more.items()]
    return "\n".join([f"[programs.{name}]", f"command = {toml(command)}", *lines, ""])


def toml(value: object) -> str:
    """Writes a value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return str(value)


def shell(text: str) -> list[str]:
    """Returns the command that runs a line of shell."""
    return ["sh", "-c", text]


def python(text: str) -> list[str]:
    """Returns the command that runs a Python program, for a minute and a half at most."""
    return [sys.executable, "-I", "-S", "-c", f"import signal\nsignal.alarm(90)\n{text}"]


def is_gone(pid: int) -> bool:
    """Says whether a process is gone: it has ended, and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until_ended(pid: int, backend: str) -> None:
    """Waits until any process has ended, waited for or not."""
    try:
        process = Process(pid, backend=backend)
    except ProcessLookupError:
        return
    with process, Poll(backend=backend) as poll:
        poll.registry.register(process, Token(0), Interest.READABLE)
        assert poll.poll(timeout=PATIENCE), f"process {pid} goes on"
