"""`Process`: R19."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from case import LEVEL, case
from children import in_child
from sources import WAIT
from watches import Child
from world import READABLE, NotHere, World

from pollster import Process

LEVEL_ONLY = (LEVEL,)
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")  # proc(5): the next pid is the one after it


def watched(world: World, child: Child, token: int = 1) -> Process:
    """A child, watched and registered."""
    process = world.keep(Process(child.pid, backend=world.backend))
    world.register(process, token)
    return process


def child_with(pid: int) -> Child:
    """A child that has this number."""
    for _ in range(100):
        try:
            LAST_PID.write_text(str(pid - 1))
        except OSError as error:
            raise NotHere("only Linux lets a privileged program choose a pid") from error
        child = Child()
        if child.pid == pid:
            return child
        child.close()
    raise NotHere("others take the pids here")


@case("R19", "cpython#82873 a child's exit is one event, and it is still to be waited for")
def _(world: World) -> None:
    child = world.keep(Child())
    process = watched(world, child)
    world.expect({})
    world.see((process.ended, process.returncode))
    child.exit(3)
    world.expect({1: READABLE})
    world.see((process.ended, process.returncode))
    assert child.reap() == 3
    # Linux: a pidfd has another edge when its process is reaped.
    world.again()
    world.see((process.ended, process.returncode))


@case("R19", "mio#1853 a child that a signal ends has its number, negative")
def _(world: World) -> None:
    for token, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2)):
        child = world.keep(Child())
        process = watched(world, child, token)
        child.kill(number)
        world.expect({token: READABLE})
        world.see(process.returncode)
        assert child.reap() == -number


@case("R19", "libkqueue a child that is already gone is reported")
def _(world: World) -> None:
    # To macOS, NetBSD and OpenBSD's EVFILT_PROC a zombie is no process.
    child = world.keep(Child())
    child.exit(4)
    process = watched(world, child)
    world.expect({1: READABLE})
    world.see((process.ended, process.returncode))
    world.again()
    assert child.reap() == 4


@case("R19", "who asks how it ended before the poll takes no event away")
def _(world: World) -> None:
    child = world.keep(Child())
    process = watched(world, child)
    child.exit(5)
    world.see((process.ended, process.returncode))
    world.expect({1: READABLE})
    world.again()


@case("R19", "its exit status is known after it was waited for, once it was reported")
def _(world: World) -> None:
    child = world.keep(Child())
    process = watched(world, child)
    child.exit(6)
    world.expect({1: READABLE})
    child.reap()
    world.see(process.returncode)


@case("R19", "several are told apart, those that run from those that ended")
def _(world: World) -> None:
    children = [world.keep(Child()) for _ in range(6)]
    processes = [watched(world, child, token) for token, child in enumerate(children)]
    for token in (1, 3, 4):
        children[token].exit(token)
    world.expect(dict.fromkeys((1, 3, 4), READABLE))
    world.see([process.returncode for process in processes])
    for child in children[::5]:
        child.exit(9)
    world.expect(dict.fromkeys((0, 5), READABLE))


@case("R19", "one process may be watched twice")
def _(world: World) -> None:
    child = world.keep(Child())
    processes = [watched(world, child, token) for token in range(2)]
    child.exit(8)
    world.expect(dict.fromkeys(range(2), READABLE))
    world.see([process.returncode for process in processes])


@case("R19", "a Popen can be waited for after its event")
def _(world: World) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(11)"]) as popen:
        process = world.keep(Process(popen, backend=world.backend))
        world.register(process, 1)
        world.expect({1: READABLE})
        world.see((process.returncode, popen.wait(WAIT)))
    with world.refused(ProcessLookupError, errno.ESRCH, "waited for already"):
        Process(popen, backend=world.backend)


@case("R19", "a process that is no child: its end is seen")
def _(world: World) -> None:
    reader, writer = os.pipe()
    told, tell = os.pipe()

    def make_grandchild() -> None:
        if os.fork() == 0:
            os.write(tell, str(os.getpid()).encode())
            os.read(reader, 1)
            os._exit(0)

    for fd in (reader, writer, told, tell):
        world.keep_fd(fd)
    in_child(make_grandchild)
    process = world.keep(Process(int(os.read(told, 20)), backend=world.backend))
    world.register(process, 1)
    world.expect({})
    world.see(process.ended)
    os.write(writer, b"x")
    world.expect({1: READABLE})
    world.see(process.ended)
    world.again()


@case("R19", "a pid that does not exist is refused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    child = world.keep(Child())
    child.exit()
    child.reap()
    for pid in (child.pid, 2**31 - 1, 2**31, 2**70):
        with world.refused(ProcessLookupError, errno.ESRCH, f"no process {pid}"):
            Process(pid, backend=world.backend)


@case("R19", "what ended is not taken for what has its number now", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    child = world.keep(Child())
    process = watched(world, child)
    child.exit(1)
    child.reap()
    other = world.keep(child_with(child.pid))
    world.see(process.ended)
    world.expect({1: READABLE})
    fresh = watched(world, other, 2)
    assert not fresh.ended
    other.exit(2)
    world.expect({2: READABLE})
    world.see(fresh.returncode)


@case("R19", "it is no number, or nobody's", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for number in (0, -1):
        with world.refused(ValueError, 0, "greater than 0"):
            Process(number, backend=world.backend)
    wrong_types: tuple[Any, ...] = (True, "1", None, 1.5, object())
    for wrong in wrong_types:
        with world.refused(TypeError, 0, "pid"):
            Process(wrong, backend=world.backend)
