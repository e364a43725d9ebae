"""The self-check: each thing that pollster promises, done once for real on a back end."""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from pollster.interest import Interest
from pollster.pathwatch import PathChange, PathWatch
from pollster.poll import Poll
from pollster.process import Process
from pollster.signals import Signals
from pollster.timer import Timer
from pollster.token import Token
from pollster.waker import Waker

__all__ = ["CHECKS", "Result", "run"]

_SOON = 3.0  # seconds that a check waits for what comes at once
_ONE = Token(1)
_READABLE = Interest.READABLE


@dataclass(frozen=True)
class Result:
    """What became of a check: its name, whether all was well, and what there is to say."""

    name: str
    ok: bool
    says: str


class FaultError(Exception):
    """What a check expected did not come; the text says what, and the cure."""


def run(backend: str) -> Iterator[Result]:
    """Yields a result for each check, as it is done. Raises nothing."""
    for name, check in CHECKS.items():
        try:
            says = check(backend)
        except FaultError as fault:
            yield Result(name, False, str(fault))
        except Exception as error:  # whatever a broken machine comes up with is what is looked for
            yield Result(name, False, f"{type(error).__name__}: {_explained(error)}")
        else:
            yield Result(name, True, says)


_PATHS = re.compile(r"""'[^']*/[^']*'|"[^"]*/[^"]*"|(?<![\w)])/[^\s,;:]+""")
_FORBIDDEN = "this kernel is too old for it, or a sandbox forbids it: allow it there"
_CURES = {
    errno.EACCES: _FORBIDDEN,
    errno.EAGAIN: "end some processes or raise the limit (ulimit -u)",
    errno.EINVAL: _FORBIDDEN,
    errno.EMFILE: "close some descriptors or raise the limit (ulimit -n)",
    errno.ENFILE: "the whole system has too many open files: close some, or raise its limit",
    errno.ENOENT: "a part of the system's files is missing here: mount /proc, make a /tmp",
    errno.ENOMEM: "free some memory",
    errno.ENOSPC: "a limit is reached, see those above: raise it, or free some room",
    errno.ENOSYS: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "nothing can be written here: set TMPDIR to a folder that can be written",
}


def _explained(error: Exception) -> str:
    """Says what an error says, but for the names of files, which are the user's; and the cure."""
    number = error.errno if isinstance(error, OSError) else None
    says = str(error) if number is None else getattr(error, "strerror", None) or os.strerror(number)
    cure = _CURES.get(number or 0, "report it")
    says = _PATHS.sub("(a path)", says)
    has_cure = cure in says or "raise" in says  # the library says what to raise
    return says if has_cure else f"{says}; {cure}"


@contextlib.contextmanager
def _step(what: str) -> Generator[None, None, None]:
    """Names what failed, where an error does not say so itself."""
    try:
        yield
    except OSError as error:
        raise FaultError(f"{what}: {_explained(error)}") from error


def _expect(poll: Poll, what: str, cure: str = "report it") -> None:
    """Polls until the event of token 1 is there."""
    for event in poll.poll(timeout=_SOON):
        if event.token == _ONE:
            return
    raise FaultError(f"{what}: no event in {_SOON:g} s; {cure}")


def _registers(backend: str) -> str:
    with Poll(backend=backend) as poll:
        with _step("no socket can be opened"):
            ours, peer = socket.socketpair()
        with ours, peer:
            poll.registry.register(ours, _ONE, _READABLE)
            if poll.poll(timeout=0):
                raise FaultError("an idle socket is reported; report it")
            peer.send(b"x")
            _expect(poll, "a socket has something to read")
            poll.registry.deregister(ours)
            if poll.poll(timeout=0):
                raise FaultError("a deregistered socket is reported; report it")
    return "register, read, deregister"


def _hangs_up(backend: str) -> str:
    with _step("no pipe can be opened"):
        reader, writer = os.pipe()
    try:
        with Poll(backend=backend) as poll:
            poll.registry.register(writer, _ONE, Interest.WRITABLE)
            os.close(reader)
            reader = -1
            deadline = time.monotonic() + _SOON
            while not any(event.is_write_closed for event in poll.poll(timeout=_SOON)):
                if time.monotonic() > deadline:
                    raise FaultError("a pipe that lost its reader does not say so; report it")
    finally:
        for end in (reader, writer):
            if end >= 0:
                os.close(end)
    return "a pipe that lost its reader is write_closed"


def _wakes(backend: str) -> str:
    with Poll(backend=backend) as poll:
        waker = Waker(poll.registry, _ONE)
        waker.wake()
        _expect(poll, "a Waker")
    return "a Waker ends a wait"


def _times(backend: str) -> str:
    late: list[float] = []
    with Poll(backend=backend) as poll:
        for _ in range(5):
            deadline = time.monotonic() + 0.002
            poll.registry.register(timer := Timer.at(deadline), _ONE, _READABLE)
            _expect(poll, "a Timer")
            late.append(time.monotonic() - deadline)
            timer.close()
    if min(late) < 0:
        raise FaultError(f"a Timer was {-min(late) * 1e6:.0f} us early; report it")
    return f"a Timer of 2 ms is {sorted(late)[2] * 1e6:.0f} us late"


def _counts_signals(backend: str) -> str:
    with Poll(backend=backend) as poll, Signals(signal.SIGUSR2, backend=backend) as signals:
        poll.registry.register(signals, _ONE, _READABLE)
        os.kill(os.getpid(), signal.SIGUSR2)
        _expect(poll, "a signal")
        if signals.take() != {signal.SIGUSR2: 1}:
            raise FaultError("a signal was not counted once; report it")
    return "a signal is counted"


def _sees_a_child_end(backend: str) -> str:
    command = [sys.executable, "-I", "-S", "-c", "raise SystemExit(3)"]
    with _step("a child can't be started"):
        started = subprocess.Popen(command)
    with started as child:
        try:
            with Poll(backend=backend) as poll, _watched(child, backend) as process:
                poll.registry.register(process, _ONE, _READABLE)
                _expect(poll, "a child has ended")
                if process.returncode != 3:
                    raise FaultError(f"a child's exit status 3 was told as {process.returncode}")
        finally:
            child.kill()
    return "a child's end and its exit status"


def _watched(child: subprocess.Popen[bytes], backend: str) -> Process:
    with _step("a process can't be watched"):
        return Process(child, backend=backend)


def _sees_a_file_change(backend: str) -> str:
    with contextlib.ExitStack() as opened:
        with _step("no file can be made"):
            file = opened.enter_context(tempfile.NamedTemporaryFile(buffering=0))
        poll = opened.enter_context(Poll(backend=backend))
        with _step("a file can't be watched"):
            watch = opened.enter_context(PathWatch(file.name, backend=backend))
        poll.registry.register(watch, _ONE, _READABLE)
        file.write(b"x")
        _expect(poll, "a file was written")
        if PathChange.WRITTEN not in watch.take():
            raise FaultError("a file was written, and something else is told; report it")
    return "a file that is written"


def _survives_a_fork(backend: str) -> str:
    if not hasattr(os, "fork"):
        return "there is no fork() here"
    with Poll(backend=backend) as poll:
        waker = Waker(poll.registry, _ONE)
        with _step("no child can be forked"):
            child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                try:
                    poll.poll(timeout=0)
                except RuntimeError:
                    poll.close()
                    code = 0
            os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            raise FaultError("a forked child can use its parent's Poll; report it")
        waker.wake()
        _expect(poll, "after a fork, a Waker")
    return "a forked child can't disturb its parent"


def _closes(backend: str) -> str:
    poll = Poll(backend=backend)
    poll.close()
    try:
        poll.poll(timeout=0)
    except ValueError:
        return "a closed Poll says so"
    raise FaultError("a closed Poll can be polled; report it")


CHECKS: dict[str, Callable[[str], str]] = {
    "sources": _registers,
    "hang-ups": _hangs_up,
    "wakers": _wakes,
    "timers": _times,
    "signals": _counts_signals,
    "processes": _sees_a_child_end,
    "paths": _sees_a_file_change,
    "forks": _survives_a_fork,
    "closing": _closes,
}
