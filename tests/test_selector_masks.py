"""`PollsterSelector` reports what the standard library's selector reports on Linux.

`EXPECTED` is what `selectors.EpollSelector` says; on Linux it is asked again. What differs is in
`DIFFERENCES`, with the reason, and in `docs/guide/selectors.md`.
"""

import contextlib
import errno
import os
import selectors
import time
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, NamedTuple

import pytest
from kernels import has_two_way_pipes, systems
from situations import SITUATIONS

from pollster.selectors import InPython, PollsterSelector

from .conftest import WAIT

NONE, R, W, BOTH = 0, EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE

# What there is to report, whoever asks: with EVENT_READ, EVENT_WRITE, both.
IDLE = NONE, W, W
DATA = R, W, BOTH
NOTHING = NONE, NONE, NONE
ONLY_READ = R, NONE, R

EXPECTED = {
    "unix, idle": IDLE,
    "unix, data": DATA,
    "unix, full": NOTHING,
    "unix, full with data": ONLY_READ,
    "unix, peer half-closed": DATA,
    "unix, peer half-closed after data": DATA,
    "unix, peer gone": DATA,
    "unix, peer gone after data": DATA,
    "unix, peer gone with our data unread": DATA,
    "unix, own writing shut down": IDLE,
    "unix, own reading shut down": DATA,
    "unix, shut down on both sides": DATA,
    "tcp, idle": IDLE,
    "tcp, data": DATA,
    "tcp, full": NOTHING,
    "tcp, full with data": ONLY_READ,
    "tcp, peer half-closed": DATA,
    "tcp, peer half-closed after data": DATA,
    "tcp, peer gone": DATA,
    "tcp, peer gone after data": DATA,
    "tcp, own writing shut down": IDLE,
    "tcp, own reading shut down": DATA,
    "tcp, shut down on both sides": DATA,
    "tcp, reset": DATA,
    "tcp, out-of-band byte": IDLE,
    "tcp, out-of-band byte and data": DATA,
    "tcp, connect refused": DATA,
    "tcp, connected at last": IDLE,
    "tcp, never connected": DATA,
    "tcp listener, idle": NOTHING,
    "tcp listener, a connection": ONLY_READ,
    "unix listener, idle": NOTHING,
    "unix listener, a connection": ONLY_READ,
    "udp, idle": IDLE,
    "udp, a datagram": DATA,
    "udp, refused": DATA,
    "unix datagrams, idle": IDLE,
    "unix datagrams, one": DATA,
    "pipe's read end, idle": NOTHING,
    "pipe's read end, data": ONLY_READ,
    "pipe's read end, writer gone": DATA,
    "pipe's read end, writer gone after data": DATA,
    "pipe's write end, room": IDLE,
    "pipe's write end, full": NOTHING,
    "pipe's write end, reader gone": DATA,
    "pipe's write end, reader gone when it was full": DATA,
    "FIFO's read end, nobody has written yet": NOTHING,
    "FIFO's read end, data": ONLY_READ,
    "FIFO's read end, writer gone": DATA,
    "FIFO's write end, room": IDLE,
    "FIFO's write end, reader gone": DATA,
    "terminal, idle": IDLE,
    "terminal, input": DATA,
    "terminal, hung up": DATA,
    "terminal's master, idle": IDLE,
    "terminal's master, output": DATA,
    "terminal's master, nobody at the terminal": DATA,
    "eventfd, 0": IDLE,
    "eventfd, 1": DATA,
    "eventfd, full": ONLY_READ,
    "a queue, nothing ready": NOTHING,
    "a queue, something ready": ONLY_READ,
}

FIFO_ENDS_OF_MACOS = (
    "macOS: neither end of a FIFO is told that the other one went: XNU vfs_vnops.c "
    "filt_vnode_common, fifo_vnops.c fifo_close_internal; libuv#4513, go#24164"
)
FIFO_WRITERS_OF_NETBSD = (
    "NetBSD: the write end of a FIFO is always writable and at its end: fifo_vnops.c 1.77 "
    "fifo_kqfilter, filt_fifowrite"
)
TERMINALS_OF_NETBSD = (
    "NetBSD: nothing tells that a terminal hung up: tty_pty.c 1.142 filt_ptcread, filt_ptcwrite; "
    "tty.c filt_ttyread, filt_ttywrite"
)
NEVER_CONNECTED = "kqueue(2) says nothing of a socket that is neither connected nor connecting"
PIPES_GO_BOTH_WAYS = "pipes go both ways there, and say so of each end: pipe(2)"
QUEUES_ARE_READ = "a kqueue(2) can be asked whether it is readable, and for nothing else: EINVAL"


class Difference(NamedTuple):
    """What a back end says instead, and why: a mask for each row, or the errno of `register`."""

    masks: tuple[int, int, int]
    reason: str
    systems: tuple[str, ...] = ()  # () for all
    errno: tuple[int, int, int] = (0, 0, 0)


TWO_WAY = ("FreeBSD", "OpenBSD", "DragonFly")
DIFFERENCES = {
    ("kqueue", "tcp, never connected"): Difference(NOTHING, NEVER_CONNECTED),
    ("kqueue", "pipe's read end, idle"): Difference(IDLE, PIPES_GO_BOTH_WAYS, TWO_WAY),
    ("kqueue", "pipe's read end, data"): Difference(DATA, PIPES_GO_BOTH_WAYS, TWO_WAY),
    ("kqueue", "FIFO's read end, writer gone"): Difference(
        NOTHING, FIFO_ENDS_OF_MACOS, ("Darwin",)
    ),
    ("kqueue", "FIFO's write end, reader gone"): Difference(IDLE, FIFO_ENDS_OF_MACOS, ("Darwin",)),
    ("kqueue", "FIFO's write end, room"): Difference(DATA, FIFO_WRITERS_OF_NETBSD, ("NetBSD",)),
    ("kqueue", "terminal, hung up"): Difference(NOTHING, TERMINALS_OF_NETBSD, ("NetBSD",)),
    ("kqueue", "terminal's master, nobody at the terminal"): Difference(
        NOTHING, TERMINALS_OF_NETBSD, ("NetBSD",)
    ),
    ("kqueue", "a queue, nothing ready"): Difference(
        NOTHING, QUEUES_ARE_READ, errno=(0, errno.EINVAL, errno.EINVAL)
    ),
    ("kqueue", "a queue, something ready"): Difference(
        ONLY_READ, QUEUES_ARE_READ, errno=(0, errno.EINVAL, errno.EINVAL)
    ),
}


def expected(backend: str, name: str, events: int) -> tuple[int, int]:
    """Returns the mask that must come, and the errno of registering."""
    found = DIFFERENCES.get((backend, name))
    if found and (not found.systems or set(found.systems) & set(systems(backend))):
        return found.masks[events - 1], found.errno[events - 1]
    return EXPECTED[name][events - 1], 0


def reported(selector: selectors.BaseSelector) -> int:
    found = selector.select(0.01)
    assert len(found) < 2
    return found[0][1] if found else NONE


def assert_reports(
    selector: selectors.BaseSelector, name: str, events: int, mask: int, refused: int
) -> None:
    with contextlib.ExitStack() as kept:
        source = SITUATIONS[name](kept)
        if refused:
            with pytest.raises(OSError, match="can't") as caught:
                selector.register(source, events)
            assert caught.value.errno == refused
            assert not selector.get_map()
            return
        selector.register(source, events)
        deadline = time.monotonic() + WAIT
        while reported(selector) != mask and time.monotonic() < deadline:
            continue
        assert [reported(selector) for _ in range(3)] == [mask] * 3  # again and again
        selector.unregister(source)
        assert reported(selector) == NONE


rows = pytest.mark.parametrize("name", [name for name in EXPECTED if name in SITUATIONS])
interests = pytest.mark.parametrize("events", [R, W, BOTH], ids=["read", "write", "both"])


def test_each_situation_has_its_row() -> None:
    assert SITUATIONS.keys() <= EXPECTED.keys()
    assert len(EXPECTED) >= 30


@pytest.mark.skipif(
    not hasattr(selectors, "EpollSelector"), reason="it is epoll's selector that others follow"
)
@rows
@interests
def test_the_table_is_what_the_standard_library_says(name: str, events: int) -> None:
    with selectors.EpollSelector() as selector:
        assert_reports(selector, name, events, EXPECTED[name][events - 1], 0)


@rows
@interests
def test_a_source_reports_what_it_does_to_the_standard_library(
    backend: str, name: str, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLLSTER_BACKEND", backend)  # of a queue that is the source
    with PollsterSelector(backend=backend) as selector:
        assert_reports(selector, name, events, *expected(backend, name, events))


@rows
def test_in_python_it_is_the_same(backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLSTER_BACKEND", backend)
    for events in R, W, BOTH:
        with InPython(backend=backend) as selector:
            assert_reports(selector, name, events, *expected(backend, name, events))


# The other end of a pipe


class Pipe:
    """A pipe or FIFO whose ends come and go."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        if path is None:
            self.reader, self.writer = os.pipe()
        else:
            os.mkfifo(path)
            self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            self.writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    def end(self, which: str) -> int:
        return int(getattr(self, which))

    def close(self, which: str) -> None:
        fd = self.end(which)
        setattr(self, which, -1)
        if fd >= 0:
            os.close(fd)


@pytest.fixture(params=["pipe", "FIFO"])
def pipe(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    made = Pipe(str(tmp_path / "fifo") if request.param == "FIFO" else None)
    yield made
    made.close("reader")
    made.close("writer")


Comes = Callable[[selectors.BaseSelector, int], None]


def come(selector: selectors.BaseSelector, mask: int) -> None:
    """Waits until something is reported; it must be this, as long as the state is the same."""
    assert [found for _, found in selector.select(WAIT)] == [mask]
    assert [found for _, found in selector.select(0)] == [mask]
    assert [found for _, found in selector.select(WAIT)] == [mask]


def stay_silent(selector: selectors.BaseSelector) -> None:
    assert selector.select(0.02) == []


both_ends = pytest.mark.parametrize(
    ("ours", "other", "events"), [("writer", "reader", R), ("reader", "writer", W)]
)


def skip_where_two_way(backend: str, pipe: Pipe, ours: str) -> None:
    """A read end that can be written is ready for that from the beginning; a FIFO's never is."""
    if ours == "reader" and pipe.path is None and has_two_way_pipes(backend):
        pytest.skip(PIPES_GO_BOTH_WAYS)


def skip_where_not_told(backend: str, pipe: Pipe, ours: str, *, of_hang_ups: bool) -> None:
    """Some kernels can't tell what becomes of a FIFO; of a pipe all can."""
    if pipe.path is None:
        return
    if "Darwin" in systems(backend) and of_hang_ups:
        pytest.skip(FIFO_ENDS_OF_MACOS)
    if "NetBSD" in systems(backend) and ours == "writer":
        pytest.skip(FIFO_WRITERS_OF_NETBSD)


@both_ends
def test_the_one_end_learns_that_the_other_has_gone(
    backend: str, pipe: Pipe, ours: str, other: str, events: int
) -> None:
    skip_where_two_way(backend, pipe, ours)
    skip_where_not_told(backend, pipe, ours, of_hang_ups=True)
    with PollsterSelector(backend=backend) as selector:
        selector.register(pipe.end(ours), events)
        stay_silent(selector)
        pipe.close(other)
        come(selector, events)
        selector.modify(pipe.end(ours), BOTH)
        come(selector, BOTH)
        selector.modify(pipe.end(ours), events)
        come(selector, events)
        selector.unregister(pipe.end(ours))
        stay_silent(selector)


@both_ends
def test_what_passes_through_a_pipe_is_no_hang_up(
    backend: str, pipe: Pipe, ours: str, other: str, events: int
) -> None:
    skip_where_two_way(backend, pipe, ours)
    skip_where_not_told(backend, pipe, ours, of_hang_ups=False)
    with PollsterSelector(backend=backend) as selector:
        selector.register(pipe.end(ours), events)
        for _ in range(3):
            os.write(pipe.writer, b"x")
            stay_silent(selector)
            os.read(pipe.reader, 10)
            stay_silent(selector)


def test_a_write_end_goes_from_one_interest_to_the_other(backend: str, pipe: Pipe) -> None:
    skip_where_not_told(backend, pipe, "writer", of_hang_ups=True)
    with PollsterSelector(backend=backend) as selector:
        selector.register(pipe.writer, R)
        stay_silent(selector)
        for _ in range(2):
            for events in BOTH, W:
                selector.modify(pipe.writer, events)
                come(selector, W)
            selector.modify(pipe.writer, R)
            stay_silent(selector)
        pipe.close("reader")
        come(selector, R)


@both_ends
def test_a_fifo_whose_other_end_comes_back_is_silent_again(
    backend: str, tmp_path: Any, ours: str, other: str, events: int
) -> None:
    pipe = Pipe(str(tmp_path / "fifo"))
    mode = os.O_RDONLY if other == "reader" else os.O_WRONLY
    try:
        skip_where_not_told(backend, pipe, ours, of_hang_ups=True)
        with PollsterSelector(backend=backend) as selector:
            selector.register(pipe.end(ours), events)
            for _ in range(3):
                pipe.close(other)
                come(selector, events)
                setattr(pipe, other, os.open(str(pipe.path), mode | os.O_NONBLOCK))
                stay_silent(selector)
    finally:
        pipe.close("reader")
        pipe.close("writer")


@both_ends
def test_waiting_for_a_hang_up_takes_no_time(
    backend: str, pipe: Pipe, ours: str, other: str, events: int
) -> None:
    """The other direction's readiness, which is there all the time, must not be looked at."""
    skip_where_two_way(backend, pipe, ours)
    skip_where_not_told(backend, pipe, ours, of_hang_ups=False)
    os.write(pipe.writer, b"x")
    with PollsterSelector(backend=backend) as selector:
        selector.register(pipe.end(ours), events)
        stay_silent(selector)
        before = time.process_time()
        assert selector.select(0.5) == []
        assert time.process_time() - before < 0.25
