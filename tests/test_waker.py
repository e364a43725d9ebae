"""Waker (R16): coalesced, nothing to drain, never lost, never spins."""

import pytest

from pollster import Events, Token, Waker


def tokens(events: Events) -> list[int]:
    return [int(event.token) for event in events]


def test_it_is_listed_in_the_registry(poll) -> None:
    waker = Waker(poll.registry, 7)
    assert [(r.source, r.token) for r in poll.registry] == [(waker, Token(7))]
    assert waker.token == Token(7)
    assert repr(waker) == "<Waker Token(7)>"


@pytest.mark.parametrize("token", [-1, 2**64])
def test_a_token_out_of_range_leaves_nothing_behind(no_leak, poll, token) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Waker(poll.registry, token)
    assert list(poll.registry) == []


def test_it_needs_a_registry(poll) -> None:
    with pytest.raises(TypeError, match="registry must be a Poll's registry"):
        Waker(poll, Token(1))


@pytest.mark.parametrize("change", ["register", "reregister"])
def test_it_registers_itself_and_only_once(poll, change) -> None:
    from pollster import Interest

    waker = Waker(poll.registry, Token(1))
    with pytest.raises(TypeError, match="Waker"):
        getattr(poll.registry, change)(waker, Token(2), Interest.READABLE)
