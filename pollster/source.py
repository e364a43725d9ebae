"""`Source`: what can be registered."""

from typing import TYPE_CHECKING, Protocol

from pollster.interest import Interest
from pollster.token import Token
from pollster.trigger import Trigger

if TYPE_CHECKING:
    from pollster.registry import Registry

__all__ = ["HasFileno", "Source", "SourceLike"]


class HasFileno(Protocol):
    """An object with a file descriptor: a socket, a pipe, a file object of a terminal."""

    def fileno(self) -> int:
        """Returns the descriptor; once it is closed a negative number, or it raises something."""
        ...


class Source(Protocol):
    """An object that registers itself, such as one that is made of several descriptors.

    `Registry.register(source, ...)` calls `source.register(registry, ...)` once and passes on what
    it raises; so do the other two. With `pause(registry)` and `resume(registry)` as well it can be
    paused. Shaped after mio's `event::Source`.

    >>> import socket
    >>> from pollster import Interest, Poll, Token, Trigger
    >>> class Both:
    ...     def __init__(self):
    ...         self.ends = socket.socketpair()
    ...     def register(self, registry, token, interest, trigger):
    ...         for end in self.ends:
    ...             registry.register(end, token, interest, trigger)
    ...     def reregister(self, registry, token, interest, trigger):
    ...         for end in self.ends:
    ...             registry.reregister(end, token, interest, trigger)
    ...     def deregister(self, registry):
    ...         for end in self.ends:
    ...             registry.deregister(end)
    >>> with Poll() as poll:
    ...     both = Both()
    ...     poll.registry.register(both, Token(1), Interest.WRITABLE)
    ...     len(poll.poll(timeout=0))
    2
    >>> for end in both.ends:
    ...     end.close()
    """

    def register(
        self, registry: "Registry", token: Token, interest: Interest, trigger: Trigger
    ) -> None:
        """Registers what it is made of."""
        ...

    def reregister(
        self, registry: "Registry", token: Token, interest: Interest, trigger: Trigger | None
    ) -> None:
        """Reregisters what it is made of; None for a trigger is: the one that it has."""
        ...

    def deregister(self, registry: "Registry") -> None:
        """Deregisters what it is made of."""
        ...


SourceLike = int | HasFileno | Source
