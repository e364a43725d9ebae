"""`Spin`: finds the source that a program forgot to read, and so keeps it from ever waiting.

In Python's development mode only. That a source is ready each time says nothing yet: that of a busy
program is so, too. It is asked about twice, with many polls between: where the kernel has told no
new edge of it meanwhile, and as many bytes are to be read as before, nothing was read.
"""

import warnings
from contextlib import suppress
from fcntl import ioctl
from struct import unpack
from termios import FIONREAD
from typing import TYPE_CHECKING

from pollster.backend import _python
from pollster.interest import Interest
from pollster.token import Token
from pollster.trigger import Trigger

if TYPE_CHECKING:
    from pollster.backend.selector import Selector
    from pollster.poll import Poll

__all__ = ["Spin"]

_NO_TOKEN = Token(0)


class Spin:
    """Is asked about sources that were ready in each of many polls in a row; warns once."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: tuple[Poll, int, int | None] | None = None  # an edge, where, how much

    def suspected(self, selector: "Selector", index: int, for_good: bool) -> bool:
        """Looks at it, and warns when it was looked at before. Returns whether it has warned."""
        before, self._before = self._before, None
        if not for_good:
            with suppress(OSError, RuntimeError, ValueError):  # no descriptor for it; closed
                self._before = _looked_at(selector, index)
            return False
        if before is None:
            return False
        edge, fd, unread = before
        with edge:
            view = selector.view(index)
            if not view or view.fd != fd or edge.poll(timeout=0) or _unread(fd) != unread:
                return False
        _warn(Token(view.token), fd, unread)
        return True


def _looked_at(selector: "Selector", index: int) -> "tuple[Poll, int, int | None] | None":
    """Returns a Poll that has an edge of the source, and how much there is to read."""
    from pollster.poll import Poll

    view = selector.view(index)
    if not view or view.fd < 0 or view.trigger or not view.interest & Interest.READABLE.value:
        return None
    if any(place == index and isinstance(it, _python.Watch) for place, it in selector.registered()):
        return None
    edge = Poll(backend=selector.name, log=False)
    try:
        edge.registry.register(view.fd, _NO_TOKEN, Interest.READABLE, Trigger.EDGE)
        if edge.poll(timeout=0):
            return edge, view.fd, _unread(view.fd)
    except BaseException:
        edge.close()
        raise
    edge.close()
    return None


def _unread(fd: int) -> int | None:
    """Returns how many bytes there are to be read; None where the kernel does not say."""
    with suppress(OSError):
        number: int = unpack("i", ioctl(fd, FIONREAD, b"\0\0\0\0"))[0]
        return number
    return None


def _warn(token: Token, fd: int, unread: int | None) -> None:
    cure = (
        "it is at its end, which is told until it is deregistered"
        if unread == 0
        else "read it until nothing is left, register it with Trigger.EDGE, or pause() it"
    )
    warnings.warn(
        f"{token!r} has been ready for 10,000 polls and nothing was read: fd {fd} is "
        f"level-triggered, so no poll waits; {cure}",
        ResourceWarning,
        stacklevel=3,
    )
