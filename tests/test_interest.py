"""`Interest`, `PathChange` and `Trigger`: what they combine with, and how they read."""

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from pollster import Interest, PathChange, PathWatch, Poll, Trigger

R, W = Interest.READABLE, Interest.WRITABLE


@pytest.mark.parametrize("combine", [operator.or_, operator.and_, operator.xor])
@pytest.mark.parametrize("one", [R, R | W, PathChange.WRITTEN])
@pytest.mark.parametrize("other", [1, True, None, Trigger.EDGE, PathChange.EXTENDED, W, "READABLE"])
def test_flags_combine_with_their_own_kind_only(
    combine: Callable[[Any, Any], Any], one: Any, other: Any
) -> None:
    if type(one) is type(other):
        assert type(combine(one, other)) is type(one)
        return
    for pair in (one, other), (other, one):
        with pytest.raises(TypeError):
            combine(*pair)


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("other", [R, R | W, 1, None, *Trigger])
def test_a_trigger_combines_with_nothing_and_says_where_it_belongs(
    trigger: Any, other: Any
) -> None:
    for pair in (trigger, other), (other, trigger):
        with pytest.raises(TypeError, match="the trigger is the fourth argument"):
            operator.or_(*pair)


@pytest.mark.parametrize("method", ["register", "reregister"])
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((Trigger.EDGE,), "not Trigger.EDGE: the trigger is the fourth argument"),
        ((R, W), "not Interest.WRITABLE: the interest is the third argument"),
        ((R, 1), "trigger must be a Trigger"),
        ((3,), "interest must be an Interest"),
        ((PathChange.WRITTEN,), "interest must be an Interest"),
        ((object.__new__(Interest),), "interest must be an Interest"),
        ((R, object.__new__(Trigger)), "trigger must be a Trigger"),
    ],
)
def test_what_is_no_interest_or_no_trigger_is_refused(
    poll: Poll, fds: Any, method: str, arguments: tuple[Any, ...], what: str
) -> None:
    reader, _ = fds.pipe()
    if method == "reregister":
        poll.registry.register(reader, 1, R)
    with poll.registry.batch() as batch:
        for changes in poll.registry, batch:
            with pytest.raises(TypeError, match=what):
                getattr(changes, method)(reader, 2, *arguments)
    assert [found.token for found in poll.registry] == ([1] if method == "reregister" else [])


def test_a_path_change_that_was_made_past_its_class_is_refused() -> None:
    forged = object.__new__(PathChange)
    forged._name_, forged._value_ = None, 1
    with pytest.raises(TypeError, match="changes must be a PathChange"):
        PathWatch("/", forged)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (R, "Interest.READABLE"),
        (R | W, "Interest.READABLE|WRITABLE"),
        (Trigger.LEVEL, "Trigger.LEVEL"),
        (Trigger.EDGE_ONESHOT, "Trigger.EDGE_ONESHOT"),
        (PathChange.REPLACED, "PathChange.REPLACED"),
        (PathChange.WRITTEN | PathChange.EXTENDED, "PathChange.WRITTEN|EXTENDED"),
    ],
)
def test_they_read_as_what_they_are(one: Any, text: str) -> None:
    assert str(one) == f"{one}" == text
    assert text in repr(one)


@pytest.mark.parametrize("one", [R, R | W, *Trigger, PathChange.WRITTEN | PathChange.LINKED])
def test_their_copies_are_themselves(one: Any) -> None:
    assert copy.deepcopy(one) is pickle.loads(pickle.dumps(one)) is one
