"""The errors of registering, and what the kernel's numbers mean there."""

import errno
import os

from pollster.backend import _python
from pollster.backend.selector import Selector
from pollster.token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

__all__ = ["AlreadyRegisteredError", "BatchError", "NotRegisteredError"]


class AlreadyRegisteredError(FileExistsError):
    """A source was registered twice with one Poll; its errno is EEXIST."""


class NotRegisteredError(FileNotFoundError):
    """A source that is not registered was to be changed; its errno is ENOENT."""


class BatchError(ExceptionGroup[Exception]):
    """Changes of a `Registry.batch()` that were not made; all others were.

    `failures`: (source, error) of each, in their order.

    >>> import socket
    >>> from pollster import BatchError, Interest, Poll, Token
    >>> ours, peer = socket.socketpair()
    >>> with Poll() as poll:
    ...     try:
    ...         with poll.registry.batch() as changes:
    ...             changes.register(ours, Token(1), Interest.READABLE)
    ...             changes.reregister(peer, Token(2), Interest.READABLE)
    ...     except BatchError as error:
    ...         [(source is peer, type(problem)) for source, problem in error.failures]
    ...     [registration.token for registration in poll.registry]
    [(True, <class 'pollster.errors.NotRegisteredError'>)]
    [Token(1)]
    >>> ours.close(), peer.close()
    (None, None)
    """

    failures: "tuple[tuple[Any, Exception], ...]"

    def __new__(cls, failures: "Sequence[tuple[Any, Exception]]") -> "Self":
        """Makes the group of these errors."""
        some = "1 change" if len(failures) == 1 else f"{len(failures):,} changes"
        group = super().__new__(
            cls, f"{some} of the batch could not be made", [error for _, error in failures]
        )
        group.failures = tuple(failures)
        return group

    def __init__(self, failures: "Sequence[tuple[Any, Exception]]") -> None:
        super().__init__(self.message, self.exceptions)

    def derive(self, excs: "Sequence[Any]", /) -> "Any":
        """Makes the group of some of these errors, for `except*`."""
        chosen = {id(error) for error in excs}
        return BatchError([failure for failure in self.failures if id(failure[1]) in chosen])


def failure(selector: Selector, number: int, source: object, fd: int, change: str) -> Exception:
    """Returns what an errno means.

    Parameters: `change`, what was to be done: "register", "pause" and so on.
    """
    if isinstance(source, _python.Timer):
        timer: Any = source
        refused: Exception = timer._refused(selector, number, change)
        return refused
    name = f"fd {fd}" if isinstance(source, int) else f"fd {fd} of {source!r}"
    if number in (errno.ESHUTDOWN, errno.ECHILD):
        return selector.failure(number, name)
    if number == errno.EEXIST:
        view = selector.view(selector.find(fd))
        if view is None:
            return AlreadyRegisteredError(
                number,
                f"{name} is already registered: by another thread, or as one of this Poll's own "
                "descriptors, which got the number of a source that was closed: register the open "
                "source, not its number",
            )
        return AlreadyRegisteredError(
            number,
            f"{name} is already registered with {Token(view.token)!r}; "
            "use reregister() to change it",
        )
    if number == errno.ENOENT:
        return NotRegisteredError(
            number, f"{name} is not registered with this Poll; use register() first"
        )
    return OSError(number, f"{name} can't be {done(change)}: {_reason(number)}")


def done(change: str) -> str:
    """Returns what has become of a source: "registered", "paused"."""
    return f"{change.removesuffix('e')}ed"


def _reason(number: int) -> str:
    known = {
        errno.EBADF: "it is not open; register a source before it is closed",
        errno.EPERM: "it is a regular file, a directory or a device that never blocks; "
        "read or write it directly",
        errno.ENOTSUP: "this kernel has no PRIORITY readiness; leave it out of the interest",
        errno.ENOSPC: "the limit of watched descriptors, or of registrations, is reached; "
        "deregister some or raise it",
        errno.ENOMEM: "the kernel has no memory for it; deregister some sources",
        errno.EINVAL: "the kernel can't watch it, or not for this interest; "
        "a queue is READABLE only",
        errno.ELOOP: "queues are nested too deeply, in themselves or in a circle",
    }
    return known.get(number, os.strerror(number))
