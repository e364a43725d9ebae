"""Events and Event: the batch, its entries, and what the kernel said."""

import copy
import gc
import inspect
import pickle
from dataclasses import dataclass

import pytest

from pollster import Event, Events, Interest, Poll, Token, Trigger

from .conftest import CPYTHON, counts_references, shows_signatures

R, W = Interest.READABLE, Interest.WRITABLE


@pytest.mark.parametrize("capacity", [1, 1024, 1 << 20])
def test_a_capacity_in_range_is_kept(capacity) -> None:
    assert Events(capacity).capacity == capacity


@pytest.mark.parametrize("capacity", [0, -1, (1 << 20) + 1, 1 << 80])
def test_a_capacity_out_of_range_is_a_value_error(capacity) -> None:
    with pytest.raises(ValueError, match=f"capacity {capacity} is out of range"):
        Events(capacity)


@pytest.mark.parametrize("capacity", ["16", 16.0, None])
def test_a_capacity_that_is_no_integer_is_a_type_error(capacity) -> None:
    with pytest.raises(TypeError):
        Events(capacity)


def test_new_events_are_empty() -> None:
    events = Events()
    assert list(events) == []
    assert len(events) == 0
    assert not events
    assert events.raw() == ()
    with pytest.raises(IndexError):
        events[0]


def test_a_batch_is_a_sequence(poll, fds) -> None:
    for token in range(5):
        poll.registry.register(fds.pipe()[1], Token(token), W)
    events = poll.poll(timeout=0)
    assert len(events) == 5
    assert events
    assert events[0] == next(iter(events))
    assert events[-1] == list(events)[-1]
    assert events[1:3] == list(events)[1:3]
    assert list(events) == list(events)
    assert repr(events[0]) in repr(events)
    with pytest.raises(IndexError):
        events[5]


def test_clear_empties_a_batch_and_level_reports_again(poll, fds) -> None:
    poll.registry.register(fds.pipe()[1], Token(1), W)
    events = poll.poll(timeout=0)
    events.clear()
    assert not events
    assert [event.token for event in poll.poll(events, 0)] == [1]


def test_known_events_are_made_once(poll, fds) -> None:
    poll.registry.register(fds.pipe()[1], Token(1), W)
    first = poll.poll(timeout=0)[0]
    assert poll.poll(timeout=0)[0] is first
    assert poll.poll(Events(4), timeout=0)[0] is first


PREDICATES = (
    "is_readable",
    "is_writable",
    "is_priority",
    "is_read_closed",
    "is_write_closed",
    "is_error",
)


@pytest.mark.parametrize("name", ["token", *PREDICATES, "another"])
def test_an_event_is_immutable(name) -> None:
    event = Event(Token(1), is_readable=True)
    if name == "another" and not CPYTHON:
        pytest.skip("PyPy gives each object of a type that is written in C a __dict__")
    with pytest.raises(AttributeError):
        setattr(event, name, False)
    with pytest.raises((AttributeError, TypeError)):
        delattr(event, name)
    assert event == Event(Token(1), is_readable=True)


@pytest.mark.parametrize("name", PREDICATES)
def test_events_compare_by_value(name) -> None:
    event = Event(Token(1), **{name: True})
    assert event == Event(Token(1), **{name: True})
    assert len({event, Event(Token(1), **{name: True})}) == 1
    assert [other for other in PREDICATES if getattr(event, other)] == [name]
    assert event != Event(Token(2), **{name: True})
    assert event != Event(Token(1))
    assert event != (Token(1), True)


@pytest.mark.parametrize("name", PREDICATES)
def test_an_event_can_be_copied_and_matched(name) -> None:
    event = Event(Token(1), **{name: True})
    assert copy.copy(event) == copy.deepcopy(event) == pickle.loads(pickle.dumps(event)) == event
    match event:
        case Event(token=1, is_readable=readable):
            assert readable is (name == "is_readable")
        case _:
            pytest.fail("it has no attributes to match")


@shows_signatures
def test_the_signature_of_an_event_has_its_predicates() -> None:
    assert list(inspect.signature(Event).parameters) == ["token", *PREDICATES]


def test_an_event_is_made_with_its_predicates_by_position_or_by_name() -> None:
    assert Event(1, True, False, True) == Event(Token(1), is_readable=True, is_priority=True)


def test_what_is_no_token_makes_no_event() -> None:
    with pytest.raises(TypeError):
        Event("1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="token -1 is out of range"):
        Event(-1)
    with pytest.raises(TypeError):
        Event()  # type: ignore[call-arg]


@counts_references
def test_an_event_refers_to_nothing_that_could_lead_back_to_it() -> None:
    class Named(Token):
        event: Event | None = None

    token = Named(1)
    event = token.event = Event(token)
    assert type(event.token) is Token
    assert not gc.is_tracked(event)


def test_the_token_of_an_event_is_a_token(poll, fds) -> None:
    poll.registry.register(fds.pipe()[1], 2**64 - 1, W)
    token = poll.poll(timeout=0)[0].token
    assert type(token) is Token
    assert token == 2**64 - 1


def test_an_event_reads_well() -> None:
    event = Event(Token(7), is_readable=True, is_read_closed=True)
    assert repr(event) == "<Event Token(7) readable read_closed>"


@dataclass(frozen=True)
class Raw:
    """How its entries look: of a pipe that is writable, and of one whose writer is gone."""

    structure: str
    fields: list[str]
    writable: dict[str, str]
    closed: str


RAW = {
    "epoll": Raw("epoll_event", ["events", "data"], {"events": "EPOLLOUT"}, "EPOLLHUP"),
    "kqueue": Raw(
        "kevent",
        ["ident", "filter", "flags", "fflags", "data", "udata"],
        {"ident": "{fd}", "filter": "EVFILT_WRITE", "flags": "EV_DISPATCH"},
        "EV_EOF",
    ),
}


def test_raw_shows_what_the_kernel_said(backend, fds) -> None:
    expected = RAW[backend]
    reader, writer = fds.pipe()
    with Poll(backend=backend) as poll:
        poll.registry.register(writer, Token(1), W, Trigger.ONESHOT)
        (entry,) = poll.poll(timeout=0).raw()
        assert entry.structure == expected.structure
        assert list(entry.fields) == expected.fields
        for field, name in expected.writable.items():
            assert name.format(fd=writer) in entry.names[field].split("|")
        poll.registry.register(reader, Token(2), R)
        fds.close(writer)
        (entry,) = poll.poll(timeout=0).raw()
        assert expected.closed in str(entry)
        assert poll.poll(timeout=0).raw()
        fds.close(reader)
        assert poll.poll(timeout=0).raw() == ()
