"""`Events`: the reusable batch that a poll fills."""

import errno
from collections.abc import Iterator
from operator import index
from typing import Any, SupportsIndex, overload

from pollster.backend.selector import Selector
from pollster.event import Event
from pollster.raw import RawEvent

__all__ = ["Events"]

_CAPACITY_MAX = 1 << 20


class Events:
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

    __slots__ = ("_batch", "_capacity", "_count", "_look_up", "_ready", "_selector")

    def __init__(self, capacity: SupportsIndex = 1024) -> None:
        self._capacity = index(capacity)
        if not 1 <= self._capacity <= _CAPACITY_MAX:
            raise ValueError(
                f"capacity {self._capacity} is out of range: it must be from 1 to {_CAPACITY_MAX:,}"
            )
        self._count = 0
        self._selector: Selector | None = None
        self._batch: Any = None
        self._ready = memoryview(b"").cast("I")
        self._look_up: Any = [].__getitem__

    @property
    def capacity(self) -> int:
        """How many ready sources one poll reports at most."""
        return self._capacity

    def _bind(self, selector: Selector) -> None:
        """Gets memory to be filled by polls of this selector."""
        ffi, lib = selector.ffi, selector.lib
        ready = ffi.new("uint32_t[]", self._capacity)
        batch = lib.batch_new(selector.handle, self._capacity, ready)
        if not batch and ffi.errno == errno.ECHILD:
            raise selector.failure(errno.ECHILD, "")
        if not batch:
            raise MemoryError(f"no memory for Events of capacity {self._capacity:,}")

        def free(batch: Any, _outlives_it: Any = ready) -> None:
            lib.batch_free(batch)

        self._count = 0
        self._batch = ffi.gc(batch, free)
        self._ready = memoryview(ffi.buffer(ready)).cast("I")
        self._look_up = selector.table.__getitem__
        self._selector = selector

    def __iter__(self) -> Iterator[Event]:
        # Ids to Events without a Python-level step for each; deregistered ones are None by now.
        return filter(None, map(self._look_up, self._ready[: self._count]))

    def __len__(self) -> int:
        return self._count - [*map(self._look_up, self._ready[: self._count])].count(None)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @overload
    def __getitem__(self, position: SupportsIndex) -> Event: ...
    @overload
    def __getitem__(self, position: slice) -> list[Event]: ...
    def __getitem__(self, position: SupportsIndex | slice) -> Event | list[Event]:
        return list(iter(self))[position]

    def clear(self) -> None:
        """Drops what the last poll found; the sources report again as their triggers say."""
        self._count = 0

    def raw(self) -> tuple[RawEvent, ...]:
        """Returns what the kernel handed over in the last poll, field by field.

        kqueue has an entry for each direction of a source. Valid until the next poll.
        """
        if self._selector is None:
            return ()
        return self._selector.raw(self._batch)

    def __repr__(self) -> str:
        return f"<Events {list(iter(self))!r}, capacity {self._capacity}>"
