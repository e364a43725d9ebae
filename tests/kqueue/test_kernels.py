"""Shows each difference between the kernels, on all of them: it is there where the table has it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
from collections.abc import Callable, Iterator

import pytest
from kernels import EMULATED
from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue, Proc

ADD, CLEAR, DELETE = Flag.ADD, Flag.CLEAR, Flag.DELETE
Shows = Callable[["Kernel"], bool]


class Kernel:
    """One kernel, a queue of it, and what a test opens."""

    def __init__(self, system: LinuxKqueue, kq: int, stack: contextlib.ExitStack) -> None:
        self.system = system
        self.kq = kq
        self.stack = stack

    def change(self, ident: int, which: Filter, flags: int, udata: int = 0, fflags: int = 0) -> int:
        """Makes one change; returns 0 or the errno."""
        try:
            self.system.kevent(self.kq, [Kevent(ident, which, flags, fflags, udata=udata)])
        except OSError as error:
            return error.errno or -1
        return 0

    def wait(self) -> list[Kevent]:
        """Returns what is there now."""
        return self.system.kevent(self.kq, room=8)

    def pipe(self) -> tuple[int, int]:
        """Returns both ends, non-blocking."""
        ends = os.pipe2(os.O_NONBLOCK)
        for end in ends:
            self.stack.callback(close_quietly, end)
        return ends

    def full_pipe(self) -> tuple[int, int]:
        """Returns both ends of a pipe that takes no more."""
        ends = self.pipe()
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(ends[1], bytes(4096))
        return ends

    def fifo(self) -> tuple[int, int]:
        """Returns both ends of a FIFO, non-blocking."""
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        for end in (reader, writer):
            self.stack.callback(close_quietly, end)
        return reader, writer

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Returns two connected Unix sockets."""
        ours, peer = socket.socketpair()
        return self.stack.enter_context(ours), self.stack.enter_context(peer)


def close_quietly(fd: int) -> None:
    """Closes a number, if the test has not."""
    with contextlib.suppress(OSError):
        os.close(fd)


SHOWN: dict[str, Shows] = {}


def shows(name: str) -> Callable[[Shows], Shows]:
    """Registers what tells whether a kernel has a difference."""

    def register(test: Shows) -> Shows:
        SHOWN[name] = test
        return test

    return register


@shows("own-queue")
def a_queue_takes_itself(k: Kernel) -> bool:
    error = k.change(k.kq, Filter.READ, ADD)
    assert error in (0, errno.EINVAL)
    return error == 0


@shows("keeps-udata")
def a_probe_changes_no_udata(k: Kernel) -> bool:
    ours, _ = k.pair()
    assert k.change(ours.fileno(), Filter.WRITE, ADD, udata=1) == 0
    assert k.change(ours.fileno(), Filter.WRITE, 0, udata=9) == 0
    (event,) = k.wait()
    return event.udata == 1


@shows("shows-add")
def add_is_returned(k: Kernel) -> bool:
    ours, _ = k.pair()
    k.change(ours.fileno(), Filter.WRITE, ADD)
    (event,) = k.wait()
    return bool(event.flags & ADD)


@shows("no-user")
def user_events_are_unknown(k: Kernel) -> bool:
    error = k.change(1, Filter.USER, ADD)
    assert error in (0, errno.EINVAL)
    return error != 0


def error_of_a_broken_pipe(k: Kernel) -> int:
    reader, writer = k.pipe()
    os.close(reader)
    return k.change(writer, Filter.WRITE, ADD)


@shows("epipe")
def a_broken_pipe_is_refused(k: Kernel) -> bool:
    return error_of_a_broken_pipe(k) == errno.EPIPE


@shows("ebadf-of-pipe")
def a_broken_pipe_is_no_descriptor(k: Kernel) -> bool:
    return error_of_a_broken_pipe(k) == errno.EBADF


@shows("eof-drops")
def the_end_of_a_pipe_is_told_once(k: Kernel) -> bool:
    reader, writer = k.pipe()
    k.change(writer, Filter.WRITE, ADD)
    os.close(reader)
    (event,) = k.wait()
    assert event.flags & Flag.EOF
    return k.wait() == []


@shows("mute-full-pipe")
def the_end_of_a_full_pipe_is_not_told(k: Kernel) -> bool:
    reader, writer = k.full_pipe()
    k.change(writer, Filter.WRITE, ADD)
    assert k.wait() == []
    os.close(reader)
    return k.wait() == []


@pytest.mark.parametrize("kernel", ["openbsd", "netbsd"])
@pytest.mark.parametrize("flags", [0, CLEAR])
def test_who_writes_to_a_full_pipe_hears_of_its_end_by_read_or_asks_again(
    system: LinuxKqueue, kq: int, kernel: str, flags: int
) -> None:
    with as_kernel(system, kq, kernel) as k:
        reader, writer = k.full_pipe()
        assert k.change(writer, Filter.WRITE, ADD | flags) == 0
        assert k.change(writer, Filter.READ, ADD | CLEAR) == 0
        os.close(reader)
        (event,) = k.wait()
        assert (event.filter, event.flags & Flag.EOF) == (Filter.READ, Flag.EOF)
        assert k.change(writer, Filter.WRITE, ADD | flags) == 0
        (event,) = k.wait()
        assert (event.filter, event.flags & Flag.EOF) == (Filter.WRITE, Flag.EOF)


@shows("one-way-fifo")
def a_fifos_other_direction_is_refused(k: Kernel) -> bool:
    reader, writer = k.fifo()
    errors = [
        k.change(reader, Filter.WRITE, ADD | Flag.DISABLE),
        k.change(writer, Filter.READ, ADD | Flag.DISABLE),
    ]
    assert errors in ([0, 0], [errno.EINVAL] * 2)
    assert k.change(reader, Filter.READ, ADD) == k.change(writer, Filter.WRITE, ADD) == 0
    return errors != [0, 0]


def has_eof(k: Kernel, sock: socket.socket) -> bool:
    assert k.change(sock.fileno(), Filter.WRITE, ADD) == 0
    (event,) = k.wait()
    assert event.filter == Filter.WRITE
    return bool(event.flags & Flag.EOF)


@shows("old-unix")
def a_peer_that_receives_no_more_is_not_told(k: Kernel) -> bool:
    ours, peer = k.pair()
    peer.shutdown(socket.SHUT_RD)
    told = has_eof(k, ours)
    peer.shutdown(socket.SHUT_WR)
    assert has_eof(k, ours) == told
    peer.close()
    assert has_eof(k, ours)
    return not told


@pytest.mark.parametrize("kernel", EMULATED)
def test_our_own_shutdown_is_told_everywhere(system: LinuxKqueue, kq: int, kernel: str) -> None:
    with as_kernel(system, kq, kernel) as k:
        ours, _ = k.pair()
        ours.shutdown(socket.SHUT_WR)
        assert has_eof(k, ours)


@shows("no-zombies")
def a_process_that_has_exited_is_none(k: Kernel) -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    error = k.change(pid, Filter.PROC, ADD, fflags=Proc.EXIT)
    os.waitpid(pid, 0)
    assert error in (0, errno.ESRCH)
    return error != 0


@contextlib.contextmanager
def as_kernel(system: LinuxKqueue, kq: int, name: str) -> Iterator[Kernel]:
    """Makes the tests' kqueue another kernel's."""
    system.be_kernel(name)
    try:
        with contextlib.ExitStack() as stack:
            yield Kernel(system, kq, stack)
    finally:
        system.be_kernel("freebsd")


@pytest.mark.parametrize("kernel", EMULATED)
@pytest.mark.parametrize("difference", SHOWN)
def test_a_difference_is_where_the_table_has_it(
    system: LinuxKqueue, kq: int, difference: str, kernel: str
) -> None:
    with as_kernel(system, kq, kernel) as k:
        assert SHOWN[difference](k) == system.kernel_has(kernel, difference)


def test_every_difference_is_shown_and_says_what_and_who(system: LinuxKqueue) -> None:
    differences = system.differences()
    assert list(differences) == list(SHOWN)
    assert all(all(texts) for texts in differences.values())


def test_the_tests_know_every_kernel(system: LinuxKqueue) -> None:
    assert system.kernels() == list(EMULATED)


def test_an_unknown_kernel_is_refused(system: LinuxKqueue) -> None:
    with pytest.raises(ValueError, match="Multics"):
        system.be_kernel("Multics")
