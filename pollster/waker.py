"""`Waker`: ends another thread's wait."""

import errno

from pollster._uncopied import Uncopied
from pollster.backend.selector import Selector
from pollster.errors import NotRegisteredError
from pollster.registry import Registry
from pollster.token import Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Waker"]


class Waker(Uncopied):
    """Makes a Poll report `token`, from any thread or signal handler, at any time.

    Several `wake()`s before the event is delivered are one event. There is nothing to drain, and a
    wake before the poll begins is not lost. A Poll may have several; each gives its event to one
    poll. It is registered until `close()`, `registry.deregister(waker)` or the end of the Poll.

    Parameters: `registry`, of the Poll to wake; `token`, of its events, which are readable.
    Raises `OSError` where the kernel has no descriptor left for it.

    See: eventfd(2); kevent(2) EVFILT_USER.

    >>> import threading
    >>> from pollster import Poll, Token, Waker
    >>> with Poll() as poll:
    ...     waker = Waker(poll.registry, Token(9))
    ...     thread = threading.Thread(target=waker.wake)
    ...     thread.start()
    ...     list(poll.poll())
    ...     thread.join()
    [<Event Token(9) readable>]
    """

    __slots__ = ("__weakref__", "_selector", "_token", "_waker")

    def __init__(self, registry: Registry, token: int) -> None:
        if not isinstance(registry, Registry):
            raise TypeError(f"registry must be a Poll's registry, not {registry!r}")
        self._token = Token(token)
        self._selector: Selector = registry._selector
        selector = self._selector
        self._waker = selector.ffi.new("waker *")
        selector.promise()
        code = self._open()
        self._tell("registered", -code)
        if code < 0:
            raise self._error(-code)

    def _tell(self, what: str, error: int = 0) -> None:
        log = self._selector.log
        if log:
            log.waker(what, self._token, error)
            self._selector._tell_remarks()

    def _open(self) -> int:
        """Opens it and has the Poll know, or closes it; returns what the contract does.

        In two functions: no memory is needed between the opening and the `try`; and CPython never
        leaves a handler far down in a function without memory: it wants an int for where it
        stands, and those up to 256 need none.
        """
        try:
            return self._make()
        except BaseException:  # no memory, or a signal's handler
            self.close()
            raise

    def _make(self) -> int:
        selector, waker = self._selector, self._waker
        code: int = selector.lib.waker_open(selector.handle, waker, self._token)
        gone, made = waker.gone, waker.made
        selector.forget(gone.index, gone.generation)
        selector.keep(made.index, made.generation, self, self._token)
        return code

    @property
    def token(self) -> Token:
        """The token of its events."""
        return self._token

    def wake(self) -> None:
        """Makes the Poll report this waker's token.

        Raises `ValueError` once the Poll is closed, `NotRegisteredError` once the waker is.
        """
        code = self._selector.lib.waker_wake(self._waker)
        if code < 0:
            raise self._error(-code)

    def close(self) -> None:
        """Ends its registration; doing so twice, or after the Poll's end, changes nothing."""
        if self._selector.lib.waker_close(self._waker) == 0:
            made = self._waker.made
            self._selector.forget(made.index, made.generation)
            self._tell("deregistered")

    def register(self, *_: object, **__: object) -> None:
        """Raises `TypeError`: a Waker registers itself, once, when it is made."""
        raise TypeError(f"{self!r} registered itself when it was made; make another Waker")

    reregister = register

    def deregister(self, registry: Registry) -> None:
        """Ends its registration; `registry.deregister(waker)` calls this.

        Raises `NotRegisteredError` where it is another Poll's or is not registered any more.
        """
        is_here = registry._selector is self._selector
        if not is_here or all(known.source is not self for known in registry):
            raise self._error(errno.ENOENT)
        self.close()

    def pause(self, registry: Registry) -> None:
        """Has its Poll report nothing of it until `resume`; `registry.pause(waker)` calls this.

        Raises `NotRegisteredError` where it is another Poll's or is not registered any more.
        """
        self._change(registry, self._selector.lib.waker_pause, "paused")

    def resume(self, registry: Registry) -> None:
        """Ends a pause: wakes meanwhile are one event; `registry.resume(waker)` calls this.

        Raises `NotRegisteredError` where it is another Poll's or is not registered any more.
        """
        self._change(registry, self._selector.lib.waker_resume, "resumed")

    def _change(self, registry: Registry, change: "Callable[[Any], int]", what: str) -> None:
        if registry._selector is not self._selector:
            raise self._error(errno.ENOENT)
        self._selector.promise()
        code = change(self._waker)
        made = self._waker.made
        self._selector.keep(0 if code else made.index, made.generation, self, self._token)
        self._tell(what, -code)
        if code < 0:
            raise self._error(-code)

    def _error(self, number: int) -> Exception:
        if number == errno.ENOENT:
            return NotRegisteredError(
                number, f"{self!r} is not registered with this Poll; make a new Waker"
            )
        return self._selector.failure(number, f"no waker for {self._token!r}")

    def __repr__(self) -> str:
        return f"<Waker {self._token!r}>"
