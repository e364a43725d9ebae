"""Processes: the exit and its status, of whomever, and nobody is reaped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue, Proc
from replay import GLIMPSE, PATIENCE, is_asleep, wait_until

ADD, CLEAR, DELETE, EOF, ONESHOT = Flag.ADD, Flag.CLEAR, Flag.DELETE, Flag.EOF, Flag.ONESHOT
Child = subprocess.Popen[bytes]


@pytest.fixture
def start() -> Iterator[Callable[[str], Child]]:
    """Starts shells that read a line and then do as they are told; none outlives its test."""
    with contextlib.ExitStack() as stack:

        def start(script: str) -> Child:
            command = ["/bin/sh", "-c", f"read _; {script}"]
            child = subprocess.Popen(command, stdin=subprocess.PIPE)
            stack.callback(child.wait)
            assert child.stdin is not None
            stack.callback(child.stdin.close)
            return child

        yield start


def go_on(child: Child) -> None:
    assert child.stdin is not None
    child.stdin.close()


def become_zombie(child: Child) -> None:
    go_on(child)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def watch(pid: int, flags: int = 0, fflags: int = Proc.EXIT) -> Kevent:
    return Kevent(pid, Filter.PROC, ADD | flags, fflags=fflags)


def exit_of(pid: int, status: int) -> Kevent:
    return Kevent(pid, Filter.PROC, ONESHOT | CLEAR | EOF, Proc.EXIT, status)


def test_an_exit_comes_once_and_its_child_can_still_be_waited_for(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 3")
    system.kevent(kq, [watch(child.pid)])
    assert system.kevent(kq, room=4, timeout=GLIMPSE) == []
    go_on(child)
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [exit_of(child.pid, 3 << 8)]
    assert child.wait() == 3
    with pytest.raises(FileNotFoundError):
        system.kevent(kq, [watch(child.pid)._replace(flags=DELETE)])


def test_a_signal_that_ended_a_process_is_in_the_status(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 3")
    system.kevent(kq, [watch(child.pid)])
    child.terminate()
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [exit_of(child.pid, signal.SIGTERM)]


def test_a_zombie_is_reported_at_once(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 4")
    become_zombie(child)
    assert system.kevent(kq, [watch(child.pid)], room=4) == [exit_of(child.pid, 4 << 8)]


def test_no_zombies_on_demand(system: LinuxKqueue, kq: int, start: Callable[[str], Child]) -> None:
    child = start("exit 4")
    become_zombie(child)
    system.misbehave("no-zombies", 1)
    for _ in range(2):
        with pytest.raises(ProcessLookupError):
            system.kevent(kq, [watch(child.pid)])
    system.misbehave("no-zombies", 0)
    system.kevent(kq, [watch(child.pid)])


def knows_status_of_reaped() -> bool:
    return tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)


@pytest.mark.skipif(not knows_status_of_reaped(), reason="Linux 6.15 is the first to tell")
def test_the_status_of_a_child_that_was_reaped_before_anybody_asked(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 5")
    system.kevent(kq, [watch(child.pid)])
    go_on(child)
    child.wait()
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [exit_of(child.pid, 5 << 8)]


def test_a_process_that_is_no_child(system: LinuxKqueue, kq: int) -> None:
    script = "sleep 600 & echo $!; exec cat"  # cat waits for nobody
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            system.kevent(kq, [watch(pid)])
        finally:
            os.kill(pid, signal.SIGTERM)
        assert system.kevent(kq, room=4, timeout=PATIENCE) == [exit_of(pid, signal.SIGTERM)]
        parent.stdin.close()


def test_who_is_no_process_is_esrch(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 0")
    go_on(child)
    child.wait()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert thread.native_id is not None
    for pid in (child.pid, thread.native_id, 0, 2**31, 2**64 - 1):
        with pytest.raises(ProcessLookupError):
            system.kevent(kq, [watch(pid)])
    done.set()
    thread.join()


def test_without_note_exit_the_knote_goes_silently_and_a_zombie_is_esrch(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 0")
    system.kevent(kq, [watch(child.pid, fflags=Proc.FORK | Proc.EXEC)])
    become_zombie(child)
    assert system.kevent(kq, room=4, timeout=GLIMPSE) == []
    with pytest.raises(FileNotFoundError):
        system.kevent(kq, [watch(child.pid)._replace(flags=DELETE)])
    with pytest.raises(ProcessLookupError):
        system.kevent(kq, [watch(child.pid, fflags=Proc.FORK)])


def test_fork_and_exec_may_be_asked_for_beside_the_exit(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("/bin/true; exec /bin/true")
    system.kevent(kq, [watch(child.pid, fflags=Proc.EXIT | Proc.FORK | Proc.EXEC)])
    go_on(child)
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [exit_of(child.pid, 0)]


def test_an_exit_while_disabled_comes_when_enabled(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child = start("exit 1")
    system.kevent(kq, [watch(child.pid, Flag.DISABLE)])
    become_zombie(child)
    assert system.kevent(kq, room=4) == []
    system.kevent(kq, [watch(child.pid)._replace(flags=Flag.ENABLE)])
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [exit_of(child.pid, 1 << 8)]


def test_a_receipt_is_no_exit(system: LinuxKqueue, kq: int, start: Callable[[str], Child]) -> None:
    child = start("exit 0")
    (receipt,) = system.kevent(kq, [watch(child.pid, Flag.RECEIPT)], room=4)
    assert (receipt.flags, receipt.data) == (Flag.ERROR, 0)
    assert system.kevent(kq, room=4) == []


def test_an_exit_wakes_who_waits_in_a_thread_in_every_queue(
    system: LinuxKqueue, kq: int, start: Callable[[str], Child]
) -> None:
    child, other, got = start("exit 2"), system.kqueue(), []
    for queue in (kq, other):
        system.kevent(queue, [watch(child.pid)])

    def wait(queue: int) -> None:
        got.extend(system.kevent(queue, room=4, timeout=PATIENCE))

    threads = [threading.Thread(target=wait, args=(queue,)) for queue in (kq, other)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(map(is_asleep, threads)))
    go_on(child)
    for thread in threads:
        thread.join()
    assert got == [exit_of(child.pid, 2 << 8)] * 2
    os.close(other)
