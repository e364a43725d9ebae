"""`RawEvent`: what the kernel handed over, for people who debug."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["RawEvent"]


class RawEvent(NamedTuple):
    """One entry of the kernel's event list.

    `structure`: "epoll_event" or "kevent". `fields`: name to number, in the structure's order.
    `names`: name to the number as the kernel's headers name it.

    >>> from pollster.raw import RawEvent
    >>> print(RawEvent("epoll_event", {"events": 1}, {"events": "EPOLLIN"}))
    epoll_event(events=EPOLLIN)
    """

    structure: str
    fields: Mapping[str, int]
    names: Mapping[str, str]

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={text}" for name, text in self.names.items())
        return f"{self.structure}({inside})"
