"""Shows each difference between the kernels, on all of them: it is there where the table has it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernels import EMULATED
from linux_kqueue import NOTE_LOWAT, NOTE_OOB, Filter, Flag, Kevent, LinuxKqueue, Proc, Vnode
from replay import wait_until

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
        fill(ends[1])
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


def fill(fd: int) -> None:
    """Writes until it takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(4096))


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


def nested(k: Kernel, depth: int) -> int:
    """Puts a queue into a queue, and so on, inside out; returns the first errno."""
    inner = k.system.kqueue()
    k.stack.callback(close_quietly, inner)
    for _ in range(depth):
        outer = k.system.kqueue()
        k.stack.callback(close_quietly, outer)
        try:
            k.system.kevent(outer, [Kevent(inner, Filter.READ, ADD)])
        except OSError as error:
            return error.errno or -1
        inner = outer
    return 0


@shows("levels")
def ten_queues_are_too_many(k: Kernel) -> bool:
    error = nested(k, 10)
    assert nested(k, 9) == 0
    assert error in (0, errno.EINVAL)
    return error != 0


@pytest.mark.parametrize("is_middle_first", [False, True])
def test_levels_depend_on_the_order(system: LinuxKqueue, kq: int, is_middle_first: bool) -> None:
    with as_kernel(system, kq, "macos") as k:
        middle, inner, innermost = (system.kqueue() for _ in range(3))
        for queue in (middle, inner, innermost):
            k.stack.callback(close_quietly, queue)
        system.kevent(inner, [Kevent(innermost, Filter.READ, ADD)])
        if is_middle_first:
            assert k.change(middle, Filter.READ, ADD) == 0
            with pytest.raises(OSError, match="Invalid argument"):
                system.kevent(middle, [Kevent(inner, Filter.READ, ADD)])
        else:
            system.kevent(middle, [Kevent(inner, Filter.READ, ADD)])
            assert k.change(middle, Filter.READ, ADD) == 0


@shows("enotsup-of-queue")
def a_queue_is_not_supported_to_be_writable(k: Kernel) -> bool:
    inner = k.system.kqueue()
    k.stack.callback(close_quietly, inner)
    error = k.change(inner, Filter.WRITE, ADD)
    assert error in (errno.EINVAL, errno.EOPNOTSUPP)
    return error == errno.EOPNOTSUPP


@shows("wakes-when-empty")
def a_queue_with_something_in_it_tells_of_nothing_more(k: Kernel) -> bool:
    inner = k.system.kqueue()
    k.stack.callback(close_quietly, inner)
    k.change(inner, Filter.READ, ADD | CLEAR)
    for expected in (1, 0):
        ours, _ = k.pair()
        k.system.kevent(inner, [Kevent(ours.fileno(), Filter.WRITE, ADD)])
        told = len(k.wait())
        assert told == 1 or expected == 0
    return not told


@shows("clear-only")
def clear_with_dispatch_does_not_disable(k: Kernel) -> bool:
    ours, peer = k.pair()
    k.change(ours.fileno(), Filter.READ, ADD | CLEAR | Flag.DISPATCH)
    peer.send(b"x")
    assert len(k.wait()) == 1
    peer.send(b"x")
    return len(k.wait()) == 1


@shows("except")
def out_of_band_data_is_told(k: Kernel) -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = k.stack.enter_context(socket.create_connection(listener.getsockname()))
        ours = k.stack.enter_context(listener.accept()[0])
    error = k.change(ours.fileno(), Filter.EXCEPT, ADD | CLEAR, fflags=NOTE_OOB)
    assert error in (0, errno.EINVAL)
    assert k.wait() == []
    for byte in (b"1", b"2") if error == 0 else ():
        peer.send(byte, socket.MSG_OOB)
        (event,) = k.system.kevent(k.kq, room=8, timeout=10)
        assert (event.filter, event.fflags) == (Filter.EXCEPT, NOTE_OOB)
        assert k.wait() == []
        assert ours.recv(1, socket.MSG_OOB) == byte
        k.change(ours.fileno(), Filter.EXCEPT, ADD, fflags=NOTE_OOB)
        assert len(k.wait()) == 1  # the mark stays
        peer.send(b"x")
        assert select.select([ours], [], [], 10)[0]
        assert ours.recv(1) == b"x"
        assert k.wait() == []
    return error == 0


@shows("except-reads")
def out_of_band_filter_tells_what_can_be_read(k: Kernel) -> bool:
    ours, peer = k.pair()
    if k.change(ours.fileno(), Filter.EXCEPT, ADD, fflags=NOTE_OOB) == errno.EINVAL:
        return False
    assert k.wait() == []
    peer.send(b"x")
    found = k.wait()
    assert all((e.filter, e.fflags, e.data) == (Filter.EXCEPT, 0, 1) for e in found)
    return len(found) == 1


@shows("enoent-of-closed")
def deleting_a_closed_number_is_enoent(k: Kernel) -> bool:
    _, writer = k.pipe()
    os.close(writer)
    assert k.change(writer, Filter.WRITE, ADD) == errno.EBADF
    error = k.change(writer, Filter.WRITE, DELETE)
    assert error in (errno.EBADF, errno.ENOENT)
    return error == errno.ENOENT


@shows("two-way-pipes")
def both_ends_can_do_both(k: Kernel) -> bool:
    modes = [k.system.fcntl(end, fcntl.F_GETFL) for end in k.pipe()]
    assert all(mode & os.O_NONBLOCK for mode in modes)
    access = [mode & os.O_ACCMODE for mode in modes]
    assert access in ([os.O_RDWR] * 2, [os.O_RDONLY, os.O_WRONLY])
    return access == [os.O_RDWR] * 2


@shows("mute-wrong-end")
def the_wrong_ends_of_a_pipe_say_nothing(k: Kernel) -> bool:
    reader, writer = k.pipe()
    assert k.change(writer, Filter.READ, ADD) == k.change(reader, Filter.WRITE, ADD) == 0
    told = [(event.ident, event.flags & Flag.EOF) for event in k.wait()]
    os.close(reader)
    told_of_the_end = [(event.ident, event.flags & Flag.EOF) for event in k.wait()]
    assert (told, told_of_the_end) in (([], []), ([(reader, 0)], [(writer, Flag.EOF)]))
    return not told


@shows("extra-edge")
def an_edge_follows_a_read_that_leaves_something(k: Kernel) -> bool:
    extra = []
    for reader, writer in (k.pipe(), k.fifo()):
        k.change(reader, Filter.READ, ADD | CLEAR)
        os.write(writer, b"12345")
        assert len(k.wait()) == 1
        assert k.wait() == []
        os.read(reader, 2)
        extra.append(len(k.wait()))
        os.close(writer)
        assert len(k.wait()) == 1
        os.read(reader, 8)
        extra.append(len(k.wait()))
        assert k.wait() == []
    assert extra in ([0] * 4, [1] * 4)
    return extra == [1] * 4


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


@shows("vnode-fifo")
def the_ends_of_a_fifo_are_not_told(k: Kernel) -> bool:
    reader, writer = k.fifo()
    k.change(reader, Filter.READ, ADD)
    os.write(writer, b"x")
    os.close(writer)
    (event,) = k.wait()
    reader_told = event.flags & Flag.EOF
    os.close(reader)
    reader, writer = k.fifo()
    k.change(writer, Filter.WRITE, ADD)
    os.close(reader)
    (event,) = k.wait()
    assert not reader_told or event.flags & Flag.EOF
    return not event.flags & Flag.EOF


@pytest.mark.parametrize("kernel", EMULATED)
def test_who_writes_to_a_full_fifo(system: LinuxKqueue, kq: int, kernel: str) -> None:
    with as_kernel(system, kq, kernel) as k:
        reader, writer = k.fifo()
        k.change(writer, Filter.WRITE, ADD | CLEAR)
        k.wait()
        fill(writer)
        k.change(writer, Filter.WRITE, ADD | CLEAR)
        assert len(k.wait()) == system.kernel_has(kernel, "fifo-write-eof")
        os.close(reader)
        assert len(k.wait()) == (kernel not in ("macos", "netbsd"))


@shows("fifo-write-eof")
def a_fifo_with_a_reader_has_an_end(k: Kernel) -> bool:
    _, writer = k.fifo()
    k.change(writer, Filter.WRITE, ADD)
    (event,) = k.wait()
    return bool(event.flags & Flag.EOF)


def told_of_a_hang_up(k: Kernel, is_master: bool) -> dict[int, int]:
    """Returns which filters of a terminal whose other side was closed are ready, with EV_EOF."""
    ends = pty.openpty()
    for end in ends:
        k.stack.callback(close_quietly, end)
    ours, other = ends if is_master else ends[::-1]
    for which in (Filter.READ, Filter.WRITE):
        assert k.change(ours, which, ADD) == 0
    assert [event.filter for event in k.wait()] == [Filter.WRITE]
    os.close(other)
    told = {event.filter: event.flags & Flag.EOF for event in k.wait()}
    os.close(ours)
    return told


@shows("tty-read-only-eof")
def read_alone_tells_of_a_hang_up(k: Kernel) -> bool:
    master = told_of_a_hang_up(k, is_master=True)
    slave = told_of_a_hang_up(k, is_master=False)
    if master != {Filter.READ: Flag.EOF}:
        return False
    assert slave == {Filter.READ: Flag.EOF, Filter.WRITE: 0}
    return True


@shows("tty-mute")
def nothing_tells_of_a_hang_up(k: Kernel) -> bool:
    told = [told_of_a_hang_up(k, is_master) for is_master in (True, False)]
    if told == [{}, {}]:
        return True
    assert all(one[Filter.READ] for one in told)
    return False


@pytest.mark.parametrize("kernel", EMULATED)
def test_dev_tty_by_that_name(system: LinuxKqueue, kq: int, kernel: str) -> None:
    """In a session of its own, which gets a terminal."""
    with as_kernel(system, kq, kernel):
        pid, master = pty.fork()
        if pid == 0:
            status = 9
            with contextlib.suppress(OSError):
                tty = os.open("/dev/tty", os.O_RDWR)
                k = Kernel(system, system.kqueue(), contextlib.ExitStack())
                plain = k.change(tty, Filter.WRITE, ADD)
                status = 1 if plain == errno.EINVAL else plain
                assert k.change(tty, Filter.READ, ADD, fflags=NOTE_LOWAT) == 0
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        os.close(master)
        expected = system.kernel_has(kernel, "einval-of-device")
        assert os.waitstatus_to_exitcode(status) == expected


@shows("einval-of-device")
def devices_are_refused(k: Kernel) -> bool:
    null = os.open(os.devnull, os.O_RDWR)
    k.stack.callback(close_quietly, null)
    error = k.change(null, Filter.WRITE, ADD)
    assert error in (0, errno.EINVAL)
    return error != 0


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


def vnode_changes(k: Kernel, act: Callable[[int], object]) -> Vnode:
    """Returns what VNODE tells of a change to a file of five bytes."""
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        file.write(b"12345")
        every = Vnode.WRITE | Vnode.EXTEND | Vnode.ATTRIB
        assert k.change(file.fileno(), Filter.VNODE, ADD | CLEAR, fflags=every) == 0
        act(file.fileno())
        return Vnode(sum(event.fflags for event in k.wait()))


@shows("no-extend")
def growing_is_writing(k: Kernel) -> bool:
    changes = vnode_changes(k, lambda fd: os.pwrite(fd, b"x", 9))
    assert changes | Vnode.EXTEND == Vnode.WRITE | Vnode.EXTEND
    return changes == Vnode.WRITE


@shows("unlink-is-link")
def one_link_less_is_a_change_of_links(k: Kernel) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, name) for name in "ab"]
        file = os.open(names[0], os.O_RDWR | os.O_CREAT)
        k.stack.callback(close_quietly, file)
        os.link(*names)
        every = Vnode.DELETE | Vnode.LINK
        assert k.change(file, Filter.VNODE, ADD | CLEAR, fflags=every) == 0
        os.unlink(names[0])
        (event,) = k.wait()
        assert event.fflags in (Vnode.DELETE, Vnode.LINK)
        return event.fflags == Vnode.LINK


@shows("silent-truncation")
def truncating_is_not_told(k: Kernel) -> bool:
    return not vnode_changes(k, lambda fd: os.ftruncate(fd, 0))


@shows("einval-of-signal")
def signal_1000_is_refused(k: Kernel) -> bool:
    error = k.change(1000, Filter.SIGNAL, ADD)
    assert error in (0, errno.EINVAL)
    return error != 0


@shows("late-signals")
def a_signal_is_told_before_its_handler_runs(k: Kernel) -> bool:
    calls: list[int] = []
    program = ctypes.CFUNCTYPE(None, ctypes.c_int)(calls.append)
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    old = libc.signal(signal.SIGUSR1, program)
    try:
        assert k.change(signal.SIGUSR1, Filter.SIGNAL, ADD) == 0
        os.kill(os.getpid(), signal.SIGUSR1)
        (event,) = k.wait()
        before = list(calls)
        wait_until(lambda: calls == [signal.SIGUSR1])
        assert k.change(signal.SIGUSR1, Filter.SIGNAL, DELETE) == 0
    finally:
        libc.signal(signal.SIGUSR1, ctypes.c_void_p(old))
    assert event.data == 1
    return before == []


@pytest.mark.parametrize(
    ("puts_back", "ends"), [("signal.SIG_DFL", True), ("signal.SIG_IGN, signal.SIG_DFL", False)]
)
def test_a_signal_that_is_late_meets_the_action_of_then(
    system: LinuxKqueue, puts_back: str, ends: bool
) -> None:
    program = f"""
import os, signal, sys, time
sys.path[:0] = {sys.path!r}
from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue, build
from pathlib import Path
system = LinuxKqueue(build(Path({str(Path(system.path).parent)!r})))
system.be_kernel("freebsd14")
kq = system.kqueue()
signal.signal(signal.SIGUSR1, lambda *_: None)
system.kevent(kq, [Kevent(signal.SIGUSR1, Filter.SIGNAL, Flag.ADD)])
os.kill(os.getpid(), signal.SIGUSR1)
assert system.kevent(kq, room=1)
system.kevent(kq, [Kevent(signal.SIGUSR1, Filter.SIGNAL, Flag.DELETE)])
for action in ({puts_back},):
    signal.signal(signal.SIGUSR1, action)
time.sleep(0.1)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == (-signal.SIGUSR1 if ends else 0)


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
    system.misbehave("prompt", 0)
    try:
        with contextlib.ExitStack() as stack:
            yield Kernel(system, kq, stack)
    finally:
        system.be_kernel("freebsd")
        system.misbehave("prompt", 1)


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
