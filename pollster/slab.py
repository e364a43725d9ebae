"""`Slab`: hands out Tokens. It knows nothing of Polls."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast, overload

from pollster._uncopied import Uncopied
from pollster.token import Token

__all__ = ["Slab"]

T = TypeVar("T")
D = TypeVar("D")

_MISSING = object()

_GENERATION = 1 << 32  # below it, the place; the first generation is 1
_LAST = (1 << 64) - _GENERATION  # from here on a place has no further generation


class Slab(Mapping[Token, T], Uncopied, Generic[T]):
    """Objects by Tokens that it makes: `insert` an object, and its events lead back to it.

    The lower 32 bits of a Token are its place, a small number that is used again; the upper ones
    are the generation of that place, from 1 on. So a Token that was taken back is never mistaken
    for its successor at the same place, and none is below 2**32: those are left for constants of
    your own.

    It is a mapping: look up, `get`, `in`, `len`, `keys`, `items`, `values`, `pop` and `del` work as
    those of a dict, and so does iteration, over the Tokens in the order in which they were made. It
    has no lock: one thread at a time changes it.

    >>> import socket
    >>> from pollster import Interest, Poll, Slab
    >>> ours, peer = socket.socketpair()
    >>> sockets = Slab()
    >>> with Poll() as poll, ours, peer:
    ...     poll.registry.register(ours, sockets.insert(ours), Interest.READABLE)
    ...     _ = peer.send(b"hello")
    ...     for event in poll.poll():
    ...         sockets[event.token].recv(100)
    b'hello'
    """

    __slots__ = ("_free", "_objects", "_places")

    def __init__(self) -> None:
        self._objects: dict[Token, T] = {}
        self._places = 0  # how many were given
        self._free: list[Token] = []  # what comes next at places that were given before

    def insert(self, value: T) -> Token:
        """Keeps an object and returns its Token, which no other object had or will have.

        Raises `OverflowError` where 2**32 objects are in it.

        >>> from pollster import Slab
        >>> slab = Slab()
        >>> slab.insert("first") == slab.insert("second")
        False
        """
        token = self._free.pop() if self._free else self._fresh()
        self._objects[token] = value
        return token

    def _fresh(self) -> Token:
        if self._places == _GENERATION:
            raise OverflowError("the slab is full: 2**32 places are taken")
        self._places += 1
        return Token(_GENERATION + self._places - 1)

    def remove(self, token: int) -> T:
        """Takes a Token back and returns its object. Raises `KeyError` where it has none.

        >>> from pollster import Slab
        >>> slab = Slab()
        >>> token = slab.insert("old")
        >>> slab.remove(token)
        'old'
        >>> _ = slab.insert("new")
        >>> slab.get(token) is None
        True
        """
        value = self[token]
        del self._objects[cast(Token, token)]
        if token < _LAST:  # else the place has had them all
            self._free.append(Token(token + _GENERATION))
        return value

    @overload
    def pop(self, token: int) -> T: ...
    @overload
    def pop(self, token: int, default: D) -> T | D: ...
    def pop(self, token: int, default: object = _MISSING) -> object:
        """Takes a Token back as `remove` does; where it has no object returns `default`, if given.

        >>> from pollster import Slab
        >>> slab = Slab()
        >>> token = slab.insert("old")
        >>> slab.pop(token, None), slab.pop(token, None)
        ('old', None)
        """
        if default is not _MISSING and token not in self:
            return default
        return self.remove(token)

    def __delitem__(self, token: int) -> None:
        self.remove(token)

    def __contains__(self, token: object) -> bool:
        return token in self._objects

    def __getitem__(self, token: int) -> T:
        try:
            return self._objects[cast(Token, token)]
        except KeyError:
            raise KeyError(
                f"{token!r} has no object here: it was taken back, or never made"
            ) from None

    def __iter__(self) -> Iterator[Token]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        return f"<Slab of {len(self):,}>"
