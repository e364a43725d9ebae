"""`Source`: what can be registered."""

import _socket
import io
from typing import TYPE_CHECKING, Protocol, cast

from pollster.interest import Interest
from pollster.token import Token
from pollster.trigger import Trigger

if TYPE_CHECKING:
    from pollster.registry import Registry

__all__ = ["HasFileno", "Source", "SourceLike", "note_plain", "plain_types", "socket_types"]


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


class ReadableOnly:
    """What is never ready for anything else: a kernel queue in another one (R14)."""

    __slots__ = ()


# Types whose objects have a fileno() and nothing else to look at: found out once for each.
plain_types: set[type[object]] = set()

# Those of them whose descriptor is a socket: kqueue need not ask whether it is a file.
socket_types: set[type[object]] = set()


def descriptor_of(source: object) -> int | None:
    """Returns a source's descriptor; negative where it is closed, None where it registers itself.

    Raises `TypeError` for what is no source, and what its `fileno()` raises.
    """
    kind = type(source)
    # select.epoll has a register(), too, but this it does not have.
    if hasattr(kind, "deregister"):
        return None
    if isinstance(source, int) and kind is not bool:
        return int.__index__(source)
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
    if not isinstance(fd, int) or type(fd) is bool:
        raise TypeError(f"{source!r} is no source: its fileno() returned {fd!r}, not an integer")
    note_plain(source)
    return int.__index__(fd)


def note_plain(source: object) -> None:
    """Notes the type of a source whose `fileno()` returned a descriptor, if it is a plain one."""
    kind = type(source)
    if hasattr(kind, "deregister") or isinstance(source, int | ReadableOnly):
        return
    if hasattr(kind, "fileno") and _is_itself(kind):
        if len(plain_types) >= 1000:  # a program that makes classes as it goes
            plain_types.clear()
            socket_types.clear()
        plain_types.add(kind)
        if getattr(kind, "fileno", None) is _socket.socket.fileno:
            socket_types.add(kind)


def _is_itself(kind: type[object]) -> bool:
    """Whether a class equals itself and nothing else, which its metaclass may see differently."""
    return all(getattr(type(kind), name) is getattr(type, name) for name in ("__hash__", "__eq__"))
