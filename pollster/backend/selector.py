"""One open selector and the tables that Python keeps for it.

`selector.h` numbers registrations and (registration, readiness) pairs; here stand the objects that
those numbers mean: `sources[index]` and `table[known]`. `Poll`, `Registry`, `Events` and `Waker`
are the four faces of this one object. It does not know what its users are called.
"""

import contextlib
import errno
import os
from threading import RLock
from typing import Any
from weakref import WeakSet

from pollster import backend
from pollster.event import Event
from pollster.raw import RawEvent
from pollster.token import Token

__all__ = ["Selector"]


class Selector:
    """A kernel queue, open until `close` or until nobody holds it.

    Parameters: `name`, the back end. Raises `OSError` where the kernel gives no queue.
    """

    __slots__ = (
        "__weakref__",
        "ffi",
        "handle",
        "lib",
        "lock",
        "name",
        "sources",
        "table",
    )

    def __init__(self, name: str) -> None:
        module = backend.load(name)
        self.name = name
        self.ffi: Any = module.ffi
        self.lib: Any = module.lib
        handle = self.lib.selector_open()
        if not handle:
            number = self.ffi.errno
            reason = f"no {name} queue could be opened{_cure(number)}"
            raise OSError(number, f"{os.strerror(number)}: {reason}")
        self.handle = self.ffi.gc(handle, self.lib.selector_free)
        # Guards the tables against each other's change; no system call waits under it. Re-entrant,
        # since a signal handler or a finalizer may come here in the middle of a change.
        self.lock = RLock()
        self.sources: list[Any] = [None]
        self.table: list[Event | None] = [None]
        _open.add(self)

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
        code = self.lib.selector_close(self.handle)
        if code < 0:
            raise OSError(
                -code,
                f"{os.strerror(-code)}: the polls that wait could not be ended; "
                "free a descriptor and close again",
            )
        with self.lock:
            self.sources.clear()

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

    def place(self, index: int, source: object) -> None:
        """Notes what is registered at an index. Call it with the lock held."""
        missing = index + 1 - len(self.sources)
        if missing > 0:
            self.sources.extend([None] * (missing + index // 8))
        # A slice: a signal handler that closes everything may have emptied the list again.
        self.sources[index : index + 1] = [source]

    def forget(self, index: int) -> None:
        """Drops what was registered at an index. Lock held.

        A signal handler may have closed everything in the middle of a change: then it is gone.
        """
        with contextlib.suppress(IndexError):
            self.sources[index] = None

    def forget_retired(self) -> None:
        """Drops what the C side has retired: no batch yields it any more. Lock held."""
        while gone := self.lib.selector_retired(self.handle):
            if gone > 0:
                if gone < len(self.table):
                    self.table[gone] = None
            else:
                self.forget(-gone)

    def learn_misses(self, batch: Any) -> None:
        """Makes the Events of pairs that a wait has met for the first time."""
        lib, table = self.lib, self.table
        with self.lock:
            for miss in self.ffi.unpack(batch.misses, batch.missed):
                known: int = miss.known
                if known >= len(table):
                    table.extend([None] * (known + 1 - len(table)))
                # Deregistered meanwhile by another thread: it stays blank.
                if lib.selector_is_known(self.handle, known, miss.serial):
                    table[known] = self._event(miss.token, miss.readiness)
                    lib.selector_learned(self.handle, known)

    def _event(self, token: int, readiness: int) -> Event:
        lib = self.lib
        return Event(
            Token(token),
            is_readable=bool(readiness & lib.READY_READABLE),
            is_writable=bool(readiness & lib.READY_WRITABLE),
            is_priority=bool(readiness & lib.READY_PRIORITY),
            is_read_closed=bool(readiness & lib.READY_READ_CLOSED),
            is_write_closed=bool(readiness & lib.READY_WRITE_CLOSED),
            is_error=bool(readiness & lib.READY_ERROR),
        )

    def raw(self, batch: Any) -> tuple[RawEvent, ...]:
        """Returns the kernel's entries of a batch's last wait."""
        room = 8
        fields = self.ffi.new("raw_field[]", room)
        entries: list[RawEvent] = []
        for i in range(batch.taken):
            count = self.lib.selector_raw(batch, i, fields, room)
            text = self.ffi.string
            names = [text(fields[f].name).decode() for f in range(count)]
            entries.append(
                RawEvent(
                    text(fields[0].structure).decode(),
                    {name: fields[f].number for f, name in enumerate(names)},
                    {name: text(fields[f].text).decode() for f, name in enumerate(names)},
                )
            )
        return tuple(entries)


# Of what another thread holds at a fork the child would wait for ever: so nobody holds it then.
# `_forking` is held over the fork, by one thread at a time.
_forking = RLock()
_open: WeakSet[Selector] = WeakSet()
_held: list[Selector] = []


def _all_open() -> list[Selector]:
    while True:
        try:
            return list(_open)
        except RuntimeError:  # another thread opened one meanwhile
            continue


def _hold_all() -> None:
    _forking.acquire()
    for selector in _all_open():
        selector.lock.acquire()
        _held.append(selector)


def _release_all() -> None:
    while _held:
        _held.pop().lock.release()
    _forking.release()


os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_release_all)


def _cure(number: int) -> str:
    if number in (errno.EMFILE, errno.ENFILE):
        return "; close some descriptors or raise the limit (ulimit -n)"
    return ""
