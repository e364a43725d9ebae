"""`Keys`: the table of a selector's keys, and the numbers and tokens that they have.

A key's number is its descriptor or, of a source without one, a negative number. It knows no Poll.
"""

from collections.abc import Iterator, Mapping
from selectors import SelectorKey
from typing import Any, cast

from pollster._descriptors import note_plain
from pollster.source import HasFileno

__all__ = ["FIRST_NUMBER", "FIRST_OF_SOURCES", "Keys"]

# Tokens: those of keys say their number, counted from here; smaller ones are wakers'. Also in
# backend/python/keys.c.
FIRST_NUMBER = 1 << 63
FIRST_OF_SOURCES = 1 << 62  # which have negative numbers

_NOBODYS = -FIRST_OF_SOURCES  # the number of a source that is not registered


class Keys(Mapping[Any, SelectorKey]):
    """The keys of a selector, which `get_map()` returns: found by file object or number."""

    def __init__(self) -> None:
        self.by_number: dict[int, SelectorKey] = {}
        self.wakers: dict[int, SelectorKey] = {}
        """By token, which is a waker's own; the others' tokens say their number."""
        self._numbers: dict[int, int] = {}
        """The negative ones, by the id of what has them."""
        self._last_number = 0

    def number(self, fileobj: object, *, new: bool = False) -> int:
        """Returns a file object's number. Raises `ValueError` for what is no file object.

        Parameters: `new`, whether a source that has none gets the next one.
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

    def find_by_token(self, token: int) -> SelectorKey | None:
        """Returns the key whose token this is."""
        if token < FIRST_OF_SOURCES:
            return self.wakers.get(token)
        return self.by_number.get(token - FIRST_NUMBER)

    def add(self, key: SelectorKey) -> None:
        """Adds a key, or puts it into its predecessor's place."""
        self.by_number[key.fd] = key
        if key.fd < 0:
            self._numbers[id(key.fileobj)] = key.fd

    def remove(self, key: SelectorKey) -> None:
        """Removes a key."""
        self.by_number.pop(key.fd, None)
        self._numbers.pop(id(key.fileobj), None)

    def clear(self) -> None:
        """Removes them all."""
        self.by_number.clear()
        self.wakers.clear()
        self._numbers.clear()

    def __getitem__(self, fileobj: object) -> SelectorKey:
        return self.find(fileobj)

    def get(self, fileobj: object, default: Any = None) -> Any:
        return self.by_number.get(self.number(fileobj), default)

    def __iter__(self) -> Iterator[int]:
        return iter(self.by_number)

    def __len__(self) -> int:
        return len(self.by_number)


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
    note_plain(fileobj)
    return fd
