"""Signals, Process, PathWatch (R18 to R20): limits, leaks, threads, forks.

What they report, and when, is stated in tests/conformance.
"""

import contextlib
import errno
import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cffi
import pytest
from children import in_child, wait_for_zombie

import pollster.backend
from pollster import (
    Events,
    Interest,
    PathChange,
    PathWatch,
    Poll,
    Process,
    Signals,
    Token,
    Trigger,
)
from pollster._watch import Watch

from .conftest import CPYTHON, WAIT, counts_references, no_more_descriptors

R = Interest.READABLE
ONE, TWO = signal.SIGUSR1, signal.SIGUSR2

pytestmark = pytest.mark.usefixtures("no_leak")


@contextlib.contextmanager
def child(code: int = 0) -> Iterator[tuple[int, Callable[[], None]]]:
    """A forked child, and what ends it; it is reaped at the end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)  # so that it ends with its parent, whatever becomes of that
        os.read(reader, 1)
        os._exit(code)

    def end() -> None:
        os.write(writer, b"x")
        wait_for_zombie(pid)

    try:
        yield pid, end
    finally:
        os.write(writer, b"x")
        os.close(reader)
        os.close(writer)
        os.waitpid(pid, 0)


def opened(backend: str, path: Path) -> list[Signals | Process | PathWatch]:
    path.touch()
    return [
        Signals(ONE, TWO, backend=backend),
        Process(os.getppid(), backend=backend),
        PathWatch(path, backend=backend),
    ]


def test_what_finds_no_descriptor_leaves_nothing_behind(backend, tmp_path) -> None:
    path = tmp_path / "file"
    path.touch()
    with no_more_descriptors():
        for make, says in (
            (lambda: Signals(ONE, backend=backend), "ulimit -n"),
            (lambda: Process(os.getppid(), backend=backend), "ulimit -n"),
            (lambda: PathWatch(path, backend=backend), "fs.inotify.max_user_instances"),
        ):
            with pytest.raises(OSError, match=says) as caught:
                make()
            assert caught.value.errno == errno.EMFILE
    signal.signal(ONE, signal.SIG_IGN)
    os.kill(os.getpid(), ONE)
    signal.signal(ONE, signal.SIG_DFL)


@pytest.mark.parametrize("left", range(1, 4))
def test_a_path_that_finds_too_few_descriptors_leaves_nothing_behind(
    backend, tmp_path, left
) -> None:
    spare = [os.dup(0) for _ in range(left)]
    with no_more_descriptors():
        for fd in spare:
            os.close(fd)
        with contextlib.suppress(OSError):
            PathWatch(tmp_path, backend=backend).close()


def test_the_limit_of_the_kernel_is_named_with_its_cure(backend, tmp_path, monkeypatch) -> None:
    watch = PathWatch(tmp_path, backend=backend)
    for number, cure in (
        (errno.ENOSPC, "fs.inotify.max_user_watches"),
        (errno.EMFILE, "fs.inotify.max_user_instances"),
    ):
        error = watch._not_opened(number)
        assert isinstance(error, OSError)
        assert error.errno == number
        assert cure in str(error)
    watch.close()


@counts_references
def test_what_nobody_closed_is_given_back_with_its_last_reference(backend, tmp_path) -> None:
    before = signal.getsignal(ONE)
    with Poll(backend=backend) as poll:
        for token, watch in enumerate(opened(backend, tmp_path / "file")):
            poll.registry.register(watch, Token(token), R)
        del watch
    del poll
    gc.collect()
    came: list[int] = []
    signal.signal(ONE, lambda number, _: came.append(number))
    signal.raise_signal(ONE)
    signal.signal(ONE, before)
    assert came == [ONE]


def test_many_of_each_leak_nothing(backend, tmp_path) -> None:
    with Poll(backend=backend) as poll:
        for _ in range(50):
            watches = opened(backend, tmp_path / "file")
            for token, watch in enumerate(watches):
                poll.registry.register(watch, Token(token), R)
            (tmp_path / "file").write_bytes(b"1")
            os.kill(os.getpid(), ONE)
            assert {int(event.token) for event in poll.poll()} <= {0, 2}
            for watch in watches[::2]:
                poll.registry.deregister(watch)
            for watch in watches:
                watch.close()
        assert list(poll.registry) == []


def test_a_watch_and_a_poll_of_different_back_ends_are_refused(tmp_path) -> None:
    names = pollster.backend.available()
    if len(names) < 2:
        pytest.skip("this machine has one back end")
    with (
        Poll(backend=names[0]) as poll,
        PathWatch(tmp_path, backend=names[1]) as watch,
        pytest.raises(ValueError, match=f"pass backend={names[0]!r} to both"),
    ):
        poll.registry.register(watch, Token(1), R)
    with pytest.raises(ValueError, match="is not a back end"):
        PathWatch(tmp_path, backend="other")


# Processes


def test_a_zombie_that_the_kernel_hides_is_reported(tmp_path) -> None:
    """macOS, NetBSD and OpenBSD say ESRCH of a process that is still to be waited for."""
    if "kqueue" not in pollster.backend.available():
        pytest.skip("there is no kqueue")
    lib = pollster.backend.load("kqueue").lib
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue hides them on demand")
    lib.kqueue_misbehave(b"no-zombies", 1)
    try:
        with child(code=9) as (pid, end), Poll(backend="kqueue") as poll:
            end()
            with Process(pid, backend="kqueue") as process:
                poll.registry.register(process, Token(1), R)
                assert [event.token for event in poll.poll()] == [1]
                assert not poll.poll(timeout=0)
                assert (process.ended, process.returncode) == (True, 9)
        with pytest.raises(ProcessLookupError):
            Process(pid, backend="kqueue")
    finally:
        lib.kqueue_misbehave(b"no-zombies", 0)


def test_a_child_that_is_no_process_any_more_and_no_zombie_yet_tells_how_it_ended() -> None:
    """macOS and NetBSD say ESRCH of a child from the beginning of its end on."""
    lib = pollster.backend.load("kqueue").lib if "kqueue" in pollster.backend.available() else None
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue hides them on demand")
    with child(code=9) as (pid, end), Poll(backend="kqueue") as poll:
        lib.kqueue_misbehave(b"no-processes", 1)
        try:
            process = Process(pid, backend="kqueue")
        finally:
            lib.kqueue_misbehave(b"no-processes", 0)
        with process:
            poll.registry.register(process, Token(1), R)
            assert [event.token for event in poll.poll(timeout=10)] == [1]
            assert process.returncode is None
            end()
            assert process.returncode == 9
            assert not poll.poll(timeout=0)


def test_the_event_comes_where_asking_finds_no_descriptor_for_it(backend, poll) -> None:
    with child() as (pid, end), Process(pid, backend=backend) as process:
        poll.registry.register(process, Token(1), R)
        end()
        with no_more_descriptors():
            assert process.ended
        assert [event.token for event in poll.poll(timeout=10)] == [1]


def test_a_process_of_multiprocessing_is_watched_and_not_reaped(backend, poll) -> None:
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(7,))
    with pytest.raises(TypeError, match="pid"):  # it has none before start()
        Process(process, backend=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from 3.12 on
        process.start()
    assert process.pid is not None
    wait_for_zombie(process.pid)
    with Process(process, backend=backend) as watch:
        poll.registry.register(watch, Token(1), R)
        assert [event.token for event in poll.poll(timeout=10)] == [1]
        assert watch.returncode == 7
    process.join()
    assert process.exitcode == 7
    with pytest.raises(ProcessLookupError, match="waited for already"):
        Process(process, backend=backend)
    process.close()


@pytest.mark.parametrize("status", [0, 1])
def test_a_child_that_was_waited_for_is_refused_however_it_ended(backend, status) -> None:
    """Its number may be another process's by now."""
    child = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])
    assert child.wait() == status
    with pytest.raises(ProcessLookupError, match="waited for already"):
        Process(child, backend=backend)


def test_twenty_children_that_end_at_once_are_all_reported(backend, poll) -> None:
    children = [
        subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({number})"])
        for number in range(20)
    ]
    processes = [Process(popen, backend=backend) for popen in children]
    for token, process in enumerate(processes):
        poll.registry.register(process, Token(token), R)
    codes: dict[int, int | None] = {}
    while len(codes) < len(children):
        events = poll.poll(timeout=30)
        assert events
        for event in events:
            assert event.token not in codes
            codes[event.token] = processes[event.token].returncode
            assert children[event.token].wait() == codes[event.token]
    assert codes == {number: number for number in range(20)}
    assert not poll.poll(timeout=0)
    for process in processes:
        process.close()


def test_untaken_news_is_told_again_without_user_events(tmp_path) -> None:
    """NetBSD 9 and OpenBSD before 7.8 have none."""
    lib = pollster.backend.load("kqueue").lib if "kqueue" in pollster.backend.available() else None
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue lacks them on demand")
    lib.kqueue_misbehave(b"no-user", 1)
    try:
        with Poll(backend="kqueue") as poll, child() as (pid, end):
            watches = [*opened("kqueue", tmp_path / "file"), Process(pid, backend="kqueue")]
            for token, watch in enumerate(watches):
                poll.registry.register(watch, Token(token), R)
            end()
            os.kill(os.getpid(), ONE)
            (tmp_path / "file").write_bytes(b"1")
            for again in (0, 10):
                assert {event.token - again for event in poll.poll(timeout=10)} == {0, 2, 3}
                for token in (0, 2, 3):
                    poll.registry.reregister(watches[token], Token(token + 10), R)
            for watch in watches:
                watch.close()
    finally:
        lib.kqueue_misbehave(b"no-user", 0)


# Signals


def test_no_signal_is_lost_between_threads(backend, poll) -> None:
    """Real-time signals queue, so each must be counted."""
    if not hasattr(signal, "SIGRTMIN"):
        pytest.skip("this system has no real-time signals")
    number, each = int(signal.SIGRTMIN), 200
    signals = Signals(number, backend=backend)
    poll.registry.register(signals, Token(1), R)

    def send() -> None:
        for _ in range(each):
            os.kill(os.getpid(), number)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    came = 0
    while came < each * len(threads):
        assert poll.poll(timeout=10), f"{came} of {each * len(threads)} came"
        came += signals.take()[number]
    for thread in threads:
        thread.join()
    assert came == each * len(threads)
    signals.close()


def test_signals_may_come_while_others_are_opened_and_closed(backend) -> None:
    done = threading.Event()
    keeper = Signals(ONE, backend=backend)  # without it the last close would let one through

    def churn() -> None:
        while not done.is_set():
            with Signals(ONE, TWO, backend=backend) as signals:
                signals.take()

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(500):
        os.kill(os.getpid(), ONE)
    done.set()
    for thread in threads:
        thread.join()
    assert keeper.take()[ONE] > 0
    keeper.close()


def test_a_program_that_is_executed_has_the_default_actions(backend) -> None:
    code = "import signal; print(signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)"
    with Signals(ONE, backend=backend):
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
        )
    assert done.stdout == "True\n"


def test_an_ignored_signal_has_its_default_action_in_executed_programs_on_linux(backend) -> None:
    """A handler counts it there, and does not outlive exec: docs/guide/signals.md says so."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the kernel counts it by itself, so it stays ignored")
    if not CPYTHON:
        pytest.skip("PyPy's subprocess forks as os.fork() does, which gives signals back")
    code = "kill -USR1 $$; exit 3"
    before = signal.signal(ONE, signal.SIG_IGN)
    try:
        for watches, status in (True, -ONE), (False, 3):
            with Signals(ONE if watches else TWO, backend=backend):
                assert subprocess.run(["sh", "-c", code], check=False).returncode == status
    finally:
        signal.signal(ONE, before)


def need_a_kernel_that_counts_by_itself(backend: str) -> None:
    if backend == "kqueue" and hasattr(pollster.backend.load("kqueue").lib, "kqueue_calls"):
        pytest.skip("the tests' kqueue counts by a handler, and that is who was there before")


CHAINED = """
import faulthandler, os, signal, sys
from pollster import Signals

ONE, came = signal.SIGUSR1, []
handled = len(sys.argv) > 2
if handled:
    signal.signal(ONE, lambda number, _: came.append(number))
signals = Signals(ONE, backend=sys.argv[1])
faulthandler.register(ONE, file=open(os.devnull, "w"), chain=True)
for turn in range(3):
    os.kill(os.getpid(), ONE)
    assert signals.take()[ONE] >= 1
assert len(came) == 3 * handled, came
signals.close()
os.kill(os.getpid(), ONE)
assert handled, "the default action did not happen"
faulthandler.unregister(ONE)
os.kill(os.getpid(), ONE)
assert len(came) == 5, came
"""


@pytest.mark.parametrize("handled", [False, True])
def test_a_handler_in_c_that_passes_on_to_the_one_before_it_goes_on_doing_so(backend, handled):
    """It took our place, and has us as the one before."""
    need_a_kernel_that_counts_by_itself(backend)
    arguments = [backend, "handled"] if handled else [backend]
    done = subprocess.run([sys.executable, "-c", CHAINED, *arguments], check=False)
    assert done.returncode == (0 if handled else -ONE)


def test_what_was_there_comes_back_when_another_handler_gives_its_place_back_later(backend):
    need_a_kernel_that_counts_by_itself(backend)
    code = f"""
import faulthandler, os, signal
from pollster import Signals

signals = Signals({int(ONE)}, backend={backend!r})
faulthandler.register({int(ONE)}, file=open(os.devnull, "w"))
signals.close()
faulthandler.unregister({int(ONE)})
os.kill(os.getpid(), {int(ONE)})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -ONE


def test_no_threads_mask_is_changed(backend) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with Signals(ONE, TWO, signal.SIGTERM, backend=backend):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


# Forks


def test_a_childs_signals_are_its_own(backend, poll) -> None:
    signals = Signals(ONE, backend=backend)
    poll.registry.register(signals, Token(1), R)

    def work() -> None:
        with Poll(backend=backend) as own, Signals(ONE, backend=backend) as its_own:
            own.registry.register(its_own, Token(2), R)
            os.kill(os.getpid(), ONE)
            assert [event.token for event in own.poll(timeout=10)] == [2]
            assert its_own.take() == {ONE: 1}

    in_child(work)
    assert not poll.poll(timeout=0)
    assert not signals.take()
    signals.close()


def test_a_fork_while_others_open_and_close_leaves_no_lock_behind(backend, tmp_path) -> None:
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            for watch in opened(backend, tmp_path / "file"):
                watch.close()

    Poll(backend=backend).close()
    keeper = Signals(ONE, TWO, backend=backend)
    thread = threading.Thread(target=churn)
    thread.start()

    def work() -> None:
        for watch in opened(backend, tmp_path / "other"):
            watch.close()

    try:
        for _ in range(20):
            in_child(work)
    finally:
        done.set()
        thread.join()
    keeper.close()


# Paths


def test_a_path_that_is_replaced_all_the_time_is_followed_to_the_end(backend, poll, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0")
    watch = PathWatch(path, backend=backend)
    poll.registry.register(watch, Token(1), R)

    def replace() -> None:
        for number in range(200):
            new = tmp_path / "new"
            new.write_bytes(b"%d" % number)
            new.rename(path)

    thread = threading.Thread(target=replace)
    thread.start()
    seen = PathChange(0)
    while thread.is_alive():
        poll.poll(timeout=0)
        seen |= watch.take()
    thread.join()
    seen |= watch.take()
    assert PathChange.REPLACED in seen
    path.chmod(0o600)
    assert [event.token for event in poll.poll(timeout=10)] == [1]
    assert watch.take() == PathChange.ATTRIBUTES
    watch.close()


def test_a_file_that_is_written_anew_has_no_other_attributes(tmp_path) -> None:
    """Recorded of FreeBSD: O_TRUNC is a change of attributes, whatever is written afterwards."""
    lib = pollster.backend.load("kqueue").lib if "kqueue" in pollster.backend.available() else None
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue does so on demand")
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    lib.kqueue_misbehave(b"O_TRUNC", 1)
    try:
        with PathWatch(path, backend="kqueue") as watch:
            for content in (b"54321", b"1", b"123"):
                path.write_bytes(content)
                assert PathChange.ATTRIBUTES not in watch.take()
                assert not watch.take()
            path.write_bytes(b"321")
            os.utime(path, (1, 1))
            assert watch.take() == PathChange.WRITTEN | PathChange.ATTRIBUTES
    finally:
        lib.kqueue_misbehave(b"O_TRUNC", 0)


def test_an_absolute_path_is_watched_from_a_directory_that_is_gone(backend, tmp_path) -> None:
    gone, before = tmp_path / "gone", Path.cwd()
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        PathWatch(tmp_path, backend=backend).close()
        with pytest.raises(FileNotFoundError):
            PathWatch("file", backend=backend)
    finally:
        os.chdir(before)


def test_several_threads_wait_for_one_path_and_one_is_told(backend, poll, tmp_path) -> None:
    watch = PathWatch(tmp_path, backend=backend)
    poll.registry.register(watch, Token(1), R)
    got: list[int] = []
    told = threading.Event()

    def wait() -> None:
        with contextlib.suppress(ValueError):  # the Poll is closed at the end
            events = Events(4)
            while True:
                for event in poll.poll(events):
                    got.append(int(event.token))
                    told.set()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    (tmp_path / "new").touch()
    assert told.wait(10)
    poll.close()
    for thread in threads:
        thread.join()
    assert got == [1]
    watch.close()


# Letting go


@counts_references
@pytest.mark.parametrize("trigger", list(Trigger))
def test_a_closed_watch_is_let_go_by_its_poll(backend, poll, tmp_path, trigger) -> None:
    makers: list[Callable[[], Watch]] = [
        lambda: Signals(signal.SIGUSR2, backend=backend),
        lambda: PathWatch(tmp_path, backend=backend),
        lambda: Process(os.getppid(), backend=backend),
    ]
    for make in makers:
        watch = make()
        poll.registry.register(watch, Token(1), R, trigger)
        poll.registry.reregister(watch, Token(2), R, trigger)
        watch.close()
        assert list(poll.registry) == []
        gone = weakref.ref(watch)
        del watch
        assert gone() is None


def test_a_watch_that_is_closed_late_leaves_others_alone(backend, poll, fds, tmp_path) -> None:
    watch = PathWatch(tmp_path, backend=backend)
    with Poll(backend=backend) as other:
        other.registry.register(watch, Token(1), R)
    poll.registry.register(watch, Token(2), R)
    poll.registry.deregister(watch)
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(3), R)
    watch.close()
    watch.close()
    os.write(writer, b"x")
    assert [event.token for event in poll.poll(timeout=WAIT)] == [3]


# Paths that can't be watched for now


@contextlib.contextmanager
def folder_of_others() -> Iterator[Path]:
    """A folder in which everybody may do everything."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def give_up_rights() -> None:
    """Root may read everything."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def found(watch: PathWatch, changes: PathChange) -> None:
    """Waits until take() has found these changes."""
    seen = PathChange(0)
    deadline = time.monotonic() + WAIT
    while seen != changes and time.monotonic() < deadline:
        seen |= watch.take()
    assert seen == changes


GROWN = PathChange.WRITTEN | PathChange.EXTENDED


@pytest.mark.parametrize("by_rename", [False, True])
def test_a_file_that_may_be_read_only_later_is_found(backend, by_rename) -> None:
    def work() -> None:
        give_up_rights()
        path = folder / "file"
        path.touch()
        with Poll(backend=backend) as poll, PathWatch(path, backend=backend) as watch:
            poll.registry.register(watch, Token(1), R)
            if by_rename:
                new = folder / "new"
                new.touch(0)
                new.rename(path)
            else:
                path.unlink()
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, PathChange.DELETED)
            if not by_rename:
                path.touch(0)
                assert not watch.take()
            path.chmod(0o600)
            if backend == "epoll":  # kqueue has nothing to say of a file that can't be opened
                assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, PathChange.REPLACED)
            path.write_bytes(b"x")
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, GROWN)

    with folder_of_others() as folder:
        in_child(work)


def test_a_folder_that_may_be_searched_only_later_is_looked_into(backend) -> None:
    def work() -> None:
        give_up_rights()
        inner = folder / "inner"
        inner.mkdir()
        path = inner / "file"
        path.touch()
        with Poll(backend=backend) as poll, PathWatch(path, backend=backend) as watch:
            poll.registry.register(watch, Token(1), R)
            path.unlink()
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, PathChange.DELETED)
            path.touch()
            inner.chmod(0)
            poll.poll(timeout=0)
            watch.take()
            inner.chmod(0o700)
            path.write_bytes(b"x")
            deadline = time.monotonic() + WAIT
            while not watch.take() and time.monotonic() < deadline:
                poll.poll(timeout=0)
            path.write_bytes(b"xy")
            assert len(poll.poll(timeout=WAIT)) == 1

    with folder_of_others() as folder:
        in_child(work)


class Room:
    """How many watches there may be: those of a user's namespace, or descriptors."""

    def __init__(self, backend: str) -> None:
        self.is_linux = backend == "epoll"
        self.hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if self.is_linux:
            ffi = cffi.FFI()
            ffi.cdef("int unshare(int);")
            libc: Any = ffi.dlopen(None)
            self.error = ffi.errno if libc.unshare(0x10000000) < 0 else 0

    def is_limited(self) -> bool:
        """Whether this machine lets it be limited."""
        return not self.is_linux or self.error == 0

    def limit(self, watches: int) -> None:
        """There may be so many; 1, and as descriptors, is what there is: none is free."""
        if self.is_linux:
            Path("/proc/sys/user/max_inotify_watches").write_text(str(watches))
            return
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, self.hard))
        lowest = os.dup(0)
        os.close(lowest)
        number = 3 if watches == 0 else lowest if watches == 1 else 256
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, self.hard))


def with_room(backend: str, work: Callable[[Path, Room], None]) -> None:
    """Runs work in a child whose watches can be limited."""
    with folder_of_others() as folder:
        reader, writer = os.pipe()

        def child() -> None:
            room = Room(backend)
            if room.is_limited():
                work(folder, room)
            else:
                os.write(writer, b"x")

        in_child(child)
        os.close(writer)
        refused = os.read(reader, 1)
        os.close(reader)
    if refused:
        pytest.skip("this machine does not let a test limit the number of watches")


def test_a_folders_watch_makes_room_for_the_files(backend) -> None:
    def work(folder: Path, room: Room) -> None:
        path, other = folder / "file", folder / "other"
        path.touch()
        other.touch()
        with Poll(backend=backend) as poll, PathWatch(path, backend=backend) as watch:
            poll.registry.register(watch, Token(1), R)
            for _ in range(3):
                path.unlink()
                assert len(poll.poll(timeout=WAIT)) == 1
                found(watch, PathChange.DELETED)
                room.limit(1)
                os.link(other, path)
                assert len(poll.poll(timeout=WAIT)) == 1
                found(watch, PathChange.REPLACED)
                room.limit(100)
                os.truncate(path, path.stat().st_size + 1)
                assert len(poll.poll(timeout=WAIT)) == 1
                assert PathChange.WRITTEN in watch.take()

    with_room(backend, work)


def test_a_file_is_told_without_room_to_watch_it(backend) -> None:
    def work(folder: Path, room: Room) -> None:
        path, other = folder / "file", folder / "other"
        path.touch()
        other.touch()
        with Poll(backend=backend) as poll, PathWatch(path, backend=backend) as watch:
            poll.registry.register(watch, Token(1), R)
            path.unlink()
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, PathChange.DELETED)
            room.limit(0)
            os.link(other, path)
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, PathChange.REPLACED)
            os.truncate(path, 1)
            found(watch, GROWN)
            path.unlink()
            found(watch, PathChange.DELETED)
            os.link(other, path)
            found(watch, PathChange.REPLACED)
            room.limit(100)
            with path.open("ab") as file:
                file.write(b"x")
            found(watch, GROWN)
            with path.open("ab") as file:
                file.write(b"x")
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, GROWN)

    with_room(backend, work)


def test_what_is_untaken_is_told_again_where_no_other_folder_can_be_read(backend) -> None:
    """In a jail whose root may be entered, and not listed."""

    def work() -> None:
        folder.chmod(0o711)
        if os.geteuid() == 0:
            os.chroot(folder)
            os.chdir("/")
            give_up_rights()
            path = Path("/inner/file")
        else:
            path = folder / "inner" / "file"
        with PathWatch(path, backend=backend) as watch:
            poll.registry.register(watch, Token(1), R)
            path.write_bytes(b"x")
            assert len(poll.poll(timeout=WAIT)) == 1
            for _ in range(3):
                poll.registry.reregister(watch, Token(1), R)
                assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, GROWN)
            path.write_bytes(b"xy")
            assert len(poll.poll(timeout=WAIT)) == 1
            found(watch, GROWN)

    def child() -> None:
        nonlocal poll
        with Poll(backend=backend) as poll:
            work()

    poll: Poll
    if backend == "kqueue" and sys.platform == "linux":
        pytest.skip("the tests' kqueue needs /proc")
    with folder_of_others() as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").touch()
        (folder / "inner" / "file").chmod(0o666)
        (folder / "inner").chmod(0o733)
        in_child(child)
