"""`PollsterSelector`: the standard library's `selectors`, over a Poll.

It owns what that interface promises: which mistake is which exception, and whose a key is. What is
ready the Poll says. Nothing else of pollster imports this module.
"""

from collections.abc import Mapping
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import TYPE_CHECKING, Any, cast

from pollster._keys import FIRST_NUMBER, FIRST_OF_SOURCES, Keys
from pollster._uncopied import Uncopied
from pollster.backend import _python
from pollster.events import Events
from pollster.interest import Interest
from pollster.poll import Poll
from pollster.registry import CHANGES, DEREGISTER, REGISTER, REREGISTER, Registry
from pollster.source import Source, SourceLike
from pollster.token import Token
from pollster.trigger import Trigger
from pollster.waker import Waker

__all__ = ["PollsterSelector"]

_EVENTS = EVENT_READ | EVENT_WRITE  # the numbers of READABLE and WRITABLE
_CAPACITY, _CAPACITY_MAX = 1 << 6, 1 << 20
_DESCRIPTOR_MAX = (1 << 31) - 1

if TYPE_CHECKING or hasattr(_python, "Keyed"):
    _InC = _python.Keyed
else:  # PyPy, whose compiler does more for Python code than C can

    class _InC:
        def _begin(self, *_: object) -> None:
            pass


class InPython(BaseSelector, Uncopied):
    """All of a `PollsterSelector`, in Python: what C leaves to it, and what PyPy runs."""

    def __init__(self, *, backend: str | None = None) -> None:
        self._poll = Poll(backend=backend)
        self._keys = Keys()
        self._map: Keys | None = self._keys
        self._events: Events | None = None

    @property
    def registry(self) -> Registry:
        """Where Wakers of this selector are made: `Waker(selector.registry, token)`.

        A `wake()` ends `select()`, with an empty list unless the Waker was registered with the
        selector, too. Tokens below 2**62 are free.

        >>> import selectors
        >>> from pollster import Waker
        >>> from pollster.selectors import PollsterSelector
        >>> with PollsterSelector() as selector:
        ...     waker = Waker(selector.registry, 1)
        ...     waker.wake()
        ...     selector.select()
        ...     key = selector.register(waker, selectors.EVENT_READ)
        ...     waker.wake()
        ...     selector.select() == [(key, selectors.EVENT_READ)]
        []
        True
        """
        return self._poll.registry

    def register(self, fileobj: SourceLike, events: int, data: Any = None) -> SelectorKey:
        _check(events)
        number = self._keys.number(fileobj, new=True)
        if number in self._keys.by_number:
            raise KeyError(f"{fileobj!r} (FD {number}) is already registered; use modify()")
        key = SelectorKey(cast(Any, fileobj), number, events, data)
        self._keys.add(key)
        try:
            self._change(REGISTER, key)
        except BaseException:
            self._keys.remove(key)
            raise
        return key

    def unregister(self, fileobj: SourceLike) -> SelectorKey:
        key = self._keys.find(fileobj)
        self._keys.remove(key)
        # It may have been closed, or be a forked parent's: for users it is gone all the same.
        with suppress(OSError, RuntimeError, ValueError):
            self._change(DEREGISTER, key)
        return key

    def modify(self, fileobj: SourceLike, events: int, data: Any = None) -> SelectorKey:
        before = self._keys.find(fileobj)
        _check(events)
        if not (events != before.events or data != before.data):
            return before
        key = SelectorKey(before.fileobj, before.fd, events, data)
        try:
            self._change(REREGISTER, key, before)
        except OSError:
            self.unregister(fileobj)
            raise
        self._keys.add(key)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        return self._wait(0 if timeout is not None and timeout <= 0 else timeout)

    def _wait(self, timeout: float | None, /) -> list[tuple[SelectorKey, int]]:
        # Several threads may select: each takes the batch that is there, or another one.
        events, self._events = self._events, None
        wanted = len(self._keys)
        if events is None or events.capacity < wanted:
            events = Events(capacity=min(max(_CAPACITY, 2 * wanted), _CAPACITY_MAX))
        ready: list[tuple[SelectorKey, int]] = []
        for event in self._poll.poll(events, timeout):
            key = self._keys.find_by_token(event.token)
            if key is not None:
                mask = event.is_readable * EVENT_READ | event.is_writable * EVENT_WRITE
                ready.append((key, mask & key.events))
        self._events = events
        return ready

    def close(self) -> None:
        """Closes the queue; a `select()` that waits in another thread raises `ValueError`.

        What was registered stays open. Closing twice changes nothing.
        """
        self._poll.close()
        self._keys.clear()
        self._map = None

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """Returns a read-only mapping of file objects to keys; None once it is closed."""
        return cast(Mapping[Any, SelectorKey], self._map)

    def fileno(self) -> int:
        """Returns the queue's descriptor, which is readable while something is ready.

        Raises `ValueError` once it is closed.
        """
        return self._poll.fileno()

    def _change(self, what: int, key: SelectorKey, before: SelectorKey | None = None) -> None:
        """Registers, reregisters or deregisters what a key stands for.

        Parameters: `before`, the key in whose place it comes.
        """
        source: object = key.fileobj
        if key.fd > _DESCRIPTOR_MAX:
            raise OverflowError(f"file descriptor {key.fd} is greater than the maximum")
        if key.fd >= 0:
            self._change_descriptor(what, key)
        elif isinstance(source, Waker):
            self._change_waker(what, key, source)
        elif what == DEREGISTER:
            self.registry.deregister(cast(Source, source))
        elif before is None or before.events != key.events:
            change = getattr(self.registry, CHANGES[what])
            change(source, Token(key.fd + FIRST_NUMBER), Interest(key.events))

    def _change_descriptor(self, what: int, key: SelectorKey, /) -> None:
        registry, fd = self.registry, int(key.fd)
        if what == DEREGISTER:
            registry.deregister(fd)
            return
        how = Token(fd + FIRST_NUMBER), Interest(key.events), Trigger.LEVEL
        error = registry._change(what, fd, fd, *how, True)  # INTEREST_HANGUP of selector.h, too
        if error:
            registry._refuse(error, fd, fd, what)

    def _change_waker(self, what: int, key: SelectorKey, waker: Waker) -> None:
        """Notes a Waker, which has registered itself; deregisters it."""
        registry, wakers = self.registry, self._keys.wakers
        if what == DEREGISTER:
            wakers.pop(waker.token, None)
            registry.deregister(waker)
            return
        if key.events != EVENT_READ:
            raise ValueError(f"{waker!r} can only be registered for EVENT_READ")
        if all(registration.source is not waker for registration in registry):
            raise ValueError(
                f"{waker!r} is not this selector's: make it with Waker(selector.registry, token)"
            )
        if waker.token >= FIRST_OF_SOURCES or (what == REGISTER and waker.token in wakers):
            raise ValueError(f"{waker!r} needs a token of its own, below 2**62")
        wakers[waker.token] = key

    def __repr__(self) -> str:
        state = "closed" if self._poll.closed else f"{len(self._keys)} registered"
        return f"<{type(self).__name__} {self._poll.backend}, {state}>"


class PollsterSelector(_InC, InPython):
    """A selector as of the standard library's `selectors`, which it can replace by its name alone.

    Parameters: `backend`, as of `Poll`, which raises the same errors. Methods, keys and exceptions
    are those of `selectors.BaseSelector`. Beyond that, Timers, Signals and all else that `Source`
    describes can be registered, for `EVENT_READ`; the `fd` of their keys is a negative number.

    Any thread may register, wake and close while another selects. In a forked child `unregister`
    and `close` leave the parent's queue alone; what else would use it raises `RuntimeError`.

    >>> import selectors, socket
    >>> from pollster.selectors import PollsterSelector
    >>> ours, peer = socket.socketpair()
    >>> with PollsterSelector() as selector:
    ...     key = selector.register(ours, selectors.EVENT_READ, "data")
    ...     _ = peer.send(b"hello")
    ...     [(key.data, key.fileobj is ours, mask) for key, mask in selector.select(timeout=1.0)]
    [('data', True, 1)]
    >>> ours.close(), peer.close()
    (None, None)
    """

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__(backend=backend)
        poll, keys = self._poll, self._keys
        tables = keys.by_number, keys.wakers
        self._begin(poll._selector, poll.registry, *tables, SelectorKey, InPython)


def _check(events: int) -> None:
    if not events or events & ~_EVENTS:
        raise ValueError(f"invalid events {events!r}: they must be EVENT_READ, EVENT_WRITE or both")
