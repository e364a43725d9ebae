"""`Interest`: what a registration waits for."""

from enum import STRICT, IntFlag

__all__ = ["Interest"]


class Interest(IntFlag, boundary=STRICT):
    """What readiness a registration waits for; combine with `|`. It is never empty.

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
