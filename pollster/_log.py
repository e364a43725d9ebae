"""`Log`: what a Poll tells the channel `pollster` of `logging`, at DEBUG.

Imported only where somebody asks for it. The handlers that it calls are the program's: they may do
anything, fail, or use the very Poll that tells them something.
"""

import errno
import logging
import os
import sys
import traceback
from _thread import get_ident
from itertools import count

from pollster.backend import _python
from pollster.interest import Interest
from pollster.token import Token
from pollster.trigger import Trigger

__all__ = ["Log"]

_KEEP = 4  # as selector.h has them
_REGISTER, _REREGISTER = 0, 1
_INTERESTS = 7
_FAILED = ("register", "reregister", "deregister", "pause", "resume")
_DONE = ("registered", "reregistered", "deregistered", "paused", "resumed")
_REMARKS = (
    "a ghost: fd %(fd)d, %(token)r, was closed and went on reporting; it is left behind",
    "this kernel has no epoll_pwait2 for us: timeouts are rounded up to milliseconds",
    "no descriptor to park fd %(fd)d, %(token)r, while it is paused: a hang-up ends one wait",
    "this kernel has no (more) EVFILT_USER: a pipe stands in for it",
    "and %(fd)d more that there was no room to note: see Poll.stats()",
)

_WHY = {errno.ESHUTDOWN: "the Poll is closed", errno.ECHILD: "it is a forked parent's"}
_CALLERS = 4  # the program is behind so many functions of this module

_channel = logging.getLogger("pollster")
_numbers = count(1)


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]  # not generic at run time
    """Shows what was asked for where the program has no handlers."""

    def handle(self, record: logging.LogRecord) -> bool:
        return not logging.root.handlers and bool(super().handle(record))


class Log:
    """Where one Poll tells what it does, under a name of its own.

    Parameters: `backend`, its name; `is_asked_for`: by this program or its user, so that it is to
    be seen, whatever the level of the channel is.
    """

    __slots__ = ("_here", "_is_asked_for", "name")

    def __init__(self, backend: str, is_asked_for: bool) -> None:
        self.name = f"Poll {next(_numbers)} ({backend})"
        self._here: set[int] = set()  # the threads that tell something
        self._is_asked_for = is_asked_for
        if is_asked_for and not _channel.hasHandlers():
            _channel.addHandler(_Stderr())

    def say(self, text: str, *arguments: object) -> None:
        """Tells it: of a thread that tells something already nothing, or that would never end."""
        thread = get_ident()
        if thread in self._here:
            return
        self._here.add(thread)
        try:
            self._tell(f"{self.name}: {text}", arguments)
        except KeyboardInterrupt:
            raise
        except BaseException:
            if logging.raiseExceptions and sys.stderr:
                traceback.print_exc()
        finally:
            self._here.discard(thread)

    def _tell(self, text: str, arguments: tuple[object, ...]) -> None:
        if not self._is_asked_for and not _channel.isEnabledFor(logging.DEBUG):
            return
        file, line, function, _ = _channel.findCaller(stacklevel=_CALLERS)
        record = _channel.makeRecord(
            _channel.name, logging.DEBUG, file, line, text, arguments, None, function
        )
        _channel.handle(record)

    def opened(self) -> None:
        """It was opened."""
        self.say("opened")

    def closed(self, forked: bool) -> None:
        """It was closed: `forked`, a child's copy."""
        self.say("closed%s", ", in a forked child" if forked else "")

    def changed(
        self,
        what: int,
        source: object,
        fd: int,
        token: int,
        interest: int,
        trigger: int,
        error: int,
        dropped: bool,
    ) -> None:
        """A change was made, or refused."""
        name = _name(source, fd)
        if dropped and what == _REGISTER:
            self.say("fd %d was closed and is another file: what was registered is dropped", fd)
        if error:
            why = _WHY.get(error) or os.strerror(error)
            self.say("could not %s %s: %s", _FAILED[what], name, why)
        elif what in (_REGISTER, _REREGISTER):
            waits = Interest(interest & _INTERESTS).name
            how = "as before" if trigger == _KEEP else Trigger(trigger).name
            self.say("%s %s, %r, %s, %s", _DONE[what], name, Token(token), waits, how)
        else:
            self.say("%s %s, %r", _DONE[what], name, Token(token))

    def waker(self, what: str, token: Token, error: int) -> None:
        """A waker was registered, deregistered, paused or resumed, or was not."""
        if error:
            why = _WHY.get(error) or os.strerror(error)
            self.say("a Waker, %r, could not be %s: %s", token, what, why)
        else:
            self.say("%s a Waker, %r", what, token)

    def spent(self, token: int) -> None:
        """A timer for a single use was reported."""
        self.say("a timer with once=True, %r, is reported and registered no more", Token(token))

    def remarked(self, what: int, fd: int, token: int) -> None:
        """The selector came upon something."""
        self.say(_REMARKS[what] % {"fd": fd, "token": Token(token)})


def _name(source: object, fd: int) -> str:
    """Names a source without a call of its own code."""
    if isinstance(source, (_python.Timer, _python.Watch)):
        return repr(source)
    if isinstance(source, (int, tuple)):  # a descriptor; a key of PollsterSelector
        return f"fd {fd}"
    return f"fd {fd} ({type(source).__name__})"
