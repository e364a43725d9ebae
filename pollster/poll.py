"""`Poll`: one kernel queue, and the wait for its events."""

from pollster import backend as backends
from pollster._descriptors import ReadableOnly
from pollster._elsewhere import Elsewhere
from pollster._observer import observe
from pollster._uncopied import Uncopied
from pollster.backend import _python
from pollster.backend._python import in_c
from pollster.backend.selector import Selector
from pollster.events import Events
from pollster.registry import Registry
from pollster.stats import Stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

__all__ = ["Poll"]


class Poll(_python.Poll, ReadableOnly, Uncopied):
    """A kernel queue: register sources with its `registry`, then `poll()` for their events.

    Parameters: `backend`, "epoll" or "kqueue"; None for what the environment variable
    POLLSTER_BACKEND says, or else this machine's. `log`, whether it tells the channel "pollster" of
    `logging` what it does; None for what POLLSTER_LOG and the level of the channel say now. Raises
    `ValueError` for a back end that this machine does not have, `OSError` where the descriptor
    limit is reached.

    It is a context manager, and a source for other Polls (and event loops) by its `fileno()`, which
    is readable while there are events. It is closed when nobody holds it any more.

    See: epoll(7); kqueue(2).

    >>> import socket
    >>> from pollster import Interest, Poll, Token
    >>> ours, peer = socket.socketpair()
    >>> with Poll() as poll:
    ...     poll.registry.register(ours, Token(5), Interest.READABLE)
    ...     _ = peer.send(b"hello")
    ...     for event in poll.poll(timeout=1.0):
    ...         print(event)
    <Event Token(5) readable>
    >>> ours.close(), peer.close()
    (None, None)
    """

    __slots__ = ("__weakref__", "_registry")

    def __init__(self, *, backend: str | None = None, log: bool | None = None) -> None:
        if backend is not None and not isinstance(backend, str):
            raise TypeError(f"backend must be a name such as 'epoll', or None; not {backend!r}")
        if log is not None and not isinstance(log, bool):
            raise TypeError(f"log must be True, False or None; not {log!r}")
        selector = Selector(backends.resolve(backend))
        observe(selector, log)
        self._begin(selector, Events())
        self._registry = Registry(self._selector)

    @property
    def registry(self) -> Registry:
        """Where sources are registered."""
        return self._registry

    @property
    def backend(self) -> str:
        """The name of the kernel's interface: "epoll" or "kqueue"."""
        return self._selector.name

    @in_c
    def poll(
        self, events: Events | None = None, timeout: "float | timedelta | None" = None
    ) -> Events:
        """Waits until a registered source is ready, and returns what is.

        Parameters: `events`, the batch to fill; None for the Poll's own, which the next such poll
        fills again. `timeout` in seconds, a number or a `timedelta`; None or infinity waits for
        ever, 0 does not wait. It is never cut short and is as fine as the kernel's timers, to the
        nanosecond. Returns `events`, empty when the timeout has passed.

        A signal whose handler returns does not end it; a handler that raises does (PEP 475). What
        came together with the signal is not lost: the next poll reports it.

        Raises `ValueError` for a negative timeout or NaN and for a closed Poll (also one that
        another thread closes meanwhile), `TypeError` for arguments of other types, `RuntimeError`
        where another thread polls with the same `events`.

        See: epoll_pwait2(2); kevent(2).

        >>> from datetime import timedelta
        >>> from pollster import Events, Poll
        >>> with Poll() as poll:
        ...     events = Events(capacity=16)
        ...     poll.poll(events, timeout=timedelta(milliseconds=1)) is events
        ...     bool(events)
        True
        False
        """
        return self._selector.wait(self._events if events is None else events, timeout)

    def stats(self) -> Stats:
        """Returns what this Poll has done, in numbers; see `Stats`.

        They are counted where they happen, at no price to speak of. A closed Poll gives the last
        ones. Raises `RuntimeError` in a forked child.

        >>> from pollster import Poll
        >>> with Poll() as poll:
        ...     _ = poll.poll(timeout=0)
        ...     poll.stats().timeouts
        1
        """
        return Stats(*self._selector.stats())

    def fileno(self) -> int:
        """Returns the queue's descriptor. Raises `ValueError` once the Poll is closed."""
        return self._selector.fileno()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._selector.closed

    def close(self) -> None:
        """Closes the queue and its wakers; polls that wait in other threads raise `ValueError`.

        The registered sources stay open. Closing twice changes nothing.
        """
        self._selector.close()

    if not TYPE_CHECKING:  # as other libraries call it
        register = Elsewhere("a Poll has no register(): use poll.registry.register()")
        reregister = Elsewhere("a Poll has no reregister(): use poll.registry.reregister()")
        modify = Elsewhere("a Poll has no modify(): use poll.registry.reregister()")
        deregister = Elsewhere("a Poll has no deregister(): use poll.registry.deregister()")
        unregister = Elsewhere("a Poll has no unregister(): use poll.registry.deregister()")
        batch = Elsewhere("a Poll has no batch(): use poll.registry.batch()")
        select = Elsewhere("a Poll has no select(): use poll.poll(timeout=seconds)")
        control = Elsewhere(
            "a Poll has no control(): use poll.registry and poll.poll(timeout=seconds)"
        )

    def __del__(self) -> None:
        if hasattr(self, "_selector"):
            self._selector.close()

    def __enter__(self) -> "Self":
        self._selector.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        log = self._selector.log
        name = f", logs as {log.name!r}" if log else ""
        return f"<Poll {self.backend}, {'closed' if self.closed else 'open'}{name}>"
