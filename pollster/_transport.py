"""`SocketTransport`: asyncio's transport of a stream socket, which reads and writes in C if it can.

It owns what that takes of asyncio which is private. A loop makes none of them where a name is
missing, in debug mode, or on PyPy. Nothing but `pollster.asyncio` imports this module.
"""

import asyncio
import socket
from asyncio import selector_events
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pollster.backend import _python

__all__ = ["FEEDS_STREAMS", "MISSING_OF_TRANSPORTS", "SocketTransport"]

if TYPE_CHECKING:

    class _Base(asyncio.Transport):
        """What of asyncio's transport this rests on besides what is documented: methods."""

        def __init__(self, *_: Any) -> None: ...
        def _read_ready(self) -> None: ...
        def _read_ready__data_received(self) -> None: ...
        def _fatal_error(self, error: BaseException, message: str) -> None: ...

        _read_ready_cb: Callable[[], None]
        _sock: socket.socket | None

else:
    _Base = getattr(selector_events, "_SelectorSocketTransport", object)

if TYPE_CHECKING or hasattr(_python, "Transport"):
    _InC = _python.Transport
else:  # PyPy

    class _InC:
        pass


_OF_CLASS = (
    "_read_ready",
    "_read_ready__data_received",
    "_read_ready__on_eof",
    "_fatal_error",
    "_loop",
    "_make_socket_transport",
    "_ensure_fd_no_transport",
)
_OF_OBJECTS = (
    "_sock",
    "_protocol",
    "_conn_lost",
    "_buffer",
    "_eof",
    "_empty_waiter",
    "_read_ready_cb",
)


def _find_missing() -> list[str]:
    """Returns what asyncio has no more. What its objects have, its methods name that make them."""
    named: set[str] = set(dir(_Base)) | set(dir(asyncio.SelectorEventLoop))
    for owner in _Base.__mro__:
        for method in (vars(owner).get("__init__"), vars(owner).get("set_protocol")):
            named.update(getattr(getattr(method, "__code__", None), "co_names", ()))
    return [name for name in _OF_CLASS + _OF_OBJECTS if name not in named]


MISSING_OF_TRANSPORTS = _find_missing() if hasattr(_python, "Transport") else ["Transport"]

# All that these name is done in C: a Python whose methods name anything else does more, or less.
_OF_FEEDING = {
    asyncio.StreamReaderProtocol.data_received: {"_stream_reader", "feed_data"},
    asyncio.StreamReader.feed_data: {
        *("_eof", "_buffer", "extend", "_wakeup_waiter", "_transport", "_paused", "len", "_limit"),
        *("pause_reading", "NotImplementedError"),
    },
    getattr(asyncio.StreamReader, "_wakeup_waiter", None): {"_waiter", "cancelled", "set_result"},
    getattr(vars(asyncio.StreamReaderProtocol).get("_stream_reader"), "fget", None): {
        "_stream_reader_wr"
    },
}
FEEDS_STREAMS = all(
    set(getattr(getattr(method, "__code__", None), "co_names", ())) == names
    for method, names in _OF_FEEDING.items()
)


class SocketTransport(_InC, _Base):
    """asyncio's transport, which reads and writes in C while nothing is unusual."""

    _asyncios_read_ready = getattr(_Base, "_read_ready", None)
    _asyncios_write = getattr(_Base, "write", None)
    _takes_bytes = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Sets the protocol; one that has buffers of its own is asyncio's matter."""
        super().set_protocol(protocol)
        if self._sock is not None:  # it is, where the connection was lost
            self._fileno = self._sock.fileno  # a method: it says whether the socket was closed
        self._takes_bytes = self._read_ready_cb == self._read_ready__data_received

    def _see_fatal(self, error: BaseException, message: str) -> None:
        """Tells what was raised, as asyncio's code does in an `except`."""
        try:
            raise error
        except BaseException as raised:
            self._fatal_error(raised, message)
        finally:
            del error


SocketTransport.__name__ = SocketTransport.__qualname__ = _Base.__name__  # users see it
