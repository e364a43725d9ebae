"""`Timer`: R17. Only lower bounds of time are stated; how late an event is, the machine says."""

import math
import time
from datetime import timedelta
from fractions import Fraction

import pytest
from deadlines import FAR, R, due_now, register

from pollster import (
    Event,
    Events,
    Interest,
    Timer,
    Token,
    Trigger,
)

from .conftest import WAIT, open_descriptors

# When it expires


@pytest.mark.parametrize("seconds", [0, 1e-9, 100e-6, 0.0031, timedelta(milliseconds=2)])
def test_it_is_never_early(poll, seconds) -> None:
    nanoseconds = Fraction(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    for _ in range(20):
        before = time.monotonic_ns()
        timer = register(poll, Timer.after(seconds))
        (event,) = poll.poll(timeout=WAIT)
        assert event == Event(Token(1), is_readable=True)
        assert time.monotonic_ns() - before >= nanoseconds * 10**9
        poll.registry.deregister(timer)


def test_a_deadline_is_of_the_clock_that_monotonic_reads(poll) -> None:
    for ahead in (100e-6, 0.003, -1.0):
        deadline = time.monotonic() + ahead
        timer = register(poll, Timer.at(deadline))
        assert len(poll.poll(timeout=WAIT)) == 1
        assert time.monotonic() >= deadline
        timer.close()


def test_a_period_counts_from_its_beginning_and_does_not_drift(poll) -> None:
    period = 700_000
    before = time.monotonic_ns()
    timer = register(poll, Timer.every(period / 1e9))
    first, _ = timer._setting()
    count = 0
    while count < 20:
        assert len(poll.poll(timeout=WAIT)) == 1
        count += timer.expirations()
        assert time.monotonic_ns() >= before + count * period
        assert timer._setting() == (first + count * period, period)


def test_periods_that_nobody_polled_for_are_one_event_and_are_counted(poll) -> None:
    timer = register(poll, Timer.every(0.0005))
    time.sleep(0.01)
    assert due_now(poll) == [1]
    assert timer.expirations() >= 20
    assert timer.expirations() == 0


def test_its_time_counts_from_where_it_was_made(poll) -> None:
    once, often = Timer.after(0.001), Timer.every(0.001)
    time.sleep(0.005)
    register(poll, once, 1)
    register(poll, often, 2)
    assert due_now(poll) == [1, 2]
    assert (once.expirations(), often.expirations() >= 5) == (1, True)


@pytest.mark.parametrize("trigger", Trigger)
def test_each_expiration_is_reported_once_whatever_the_trigger(poll, trigger) -> None:
    once, often = Timer.after(0), Timer.every(0.002)
    poll.registry.register(once, Token(1), R, trigger)
    poll.registry.register(often, Token(2), R, trigger)
    seen = [0, 0, 0]
    while seen[2] < 5:
        for event in poll.poll(timeout=WAIT):
            seen[event.token] += 1
            assert (once, often)[event.token - 1].expirations() >= 1
    assert seen[1] == 1


def test_a_wait_with_a_timeout_ends_by_whichever_comes_first(poll) -> None:
    register(poll, Timer.after(FAR))
    assert due_now(poll) == []
    assert list(poll.poll(timeout=0.002)) == []
    register(poll, Timer.after(0.002), 2)
    assert [event.token for event in poll.poll(timeout=FAR)] == [2]
    register(poll, Timer.after(math.inf), 3)
    assert list(poll.poll(timeout=0.001)) == []


def test_of_a_batch_the_earliest_comes_first(poll) -> None:
    now = time.monotonic()
    for token in (3, 1, 4, 0, 2):
        register(poll, Timer.at(now - 1 + token / 100), token)
    assert due_now(poll) == [0, 1, 2, 3, 4]


# Setting it anew


def test_it_can_be_set_again_after_it_expired(poll) -> None:
    timer = register(poll, Timer())
    assert due_now(poll) == []
    for set_anew in (
        timer.set_after,
        timer.set_every,
        lambda s: timer.set_at(time.monotonic() + s),
    ):
        set_anew(0.001)
        assert [event.token for event in poll.poll(timeout=WAIT)] == [1]
        timer.cancel()
        assert due_now(poll) == []


def test_it_can_be_put_off_and_brought_forward(poll) -> None:
    timer = register(poll, Timer.after(0))
    timer.set_after(FAR)
    assert due_now(poll) == []
    timer.set_after(FAR + 1)
    timer.set_after(0)
    assert due_now(poll) == [1]
    assert timer.expirations() == 1
    assert due_now(poll) == []


@pytest.mark.parametrize(
    "end",
    [
        lambda poll, timer: timer.cancel(),
        lambda poll, timer: timer.close(),
        lambda poll, timer: timer.set_after(FAR),
        lambda poll, timer: poll.registry.deregister(timer),
        lambda poll, timer: poll.registry.reregister(timer, Token(9), R),
    ],
    ids=["cancel", "close", "set", "deregister", "another token"],
)
def test_what_has_ended_is_gone_from_the_batch_that_is_read(poll, end) -> None:
    timers = [register(poll, Timer.after(0), token) for token in range(3)]
    events = poll.poll(timeout=WAIT)
    assert len(events) == 3
    seen = []
    for event in events:
        seen.append(int(event.token))
        for token, timer in enumerate(timers):
            if token != event.token:
                end(poll, timer)
    assert len(seen) == 1
    assert due_now(poll) == []


def test_after_it_was_cancelled_in_a_batch_it_is_reported_again(poll) -> None:
    timer = register(poll, Timer.after(0))
    events = poll.poll(timeout=WAIT)
    timer.set_after(0)
    assert list(events) == []
    assert due_now(poll) == [1]


def test_expirations_begin_at_0_when_it_is_set_anew(poll) -> None:
    timer = register(poll, Timer.every(0.0001))
    assert len(poll.poll(timeout=WAIT)) == 1
    timer.set_after(FAR)
    assert timer.expirations() == 0


def test_a_timer_that_is_not_registered_can_be_set_and_cancelled(poll) -> None:
    timer = Timer.after(0)
    timer.cancel()
    timer.cancel()
    register(poll, timer)
    assert due_now(poll) == []
    timer.close()
    timer.close()
    timer.set_after(0)
    assert due_now(poll) == []
    register(poll, timer, 2)
    assert due_now(poll) == [2]


def test_what_it_is_set_to_survives_its_registration(poll) -> None:
    timer = register(poll, Timer.every(0.001))
    assert len(poll.poll(timeout=WAIT)) == 1
    poll.registry.deregister(timer)
    count = timer.expirations()
    time.sleep(0.003)
    register(poll, timer, 2)
    assert due_now(poll) == [2]
    assert (count >= 1, timer.expirations() >= 3) == (True, True)


def test_another_token_leaves_it_as_it_is_set(poll) -> None:
    timer = register(poll, Timer.after(0), 1)
    poll.registry.reregister(timer, Token(2), R)
    assert due_now(poll) == [2]
    poll.registry.reregister(timer, Token(2), R)
    assert due_now(poll) == []


# Many


def test_ten_thousand_take_one_descriptor_even_where_others_look(poll) -> None:
    poll.fileno()
    before = len(open_descriptors())
    timers = [register(poll, Timer.after(token % 100), token) for token in range(10_000)]
    assert len(open_descriptors()) - before <= 1
    seen: list[int] = []
    while len(seen) < 100:
        seen += [int(event.token) for event in poll.poll(timeout=WAIT)]
    assert sorted(seen) == list(range(0, 10_000, 100))
    for timer in timers:
        timer.close()
    assert list(poll.registry) == []
    assert poll.poll(timeout=0.001).raw() == ()


def test_more_than_a_batch_holds_come_in_turn(poll) -> None:
    for token in range(100):
        register(poll, Timer.after(0), token)
    events, seen = Events(7), []
    while batch := due_now(poll, events):
        assert len(batch) <= 7
        seen += batch
    assert sorted(seen) == list(range(100))


@pytest.mark.parametrize("capacity", [1, 2, 3, 8])
def test_neither_timers_nor_descriptors_starve(poll, fds, capacity) -> None:
    for token in range(10):
        poll.registry.register(fds.pipe()[1], Token(token), Interest.WRITABLE)
        register(poll, Timer.every(1e-9), 10 + token)
    events, seen = Events(capacity), set()
    for _ in range(20 * 10):
        tokens = [int(event.token) for event in poll.poll(events, timeout=0)]
        assert 1 <= len(tokens) <= capacity
        seen |= set(tokens)
    assert seen == set(range(20))
