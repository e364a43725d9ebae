"""`Registry`: which sources a Poll watches, under which Token, for what.

All registering goes through here, and so do its errors. It does not wait and knows no kernel.
"""

import errno
from collections import namedtuple
from enum import Enum

from pollster._descriptors import ReadableOnly, descriptor_of
from pollster._elsewhere import Elsewhere
from pollster._uncopied import Uncopied
from pollster.backend import _python
from pollster.backend._python import in_c
from pollster.backend.selector import Selector
from pollster.errors import BatchError, NotRegisteredError, done, failure
from pollster.interest import Interest, interests
from pollster.token import Token
from pollster.trigger import Trigger, triggers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, NamedTuple, NoReturn, Self

    from pollster.source import SourceLike

__all__ = ["Batch", "Registration", "Registry"]

_READABLE = Interest.READABLE
_LEVEL = Trigger.LEVEL
CHANGES = ("register", "reregister", "deregister", "pause", "resume")  # as selector.h numbers them
REGISTER, REREGISTER, DEREGISTER, PAUSE, RESUME = range(5)


if TYPE_CHECKING:

    class _Fields(NamedTuple):
        source: Any
        token: Token
        interest: Interest
        trigger: Trigger
else:
    _Fields = namedtuple("_Fields", "source token interest trigger")  # noqa: PYI024


class Registration(_Fields):
    """What is registered: see iteration over `Registry`.

    A tuple of `source`, `token`, `interest` and `trigger`. Two more say how it is at the moment and
    are no part of the tuple. `armed`: what comes is told, without a further call; False for a
    one-shot that has reported and waits for `reregister` or `resume`, and while it is paused.
    `paused`: whether `pause` has to do with that.

    >>> import os
    >>> from pollster import Interest, Poll, Token, Trigger
    >>> reader, writer = os.pipe()
    >>> with Poll() as poll:
    ...     poll.registry.register(writer, Token(1), Interest.WRITABLE, Trigger.ONESHOT)
    ...     poll.registry.find(writer).armed, len(poll.poll()), poll.registry.find(writer).armed
    (True, 1, False)
    >>> os.close(reader), os.close(writer)
    (None, None)
    """

    paused: bool
    armed: bool

    def __new__(
        cls,
        source: "Any",
        token: Token,
        interest: Interest,
        trigger: Trigger,
        paused: bool = False,
        armed: bool = True,
    ) -> "Self":
        """Makes one; a program gets them by iteration."""
        made = super().__new__(cls, source, token, interest, trigger)
        made.paused = paused
        made.armed = armed and not paused
        return made

    def __repr__(self) -> str:
        state = ", paused" if self.paused else "" if self.armed else ", disarmed"
        return f"{super().__repr__()}{state}"


class Registry(_python.Registry, Uncopied):
    """Registers sources with the Poll that it belongs to; `Poll.registry` is the only way to one.

    Its methods may be called from any thread while others poll: a waiting poll sees the effect.

    Iteration gives what is registered now, as `Registration(source, token, interest, trigger)`;
    `len` says how many, and `in` whether a source is. All are for people who debug.

    >>> import socket
    >>> from pollster import Interest, Poll, Token
    >>> ours, peer = socket.socketpair()
    >>> with Poll() as poll:
    ...     poll.registry.register(ours, Token(1), Interest.READABLE)
    ...     [(r.token, r.interest) for r in poll.registry]
    [(Token(1), <Interest.READABLE: 1>)]
    >>> ours.close(), peer.close()
    (None, None)
    """

    __slots__ = ("_selector",)

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._begin(selector, False)

    @in_c
    def register(
        self,
        source: "SourceLike",
        token: int,
        interest: Interest,
        trigger: Trigger = _LEVEL,
    ) -> None:
        """Starts to watch a source.

        Parameters: `source`, an object with `fileno()`, a descriptor, or a `Source`; `token`, comes
        back with its events, 0 to 2**64 - 1; `interest`, what to wait for; `trigger`, when to
        report. The source is kept alive until it is deregistered.

        Raises `AlreadyRegisteredError` where this Poll has the source; `PermissionError` for
        regular files and directories, which are always ready; `OSError` where the descriptor is not
        open, the kernel's limits are reached or it can't watch this; `TypeError` and `ValueError`
        for bad arguments and a closed Poll. After an error nothing has changed.

        See: epoll_ctl(2) EPOLL_CTL_ADD; kevent(2) EV_ADD.

        >>> import os
        >>> from pollster import Interest, Poll, Token, Trigger
        >>> reader, writer = os.pipe()
        >>> with Poll() as poll:
        ...     poll.registry.register(reader, Token(1), Interest.READABLE, Trigger.EDGE)
        >>> os.close(reader), os.close(writer)
        (None, None)
        """
        self._look_closer(REGISTER, source, token, interest, trigger)

    @in_c
    def reregister(
        self,
        source: "SourceLike",
        token: int,
        interest: Interest,
        trigger: Trigger | None = None,
    ) -> None:
        """Replaces a source's token, interest and trigger, and arms it again.

        Parameters as of `register`; without a trigger, or with None, it keeps the one that it has.
        What is ready now is reported again, also with `EDGE`. A source that is paused is so no
        longer.

        Raises `NotRegisteredError` where this Poll does not have the source, also where its
        descriptor's number is another file's by now; else as `register` does.

        See: epoll_ctl(2) EPOLL_CTL_MOD; kevent(2) EV_ENABLE.

        >>> import os
        >>> from pollster import Interest, Poll, Token, Trigger
        >>> reader, writer = os.pipe()
        >>> with Poll() as poll:
        ...     poll.registry.register(writer, Token(1), Interest.WRITABLE, Trigger.ONESHOT)
        ...     len(poll.poll(timeout=0)), len(poll.poll(timeout=0))
        ...     poll.registry.reregister(writer, Token(1), Interest.WRITABLE)
        ...     len(poll.poll(timeout=0)), len(poll.poll(timeout=0))
        (1, 0)
        (1, 0)
        >>> os.close(reader), os.close(writer)
        (None, None)
        """
        self._look_closer(REREGISTER, source, token, interest, trigger)

    @in_c
    def deregister(self, source: "SourceLike") -> None:
        """Stops watching a source: once this returns, none of its events is delivered.

        Deregister before closing. A source that was closed first can still be deregistered.

        Raises `NotRegisteredError` where this Poll does not have the source; `TypeError` for what
        is no source; `ValueError` for a closed Poll.

        See: epoll_ctl(2) EPOLL_CTL_DEL; kevent(2) EV_DELETE.

        >>> import os
        >>> from pollster import Interest, Poll, Token
        >>> reader, writer = os.pipe()
        >>> with Poll() as poll:
        ...     poll.registry.register(writer, Token(1), Interest.WRITABLE)
        ...     events = poll.poll(timeout=0)
        ...     poll.registry.deregister(writer)
        ...     list(events)
        []
        >>> os.close(reader), os.close(writer)
        (None, None)
        """
        self._look_closer(DEREGISTER, source)

    @in_c
    def pause(self, source: "SourceLike") -> None:
        """Reports nothing of a source any more, until `resume`: for back-pressure.

        It stays registered, with its token, interest and trigger. Once this returns none of its
        events is delivered, also not from the rest of a batch; no poll wakes for it, nor one of a
        Poll around this one. What happens meanwhile, a hang-up too, is told after `resume`. To
        pause what is paused changes nothing.

        Raises `NotRegisteredError` where this Poll does not have the source, also where its
        descriptor's number is another file's by now; `OSError` where its descriptor is closed;
        `TypeError` for what is no source and for one of its own methods without a `pause`;
        `ValueError` for a closed Poll.

        See: kevent(2) EV_DISABLE. epoll(7) has no such call: there a source that is paused is
        moved to another epoll, which takes a descriptor.

        >>> import os
        >>> from pollster import Interest, Poll, Token
        >>> reader, writer = os.pipe()
        >>> with Poll() as poll:
        ...     poll.registry.register(writer, Token(1), Interest.WRITABLE)
        ...     poll.registry.pause(writer)
        ...     len(poll.poll(timeout=0)), [r.paused for r in poll.registry]
        ...     poll.registry.resume(writer)
        ...     list(poll.poll(timeout=0))
        (0, [True])
        [<Event Token(1) writable>]
        >>> os.close(reader), os.close(writer)
        (None, None)
        """
        self._look_closer(PAUSE, source)

    @in_c
    def resume(self, source: "SourceLike") -> None:
        """Arms a source again as it was registered, after `pause` or the event of a one-shot.

        What is ready now is reported, also with `EDGE`, as after `reregister`.

        Raises what `pause` raises, and as it `OSError` where the kernel's limits are reached; the
        source is still paused then.

        See: epoll_ctl(2) EPOLL_CTL_ADD; kevent(2) EV_ENABLE.

        >>> import os
        >>> from pollster import Interest, Poll, Token, Trigger
        >>> reader, writer = os.pipe()
        >>> with Poll() as poll:
        ...     poll.registry.register(writer, Token(1), Interest.WRITABLE, Trigger.ONESHOT)
        ...     len(poll.poll(timeout=0)), len(poll.poll(timeout=0))
        ...     poll.registry.resume(writer)
        ...     len(poll.poll(timeout=0)), len(poll.poll(timeout=0))
        (1, 0)
        (1, 0)
        >>> os.close(reader), os.close(writer)
        (None, None)
        """
        self._look_closer(RESUME, source)

    def batch(self) -> "Batch":
        """Returns a `Batch`: changes that are made together, in few system calls.

        >>> import os
        >>> from pollster import Interest, Poll, Token
        >>> pipes = [os.pipe() for _ in range(100)]
        >>> with Poll() as poll:
        ...     with poll.registry.batch() as changes:
        ...         for number, (_, writer) in enumerate(pipes):
        ...             changes.register(writer, Token(number), Interest.WRITABLE)
        ...     len(poll.poll(timeout=0))
        100
        >>> for end in sum(pipes, ()):
        ...     os.close(end)
        """
        return Batch(self._selector)

    def __iter__(self) -> "Iterator[Registration]":
        self._selector.check()
        found = [self._registration(*each) for each in self._selector.registered()]
        return iter([one for one in found if one])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True  # `registry or another` asks for None, not for how many it has

    def __contains__(self, source: "SourceLike") -> bool:
        return self.find(source) is not None

    def find(self, source: "SourceLike") -> Registration | None:
        """Returns the registration of a source, or None; `source in registry` asks the same.

        It is found by its descriptor, as `deregister` does, and where it has none as the object
        that it is. An object that registers others is not there itself, but these are. The kernel
        is not asked: a source that was closed is found until its end is noticed. Raises `TypeError`
        for what is no source; a Token is none.

        >>> import os
        >>> from pollster import Interest, Poll, Timer, Token
        >>> reader, writer = os.pipe()
        >>> with Poll() as poll:
        ...     poll.registry.register(reader, Token(1), Interest.READABLE)
        ...     reader in poll.registry, writer in poll.registry, Timer() in poll.registry
        ...     poll.registry.find(reader).token
        (True, False, False)
        Token(1)
        >>> os.close(reader), os.close(writer)
        (None, None)
        """
        self._selector.check()
        if isinstance(source, Token):
            raise TypeError(f"{source!r} is no source: ask for what was registered with it")
        fd = descriptor_of(source)
        index = self._selector.find(fd) if fd is not None and fd >= 0 else None
        for place, registered in self._selector.registered():
            if registered is source if index is None else place == index:
                return self._registration(place, registered)
        return None

    def _registration(self, index: int, source: object) -> Registration | None:
        """Returns what is registered at an index; None where it has just ended."""
        view = self._selector.view(index)
        if not view:
            return None
        kinds = Interest(view.interest), Trigger(view.trigger)
        return Registration(
            source, Token(view.token), *kinds, paused=bool(view.paused), armed=bool(view.armed)
        )

    if not TYPE_CHECKING:  # as other libraries call it
        modify = Elsewhere("a Registry has no modify(): use reregister()")
        unregister = Elsewhere("a Registry has no unregister(): use deregister()")
        poll = Elsewhere("a Registry has no poll(): use that of its Poll")

    def __repr__(self) -> str:
        selector = self._selector
        fd = selector.lib.selector_fd(selector.handle)
        if fd < 0:
            state = "closed" if selector.closed else "of another process"
        else:
            state = f"fd {fd}, {len(self):,} registered"
        return f"<{type(self).__name__} of a Poll: {selector.name}, {state}>"

    def _look_closer(self, what: int, source: "SourceLike", *how: "Any") -> None:
        """Makes a change whose arguments are not the plain ones, or says what is wrong with them.

        Parameters: `how`, token, interest and trigger; nothing but for REGISTER and REREGISTER.
        """
        self._check()
        if how:
            how = _fit(what, *how)
        try:
            fd = descriptor_of(source)
        except Exception:  # each library says in its own way that it is closed
            if what != DEREGISTER or self._registered_as(source) is None:
                raise
            fd = -1
        if fd is None:
            _own_method(source, CHANGES[what])(self, *how)
            return
        if fd < 0:
            fd = self._descriptor_before(source, what)
        if how and how[1] is not _READABLE and isinstance(source, ReadableOnly):
            raise ValueError(f"{source!r} can only be READABLE, not {how[1]!r}")
        number = self._change(what, fd, source, *how)
        if number < 0:
            raise ValueError(f"{source!r} is no descriptor: {fd} is out of range")
        if number:
            self._refuse(number, source, fd, what)

    def _refuse(self, number: int, source: "SourceLike", fd: int, what: int) -> "NoReturn":
        """Raises what an errno means; backend/python/methods.c calls it, too."""
        raise failure(self._selector, number, source, fd, CHANGES[what])

    def _descriptor_before(self, source: object, what: int) -> int:
        """Returns the descriptor under which a closed source was registered, to deregister it."""
        if issubclass(type(source), int):
            raise ValueError(f"fd {source} is negative: pass an open descriptor")
        if what != DEREGISTER:
            raise ValueError(f"{source!r} is closed: {CHANGES[what]} it while it is open")
        fd = self._registered_as(source)
        if fd is None:
            raise NotRegisteredError(
                errno.ENOENT, f"{source!r} is closed and was not registered with this Poll"
            )
        return fd

    def _registered_as(self, source: object) -> int | None:
        """Returns the descriptor under which this very object is registered, or None."""
        for index, registered in self._selector.registered():
            view = self._selector.view(index) if registered is source else None
            if view:
                return int(view.fd)
        return None


class Batch(Registry):
    """A Registry whose changes are made when its `with` block ends, all in one go.

    With kqueue that is one system call; with epoll one call of C code, which makes those of each.
    They are made in their order, each as if alone. What is wrong with their arguments is raised at
    once; an error that ends the block drops them all. The kernel's errors come in a `BatchError`
    when all has been tried. Iteration gives what is registered already.

    Outside of its block a change raises `RuntimeError`: it would never be made. A batch that is
    let go with its block still open and changes in it is a `ResourceWarning`.

    See: kevent(2), EV_RECEIPT.

    >>> from pollster import Interest, Poll, Token, Waker
    >>> import socket
    >>> ours, peer = socket.socketpair()
    >>> with Poll() as poll, ours, peer:
    ...     with poll.registry.batch() as changes:
    ...         changes.register(ours, Token(1), Interest.READABLE)
    ...         changes.register(peer, Token(2), Interest.WRITABLE)
    ...     list(poll.poll(timeout=0))
    [<Event Token(2) writable>]
    """

    __slots__ = ()

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._begin(selector, True)

    def __enter__(self) -> "Self":
        self._selector.check()
        if not self._gather():
            raise RuntimeError(f"{self!r} is open already: make another one for another block")
        return self

    def batch(self) -> "NoReturn":
        """Raises `RuntimeError`: a batch in a batch would make its changes before this one."""
        raise RuntimeError(
            "a batch in a batch would make its changes before those around it: "
            "pass this one on, or make another after its block"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        if error is not None:
            self._drop()
            return
        failed = [
            (source, failure(self._selector, number, source, fd, CHANGES[what]))
            for what, number, source, fd in self._apply()
        ]
        if failed:
            raise BatchError(failed)

    def __del__(self) -> None:
        if dropped := self._drop():
            changes = "1 change" if dropped == 1 else f"{dropped:,} changes"
            import warnings

            warnings.warn(
                f"a batch was let go before its block ended: {changes} will not be made",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


def _fit(
    what: int, token: int, interest: "Any", trigger: "Any"
) -> tuple[Token, Interest, Trigger | None]:
    """Returns them as the contract wants them; raises what is wrong with any of them."""
    if not _is_in(interests, interest):
        raise TypeError(
            f"interest must be an Interest, such as Interest.READABLE; not {_shown(interest)}"
        )
    if not interest:
        raise ValueError("interest is empty: name READABLE, WRITABLE or PRIORITY, or deregister()")
    if not _is_in(triggers, trigger) and (trigger is not None or what != REREGISTER):
        raise TypeError(f"trigger must be a Trigger, such as Trigger.EDGE; not {_shown(trigger)}")
    if not hasattr(type(token), "__index__"):
        raise TypeError(f"token must be a Token or an integer, not {token!r}")
    return Token(token), interest, trigger


def _is_in(known: tuple[object, ...], one: object) -> bool:
    """Whether it is one of them; what was made past their class is like one, and none."""
    for another in known:  # noqa: SIM110  # a generator needs memory, which may be what lacks
        if one is another:
            return True
    return False


def _shown(argument: object) -> str:
    if _is_in(triggers, argument):
        return f"{argument}: the trigger is the fourth argument"
    if _is_in(interests, argument):
        return f"{argument}: the interest is the third argument"
    return object.__repr__(argument) if isinstance(argument, Enum) else repr(argument)


def _own_method(source: object, name: str) -> "Callable[..., None]":
    """Returns the method of a source that registers itself; a Registry only looks like one."""
    if isinstance(source, Registry):
        raise TypeError(f"{source!r} is no source: register its Poll")
    method: Callable[..., None] | None = getattr(source, name, None)
    if method is None:
        raise TypeError(f"{source!r} can't be {done(name)}: it has no {name}() of its own")
    return method
