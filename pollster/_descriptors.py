"""`descriptor_of`: which descriptor a source has, and which sources need no closer look."""

import _socket
import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ReadableOnly", "descriptor_of", "note_plain", "plain_types", "socket_types"]


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
    opened: Any = source
    try:
        fd: object = opened.fileno()
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
