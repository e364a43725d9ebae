"""What every test has: the back ends of this machine, sources, a way to state what must come."""

import contextlib
import fcntl
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pollster.backend
from pollster import Event, Poll

# What several files have in common is found under any of pytest's import modes.
sys.path.insert(0, str(Path(__file__).parent))

from kernels import is_chosen, mark_shutdowns

WAIT = 10.0  # seconds until a test that still waits has failed

Ready = dict[int, set[str]]


def tested_backends() -> tuple[str, ...]:
    """Names the back ends to test: all that are here.

    Where POLLSTER_BACKEND asks for one, that one, with this machine's default to compare it with;
    that one alone where KQUEUE_KERNEL says which kernel's it is.
    """
    here = pollster.backend.available()
    chosen = os.environ.get("POLLSTER_BACKEND")
    compared = "" if is_chosen() else here[0]
    return tuple(name for name in here if chosen in (None, name) or name == compared)


def pytest_configure() -> None:
    """Sees to it that what is to be tested is there."""
    mark_shutdowns()
    chosen = os.environ.get("POLLSTER_BACKEND")
    is_complete = pollster.backend.available() == pollster.backend.NAMES
    if chosen is None and not is_complete and sys.platform.startswith("linux"):
        import subprocess

        builder = Path(__file__).with_name("build_backends.py")
        subprocess.run([sys.executable, str(builder)], check=True)
        pollster.backend._built.cache_clear()
    if chosen is not None and chosen not in pollster.backend.available():
        pytest.exit(f"POLLSTER_BACKEND={chosen} is not built in this environment", returncode=3)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the tests of the tests' own kqueue where it is not used."""
    is_used = sys.platform.startswith("linux") and "kqueue" in tested_backends()
    return True if collection_path.name == "kqueue" and not is_used else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test on every back end to be tested."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", tested_backends())


@pytest.fixture
def poll(backend: str) -> Iterator[Poll]:
    """A Poll of each back end."""
    with Poll(backend=backend) as poll:
        yield poll


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def unix_pair() -> Iterator[Pair]:
    """Two connected Unix stream sockets: ours, non-blocking, and the peer's."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    with ours, peer:
        yield ours, peer


class Descriptors:
    """Closes what a test has opened and not closed itself."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def pipe(self) -> tuple[int, int]:
        """Opens a pipe, non-blocking; returns (reader, writer)."""
        ends = os.pipe()
        for fd in ends:
            os.set_blocking(fd, False)
        self._open.extend(ends)
        return ends

    def keep(self, fd: int) -> int:
        """Has another descriptor closed at the end."""
        self._open.append(fd)
        return fd

    def close(self, fd: int) -> None:
        """Closes one now."""
        self._open.remove(fd)
        os.close(fd)

    def close_all(self) -> None:
        """Closes the rest."""
        for fd in self._open:
            os.close(fd)


@pytest.fixture
def fds() -> Iterator[Descriptors]:
    """Pipes and other bare descriptors."""
    descriptors = Descriptors()
    yield descriptors
    descriptors.close_all()


def predicates(event: Event) -> set[str]:
    """Names the predicates that an event has: {"readable", ...}."""
    names = ("readable", "writable", "priority", "read_closed", "write_closed", "error")
    return {name for name in names if getattr(event, f"is_{name}")}


def one_batch(poll: Poll, timeout: float | None = 0) -> Ready:
    """Polls once; returns token to predicates. R1: no token may come twice."""
    events = list(poll.poll(timeout=timeout))
    ready = {int(event.token): predicates(event) for event in events}
    assert len(ready) == len(events), f"a source came twice in one batch: {events}"
    return ready


@pytest.fixture
def ready_now() -> Callable[[Poll], Ready]:
    """What a poll that does not wait reports."""
    return one_batch


def open_descriptors() -> list[int]:
    """Lists this process's descriptors; FreeBSD's /dev/fd has the first three only."""
    found = []
    for fd in range(1024):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_GETFD)
            found.append(fd)
    return found


CPYTHON = sys.implementation.name == "cpython"
counts_references = pytest.mark.skipif(
    not CPYTHON,
    reason="only CPython counts references, tells what it tracks, and frees the unheld at once",
)
shows_signatures = pytest.mark.skipif(
    not CPYTHON, reason="only CPython shows signatures and docstrings of what is written in C"
)


@pytest.fixture
def no_leak() -> Iterator[None]:
    """Fails a test after which the process has more descriptors than before.

    The tests' kqueue frees what a closed queue had when the next one is opened.
    """

    def count() -> int:
        for name in pollster.backend.available():
            Poll(backend=name).close()
        return len(open_descriptors())

    before = count()
    yield
    assert count() <= before, f"more descriptors are open: {open_descriptors()}"


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Lowers the limit to what is open: the next descriptor is one too many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
