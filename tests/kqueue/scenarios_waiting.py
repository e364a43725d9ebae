"""Cases about forks, timeouts, signals and threads, and the filters without a descriptor."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable

from linux_kqueue import NOTE_TRIGGER, Filter, Flag, Kevent
from recording import Result
from replay import PATIENCE, ROOM, Replay, is_asleep, wait_until
from scenario import replays

ADD, CLEAR = Flag.ADD, Flag.CLEAR
READ, WRITE, USER = Filter.READ, Filter.WRITE, Filter.USER
NUMBERS = "numbers of descriptors"
BRIEF = 0.2  # seconds for waits that end without an event


def in_child(report: Callable[[], str]) -> str:
    """Returns what ``report`` says in a forked child."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, report().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        text = reader.read()
    os.waitpid(pid, 0)
    return text


def closes(fd: int) -> int:
    """Returns what close() does."""
    try:
        os.close(fd)
    except OSError:
        return -1
    return 0


def is_open(fd: int) -> int:
    """Returns 0 for an open descriptor, else -1, like F_GETFD without close-on-exec."""
    try:
        os.fstat(fd)
    except OSError:
        return -1
    return 0


@replays("kqueue after fork (child uses parent's kq)")
def forked(r: Replay) -> None:
    """A child has no queue."""

    def child() -> str:
        try:
            kevent = str(len(r.system.kevent(r.kq, room=1)))
        except OSError as error:
            kevent = f"-1 {error.strerror}"
        return f"child: kevent={kevent}; fcntl(F_GETFD)={is_open(r.kq)}"

    r.pair()
    r.change(1)
    r.saw(in_child(child))
    r.passes("child: new kqueue() = 8", because=NUMBERS)
    r.wait("parent still works")


@replays("fork: fd numbers in the child")
def forked_numbers(r: Replay) -> None:
    """Their numbers are closed in the child."""
    other = r.queue()
    r.passes("parent kq=3 k2=6", because=NUMBERS)

    def child() -> str:
        return f"child: F_GETFD kq={is_open(r.kq)} k2={is_open(other)}; close(kq)={closes(r.kq)}"

    line = r.next()
    assert isinstance(line, str)
    recorded = line.split("; ")
    assert in_child(child) == f"{recorded[0]}; {recorded[2]}"


@replays("timeouts")
def timeouts(r: Replay) -> None:
    """Timeouts of all sizes."""

    def outcome(label: str, room: int, timeout: float | tuple[int, int] | None) -> None:
        try:
            text = f"{label}: n={len(r.system.kevent(r.kq, room=room, timeout=timeout))}"
        except OSError as error:
            text = f"{label}: n=-1 {error.strerror}"
        r.saw(text, prefix=True)

    outcome("timeout 0", ROOM, 0)
    outcome("timeout 100ms", ROOM, 0.1)
    outcome("timeout 1ns", ROOM, (0, 1))
    outcome("timeout tv_sec=-1", ROOM, (-1, 0))
    outcome("timeout tv_nsec=1e9", ROOM, (0, 1_000_000_000))
    outcome("nevents 0, timeout NULL", 0, None)
    outcome("nevents 0, timeout 100ms", 0, 0.1)
    r.change(7)
    trigger = Kevent(7, USER, fflags=NOTE_TRIGGER)
    main = threading.current_thread()

    def wake() -> None:
        wait_until(lambda: is_asleep(main))
        r.system.kevent(r.kq, [trigger])

    thread = threading.Thread(target=wake)
    thread.start()
    outcome("timeout NULL woken by NOTE_TRIGGER from a thread", ROOM, None)
    thread.join()
    for label, seconds in (("3e6", 3_000_000), ("INT64_MAX", 2**63 - 1)):
        thread = threading.Thread(target=wake)
        thread.start()
        outcome(f"timeout {label} s", ROOM, (seconds, 0))
        thread.join()


def interrupted(r: Replay, changes: list[Kevent]) -> str:
    """Waits, is interrupted by a handled signal, and says how the wait ended."""
    main = threading.current_thread()

    def interrupt() -> None:
        calls = r.system.calls()
        started.set()
        wait_until(lambda: r.system.calls() > calls)
        wait_until(lambda: is_asleep(main))
        assert main.ident is not None
        signal.pthread_kill(main.ident, signal.SIGUSR1)

    started = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    started.wait()
    try:
        return f"n={len(r.system.kevent(r.kq, changes, ROOM, PATIENCE))}"
    except InterruptedError as error:
        return f"n=-1 {error.strerror}"
    finally:
        thread.join()


def handled(r: Replay, restart: bool) -> None:
    """Handles SIGUSR1 until the case is over."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    r.stack.callback(signal.signal, signal.SIGUSR1, before)
    signal.siginterrupt(signal.SIGUSR1, not restart)


@replays("kevent interrupted by signal in the waiting thread, SA_RESTART=0")
def interrupt(r: Replay) -> None:
    """A signal ends the wait."""
    handled(r, restart=False)
    r.saw(interrupted(r, []), prefix=True)


@replays("kevent interrupted by signal in the waiting thread, SA_RESTART=1")
def interrupt_restart(r: Replay) -> None:
    """It does so under SA_RESTART, too."""
    handled(r, restart=True)
    r.saw(interrupted(r, []), prefix=True)


@replays("EINTR with a changelist: are the changes applied?")
def interrupt_changes(r: Replay) -> None:
    """The changes were applied."""
    ours, peer = r.pair(4)
    handled(r, restart=False)
    r.saw(interrupted(r, [Kevent(ours.fileno(), READ, ADD, udata=5)]))
    peer.send(b"1")
    r.wait("after")


@replays("other thread adds a ready fd while we are blocked")
def add_while_blocked(r: Replay) -> None:
    """A waiter sees what others add."""
    ours, _ = r.pair(6)
    got: list[Kevent] = []
    (thread,) = r.blocked(
        lambda: got.extend(r.system.kevent(r.kq, room=ROOM, timeout=PATIENCE)),
    )
    r.register(ours, WRITE, 77, CLEAR)
    thread.join()
    step = r.next()
    assert isinstance(step, Result)
    assert [(e.filter, e.ident, e.flags, e.udata) for e in map(r.entry, got)] == [
        (e.filter, e.ident, e.flags, e.udata) for e in step.entries
    ]
    r.saw("[thread: add rc=0]")


@replays("other thread closes the only registered fd while we are blocked")
def close_while_blocked(r: Replay) -> None:
    """The waiter sleeps on."""
    ours, _ = r.pair(6)
    r.change(1)
    counts: list[int] = []
    (thread,) = r.blocked(
        lambda: counts.append(len(r.system.kevent(r.kq, room=ROOM, timeout=BRIEF))),
    )
    ours.close()
    r.saw("[thread: close(fd) rc=0]")
    thread.join()
    r.saw(f"n={counts[0]}", prefix=True)


@replays("kq closed by another thread during kevent(NULL timeout 1s)")
def queue_closed_while_blocked(r: Replay) -> None:
    """The waiter sleeps to the end."""
    counts: list[int] = []
    (thread,) = r.blocked(
        lambda: counts.append(len(r.system.kevent(r.kq, room=ROOM, timeout=BRIEF))),
    )
    r.saw(f"[thread closed kq rc={closes(r.kq)}]")
    thread.join()
    r.saw(f"n={counts[0]}", prefix=True)


def three_waiters(r: Replay, wake: Callable[[], object], winners: int) -> list[str]:
    """Returns what three waiters report when ``wake`` was called, the winners first."""
    counts: list[int] = []

    def wait() -> None:
        timeout = PATIENCE if winners == 3 else BRIEF
        counts.append(len(r.system.kevent(r.kq, room=ROOM, timeout=timeout)))

    threads = r.blocked(wait, wait, wait)
    wake()
    for thread in threads:
        thread.join()
    return [f"n={count}" for count in sorted(counts, reverse=True)]


def recorded_waiters(r: Replay, count: int = 3) -> list[str]:
    """Returns what the recorded waiters reported, the winners first."""
    lines = [r.next() for _ in range(count)]
    return sorted((str(line).rpartition(": ")[2].rstrip("]") for line in lines), reverse=True)


@replays("3 threads wait on one kq, one EVFILT_USER trigger, level")
def waiters_user_level(r: Replay) -> None:
    """All of them get a level event."""
    r.change(7)
    recorded = recorded_waiters(r)
    assert three_waiters(r, lambda: r.change(7), winners=3) == recorded


@replays("3 threads wait on one kq, one EVFILT_USER trigger, EV_CLEAR")
def waiters_user_clear(r: Replay) -> None:
    """One of them gets an EV_CLEAR event."""
    r.change(7)
    recorded = recorded_waiters(r, 1)
    got = three_waiters(r, lambda: r.change(7), winners=1)
    assert got == recorded + recorded_waiters(r, 2)


@replays("3 threads wait on one kq, socket readable, EV_CLEAR / EV_DISPATCH / level")
def waiters_socket(r: Replay) -> None:
    """One gets CLEAR and DISPATCH, all get level."""
    for winners in (1, 1, 3):
        r.fresh_queue()
        _, peer = r.pair(6)
        r.change(1)

        def wake(peer: socket.socket = peer) -> int:
            return peer.send(b"1")

        assert three_waiters(r, wake, winners) == recorded_waiters(r)


@replays("EVFILT_USER")
def user(r: Replay) -> None:
    """Triggers merge; every change overwrites udata."""
    r.change(0, 1)
    r.wait("added")
    r.change(0)
    r.wait("triggered (udata passed 0)")
    r.wait("again")
    r.change(1, 1)
    r.wait("triggered twice")
    r.change(1, 1)
    r.wait("FFOR 5, FFOR 0x10 + trigger, data 42")
    r.change(2, 2)
    r.wait("level")
    r.wait("level again")
    r.change(2)
    r.wait("after EV_CLEAR change")
    r.change(3)
    r.wait("ADD with NOTE_TRIGGER at once")
    r.change(4, 4)
    r.wait("oneshot")
    r.change(4)


@replays("EVFILT_TIMER")
def timer(r: Replay) -> None:
    """Units, periods and re-arming."""

    def took() -> None:
        r.passes("took", because="times are not compared")

    counts = "how many expirations there were depends on when they are counted"
    r.change(1)
    r.wait("oneshot 50 (ms) w/ 1s timeout")
    took()
    r.wait("again 100ms")
    r.change(1, 2)
    r.wait("periodic 20ms after 110ms: data=count", sizes=counts)
    r.wait("next", sizes=counts)
    r.change(2, 3)
    r.wait("30000 us")
    took()
    r.change(3)
    r.wait("30e6 ns")
    took()
    r.change(3)
    r.wait("1 s")
    took()
    r.change(3, data=time.time_ns() // 1_000_000 + 60)
    r.wait("abstime now+60ms")
    took()
    r.change(5)
    r.wait("period 0", sizes=counts)
    r.change(5, 6)
    r.wait("period -5")
    r.change(6, 7, 8)
    r.wait("re-add 5000ms -> 40ms")
    took()
