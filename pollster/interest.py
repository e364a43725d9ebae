"""`Interest`: what a registration waits for."""

from enum import STRICT, Flag

__all__ = ["Interest", "interests"]


class Interest(Flag, boundary=STRICT):
    """What readiness a registration waits for; combine with `|`. It is never empty.

    It is no number, and the trigger is no part of it, but an argument of its own.

    READABLE: a read (accept, recv) would not block. WRITABLE: a write would not block, or a
    connect has ended. PRIORITY: out-of-band data; only where the kernel can tell, elsewhere
    `register` raises `OSError` with `errno.ENOTSUP`.

    >>> from pollster import Interest
    >>> Interest.READABLE | Interest.WRITABLE
    <Interest.READABLE|WRITABLE: 3>
    """

    READABLE = 1
    WRITABLE = 2
    PRIORITY = 4


# Each at the number that selector.h has for it. The C code finds them by identity.
interests = tuple(map(Interest, range(8)))
