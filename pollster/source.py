"""`Source`: what can be registered."""

import io
from typing import TYPE_CHECKING, Protocol, cast

from pollster.interest import Interest
from pollster.token import Token
from pollster.trigger import Trigger

if TYPE_CHECKING:
    from pollster.registry import Registry

__all__ = ["HasFileno", "Source", "SourceLike", "plain_types"]


class HasFileno(Protocol):
    """An object with a file descriptor: a socket, a pipe, a file object of a terminal."""

    def fileno(self) -> int:
        """Returns the descriptor; a negative number or a `ValueError` once it is closed."""
        ...


class Source(Protocol):
    """An object that registers itself, such as one that is made of several descriptors.

    `Registry.register(source, ...)` calls `source.register(registry, ...)` once and passes on what
    it raises; so do the other two. Shaped after mio's `event::Source`.

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


class ReadableOnly:
    """What is never ready for anything else: a kernel queue in another one (R14)."""

    __slots__ = ()


# Types whose objects have a fileno() and nothing else to look at: found out once for each.
plain_types: set[type[object]] = set()


def descriptor_of(source: object) -> int | None:
    """Returns a source's descriptor; negative where it is closed, None where it registers itself.

    Raises `TypeError` for what is no source.
    """
    kind = type(source)
    # select.epoll has a register(), too, but this it does not have.
    if hasattr(kind, "deregister"):
        return None
    if isinstance(source, int) and kind is not bool:
        return int(source)
    if not hasattr(source, "fileno") or kind is bool:
        raise TypeError(
            f"{source!r} is no source: pass an object with fileno(), a descriptor, "
            "or an object with register(), reregister() and deregister()"
        )
    try:
        fd: object = cast(HasFileno, source).fileno()
    except io.UnsupportedOperation as error:
        raise TypeError(f"{source!r} is no source: it has no descriptor") from error
    except ValueError:  # how files and Polls say that they are closed; sockets say -1
        return -1
    if type(fd) is not int:
        raise TypeError(f"{source!r} is no source: its fileno() returned {fd!r}, not an integer")
    if hasattr(kind, "fileno") and not isinstance(source, ReadableOnly):
        if len(plain_types) >= 1000:  # a program that makes classes as it goes
            plain_types.clear()
        plain_types.add(kind)
    return fd
