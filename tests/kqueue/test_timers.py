"""Timers: never early, counted until retrieved, set anew by EV_ADD."""

from __future__ import annotations

import errno
import os
import select
import time

import pytest
from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue, Timer
from replay import GLIMPSE, PATIENCE

ADD, CLEAR, DELETE, ONESHOT = Flag.ADD, Flag.CLEAR, Flag.DELETE, Flag.ONESHOT
LONG = 60_000  # milliseconds that no test waits for
TIMER = Kevent(1, Filter.TIMER, ADD)
UNITS = {
    Timer.SECONDS: 1_000_000_000,
    Timer.MSECONDS: 1_000_000,
    Timer(0): 1_000_000,
    Timer.USECONDS: 1_000,
    Timer.NSECONDS: 1,
}


def pass_time(nanoseconds: int) -> None:
    """Returns when the monotonic clock has gone on by so much."""
    deadline = time.monotonic_ns() + nanoseconds
    while (left := deadline - time.monotonic_ns()) > 0:
        select.select([], [], [], left / 1e9)


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != Timer.SECONDS])
@pytest.mark.parametrize("nanoseconds", [3_100_000, 100_000])
def test_a_timer_is_never_early(
    system: LinuxKqueue, kq: int, unit: Timer, nanoseconds: int
) -> None:
    period = max(nanoseconds // UNITS[unit], 1)
    for _ in range(20):
        start = time.monotonic_ns()
        system.kevent(kq, [TIMER._replace(flags=ADD | ONESHOT, fflags=unit, data=period)])
        (event,) = system.kevent(kq, room=4, timeout=PATIENCE)
        assert time.monotonic_ns() - start >= period * UNITS[unit]
        assert (event.flags, event.data) == (ONESHOT | CLEAR, 1)


def test_a_one_shot_timer_is_gone_when_it_came(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [TIMER._replace(flags=ADD | ONESHOT, data=1)])
    assert len(system.kevent(kq, room=4, timeout=PATIENCE)) == 1
    with pytest.raises(FileNotFoundError):
        system.kevent(kq, [TIMER._replace(flags=DELETE)])


def test_a_periodic_timer_counts_every_period_and_does_not_run_ahead(
    system: LinuxKqueue, kq: int
) -> None:
    count, period = 0, 1_000_000
    start = time.monotonic_ns()
    system.kevent(kq, [TIMER._replace(fflags=Timer.NSECONDS, data=period)])
    while count < 20:
        (event,) = system.kevent(kq, room=4, timeout=PATIENCE)
        count += event.data
        assert event.data > 0
        assert time.monotonic_ns() - start >= count * period


def test_expirations_that_nobody_retrieved_are_counted(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [TIMER._replace(data=1)])
    pass_time(10_000_000)
    (event,) = system.kevent(kq, room=4)
    assert event.data >= 10


def test_an_absolute_timer_is_of_real_time_and_stays_until_deleted(
    system: LinuxKqueue, kq: int
) -> None:
    deadline = time.time_ns() + 2_000_000
    timer = TIMER._replace(fflags=Timer.NSECONDS | Timer.ABSTIME, data=deadline)
    system.kevent(kq, [timer])
    for _ in range(2):
        (event,) = system.kevent(kq, room=4, timeout=PATIENCE)
        assert time.time_ns() >= deadline
        assert (event.flags, event.data) == (0, 1)


def test_an_absolute_timer_of_the_past_comes_at_once(system: LinuxKqueue, kq: int) -> None:
    past = TIMER._replace(flags=ADD | ONESHOT, fflags=Timer.SECONDS | Timer.ABSTIME, data=1)
    system.kevent(kq, [past])
    assert len(system.kevent(kq, room=4, timeout=PATIENCE)) == 1


def test_adding_again_sets_the_timer_anew_and_forgets_its_expiration(
    system: LinuxKqueue, kq: int
) -> None:
    timer = TIMER._replace(flags=ADD | ONESHOT)
    system.kevent(kq, [timer._replace(data=1)])
    assert select.select([kq], [], [], PATIENCE)[0] == [kq]
    system.kevent(kq, [Kevent(1, Filter.USER, ADD)])
    system.kevent(kq, [timer._replace(data=LONG)])
    assert system.kevent(kq, room=4) == []


def test_a_refused_change_leaves_the_timer_running(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [TIMER._replace(flags=ADD | ONESHOT, data=1)])
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        system.kevent(kq, [TIMER._replace(flags=ADD | ONESHOT, data=-1)])
    assert len(system.kevent(kq, room=4, timeout=PATIENCE)) == 1


@pytest.mark.parametrize("fflags", [Timer.SECONDS | Timer.USECONDS, 0x20])
def test_two_units_and_unknown_fflags_are_refused(
    system: LinuxKqueue, kq: int, fflags: int
) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        system.kevent(kq, [TIMER._replace(fflags=fflags, data=1)])


@pytest.mark.parametrize("unit", UNITS)
def test_the_longest_period_is_accepted_and_does_not_end(
    system: LinuxKqueue, kq: int, unit: Timer
) -> None:
    system.kevent(kq, [TIMER._replace(fflags=unit, data=2**63 - 1)])
    assert system.kevent(kq, room=4, timeout=GLIMPSE) == []


def test_a_disabled_timer_runs_on_and_says_so_when_enabled(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [TIMER._replace(flags=ADD | Flag.DISABLE, data=1)])
    pass_time(5_000_000)
    assert system.kevent(kq, room=4) == []
    system.kevent(kq, [TIMER._replace(flags=Flag.ENABLE)])
    (event,) = system.kevent(kq, room=4)
    assert event.data >= 5


def test_a_dispatched_timer_comes_once_until_it_is_enabled(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [TIMER._replace(flags=ADD | Flag.DISPATCH, data=1)])
    assert len(system.kevent(kq, room=4, timeout=PATIENCE)) == 1
    assert system.kevent(kq, room=4, timeout=GLIMPSE) == []
    system.kevent(kq, [TIMER._replace(flags=Flag.ENABLE)])
    assert len(system.kevent(kq, room=4, timeout=PATIENCE)) == 1


def test_a_receipt_is_no_expiration(system: LinuxKqueue, kq: int) -> None:
    (receipt,) = system.kevent(kq, [TIMER._replace(flags=ADD | Flag.RECEIPT, data=LONG)], room=4)
    assert (receipt.flags, receipt.data) == (Flag.ERROR, 0)
    assert system.kevent(kq, room=4) == []


def test_a_deleted_timer_does_not_come(system: LinuxKqueue, kq: int) -> None:
    system.kevent(kq, [TIMER._replace(data=1)])
    assert select.select([kq], [], [], PATIENCE)[0] == [kq]
    system.kevent(kq, [TIMER._replace(flags=DELETE)])
    assert system.kevent(kq, room=4, timeout=GLIMPSE) == []
