"""Descriptors to watch: many eventfds, which stay as they are made."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

_OTHERS = 100  # of Python's own, queues, pipes


@contextmanager
def eventfds(count: int, *, ready: bool) -> Iterator[list[int]]:
    """Opens so many eventfds, readable for ever or never, and closes them in the end.

    Raises `OSError` where the hard limit of descriptors is too low.
    """
    allow(count)
    fds: list[int] = []
    try:
        fds += (os.eventfd(int(ready), os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def allow(count: int) -> None:
    """Raises the soft limit of descriptors as far as so many need it."""
    needed = len(os.listdir("/proc/self/fd")) + count + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise OSError(f"{needed:,} descriptors are needed, the limit is {hard:,}: see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
