"""`PollsterSelector`: the standard library's `selectors`, over a Poll.

It owns what that interface promises: keys, the mapping, and which mistake is which exception. What
is ready, and when, the Poll says. Nothing else of pollster imports this module.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import Any, cast

from pollster._uncopied import Uncopied
from pollster.events import Events
from pollster.interest import Interest, interests
from pollster.poll import Poll
from pollster.registry import Registry
from pollster.source import HasFileno, Source, SourceLike
from pollster.token import Token
from pollster.waker import Waker

__all__ = ["PollsterSelector"]

_EVENTS = EVENT_READ | EVENT_WRITE  # the numbers of READABLE and WRITABLE
_OWN = 1 << 63  # the tokens from here on are the selector's own: see _token
_CAPACITY, _CAPACITY_MAX = 1 << 6, 1 << 20
_NOBODYS = -_OWN  # the number of a source that is not registered
_DESCRIPTOR_MAX = (1 << 31) - 1

# What is registered for a descriptor: INTEREST_HANGUP of selector.h, which users do not have, too.
_HANGUP = 8
_INTERESTS = interests[_HANGUP:]


class PollsterSelector(BaseSelector, Uncopied):
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
        self._poll = Poll(backend=backend)
        self._keys = Keys()
        self._map: Keys | None = self._keys
        self._events: Events | None = None

    @property
    def registry(self) -> Registry:
        """Where Wakers of this selector are made: `Waker(selector.registry, token)`.

        A `wake()` ends `select()`, with an empty list unless the Waker was registered with the
        selector, too. Tokens below 2**63 are free.

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
        """Starts to watch a file object, and returns its key.

        Parameters: `fileobj`, a descriptor, an object with `fileno()`, or a source of pollster's;
        `events`, `EVENT_READ`, `EVENT_WRITE` or both; `data`, whatever the key is to have.

        Raises `ValueError` for other events and for what is no file object, `KeyError` where it is
        registered, `PermissionError` for regular files and directories, `OSError` where the kernel
        can't watch it.
        """
        _check(events)
        fd = self._keys.number(fileobj, new=True)
        if fd in self._keys.by_number:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered; use modify()")
        key = SelectorKey(cast(Any, fileobj), fd, events, data)
        token = self._token(key)
        self._keys.add(key, token)
        try:
            _change(self.registry.register, key, token)
        except BaseException:
            self._keys.remove(key, token)
            raise
        return key

    def unregister(self, fileobj: SourceLike) -> SelectorKey:
        """Stops watching a file object, which may be closed already, and returns its key.

        The list that `select()` returned last stays as it is, with the events of that moment.

        Raises `KeyError` where it is not registered, `ValueError` for what is no file object.
        """
        key = self._keys.find(fileobj)
        self._keys.remove(key, _token(key))
        # It may have been closed, or be a forked parent's: for users it is gone all the same.
        with suppress(OSError, RuntimeError, ValueError):
            self.registry.deregister(_source(key))
        return key

    def modify(self, fileobj: SourceLike, events: int, data: Any = None) -> SelectorKey:
        """Replaces the events and the data of a file object, and returns its key.

        Where the events are the same the kernel is not asked. Raises what `register` does, and
        `KeyError` where it is not registered. After an `OSError` it is not registered any more, as
        with the standard library's selectors; after other errors all is as it was.
        """
        key = before = self._keys.find(fileobj)
        _check(events)
        if events != before.events or data != before.data:
            key = SelectorKey(before.fileobj, before.fd, events, data)
        token = _token(key)
        if events != before.events:
            try:
                _change(self.registry.reregister, key, token)
            except OSError:
                self.unregister(fileobj)
                raise
        if key is not before:
            self._keys.add(key, token)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Waits until something is ready, and returns what is: a list of (key, events).

        Parameters: `timeout` in seconds, as fine as the kernel's timers, to the nanosecond; None
        waits for ever, 0 and less do not wait. Signals do not end it (PEP 475). Raises `ValueError`
        for a closed selector, also one that another thread closes meanwhile.
        """
        if timeout is not None and timeout <= 0:
            timeout = 0
        # Several threads may select: each takes the batch, or makes another.
        events, self._events = self._events, None
        wanted = len(self._keys)
        if events is None or events.capacity < wanted:
            events = Events(capacity=min(max(_CAPACITY, 2 * wanted), _CAPACITY_MAX))
        named = self._keys.by_token
        ready: list[tuple[SelectorKey, int]] = []
        for event in self._poll.poll(events, timeout):
            key = named.get(event.token)
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

    def __repr__(self) -> str:
        state = "closed" if self._poll.closed else f"{len(self._keys)} registered"
        return f"<PollsterSelector {self._poll.backend}, {state}>"

    def _token(self, key: SelectorKey) -> Token:
        """Returns the token for a new key. Raises `ValueError` for a Waker that can't be its."""
        token = _token(key)
        if not isinstance(key.fileobj, Waker):
            return token
        if all(registration.source is not key.fileobj for registration in self.registry):
            raise ValueError(
                f"{key.fileobj!r} is not this selector's: make it with "
                "Waker(selector.registry, token)"
            )
        if token >= _OWN or token in self._keys.by_token:
            raise ValueError(f"{key.fileobj!r} needs a token of its own, below 2**63")
        return token


class Keys(Mapping[Any, SelectorKey]):
    """The keys of a selector, which `get_map()` returns: found by file object or descriptor."""

    def __init__(self) -> None:
        self.by_number: dict[int, SelectorKey] = {}
        """By descriptor; where there is none, by a negative number."""
        self.by_token: dict[int, SelectorKey] = {}
        self._numbers: dict[int, int] = {}
        """The negative numbers, by the id of what they stand for."""
        self._last_number = 0

    def number(self, fileobj: object, *, new: bool = False) -> int:
        """Returns a file object's descriptor, or the number that stands for one.

        Parameters: `new`, whether it may get a number. Raises `ValueError` for what is none.
        """
        number = self._numbers.get(id(fileobj))
        if number is not None:
            return number
        try:
            return _descriptor(fileobj)
        except ValueError:
            for key in self.by_number.values():
                if key.fileobj is fileobj or key.fd == fileobj:  # closed by now; or not one at all
                    return key.fd
            if not hasattr(type(fileobj), "deregister"):
                raise
        if not new:
            return _NOBODYS
        self._last_number -= 1
        return self._last_number

    def find(self, fileobj: object) -> SelectorKey:
        """Returns a file object's key. Raises `KeyError`."""
        key = self.by_number.get(self.number(fileobj))
        if key is None:
            raise KeyError(f"{fileobj!r} is not registered")
        return key

    def add(self, key: SelectorKey, token: int) -> None:
        """Adds a key, or puts it into its predecessor's place."""
        self.by_number[key.fd] = self.by_token[token] = key
        if key.fd < 0:
            self._numbers[id(key.fileobj)] = key.fd

    def remove(self, key: SelectorKey, token: int) -> None:
        """Removes a key."""
        self.by_number.pop(key.fd, None)
        self.by_token.pop(token, None)
        self._numbers.pop(id(key.fileobj), None)

    def clear(self) -> None:
        """Removes them all."""
        self.by_number.clear()
        self.by_token.clear()
        self._numbers.clear()

    def __getitem__(self, fileobj: object) -> SelectorKey:
        return self.find(fileobj)

    def get(self, fileobj: object, default: Any = None) -> Any:
        return self.by_number.get(self.number(fileobj), default)

    def __iter__(self) -> Iterator[int]:
        return iter(self.by_number)

    def __len__(self) -> int:
        return len(self.by_number)


def _check(events: int) -> None:
    if not events or events & ~_EVENTS:
        raise ValueError(f"invalid events {events!r}: they must be EVENT_READ, EVENT_WRITE or both")


def _descriptor(fileobj: object) -> int:
    """Returns a file object's descriptor. Raises `ValueError` for what has none, or none now."""
    try:
        fd = fileobj if isinstance(fileobj, int) else int(cast(HasFileno, fileobj).fileno())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"invalid file object {fileobj!r}: it must be a descriptor or have an open one"
        ) from None
    if fd < 0:
        raise ValueError(f"invalid file descriptor {fd}: {fileobj!r} is not open")
    return fd


def _token(key: SelectorKey) -> Token:
    """Returns the token of a key: of its number, but a Waker has its own already."""
    waker: object = key.fileobj
    return waker.token if isinstance(waker, Waker) else Token(_OWN | key.fd & (_OWN - 1))


def _source(key: SelectorKey) -> SourceLike:
    """Returns what the registry is to have: a descriptor where there is one."""
    return int(key.fd) if key.fd >= 0 else cast(Source, key.fileobj)


def _change(change: Callable[[Any, int, Interest], None], key: SelectorKey, token: Token) -> None:
    """Registers or reregisters what a key stands for."""
    if key.fd > _DESCRIPTOR_MAX:
        raise OverflowError(f"file descriptor {key.fd} is greater than the maximum")
    if key.fd >= 0:
        change(_source(key), token, _INTERESTS[key.events])
    elif not isinstance(cast(object, key.fileobj), Waker):
        change(_source(key), token, Interest(key.events))
    elif key.events != EVENT_READ:
        raise ValueError(f"{key.fileobj!r} can only be registered for EVENT_READ")
