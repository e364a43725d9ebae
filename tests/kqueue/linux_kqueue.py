"""Builds the kqueue beside this file and lets Python call it.

Owns the compiled module and the names of the constants; knows nothing of recordings.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, NamedTuple

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("*.c"))
INCLUDE = HERE / "include"
HEADERS = sorted([*HERE.glob("*.h"), *INCLUDE.rglob("*.h")])
MODULE = "linux_kqueue_compiled"


class Filter(IntEnum):
    """The filters which are implemented."""

    READ = -1
    WRITE = -2
    VNODE = -4
    PROC = -5
    SIGNAL = -6
    TIMER = -7
    USER = -11
    EXCEPT = -15


class Flag(IntFlag):
    """EV_*, without the prefix."""

    ADD = 0x1
    DELETE = 0x2
    ENABLE = 0x4
    DISABLE = 0x8
    ONESHOT = 0x10
    CLEAR = 0x20
    RECEIPT = 0x40
    DISPATCH = 0x80
    KEEPUDATA = 0x200
    ERROR = 0x4000
    EOF = 0x8000


NOTE_TRIGGER = 0x1000000
NOTE_OOB = 0x2
NOTE_LOWAT = 0x1


class Timer(IntFlag):
    """NOTE_* of TIMER, without the prefix."""

    SECONDS = 0x1
    MSECONDS = 0x2
    USECONDS = 0x4
    NSECONDS = 0x8
    ABSTIME = 0x10


class Proc(IntFlag):
    """NOTE_* of PROC, without the prefix."""

    EXIT = 0x80000000
    FORK = 0x40000000
    EXEC = 0x20000000


class Vnode(IntFlag):
    """NOTE_* of VNODE, without the prefix."""

    DELETE = 0x1
    WRITE = 0x2
    EXTEND = 0x4
    ATTRIB = 0x8
    LINK = 0x10
    RENAME = 0x20
    REVOKE = 0x40
    OPEN = 0x80
    CLOSE = 0x100
    CLOSE_WRITE = 0x200
    READ = 0x400


class Kevent(NamedTuple):
    """One struct kevent."""

    ident: int
    filter: int
    flags: int = 0
    fflags: int = 0
    data: int = 0
    udata: int = 0


def build(directory: Path) -> Any:
    """Compiles the C sources, unless ``directory`` has the result already, and imports it."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [*SOURCES, *HEADERS]:
        digest.update(path.read_bytes())
    library = directory / f"{MODULE}-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            os.replace(compile_in(scratch), library)
    spec = importlib.util.spec_from_file_location(MODULE, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_in(directory: str) -> str:
    """Runs the compiler and returns the library's path."""
    ffi = FFI()
    ffi.cdef((HERE / "kqueue.cdef.h").read_text())
    ffi.set_source(
        MODULE,
        '#include <sys/event.h>\n#include "kqueue_kernel.h"\n#include "kqueue_misbehave.h"\n',
        sources=[str(path) for path in SOURCES],
        include_dirs=[str(INCLUDE)],
        extra_compile_args=["-std=gnu11", "-Wall", "-Werror"],
    )
    return str(ffi.compile(tmpdir=directory))


class LinuxKqueue:
    """The three calls, with Python's types; errors raise OSError."""

    def __init__(self, module: Any) -> None:
        self.path = Path(module.__file__)
        self.ffi = module.ffi
        self.lib = module.lib

    def kqueue(self) -> int:
        """Returns a new queue's descriptor."""
        return self._checked(self.lib.kqueue())

    def kevent(
        self,
        kq: int,
        changes: Iterable[Kevent] = (),
        room: int = 0,
        timeout: float | tuple[int, int] | None = 0,
    ) -> list[Kevent]:
        """Applies the changes and returns at most ``room`` events.

        ``timeout`` is in seconds, or a pair of seconds and nanoseconds, or None for ever.
        """
        out = self.ffi.new("struct kevent[]", max(room, 1))
        count = self.kevent_into(kq, changes, out, room, timeout)
        return self.events(out, count)

    def kevent_into(
        self,
        kq: int,
        changes: Iterable[Kevent],
        out: Any,
        room: int,
        timeout: float | tuple[int, int] | None = 0,
    ) -> int:
        """Is kevent() with the caller's event list; returns the count."""
        given = self.changelist(list(changes))
        return self._checked(
            self.lib.kevent(kq, given, len(given), out, room, self._timespec(timeout))
        )

    def changelist(self, changes: Sequence[Kevent]) -> Any:
        """Returns ``changes`` as an array of struct kevent."""
        array = self.ffi.new("struct kevent[]", len(changes))
        for slot, change in zip(array, changes, strict=True):
            slot.ident = change.ident
            slot.filter = change.filter
            slot.flags = change.flags
            slot.fflags = change.fflags
            slot.data = change.data
            slot.udata = self.ffi.cast("void *", change.udata)
        return array

    def events(self, array: Any, count: int) -> list[Kevent]:
        """Returns the first ``count`` entries of an array of struct kevent."""
        return [
            Kevent(
                array[i].ident,
                array[i].filter,
                array[i].flags,
                array[i].fflags,
                array[i].data,
                int(self.ffi.cast("uintptr_t", array[i].udata)),
            )
            for i in range(count)
        ]

    def misbehave(self, fault: str, times: int) -> None:
        """Is kqueue_misbehave()."""
        self.lib.kqueue_misbehave(fault.encode(), times)

    def fcntl(self, fd: int, command: int) -> int:
        """Is kqueue_fcntl(), of a command without an argument."""
        return self._checked(self.lib.kqueue_fcntl(fd, command))

    def be_kernel(self, name: str) -> None:
        """Is kqueue_be_kernel()."""
        if self.lib.kqueue_be_kernel(name.encode()) < 0:
            raise ValueError(f"there is no kernel {name}: there are {self.kernels()}")

    def kernels(self) -> list[str]:
        """Returns the kernels that there are, the default first."""
        return list(self._until_null(self.lib.kqueue_kernel_at))

    def differences(self) -> dict[str, tuple[str, str]]:
        """Returns each difference: what it does, and who says so."""
        what, source = (self.ffi.new("const char **") for _ in range(2))
        names = self._until_null(lambda i: self.lib.kqueue_difference_at(i, what, source))
        return {name: (self._text(what[0]), self._text(source[0])) for name in names}

    def _text(self, text: Any) -> str:
        raw: bytes = self.ffi.string(text)
        return raw.decode()

    def _until_null(self, at: Callable[[int], Any]) -> Iterator[str]:
        for index in itertools.count():
            text = at(index)
            if text == self.ffi.NULL:
                return
            yield self._text(text)

    def kernel_has(self, kernel: str, difference: str) -> bool:
        """Is kqueue_kernel_has()."""
        has = self.lib.kqueue_kernel_has(kernel.encode(), difference.encode())
        assert has >= 0, f"{kernel} or {difference} is unknown"
        return bool(has)

    def calls(self) -> int:
        """Is kqueue_calls()."""
        return int(self.lib.kqueue_calls())

    def _timespec(self, timeout: float | tuple[int, int] | None) -> Any:
        if timeout is None:
            return self.ffi.NULL
        if not isinstance(timeout, tuple):
            timeout = divmod(int(timeout * 1_000_000_000), 1_000_000_000)
        return self.ffi.new("struct timespec *", timeout)

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(self.ffi.errno, os.strerror(self.ffi.errno))
        return result
