"""Which kernel the tests' kqueue is: KQUEUE_KERNEL; see tests/kqueue/kernels.h.

Owns the environment variable, and what a test has to tell that kqueue since Linux does not.
"""

import os
import socket
import sys

EMULATED = {
    "freebsd": ("FreeBSD", "FreeBSD 15"),
    "freebsd14": ("FreeBSD", "FreeBSD 14"),
    "macos": ("Darwin",),
    "openbsd": ("OpenBSD",),
    "netbsd": ("NetBSD",),
    "dragonfly": ("DragonFly",),
}
DEFAULT = "freebsd"
OWN_SHUTDOWN = 6  # tests/kqueue/include/kqueue_kernel.h

shutdown_of_linux = socket.socket.shutdown


def emulated() -> str:
    """Names the kernel that the tests' kqueue is."""
    return os.environ.get("KQUEUE_KERNEL", DEFAULT)


def is_chosen() -> bool:
    """Whether somebody wants to know of one kernel in particular."""
    return "KQUEUE_KERNEL" in os.environ


def systems(backend: str) -> tuple[str, ...]:
    """Names the kernel behind a back end, as uname(1) does, and its release where that counts."""
    system, _, release, *_ = os.uname()
    if (backend, system) == ("kqueue", "Linux"):
        return EMULATED[emulated()]
    return (system, f"{system} {release.partition('.')[0]}")


def has_two_way_pipes(backend: str) -> bool:
    """Whether both ends of a pipe can be read and written there: pipe(2)."""
    return not {"FreeBSD", "OpenBSD", "DragonFly"}.isdisjoint(systems(backend))


def mark_shutdowns() -> None:
    """Has every Unix socket of this process that is told to send no more marked so, on Linux."""
    if sys.platform != "linux" or socket.socket.shutdown is not shutdown_of_linux:
        return

    def shutdown(self: socket.socket, how: int) -> None:
        if self.family == socket.AF_UNIX and how != socket.SHUT_RD:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, OWN_SHUTDOWN)
        shutdown_of_linux(self, how)

    socket.socket.shutdown = shutdown  # type: ignore[method-assign,assignment]
