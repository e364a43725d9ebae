"""`Watch`: what `Signals`, `Process` and `PathWatch` have in common.

A watch is open from its making on, and then registered like any source. It is no descriptor of the
user's: the kernel's side of it is `watches.h`.
"""

import errno
import os

from pollster import backend as backends
from pollster._uncopied import Uncopied
from pollster.backend import _python
from pollster.errors import AlreadyRegisteredError, NotRegisteredError
from pollster.interest import Interest
from pollster.token import Token
from pollster.trigger import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from pollster.backend.selector import Selector
    from pollster.registry import Registry

__all__ = ["Watch"]

_REGISTER, _REREGISTER, _DEREGISTER, _PAUSE, _RESUME = range(5)  # as selector.h numbers them
_NO_TOKEN = Token(0)


class Watch(_python.Watch, Uncopied):
    """A source that happens outside of descriptors.

    It is registered with one Poll at a time, READABLE only. It has an event for each time that
    something happened, once, whatever the trigger; what nobody has asked for yet is reported again
    by `register` and `reregister`. In a `registry.batch()` it is registered at once.
    """

    __slots__ = ("__weakref__", "_backend", "_ffi", "_lib", "_place", "_watch")

    def __init__(self, backend: str | None) -> None:
        self._backend = backends.resolve(backend)
        self._place: tuple[Selector, int, int] | None = None  # where it is registered
        module = backends.load(self._backend)
        self._ffi: Any = module.ffi
        self._lib: Any = module.lib

    def _open(self, watch: "Any") -> None:
        """Keeps what was opened; raises where nothing was."""
        if not watch:
            raise self._not_opened(self._ffi.errno)
        module = backends.load(self._backend)
        self._own(backends.functions(module), backends.address(module, watch))
        self._watch = watch

    def _not_opened(self, number: int) -> Exception:
        """Returns the exception for an errno of opening it."""
        return OSError(number, f"{os.strerror(number)}: {self!r} can't be watched{_cure(number)}")

    def register(
        self, registry: "Registry", token: Token, interest: Interest, trigger: Trigger
    ) -> None:
        """Registers it; `registry.register(source, ...)` calls this.

        Raises `ValueError` for an interest other than READABLE and where the Poll has another back
        end, `AlreadyRegisteredError` where it is registered, with whichever Poll.
        """
        self._apply(registry, _REGISTER, token, interest, trigger)

    def reregister(
        self, registry: "Registry", token: Token, interest: Interest, trigger: Trigger | None
    ) -> None:
        """Replaces token and trigger; `registry.reregister(source, ...)` calls this.

        Raises `NotRegisteredError` where it is not registered with this Poll.
        """
        self._apply(registry, _REREGISTER, token, interest, trigger)

    def deregister(self, registry: "Registry") -> None:
        """Ends its registration; `registry.deregister(source)` calls this.

        It stays open and goes on noting what happens, until `close()`. Raises `NotRegisteredError`
        where it is not registered with this Poll.
        """
        self._apply(registry, _DEREGISTER)

    def pause(self, registry: "Registry") -> None:
        """Has its Poll report nothing of it until `resume`; it goes on noting what happens.

        `registry.pause(source)` calls this. Raises `NotRegisteredError` where it is not registered
        with this Poll.
        """
        self._apply(registry, _PAUSE)

    def resume(self, registry: "Registry") -> None:
        """Ends a pause: what happened and nobody has taken yet is told.

        `registry.resume(source)` calls this. Raises `NotRegisteredError` where it is not registered
        with this Poll.
        """
        self._apply(registry, _RESUME)

    def _apply(
        self,
        registry: "Registry",
        what: int,
        token: Token = _NO_TOKEN,
        interest: Interest = Interest.READABLE,
        trigger: Trigger | None = None,
    ) -> None:
        selector = registry._selector
        if interest is not Interest.READABLE:
            raise ValueError(f"{self!r} can only be READABLE, not {interest!r}")
        if selector.name != self._backend:
            raise ValueError(
                f"{self!r} was made for the back end {self._backend!r} and the Poll has "
                f"{selector.name!r}: pass backend={selector.name!r} to both"
            )
        change = self._ffi.new("change *")
        change.what, change.token = what, token
        change.trigger = how = self._lib.TRIGGER_KEEP if trigger is None else trigger.value
        selector.promise()
        code = self._change(selector, change)
        log = selector.log
        if log:
            log.changed(what, self, -1, change.token, 1, how, -code, change.gone.index > 0)
        if code == -errno.ESHUTDOWN:
            raise selector.failure(errno.ESHUTDOWN, "")
        if code:
            raise self._failure(-code)

    def _change(self, selector: "Selector", change: "Any") -> int:
        """Makes a change and has the Poll know, or undoes it; returns what the contract does.

        In two functions, as with a `Waker`: no memory is needed between the change and the `try`.
        """
        try:
            return self._make(selector, change)
        except BaseException:  # no memory, or a signal's handler
            known = self._place is not None and not self._place[0].closed
            if change.what == _REGISTER and not known:
                change.what = _DEREGISTER  # where it is not registered that changes nothing
                self._lib.watch_apply(self._watch, selector.handle, change)
            raise

    def _make(self, selector: "Selector", change: "Any") -> int:
        code: int = self._lib.watch_apply(self._watch, selector.handle, change)
        gone, made = change.gone, change.made
        place = (selector, made.index, made.generation) if made.index else None
        selector.forget(gone.index, gone.generation)
        selector.keep(made.index, made.generation, self, change.token)
        self._place = place
        return code

    def _failure(self, number: int) -> Exception:
        """Returns the exception for an errno of using it."""
        if number == errno.EBADF:
            return ValueError(f"{self!r} is closed: make another one")
        if number == errno.ECHILD:
            return RuntimeError(
                f"{self!r} or the Poll belongs to the process that forked this one: "
                "make others here"
            )
        if number == errno.EEXIST:
            return AlreadyRegisteredError(
                number, f"{self!r} is already registered with this Poll; use reregister()"
            )
        if number == errno.EBUSY:
            return AlreadyRegisteredError(
                errno.EEXIST,
                f"{self!r} is registered with another Poll; deregister it there first",
            )
        if number == errno.ENOENT:
            return NotRegisteredError(
                number, f"{self!r} is not registered with this Poll; use register() first"
            )
        return OSError(number, f"{os.strerror(number)}: {self!r} can't be changed")

    def _checked(self, code: int) -> int:
        """Returns a result of the contract; raises what a negative one means."""
        if code < 0:
            raise self._failure(-code)
        return code

    def close(self) -> None:
        """Deregisters it and gives back all that it took; closing twice changes nothing."""
        self._lib.watch_close(self._watch)
        place, self._place = self._place, None
        if place:
            selector, index, generation = place
            selector.forget(index, generation)  # it lets go of this
            log = selector.log
            if log and not selector.closed:
                log.say("deregistered %r, which is closed", self)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.close()


def _cure(number: int) -> str:
    if number in (errno.EMFILE, errno.ENFILE):
        return "; close some descriptors or raise the limit (ulimit -n)"
    return ""
