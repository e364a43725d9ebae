"""`Signals`: R18."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from case import LEVEL, case
from sources import wait_until
from world import READABLE, NotHere, World

from pollster import Signals

LEVEL_ONLY = (LEVEL,)
ONE, TWO = signal.SIGUSR1, signal.SIGUSR2


def watched(world: World, *numbers: int, token: int = 1) -> Signals:
    """Signals, watched and registered."""
    signals = world.keep(Signals(*numbers, backend=world.backend))
    world.register(signals, token)
    return signals


def send(number: int) -> None:
    """Sends this process a signal."""
    os.kill(os.getpid(), number)


@contextmanager
def handler(number: int, action: "signal._HANDLER") -> Iterator[None]:
    """Has a Python handler, or SIG_IGN, meanwhile."""
    before = signal.signal(number, action)
    try:
        yield
    finally:
        signal.signal(number, before)


@case("R18", "mio#16 which signals came and how often is told")
def _(world: World) -> None:
    signals = watched(world, ONE, TWO, signal.SIGTERM)
    world.expect({})
    for number in (ONE, TWO, ONE, ONE):
        send(number)
        world.expect({1: READABLE})
        world.rearm()
        world.expect({1: READABLE} if world.is_oneshot else {})
    world.see(sorted(signals.take().items()))
    world.see(sorted(signals.take().items()))


@case("R18", "the default action does not happen, and does afterwards")
def _(world: World) -> None:
    def work() -> None:
        signals = Signals(signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, backend=world.backend)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            send(number)
        assert signals.take().total() == 3
        signals.close()
        send(signal.SIGTERM)
        wait_until(lambda: False)

    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    world.see(os.waitstatus_to_exitcode(status))


@case("R18", "a Python handler goes on being called, and is there afterwards")
def _(world: World) -> None:
    came: list[int] = []

    def on_signal(number: int, _: object) -> None:
        came.append(number)

    with handler(ONE, on_signal):
        signals = watched(world, ONE)
        for turn in range(3):
            send(ONE)
            world.expect({1: READABLE})
            world.see(sorted(signals.take().items()))
            wait_until(lambda: len(came) == turn + 1)  # noqa: B023 - before the next one: they merge
            world.rearm()
        assert signal.getsignal(ONE) is on_signal
        signals.close()
        send(ONE)
        wait_until(lambda: len(came) == 4)
    world.see(came)


@case("R18", "a signal that the program ignores is counted and ignored")
def _(world: World) -> None:
    with handler(ONE, signal.SIG_IGN):
        signals = watched(world, ONE)
        send(ONE)
        world.expect({1: READABLE})
        world.see(sorted(signals.take().items()))
        signals.close()
        send(ONE)


@case("R18", "set_wakeup_fd goes on being told")
def _(world: World) -> None:
    reader, writer = world.one_way()
    with handler(ONE, lambda *_: None):
        before = signal.set_wakeup_fd(writer.fd)
        try:
            watched(world, ONE)
            send(ONE)
            world.expect({1: READABLE})
            # It is told when it is sent, and may be handled later: before the handler goes.
            wait_until(lambda: bool(select.select([reader.fd], [], [], 0)[0]))
            world.see(reader.recv())
        finally:
            signal.set_wakeup_fd(before)


@case("R18", "a handler that was set meanwhile stays, and signals are counted after take()")
def _(world: World) -> None:
    came: list[int] = []
    signals = watched(world, ONE)
    with handler(ONE, lambda number, _: came.append(number)):
        signals.take()
        send(ONE)
        world.expect({1: READABLE})
        world.see(sorted(signals.take().items()))
        wait_until(lambda: len(came) == 1)  # before the next one: they merge
        signals.close()
        send(ONE)
        wait_until(lambda: len(came) == 2)


@case("R18", "SIGCHLD is counted, and the child is still to be waited for")
def _(world: World) -> None:
    signals = watched(world, signal.SIGCHLD)
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    world.expect({1: READABLE})
    world.see(sorted(signals.take().items()))
    world.see(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@case("R18", "each real-time signal is counted")
def _(world: World) -> None:
    first = getattr(signal, "SIGRTMIN", None)
    if first is None:
        raise NotHere("this system has no real-time signals")
    signals = watched(world, first, first + 1)
    for number in (first, first + 1, first + 1):
        send(number)
    world.expect({1: READABLE})
    taken = signals.take()
    assert taken == {first: 1, first + 1: 2}
    world.see(taken.total())


@case("R18", "two may watch one signal, and one may end first")
def _(world: World) -> None:
    one, other = watched(world, ONE, token=1), watched(world, ONE, TWO, token=2)
    send(ONE)
    world.expect({1: READABLE, 2: READABLE})
    one.close()
    world.forget(one)
    world.rearm()
    world.expect({2: READABLE} if world.is_oneshot else {})
    world.see(sorted(other.take().items()))
    world.rearm()
    send(ONE)
    world.expect({2: READABLE})
    world.see(sorted(other.take().items()))


@case("R18", "a signal that another thread takes is counted")
def _(world: World) -> None:
    signals = watched(world, ONE)
    started, end = threading.Event(), threading.Event()

    def work() -> None:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        started.set()
        assert end.wait(10)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with world.thread(work):
        assert started.wait(10)
        signal.pthread_sigmask(signal.SIG_BLOCK, {ONE})
        send(ONE)
        world.expect({1: READABLE})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end.set()
    assert signals.take()[ONE] >= 1


@case("R18", "it may be made in any thread")
def _(world: World) -> None:
    made: list[Signals] = []
    with world.thread(lambda: made.append(Signals(ONE, backend=world.backend))):
        pass
    signals = world.keep(made[0])
    world.register(signals, 1)
    send(ONE)
    world.expect({1: READABLE})
    world.see(sorted(signals.take().items()))


@case("R18", "a forked child has the actions that were there before")
def _(world: World) -> None:
    signals = watched(world, signal.SIGTERM)
    pid = os.fork()
    if pid == 0:
        send(signal.SIGTERM)
        os._exit(1)
    world.see(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    world.expect({})
    world.see(sorted(signals.take().items()))


@case("R18", "what nobody can watch is refused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for number, says in (
        (signal.SIGKILL, "SIGKILL can't be watched: no program can catch it"),
        (signal.SIGSTOP, "SIGSTOP can't be watched"),
        (signal.SIGSEGV, "can't go on after it"),
        (0, "no signal"),
        (-1, "no signal"),
        (10**9, "no signal"),
    ):
        with world.refused(ValueError, 0, says):
            Signals(ONE, number, backend=world.backend)
    with world.refused(ValueError, 0, "name the signals"):
        Signals(backend=world.backend)
    for wrong in ("SIGTERM", None, True, 1.0):
        with world.refused(TypeError, 0, "number"):
            Signals(wrong, backend=world.backend)  # type: ignore[arg-type]
