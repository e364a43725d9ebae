"""`Timer`: R17. Only lower bounds of time are stated; how late an event is, the machine says."""

import math
import time

from deadlines import FAR, R, due_now, register

from pollster import (
    Events,
    Timer,
    Token,
)

from .conftest import WAIT, open_descriptors

# When it expires


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
    timers = [register(poll, Timer.after(token % 100 * WAIT), token) for token in range(10_000)]
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
