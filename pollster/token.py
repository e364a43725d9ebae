"""`Token`: the user's name for a registration."""

from operator import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, SupportsIndex

__all__ = ["Token"]

_LIMIT = 1 << 64


class Token(int):
    """An integer of 64 unsigned bits that comes back with each event of a registration.

    pollster gives it no meaning: let it be an index, a key of a dict, or a constant.

    Parameters: `value`, an integer from 0 to 2**64 - 1. Raises `ValueError` outside of that,
    `TypeError` for what is not an integer.

    >>> from pollster import Token
    >>> Token(3)
    Token(3)
    >>> Token(3) == 3, f"{Token(3)}"
    (True, '3')
    """

    __slots__ = ()

    def __new__(cls, value: "SupportsIndex") -> "Self":
        """Checks the range."""
        number = index(value)
        if not 0 <= number < _LIMIT:
            raise ValueError(f"token {number} is out of range: it must be from 0 to 2**64 - 1")
        return super().__new__(cls, number)

    def __repr__(self) -> str:
        return f"Token({int(self)})"

    __str__ = int.__repr__
