"""`Trigger`: when a registration reports its readiness."""

from enum import IntEnum

__all__ = ["Trigger"]


class Trigger(IntEnum):
    """When a registration reports.

    LEVEL: with every poll, for as long as it is ready. EDGE: when it becomes ready anew; read or
    write until `BlockingIOError` before the next poll. ONESHOT: once, then the registration stays
    but is disabled until `reregister`. EDGE_ONESHOT: both.

    >>> from pollster import Trigger
    >>> Trigger.EDGE_ONESHOT == Trigger.EDGE | Trigger.ONESHOT
    True
    """

    LEVEL = 0
    EDGE = 1
    ONESHOT = 2
    EDGE_ONESHOT = 3
