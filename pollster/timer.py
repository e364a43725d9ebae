"""`Timer`: deadlines, as sources. How a Poll keeps thousands of them is the back end's."""

import errno

# What C imports: by a plain statement, which programs that pack others look for.
from pollster import _timeout  # noqa: F401  # pyright: ignore[reportUnusedImport]
from pollster._uncopied import Uncopied
from pollster.backend import _python
from pollster.backend.selector import Selector
from pollster.errors import AlreadyRegisteredError, NotRegisteredError, done
from pollster.interest import Interest
from pollster.registry import Registry
from pollster.token import Token
from pollster.trigger import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import final
else:

    def final(kind: type) -> type:
        return kind


__all__ = ["Timer"]

_BEYOND = (1 << 63) - 2  # as timers.c has it


@final
class Timer(_python.Timer, Uncopied):
    """A source that is readable when a time has come: once, or again and again.

    Made by `Timer.after(seconds)`, `Timer.every(seconds)` or `Timer.at(deadline)`; `Timer()` is not
    set. Its time counts from there on, registered or not. It is registered for `READABLE`, with one
    Poll at a time, and stays so after it has expired: set it anew, or deregister or `close()` it.
    The Poll keeps it alive until then. One that was made with `once=True` is for a single use: when
    a poll has reported it, it is registered no more, and the Poll lets go of it.

    Each expiration is reported once, whatever the trigger, and never early; what nobody polled for
    meanwhile is one event. All timers of a Poll together take at most one of the kernel's, and no
    system call while no other thread waits and nobody has the Poll's `fileno()`. It may be used
    from any thread.

    See: epoll_pwait2(2), timerfd_create(2); kevent(2) EVFILT_TIMER.

    >>> from pollster import Interest, Poll, Timer, Token
    >>> with Poll() as poll:
    ...     poll.registry.register(Timer.after(0.2), Token(2), Interest.READABLE)
    ...     poll.registry.register(Timer.after(0.001), Token(1), Interest.READABLE)
    ...     tokens = []
    ...     while len(tokens) < 2:
    ...         tokens += [event.token for event in poll.poll()]
    >>> tokens
    [Token(1), Token(2)]
    """

    __slots__ = ()

    def register(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger
    ) -> None:
        """Registers it, as `registry.register(timer, ...)` does.

        Raises `AlreadyRegisteredError` where this Poll or another one that is open has it;
        `ValueError` for another interest than READABLE and a closed Poll; `OSError` where the
        Poll has no room, or no descriptor left for its timer.
        """
        _check(self, registry, interest)
        registry.register(self, token, interest, trigger)

    def reregister(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger | None
    ) -> None:
        """Gives it another token; what it is set to stays.

        Raises `NotRegisteredError` where this Poll does not have it, and as `register` does.
        """
        _check(self, registry, interest)
        registry.reregister(self, token, interest, trigger)

    def deregister(self, registry: Registry) -> None:
        """Ends its registration; what it is set to stays, and counts when it is registered again.

        Raises `NotRegisteredError` where this Poll does not have it.
        """
        _check(self, registry)
        registry.deregister(self)

    def pause(self, registry: Registry) -> None:
        """Holds it: its time goes on, and what is due meanwhile is told after `resume`.

        `registry.pause(timer)` does this. Raises `NotRegisteredError` where this Poll does not have
        it.
        """
        _check(self, registry)
        registry.pause(self)

    def resume(self, registry: Registry) -> None:
        """Ends a pause. Raises `NotRegisteredError` where this Poll does not have it."""
        _check(self, registry)
        registry.resume(self)

    def _refused(self, selector: Selector, number: int, change: str) -> Exception:
        """Returns what an errno of a change means; `errors.failure` calls it."""
        if number == errno.ECHILD:
            return RuntimeError(
                f"{self!r} or the Poll belongs to the process that forked this one: "
                "make another one here"
            )
        if number == errno.EEXIST:
            views = [selector.view(index) for index, it in selector.registered() if it is self]
            where = f"with {Token(views[0].token)!r}" if views and views[0] else "with another Poll"
            return AlreadyRegisteredError(
                errno.EEXIST, f"{self!r} is already registered {where}; deregister it first"
            )
        if number == errno.ENOENT:
            return NotRegisteredError(errno.ENOENT, f"{self!r} is not registered with this Poll")
        if number == errno.ENOSPC:
            return OSError(number, f"{self!r} can't be {done(change)}: {_full(selector)}")
        return selector.failure(number, f"{self!r} can't be {done(change)}")

    def __repr__(self) -> str:
        deadline, period = self._setting()
        if deadline is None:
            return "<Timer, not set>"
        if deadline == _BEYOND:
            return "<Timer at a time beyond the clock>"
        every = f", every {period / 1e9} s" if period else ""
        return f"<Timer at {deadline / 1e9}{every}>"


def _check(timer: Timer, registry: object, interest: Interest = Interest.READABLE) -> None:
    if not isinstance(registry, Registry):
        raise TypeError(
            f"{timer!r} can't be registered with {registry!r}, which is no Registry of the "
            "pollster that made the timer: it was imported twice"
        )
    if interest is not Interest.READABLE:
        raise ValueError(f"{timer!r} can only be READABLE, not {interest!r}")


def _full(selector: Selector) -> str:
    """Says what the registrations are that no further one has room beside."""
    sources = [source for _, source in selector.registered()]
    over = sum(isinstance(source, Timer) and source._setting()[0] is None for source in sources)
    return (
        f"the Poll has {len(sources):,} registrations, the limit; {over:,} of them are timers that "
        "have expired or were cancelled: close() them, or make them with once=True"
    )
