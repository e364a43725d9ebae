"""`Process`: the end of a process."""

import errno
import os
from typing import Protocol, SupportsIndex

from pollster._watch import Watch

__all__ = ["HasPid", "Process"]

_LARGEST_PID = 2**31 - 1


class HasPid(Protocol):
    """A process by its `pid`: `subprocess.Popen`, `multiprocessing.Process`."""

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        ...


class Process(Watch):
    """A source with one event: the process has ended.

    Parameters: `process`, a number, or an object with a `pid` such as `subprocess.Popen`; of any
    process, child or not, where the kernel allows it. `backend`, as of `Poll`.

    The event comes also where the process ended before it was registered, or before this was made
    while it is still to be waited for. The process is the one that has the number when this is
    made: one that gets the number later is never taken for it. Nothing is reaped: `Popen.wait()`
    and `os.waitpid()` go on working.

    Raises `ProcessLookupError` where there is no such process, or its object has waited for it;
    `PermissionError` where it may not be watched; `OSError` where the descriptor limit is reached
    or the kernel can't do it; `ValueError` for numbers that no process has.

    See: pidfd_open(2); kevent(2) EVFILT_PROC.

    >>> import subprocess, sys
    >>> from pollster import Interest, Poll, Process, Token
    >>> child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    >>> with Poll() as poll, Process(child) as process:
    ...     poll.registry.register(process, Token(1), Interest.READABLE)
    ...     list(poll.poll())
    ...     process.returncode, child.wait()
    [<Event Token(1) readable>]
    (3, 3)
    """

    __slots__ = ("_pid",)

    def __init__(self, process: int | HasPid, *, backend: str | None = None) -> None:
        self._pid = _pid_of(process)
        super().__init__(backend)
        if self._pid > _LARGEST_PID:
            raise self._not_opened(errno.ESRCH)
        self._open(self._lib.watch_process(self._pid))

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._pid

    @property
    def ended(self) -> bool:
        """Whether it has ended. Its event comes all the same.

        Raises `ValueError` once this is closed.
        """
        return self._look()[0]

    @property
    def returncode(self) -> int | None:
        """How it ended, as `subprocess` has it: its exit status, or the signal's number, negative.

        None while it runs, and where the kernel does not tell: of a process that is not a child, or
        of a child that somebody waited for first. Raises `ValueError` once this is closed.
        """
        status = self._look()[1]
        return None if status < 0 else os.waitstatus_to_exitcode(status)

    def _look(self) -> tuple[bool, int]:
        status = self._ffi.new("int *", -1)
        ended = self._checked(self._lib.watch_process_ended(self._watch, status))
        return bool(ended), status[0]

    def _not_opened(self, number: int) -> Exception:
        if number == errno.ESRCH:
            return ProcessLookupError(number, f"there is no process {self._pid}")
        if number == errno.ENOSYS:
            reason = "this kernel can't watch processes (Linux does from 5.3 on)"
            return OSError(number, f"{os.strerror(number)}: {reason}")
        return super()._not_opened(number)

    def __repr__(self) -> str:
        return f"<Process {self._pid}>"


def _pid_of(process: int | HasPid) -> int:
    known: object = process if isinstance(process, SupportsIndex) else _attribute_of(process)
    if isinstance(known, bool) or not isinstance(known, SupportsIndex):
        raise TypeError(
            f"process must be a pid or an object with one, such as a Popen; not {process!r}"
        )
    pid = known.__index__()
    if pid <= 0:
        raise ValueError(f"{pid} is no process's number: pid must be greater than 0")
    return pid


def _attribute_of(process: HasPid) -> object:
    """Returns its pid; the number of a child that was waited for may be another one's by now.

    A `multiprocessing.Process` knows that in its `_popen`: to ask for its `exitcode` would reap.
    """
    popen: object = getattr(process, "_popen", process)
    if getattr(popen, "returncode", None) is not None:
        raise ProcessLookupError(
            errno.ESRCH, f"{process!r} was waited for already: it has the return code"
        )
    return getattr(process, "pid", None)
