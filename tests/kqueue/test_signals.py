"""Signals: counted beside whatever the program does with them, also when that is nothing."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from linux_kqueue import NOTE_TRIGGER, Filter, Flag, Kevent, LinuxKqueue
from replay import PATIENCE, is_asleep, wait_until

ADD, CLEAR, DELETE, ONESHOT = Flag.ADD, Flag.CLEAR, Flag.DELETE, Flag.ONESHOT
USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2
ME = os.getpid()
Disposition = signal.Handlers | Callable[..., None]


@pytest.fixture
def handle() -> Iterator[Callable[[int, Disposition], None]]:
    """Is signal.signal(); what was there comes back."""
    with contextlib.ExitStack() as stack:

        def handle(number: int, action: Disposition) -> None:
            stack.callback(signal.signal, number, signal.signal(number, action))

        yield handle


Handle = Callable[[int, Disposition], None]


def watch(number: int, flags: int = 0) -> Kevent:
    return Kevent(number, Filter.SIGNAL, ADD | flags)


def counted(number: int, count: int) -> Kevent:
    return Kevent(number, Filter.SIGNAL, CLEAR, data=count)


def send(number: int, times: int = 1) -> None:
    for _ in range(times):
        os.kill(ME, number)


def kernel_says(which: str, number: int) -> bool:
    """Whether a SigIgn, SigCgt or SigBlk mask of this process has the signal."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    raise AssertionError(which)


def when_asleep(system: LinuxKqueue, action: Callable[[], None]) -> threading.Thread:
    """Runs the action in a thread once this one sleeps in its next kevent()."""
    me, before = threading.current_thread(), system.calls()

    def act() -> None:
        wait_until(lambda: system.calls() > before and is_asleep(me))
        action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_handled_signal_is_counted_and_handled(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    got: list[int] = []
    handle(USR1, lambda number, frame: got.append(number))
    system.kevent(kq, [watch(USR1)])
    send(USR1, 3)
    assert system.kevent(kq, room=4) == [counted(USR1, 3)]
    assert got == [USR1] * 3
    assert system.kevent(kq, room=4) == []
    send(USR1)
    assert system.kevent(kq, room=4) == [counted(USR1, 1)]


def test_an_ignored_signal_is_counted(system: LinuxKqueue, kq: int, handle: Handle) -> None:
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1)])
    send(USR1, 3)
    assert system.kevent(kq, room=4) == [counted(USR1, 3)]


def test_a_signal_that_is_ignored_by_default_is_counted(system: LinuxKqueue, kq: int) -> None:
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
    system.kevent(kq, [watch(signal.SIGURG)])
    send(signal.SIGURG, 2)
    assert system.kevent(kq, room=4) == [counted(signal.SIGURG, 2)]


def test_a_signal_that_ends_a_process_by_default_still_does(system: LinuxKqueue) -> None:
    child = os.fork()
    if child == 0:
        system.kevent(system.kqueue(), [watch(signal.SIGTERM)])
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM


@pytest.mark.parametrize("first", [signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler])
def test_an_action_that_is_set_later_takes_effect_and_counts_from_the_next_call(
    system: LinuxKqueue, kq: int, handle: Handle, first: Disposition
) -> None:
    got: list[int] = []
    handle(USR1, first)
    system.kevent(kq, [watch(USR1)])
    handle(USR1, lambda number, frame: got.append(number))
    system.kevent(kq)
    send(USR1)
    assert got == [USR1]
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq)
    send(USR1)
    assert got == [USR1]
    assert system.kevent(kq, room=4) == [counted(USR1, 2)]


def test_what_the_program_had_is_back_after_the_last_delete(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, signal.SIG_IGN)
    other = system.kqueue()
    for queue in (kq, other):
        system.kevent(queue, [watch(USR1)])
    system.kevent(kq, [watch(USR1)._replace(flags=DELETE)])
    assert kernel_says("SigCgt", USR1)
    system.kevent(other, [watch(USR1)._replace(flags=DELETE)])
    assert kernel_says("SigIgn", USR1)
    assert not kernel_says("SigCgt", USR1)
    os.close(other)


def test_what_the_program_had_is_back_when_a_closed_queue_is_missed(
    system: LinuxKqueue, handle: Handle
) -> None:
    handle(USR1, signal.SIG_IGN)
    queue = system.kqueue()
    system.kevent(queue, [watch(USR1)])
    os.close(queue)
    send(USR1)
    os.close(system.kqueue())
    assert kernel_says("SigIgn", USR1)


def test_an_action_that_was_set_meanwhile_stays_after_the_delete(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    system.kevent(kq, [watch(USR1)])
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1)._replace(flags=DELETE)])
    assert kernel_says("SigIgn", USR1)


def test_every_queue_and_each_signal_has_a_count_of_its_own(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    for number in (USR1, USR2):
        handle(number, signal.SIG_IGN)
    other = system.kqueue()
    system.kevent(kq, [watch(USR1), watch(USR2)])
    system.kevent(other, [watch(USR1)])
    send(USR1, 2)
    send(USR2)
    assert sorted(system.kevent(kq, room=4)) == [counted(USR1, 2), counted(USR2, 1)]
    send(USR1)
    assert system.kevent(other, room=4) == [counted(USR1, 3)]
    os.close(other)


def test_real_time_signals(system: LinuxKqueue, kq: int, handle: Handle) -> None:
    handle(signal.SIGRTMIN + 1, signal.SIG_IGN)
    system.kevent(kq, [watch(signal.SIGRTMIN + 1)])
    send(signal.SIGRTMIN + 1, 5)
    assert system.kevent(kq, room=4) == [counted(signal.SIGRTMIN + 1, 5)]


def test_children_of_who_watches_sigchld_are_waited_for_as_ever(
    system: LinuxKqueue, kq: int
) -> None:
    system.kevent(kq, [watch(signal.SIGCHLD)])
    with subprocess.Popen(["/bin/sh", "-c", "exit 3"]) as child:
        assert system.kevent(kq, room=4, timeout=PATIENCE) == [counted(signal.SIGCHLD, 1)]
        assert child.wait() == 3


def test_children_of_who_ignores_sigchld_leave_no_zombies(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(signal.SIGCHLD, signal.SIG_IGN)
    system.kevent(kq, [watch(signal.SIGCHLD)])
    pid = os.posix_spawn("/bin/true", ["true"], {})
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [counted(signal.SIGCHLD, 1)]
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.mark.parametrize("number", [0, 1000, 2**64 - 1, signal.SIGKILL, signal.SIGSTOP, 32])
def test_what_is_never_caught_is_accepted_and_never_comes(
    system: LinuxKqueue, kq: int, number: int
) -> None:
    system.kevent(kq, [watch(number)])
    assert system.kevent(kq, room=4) == []
    system.kevent(kq, [watch(number)._replace(flags=DELETE)])


# Blocked signals.


@pytest.fixture
def blocked() -> Iterator[None]:
    """SIGUSR1 is blocked; none is left pending."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [USR1])
    yield
    signal.sigtimedwait([USR1], 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [USR1])


@pytest.mark.usefixtures("blocked")
def test_a_blocked_signal_is_counted_and_stays_pending(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [watch(USR1)])
    send(USR1)
    assert system.kevent(kq, room=4) == [counted(USR1, 1)]
    assert system.kevent(kq, room=4) == []
    assert signal.sigpending() == {USR1}
    assert signal.sigwait([USR1]) == USR1
    assert system.kevent(kq, room=4) == []
    send(USR1)
    assert system.kevent(kq, room=4) == [counted(USR1, 1)]


@pytest.mark.usefixtures("blocked")
def test_a_blocked_signal_is_not_counted_again_when_it_is_delivered(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    got: list[int] = []
    handle(USR1, lambda number, frame: got.append(number))
    system.kevent(kq, [watch(USR1)])
    send(USR1)
    assert system.kevent(kq, room=4) == [counted(USR1, 1)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [USR1])
    assert got == [USR1]
    assert system.kevent(kq, room=4) == []


@pytest.mark.usefixtures("blocked")
def test_what_was_pending_before_is_not_counted(system: LinuxKqueue, kq: int) -> None:
    send(USR1)
    system.kevent(kq, [watch(USR1)])
    assert system.kevent(kq, room=4) == []


@pytest.mark.usefixtures("blocked")
def test_a_blocked_signal_wakes_who_waits(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [watch(USR1)])
    thread = when_asleep(system, lambda: send(USR1))
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [counted(USR1, 1)]
    thread.join()


# Waiting.


@pytest.mark.parametrize("action", [signal.SIG_IGN, lambda number, frame: None])
def test_a_watched_signal_wakes_who_waits_with_an_event(
    system: LinuxKqueue, kq: int, handle: Handle, action: Disposition
) -> None:
    handle(USR1, action)
    system.kevent(kq, [watch(USR1)])
    thread = when_asleep(system, lambda: send(USR1))
    assert system.kevent(kq, room=4, timeout=PATIENCE) == [counted(USR1, 1)]
    thread.join()


def test_a_signal_wakes_who_waits_in_another_thread(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    got: list[Kevent] = []
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1)])
    thread = threading.Thread(
        target=lambda: got.extend(system.kevent(kq, room=4, timeout=PATIENCE))
    )
    thread.start()
    wait_until(lambda: is_asleep(thread))
    send(USR1)
    thread.join()
    assert got == [counted(USR1, 1)]


def test_an_ignored_signal_interrupts_nobody(system: LinuxKqueue, kq: int, handle: Handle) -> None:
    handle(USR1, signal.SIG_IGN)
    user = Kevent(1, Filter.USER, ADD | CLEAR)
    system.kevent(kq, [watch(USR1, Flag.DISABLE), user])
    main = threading.main_thread().ident
    assert main is not None

    def disturb() -> None:
        signal.pthread_kill(main, USR1)
        system.kevent(kq, [user._replace(flags=0, fflags=NOTE_TRIGGER)])

    thread = when_asleep(system, disturb)
    (event,) = system.kevent(kq, room=4, timeout=PATIENCE)
    assert event.filter == Filter.USER
    thread.join()


def test_a_handled_signal_of_a_disabled_knote_interrupts(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, lambda number, frame: None)
    system.kevent(kq, [watch(USR1, Flag.DISABLE)])
    main = threading.main_thread().ident
    assert main is not None
    thread = when_asleep(system, lambda: signal.pthread_kill(main, USR1))
    with pytest.raises(InterruptedError):
        system.kevent(kq, room=4, timeout=PATIENCE)
    thread.join()


def test_a_signal_makes_the_queue_readable(system: LinuxKqueue, kq: int, handle: Handle) -> None:
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1)])
    assert select.select([kq], [], [], 0)[0] == []
    send(USR1)
    assert select.select([kq], [], [], PATIENCE)[0] == [kq]
    assert system.kevent(kq, room=4) == [counted(USR1, 1)]
    assert select.select([kq], [], [], 0)[0] == []


def test_pythons_wakeup_descriptor_gets_the_signal_as_well(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, lambda number, frame: None)
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.setblocking(False)
        before = signal.set_wakeup_fd(peer.fileno())
        try:
            system.kevent(kq, [watch(USR1)])
            send(USR1)
            assert ours.recv(4) == bytes([USR1])
        finally:
            signal.set_wakeup_fd(before)
    assert system.kevent(kq, room=4) == [counted(USR1, 1)]


# The flags.


def test_disabled_it_counts_on_and_enabled_it_tells(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1, Flag.DISABLE)])
    send(USR1, 2)
    assert system.kevent(kq, room=4) == []
    system.kevent(kq, [watch(USR1)._replace(flags=Flag.ENABLE)])
    assert system.kevent(kq, room=4) == [counted(USR1, 2)]


def test_dispatched_it_tells_once_until_enabled(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1, Flag.DISPATCH)])
    for count in (1, 2):
        send(USR1, count)
        (event,) = system.kevent(kq, room=4)
        assert (event.flags, event.data) == (CLEAR | Flag.DISPATCH, count)
        send(USR1)
        assert system.kevent(kq, room=4) == []
        system.kevent(kq, [watch(USR1)._replace(flags=Flag.ENABLE)])
        assert system.kevent(kq, room=4)[0].data == 1
        system.kevent(kq, [watch(USR1)._replace(flags=Flag.ENABLE)])


def test_one_shot_it_tells_once_and_the_action_is_back(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1, ONESHOT)])
    send(USR1)
    assert len(system.kevent(kq, room=4)) == 1
    assert not kernel_says("SigCgt", USR1)


def test_a_receipt_is_no_signal(system: LinuxKqueue, kq: int) -> None:
    (receipt,) = system.kevent(kq, [watch(signal.SIGURG, Flag.RECEIPT)], room=4)
    assert (receipt.flags, receipt.data) == (Flag.ERROR, 0)
    assert system.kevent(kq, room=4) == []


# Processes.


def test_a_child_has_the_programs_action_and_its_signals_are_its_own(
    system: LinuxKqueue, kq: int, handle: Handle
) -> None:
    handle(USR1, signal.SIG_IGN)
    system.kevent(kq, [watch(USR1)])
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), USR1)
        os._exit(0 if kernel_says("SigIgn", USR1) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert system.kevent(kq, room=4) == []
