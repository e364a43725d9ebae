"""What the tests of timers have in common."""

from pollster import Events, Interest, Poll, Timer, Token

R = Interest.READABLE
FAR = 1000.0  # seconds that no test waits for


def due_now(poll: Poll, events: Events | None = None) -> list[int]:
    """The tokens of a poll that does not wait."""
    batch = list(poll.poll(events, timeout=0))
    assert not any(event.is_read_closed for event in batch)
    return [int(event.token) for event in batch]


def register(poll: Poll, timer: Timer, token: int = 1) -> Timer:
    poll.registry.register(timer, Token(token), R)
    return timer
