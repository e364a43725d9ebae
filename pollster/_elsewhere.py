"""`Elsewhere`: what other libraries have in this place, and what it is called here."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Elsewhere"]


class Elsewhere:
    """An attribute that there is not: asking for it says which one there is instead.

    A class's `__getattr__` would say so too, and would cost each look-up of all the others.
    """

    __slots__ = ("_instead",)

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __get__(self, one: object, kind: type[object]) -> "NoReturn":
        raise AttributeError(self._instead)
