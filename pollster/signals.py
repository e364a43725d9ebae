"""`Signals`: signals that have come."""

import signal
from collections import Counter

from pollster._watch import Watch

__all__ = ["Signals"]

_NEVER_CAUGHT = {signal.SIGKILL, signal.SIGSTOP}
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


class Signals(Watch):
    """A source with an event when one of some signals comes; `take()` says which, and how many.

    Parameters: `signals`, such as `signal.SIGTERM`; real-time signals by their number. `backend`,
    as of `Poll`.

    From its making to `close()`, the default action of these signals does not happen: a SIGTERM
    does not end the process, a SIGTSTP does not stop it. A handler that the program has installed,
    with `signal.signal()` or in C, goes on being called, and `signal.set_wakeup_fd()` told; a
    signal that it ignores is counted and ignored. No thread's signal mask is changed. It may be
    made in any thread. `close()` puts back what was there, and no signal from before it ends the
    process then: one that no thread has received yet is dropped where the default action would
    follow. A forked child has what was there from the beginning.

    Raises `ValueError` for what is no signal, for SIGKILL and SIGSTOP, which nobody can catch, and
    for SIGSEGV, SIGBUS, SIGFPE and SIGILL, which the program can't go on after; `OSError` where the
    descriptor limit is reached.

    See: sigaction(2), eventfd(2); kevent(2) EVFILT_SIGNAL.

    >>> import os, signal
    >>> from pollster import Interest, Poll, Signals, Token
    >>> with Poll() as poll, Signals(signal.SIGTERM, signal.SIGHUP) as signals:
    ...     poll.registry.register(signals, Token(1), Interest.READABLE)
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     list(poll.poll())
    ...     signals.take()
    [<Event Token(1) readable>]
    Counter({<Signals.SIGTERM: 15>: 1})
    """

    __slots__ = ("_numbers",)

    def __init__(self, *signals: int, backend: str | None = None) -> None:
        if not signals:
            raise ValueError("name the signals to watch, such as Signals(signal.SIGTERM)")
        self._numbers = sorted({_number_of(number) for number in signals})
        super().__init__(backend)
        self._open(self._lib.watch_signals(self._numbers, len(self._numbers)))

    @property
    def signals(self) -> frozenset[int]:
        """The signals that are watched."""
        return frozenset(map(_named, self._numbers))

    def take(self) -> "Counter[int]":
        """Returns how often each signal has come since this was last asked; none has a zero.

        The kernel may make one of several of the same number, but for real-time signals. Raises
        `ValueError` once this is closed.
        """
        counts = self._ffi.new("uint32_t[]", self._lib.SIGNAL_MAX + 1)
        self._checked(self._lib.watch_take_signals(self._watch, counts))
        return Counter(
            {_named(number): counts[number] for number in self._numbers if counts[number]}
        )

    def __repr__(self) -> str:
        return f"<Signals {', '.join(map(_name, self._numbers))}>"


def _number_of(number: int) -> int:
    if isinstance(number, bool) or not hasattr(type(number), "__index__"):
        raise TypeError(f"a signal is a number such as signal.SIGTERM, not {number!r}")
    number = number.__index__()
    if number not in signal.valid_signals():
        raise ValueError(f"{number} is no signal of this system: see signal.valid_signals()")
    if number in _NEVER_CAUGHT:
        raise ValueError(f"{_name(number)} can't be watched: no program can catch it")
    if number in _FAULTS:
        raise ValueError(f"{_name(number)} can't be watched: the program can't go on after it")
    return number


def _named(number: int) -> int:
    """Returns the member of `signal.Signals`; most real-time signals are none."""
    try:
        return signal.Signals(number)
    except ValueError:
        return number


def _name(number: int) -> str:
    return getattr(_named(number), "name", str(number))
