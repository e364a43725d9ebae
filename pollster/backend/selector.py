"""One open selector: the contract of `selector.h`, as Python sees it.

`Poll`, `Registry`, `Events` and `Waker` are the faces of this one object. What they do most,
waiting and registering, is its base's: `python.c`, which has the queue, too. `handle` is borrowed
from there: it is good as long as this object is held. It does not know what its users are called.
"""

import errno
import os

from pollster import backend
from pollster.backend import _python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Selector"]


class Selector(_python.Selector):
    """A kernel queue, open until `close` or until nobody holds it.

    Parameters: `name`, the back end. Raises `OSError` where the kernel gives no queue.
    """

    __slots__ = ("ffi", "handle", "lib", "name")

    def __init__(self, name: str) -> None:
        module = backend.load(name)
        self.name = name
        self.ffi: Any = module.ffi
        self.lib: Any = module.lib
        address = self._open(backend.functions(module))
        if address < 0:
            raise self.failure(-address, f"no {name} queue could be opened")
        self.handle = self.ffi.cast("selector *", address)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return bool(self.lib.selector_is_closed(self.handle))

    def check(self) -> None:
        """Raises what any use raises once it is closed, or in a forked child."""
        code = self.lib.selector_check(self.handle)
        if code < 0:
            raise self.failure(-code, "it can't be used")

    def fileno(self) -> int:
        """Returns the queue's descriptor. Raises what `failure` returns."""
        fd: int = self.lib.selector_fd(self.handle)
        if fd < 0:
            raise self.failure(-fd, "no descriptor to nest it by")
        return fd

    def close(self) -> None:
        """Closes the queue and ends all waits. Raises `OSError` where they could not be ended."""
        log = None if self.closed else self.log
        forked = self.lib.selector_check(self.handle) == -errno.ECHILD
        code = self.lib.selector_close(self.handle)
        if code < 0:
            raise OSError(
                -code,
                f"{os.strerror(-code)}: the polls that wait could not be ended; "
                "free a descriptor and close again",
            )
        self.forget_sources()
        if log:
            log.closed(forked)

    def failure(self, number: int, what: str) -> Exception:
        """Returns the exception for an errno.

        `ValueError` once it is closed, as files do; `RuntimeError` in a process that was forked
        off; else `OSError`, which says what failed.
        """
        if number == errno.ESHUTDOWN:
            return ValueError(f"this Poll is closed (backend {self.name!r}): open another one")
        if number == errno.ECHILD:
            return RuntimeError(
                "this Poll belongs to the process that forked this one: open another one here"
            )
        if number == errno.ELOOP:
            what = "queues are nested too deeply, or in a circle"
        return OSError(number, f"{os.strerror(number)}: {what}{_cure(number)}")

    def stats(self) -> list[int]:
        """Returns the numbers of selector.h's `stats`, in its order. Raises what `failure` does."""
        numbers = self.ffi.new("stats *")
        code = self.lib.selector_stats(self.handle, numbers)
        if code < 0:
            raise self.failure(-code, "no figures")
        return list(self.ffi.cast("uint64_t *", numbers)[0 : self.ffi.sizeof("stats") // 8])

    def find(self, fd: int) -> int:
        """Returns the index of what is registered for a descriptor; 0 where nothing is."""
        index: int = self.lib.selector_find(self.handle, fd)
        return max(0, index)

    def view(self, index: int) -> "Any":
        """Returns the `registration_view` of what is registered at an index, or None."""
        view = self.ffi.new("registration_view *")
        return view if self.lib.selector_view(self.handle, index, view) == 0 else None


def _cure(number: int) -> str:
    if number in (errno.EMFILE, errno.ENFILE):
        return "; close some descriptors or raise the limit (ulimit -n)"
    return ""
