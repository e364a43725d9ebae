"""Cases about what is no descriptor's data: signals, processes, files that change."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile

from replay import Replay
from scenario import replays

FREEBSD_SIGUSR1, FREEBSD_SIGUSR2 = 30, 31


def child(r: Replay, recorded: int, script: str) -> subprocess.Popen[bytes]:
    """Returns a shell that reads a line before anything else, bound to the recorded number."""
    started = subprocess.Popen(["/bin/sh", "-c", f"read _; {script}"], stdin=subprocess.PIPE)
    r.stack.callback(started.wait)
    assert started.stdin is not None
    r.stack.callback(started.stdin.close)
    r.numbers[recorded] = started.pid
    return started


def go_on(process: subprocess.Popen[bytes]) -> None:
    """Lets the shell run its script."""
    assert process.stdin is not None
    process.stdin.close()


@replays("EVFILT_SIGNAL")
def signals(r: Replay) -> None:
    """Ignored and blocked ones are counted."""
    r.numbers = {FREEBSD_SIGUSR1: signal.SIGUSR1, FREEBSD_SIGUSR2: signal.SIGUSR2}
    handled: list[int] = []
    r.stack.callback(signal.signal, signal.SIGUSR2, signal.signal(signal.SIGUSR2, signal.SIG_IGN))
    r.change(1)
    os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGUSR2)
    r.wait("sent twice, SIG_IGN")
    r.wait("again")
    before = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
    r.stack.callback(signal.signal, signal.SIGUSR1, before)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    r.change(2)
    os.kill(os.getpid(), signal.SIGUSR1)
    r.wait("blocked signal with handler")
    r.saw(f"still pending={len(signal.sigpending() & {signal.SIGUSR1})}")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    assert handled == [signal.SIGUSR1]
    r.change(3)


@replays("EVFILT_PROC NOTE_EXIT")
def processes(r: Replay) -> None:
    """The status comes with the exit, also to who asks late, and reaps nobody."""
    exits = child(r, 16, "exit 3")
    r.change(1)
    go_on(exits)
    r.wait("exit(3)")
    r.wait("again (auto-removed?)")
    pid, status = os.waitpid(exits.pid, 0)
    assert pid == exits.pid
    r.saw(f"waitpid=child status={status}")
    zombie = child(r, 17, "exit 4")
    go_on(zombie)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    r.change(2)
    r.wait("zombie child registered after its exit")
    zombie.wait()
    r.change(2)
    killed = child(r, 18, "exit 5")
    r.change(3)
    killed.kill()
    r.wait("killed by SIGKILL")
    r.numbers[14] = os.getpid()
    r.change(4)


@replays("EVFILT_VNODE")
def vnodes(r: Replay) -> None:
    """What happens to a file, and to the directory which it is in."""
    with tempfile.TemporaryDirectory() as directory:
        path, second, third = (os.path.join(directory, name) for name in "abc")
        file = r.keep_fd(os.open(path, os.O_RDWR | os.O_CREAT))
        r.bind(8, file)
        r.bind(9, r.keep_fd(os.open(directory, os.O_RDONLY)))
        r.passes("NOTE_ DELETE=1", because="the constants are in the header")
        r.change(1, 2)
        os.write(file, b"12345")
        r.wait("write extending")
        os.pwrite(file, b"6", 0)
        r.wait("overwrite")
        os.chmod(path, 0o600)
        r.wait("chmod")
        os.link(path, second)
        r.wait("link")
        os.rename(path, third)
        r.wait("rename")
        os.unlink(second)
        r.wait("unlink 2nd name")
        os.ftruncate(file, 0)
        r.wait("ftruncate 0")
        os.unlink(third)
        r.wait("unlink last name")
        os.close(file)
        r.wait("close")
        with socket.socket() as no_file:
            r.bind(8, no_file)
            r.change(1)
