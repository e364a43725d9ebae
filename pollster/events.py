"""`Events`: the reusable batch that a poll fills."""

from operator import index

from pollster._uncopied import Uncopied
from pollster.backend._python import Ready
from pollster.event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex, overload

    from pollster.raw import RawEvent

__all__ = ["Events"]

_CAPACITY_MAX = 1 << 20


class Events(Ready, Uncopied):
    """What one poll found: iterate over it, index it, ask for its length.

    It is filled by `Poll.poll(events)` and stays valid until the next poll with the same `Events`.
    What is deregistered meanwhile disappears from it, also in the middle of an iteration. One
    `Events` serves one poll at a time: give each thread its own.

    Parameters: `capacity`, how many ready sources one poll reports at most, from 1 to 1,048,576;
    further ones come with the next polls, in turn. Raises `ValueError` outside of that, `TypeError`
    for what is not an integer.

    >>> from pollster import Events
    >>> events = Events(capacity=64)
    >>> len(events), list(events)
    (0, [])
    """

    __slots__ = ()

    def __init__(self, capacity: "SupportsIndex" = 1024) -> None:
        room = index(capacity)
        if not 1 <= room <= _CAPACITY_MAX:
            raise ValueError(
                f"capacity {room} is out of range: it must be from 1 to {_CAPACITY_MAX:,}"
            )
        self._reserve(room)

    @property
    def capacity(self) -> int:
        """How many ready sources one poll reports at most."""
        return self._capacity

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, position: SupportsIndex) -> Event: ...
        @overload
        def __getitem__(self, position: slice) -> list[Event]: ...

    def __getitem__(self, position: "SupportsIndex | slice") -> Event | list[Event]:
        return list(iter(self))[position]

    def clear(self) -> None:
        """Drops what the last poll found; the sources report again as their triggers say."""
        self._clear()

    def raw(self) -> "tuple[RawEvent, ...]":
        """Returns what the kernel handed over in the last poll, field by field.

        kqueue has an entry for each direction of a source. Valid until the next poll.
        """
        from pollster.raw import RawEvent

        entries: list[RawEvent] = []
        while fields := self._raw(len(entries)):
            numbers = {name: number for _, name, number, _ in fields}
            names = {name: text for _, name, _, text in fields}
            entries.append(RawEvent(fields[0][0], numbers, names))
        return tuple(entries)

    def __repr__(self) -> str:
        return f"<Events {list(iter(self))!r}, capacity {self._capacity}>"
