"""The methods that are written in Python and answered in C: nobody sees a difference."""

import copy
import inspect
import pickle
import pydoc
import typing
from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import pytest

import pollster
from pollster import Batch, Events, Interest, Poll, Registry, SourceLike, Token, Trigger
from pollster.backend._python import in_c

from .conftest import CPYTHON

R, W = Interest.READABLE, Interest.WRITABLE
METHODS = [Registry.register, Registry.reregister, Registry.deregister, Poll.poll]
named = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)


@named
def test_its_signature_is_the_functions(method) -> None:
    written = inspect.unwrap(method)
    assert inspect.isfunction(written)
    assert inspect.signature(method) == inspect.signature(written)
    assert inspect.isroutine(method)
    names = {**vars(pollster), "SourceLike": SourceLike, "timedelta": timedelta}
    assert typing.get_type_hints(method, names)["return"] in (Events, type(None))


def test_a_signature_has_names_annotations_and_real_defaults(poll) -> None:
    parameters = inspect.signature(Registry.register).parameters
    assert str(parameters["interest"]) == "interest: pollster.interest.Interest"
    names = {"SourceLike": SourceLike}
    parameters = inspect.signature(Registry.register, locals=names, eval_str=True).parameters
    assert [*parameters] == ["self", "source", "token", "interest", "trigger"]
    assert parameters["source"].annotation == SourceLike
    assert parameters["interest"].annotation is Interest
    assert parameters["trigger"].default is Trigger.LEVEL
    assert inspect.signature(Registry.reregister).parameters["trigger"].default is None
    bound = inspect.signature(poll.poll)
    assert [*bound.parameters] == ["events", "timeout"]
    assert bound.parameters["timeout"].default is None
    assert bound.return_annotation is Events


@named
def test_help_shows_its_documentation(method) -> None:
    text = pydoc.plain(pydoc.render_doc(method))
    assert f"{method.__name__}(" in text
    assert inspect.getdoc(method).splitlines()[0] in text
    assert method.__name__ in pydoc.plain(
        pydoc.render_doc(Poll if method == Poll.poll else Registry)
    )
    assert inspect.getsource(method).lstrip().startswith("@in_c\n")


@named
def test_it_is_copied_and_pickled_by_its_name(method) -> None:
    assert copy.copy(method) is copy.deepcopy(method) is method
    assert pickle.loads(pickle.dumps(method)) is method
    assert repr(method).startswith(f"<function {method.__qualname__} at ")


def test_a_bound_method_is_bound_as_functions_are(poll, fds) -> None:
    register = poll.registry.register
    assert inspect.ismethod(register)
    assert (register.__self__, register.__func__) == (poll.registry, Registry.register)
    assert register == poll.registry.register
    reader, writer = fds.pipe()
    register(reader, 1, R)
    Registry.register(poll.registry, writer, token=2, interest=W)
    assert [event.token for event in Poll.poll(poll, timeout=0)] == [2]


CALLS: list[Callable[[Poll, Events], Events]] = [
    lambda poll, events: poll.poll(events, 0),
    lambda poll, events: poll.poll(events, timeout=0),
    lambda poll, events: poll.poll(timeout=0, events=events),
    lambda poll, events: poll.poll(events=events, timeout=timedelta(0)),
    lambda poll, events: poll.poll(*[events], timeout=0.0),
    lambda poll, events: poll.poll(**{"".join(["time", "out"]): 0, "events": events}),
    lambda poll, events: Poll.poll(self=poll, events=events, timeout=0),
    lambda poll, events: Poll.poll.__call__(poll, events, 0),
    lambda poll, events: poll.poll.__func__(poll, events, 0),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("call", CALLS)
def test_each_way_to_call_poll_fills_its_events(poll, fds, call) -> None:
    poll.registry.register(fds.pipe()[1], 1, W)
    events = Events(4)
    assert call(poll, events) is events
    assert len(events) == 1


@pytest.mark.parametrize(
    "call", [lambda poll: poll.poll(None, 0), lambda poll: poll.poll(timeout=0)]
)
def test_a_poll_without_events_fills_its_own(poll, call) -> None:
    assert call(poll) is call(poll)


def test_wrong_calls_are_refused_as_functions_refuse_them(poll) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: poll.poll(Events(1), 0, 0), r"Poll\.poll\(\) takes from 1 to 3 positional"),
        (lambda: poll.poll(Events(1), events=None), r"got multiple values for argument 'events'"),
        (lambda: poll.poll(None, 0, timeout=0), r"got multiple values for argument 'timeout'"),
        (lambda: poll.poll(time=0), r"unexpected keyword argument 'time'"),
        (lambda: poll.poll(0), r"events must be an Events, not 0"),
        (lambda: poll.registry.register(), r"missing 3 required positional arguments"),
        (lambda: poll.registry.deregister(), r"missing 1 required positional argument: 'source'"),
        (lambda: Poll.poll(), r"missing 1 required positional argument: 'self'"),
        (lambda: Registry.register(), r"missing 4 required positional arguments"),
    ]
    for call, message in wrong:
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.parametrize("other", [None, 5, object(), Events(1), Token(1)])
def test_an_object_of_another_class_does_not_crash_it(poll, other) -> None:
    for call in (
        lambda: Poll.poll(other, None, 0),
        lambda: Registry.register(other, 0, 1, R),
        lambda: Registry.deregister(other, 0),
        lambda: Registry.register(poll, 0, 1, R),
        lambda: Poll.poll(poll.registry, None, 0),
        lambda: Poll.poll(Poll.__new__(Poll), None, 0),
    ):
        with pytest.raises(AttributeError):
            call()


def test_a_subclass_overrides_and_calls_what_it_overrides(backend, fds) -> None:
    class Counting(Poll):
        count = 0

        def poll(self, *arguments: object, **named: object) -> Events:
            self.count += 1
            return super().poll(*arguments, **named)  # type: ignore[arg-type]

    with Counting(backend=backend) as poll:
        poll.registry.register(fds.pipe()[1], 1, W)
        assert len(poll.poll(timeout=0)) == len(Poll.poll(poll, timeout=0)) == 1
        assert poll.count == 1


def test_a_batch_has_its_registrys_methods(poll, fds) -> None:
    assert Batch.register is Registry.register
    with poll.registry.batch() as changes:
        changes.register(fds.pipe()[1], 1, W)
        assert len(poll.poll(timeout=0)) == 0
    assert len(poll.poll(timeout=0)) == 1


def test_it_can_be_replaced_by_a_mock(poll) -> None:
    with mock.patch.object(Poll, "poll", autospec=True, return_value=Events(1)) as replaced:
        poll.poll(timeout=5)
    replaced.assert_called_once_with(poll, timeout=5)
    with mock.patch.object(Registry, "register") as register:
        poll.registry.register(1, 2, R)
    register.assert_called_once_with(1, 2, R)
    double = mock.create_autospec(poll, instance=True)
    double.poll(timeout=1)
    with pytest.raises(TypeError):
        double.poll(time=1)
    assert len(poll.poll(timeout=0)) == 0


@pytest.mark.skipif(not CPYTHON, reason="elsewhere in_c leaves functions as they are")
def test_another_class_may_have_such_a_method_and_no_answer_in_c() -> None:
    class Other:
        @in_c
        def poll(self, events: int = 0) -> tuple[object, int]:
            return self, events

    other = Other()
    assert other.poll() == (other, 0)
    assert other.poll(5) == (other, 5)
    Poll.poll.__set_name__(Other, "poll")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        Poll.poll(other)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not written in C"):
        in_c(test_another_class_may_have_such_a_method_and_no_answer_in_c)
