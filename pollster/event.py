"""`Event`: one source is ready."""

from dataclasses import dataclass, fields

from pollster.token import Token

__all__ = ["Event"]


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """What one registered source is ready for.

    `token`: the registration's. `is_readable`, `is_writable`: a read, a write would not block; one
    that fails or finds the end does not either. `is_priority`: out-of-band data is there.
    `is_read_closed`: the peer will send no more; unread data comes first. `is_write_closed`:
    nothing more can be sent. `is_error`: a stream socket was reset or its connect failed; its
    SO_ERROR says why. The closed predicates are given for the directions of the interest.

    Events are immutable, compare by value, and may be kept.

    >>> from pollster import Event, Token
    >>> Event(Token(7), is_readable=True, is_read_closed=True)
    <Event Token(7) readable read_closed>
    """

    token: Token
    is_readable: bool = False
    is_writable: bool = False
    is_priority: bool = False
    is_read_closed: bool = False
    is_write_closed: bool = False
    is_error: bool = False

    def __repr__(self) -> str:
        predicates = [field.name for field in fields(self) if field.name != "token"]
        ready = [name.removeprefix("is_") for name in predicates if getattr(self, name)]
        return " ".join([f"<Event {self.token!r}", *ready]) + ">"
