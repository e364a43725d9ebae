"""`Trigger`: when a registration reports its readiness."""

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never

__all__ = ["Trigger", "triggers"]


class Trigger(Enum):
    """When a registration reports.

    LEVEL: with every poll, for as long as it is ready. EDGE: when it becomes ready anew; read or
    write until `BlockingIOError` before the next poll. ONESHOT: once, then the registration stays
    but is disabled until `reregister`. EDGE_ONESHOT: both.

    It is an argument of its own and combines with nothing: `|` raises `TypeError`.

    >>> from pollster import Trigger
    >>> print(Trigger.EDGE_ONESHOT)
    Trigger.EDGE_ONESHOT
    """

    LEVEL = 0
    EDGE = 1
    ONESHOT = 2
    EDGE_ONESHOT = 3

    def __or__(self, other: "Never") -> "Never":
        raise TypeError(
            f"{self} combines with nothing: the trigger is the fourth argument, "
            "register(source, token, interest, trigger); "
            "EDGE and ONESHOT together are Trigger.EDGE_ONESHOT"
        )

    __ror__ = __or__


# Each at the number that selector.h has for it. The C code finds them by identity.
triggers = tuple(Trigger)
