"""`Timer`: what is refused, registering, and closed Polls."""

import errno
import math
import os
import warnings
from datetime import timedelta
from fractions import Fraction

import pytest
from deadlines import FAR, R, due_now, register

from pollster import (
    AlreadyRegisteredError,
    BatchError,
    Interest,
    NotRegisteredError,
    Poll,
    Timer,
    Token,
    Trigger,
)

from .conftest import WAIT


@pytest.mark.parametrize("make", [Timer.after, Timer.every, Timer().set_after, Timer().set_every])
def test_durations_that_are_none_are_refused(make) -> None:
    for seconds in (-1, -1e-300, -math.inf, timedelta(microseconds=-1)):
        with pytest.raises(ValueError, match="negative"):
            make(seconds)
    with pytest.raises(ValueError, match="NaN"):
        make(math.nan)
    for seconds in (None, "1", b"", [1]):
        with pytest.raises(TypeError, match="number or a timedelta"):
            make(seconds)


def test_a_period_of_0_is_refused() -> None:
    for seconds in (0, 0.0, timedelta()):
        with pytest.raises(ValueError, match="no period"):
            Timer.every(seconds)


@pytest.mark.parametrize("make", [Timer.at, Timer().set_at])
def test_deadlines_that_are_none_are_refused(make) -> None:
    with pytest.raises(ValueError, match="NaN"):
        make(math.nan)
    with pytest.raises(ValueError, match="-inf"):
        make(-math.inf)
    for deadline in (None, "1", timedelta(1)):
        with pytest.raises(TypeError, match=r"time\.monotonic"):
            make(deadline)


def test_times_of_any_size_and_number_type_work(poll) -> None:
    for make in (Timer.after, Timer.every, Timer.at):
        for seconds in (2**63, 1e300, math.inf, 10**30, 10**400, Fraction(10**12)):
            timer = register(poll, make(seconds))
            assert due_now(poll) == []
            timer.close()
    for deadline in (-1, -1e300, -(10**400), 0, Fraction(1, 3)):
        timer = register(poll, Timer.at(deadline))
        assert due_now(poll) == [1]
        timer.close()


def test_a_timer_is_made_by_its_class_methods() -> None:
    with pytest.raises(TypeError, match=r"after\(\), every\(\) or at\(\)"):
        Timer(1)  # type: ignore[call-arg]


def test_it_can_only_be_readable(poll) -> None:
    timer = Timer.after(0)
    for interest in (Interest.WRITABLE, R | Interest.WRITABLE, Interest.PRIORITY):
        with pytest.raises(ValueError, match="can only be READABLE"):
            poll.registry.register(timer, Token(1), interest)
    assert list(poll.registry) == []
    register(poll, timer)
    with pytest.raises(ValueError, match="can only be READABLE"):
        poll.registry.reregister(timer, Token(1), Interest.WRITABLE)


def test_registering_twice_is_an_error_and_changes_nothing(poll, backend) -> None:
    timer = register(poll, Timer.after(0), 7)
    with pytest.raises(AlreadyRegisteredError, match=r"with Token\(7\)") as caught:
        register(poll, timer, 8)
    assert caught.value.errno == errno.EEXIST
    with Poll(backend=backend) as other:
        with pytest.raises(AlreadyRegisteredError, match="with another Poll"):
            register(other, timer, 8)
        with pytest.raises(NotRegisteredError):
            other.registry.deregister(timer)
        with pytest.raises(NotRegisteredError):
            other.registry.reregister(timer, Token(1), R)
    assert due_now(poll) == [7]


def test_what_is_not_registered_can_not_be_changed(poll) -> None:
    timer = Timer.after(0)
    for change in (
        lambda: poll.registry.deregister(timer),
        lambda: poll.registry.reregister(timer, Token(1), R),
    ):
        with pytest.raises(NotRegisteredError, match="not registered") as caught:
            change()
        assert caught.value.errno == errno.ENOENT


def test_a_closed_poll(poll, backend) -> None:
    timer = register(poll, Timer.every(0.001), 1)
    poll.poll(timeout=WAIT)
    poll.close()
    for use in (
        lambda: timer.set_after(1),
        lambda: register(poll, Timer.after(1)),
        lambda: poll.registry.deregister(timer),
    ):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert timer.expirations() >= 1
    with Poll(backend=backend) as other:
        register(other, timer, 5)
        assert [event.token for event in other.poll(timeout=WAIT)] == [5]
        timer.cancel()
        assert due_now(other) == []


def test_what_a_closed_poll_had_can_be_cancelled_and_closed(poll) -> None:
    one, other = register(poll, Timer.after(0), 1), register(poll, Timer.after(0), 2)
    poll.close()
    one.cancel()
    other.close()


def test_a_batch_registers_timers_too(poll, unix_pair) -> None:
    one, other = Timer.after(0), Timer.after(0)
    with poll.registry.batch() as changes:
        changes.register(one, Token(1), R)
        changes.register(unix_pair[0], Token(2), Interest.WRITABLE)
        changes.register(other, Token(3), R)
        assert due_now(poll) == []
    assert sorted(due_now(poll)) == [1, 2, 3]
    changes = poll.registry.batch().__enter__()
    changes.deregister(one)
    changes.register(other, Token(4), R)
    changes.reregister(other, Token(5), R)
    with pytest.raises(BatchError) as caught:
        changes.__exit__(None, None, None)
    assert [type(error) for error in caught.value.exceptions] == [AlreadyRegisteredError]
    other.set_after(0)
    assert sorted(due_now(poll)) == [2, 5]


def test_a_batch_says_of_a_timer_what_a_registry_says(poll, backend) -> None:
    ours, others = Timer.after(FAR), Timer.after(FAR)
    with Poll(backend=backend) as other:
        poll.registry.register(ours, Token(1), R)
        other.registry.register(others, Token(2), R)
        changes = poll.registry.batch().__enter__()
        changes.register(ours, Token(3), R)
        changes.register(others, Token(3), R)
        changes.deregister(Timer())
        with pytest.raises(BatchError) as caught:
            changes.__exit__(None, None, None)
        says = [str(error) for _, error in caught.value.failures]
        assert "already registered with Token(1); deregister it first" in says[0]
        assert "already registered with another Poll; deregister it first" in says[1]
        assert "is not registered with this Poll" in says[2]


def test_a_child_can_not_register_what_its_parent_has(poll, backend) -> None:
    timer = Timer.after(FAR)
    poll.registry.register(timer, Token(1), R)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with Poll(backend=backend) as own:
            try:
                own.registry.register(timer, Token(1), R)
            except RuntimeError as error:
                os._exit("process that forked" not in str(error))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_registry_lists_it(poll) -> None:
    timer = register(poll, Timer.after(FAR), 3)
    assert [tuple(r) for r in poll.registry] == [(timer, Token(3), R, Trigger.LEVEL)]


def test_the_repr_says_what_it_is_set_to() -> None:
    assert repr(Timer()) == "<Timer, not set>"
    assert repr(Timer.at(2.5)) == "<Timer at 2.5>"
    assert repr(Timer.every(0.5)).endswith(", every 0.5 s>")


@pytest.mark.parametrize("is_registered", [True, False])
@pytest.mark.parametrize("seconds", [math.inf, 1e300, 10**400])
def test_the_repr_says_what_never_comes(poll, seconds, is_registered) -> None:
    for make in (Timer.after, Timer.at):
        timer = make(seconds)
        if is_registered:
            register(poll, timer)
        assert repr(timer) == "<Timer at a time beyond the clock>"
        timer.cancel()
        assert repr(timer) == "<Timer, not set>"
        timer.close()
    every = Timer.every(seconds)
    assert repr(every).startswith("<Timer at a time beyond the clock")


def test_the_limit_says_how_many_timers_are_over(poll) -> None:
    register = poll.registry.register
    for token in range(1_048_575):
        register(Timer.after(0 if token < 3 else 1000), token, R)
    assert len(list(poll.poll(timeout=0))) == 3
    with pytest.raises(OSError, match=r"1,048,575 registrations, the limit; 3 of them") as caught:
        register(Timer.after(1), 1, R)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="once=True"):
        register(Timer.after(1), 1, R)
