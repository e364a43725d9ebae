"""Gives Linux's `select` module what it has on macOS and the BSDs: `kqueue`, `kevent`, `KQ_*`.

For programs that are written for a kqueue and run on the tests' own, such as those of the docs.
Owns Python's interface to it, as the standard library documents that.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue, build


class kevent:  # noqa: N801  # the name is the standard library's
    """One change or event: what `select.kevent` is."""

    def __init__(
        self,
        ident: Any,
        filter: int = Filter.READ,  # noqa: A002  # the standard library's
        flags: int = Flag.ADD,
        fflags: int = 0,
        data: int = 0,
        udata: int = 0,
    ) -> None:
        self.ident = ident if isinstance(ident, int) else ident.fileno()
        self.filter = int(filter)
        self.flags = int(flags)
        self.fflags = fflags
        self.data = data
        self.udata = udata

    def __repr__(self) -> str:
        return (
            f"<select.kevent ident={self.ident} filter={self.filter} flags={self.flags:#x} "
            f"fflags={self.fflags:#x} data={self.data:#x} udata={self.udata:#x}>"
        )


def install(directory: Path) -> None:
    """Puts them into `select`; what was compiled is kept in the directory."""
    system = LinuxKqueue(build(directory))

    class kqueue:  # noqa: N801  # the name is the standard library's
        """A queue: what `select.kqueue` is."""

        def __init__(self) -> None:
            self._queue = system.kqueue()
            self.closed = False

        def fileno(self) -> int:
            return self._queue

        def close(self) -> None:
            if not self.closed:
                self.closed = True
                os.close(self._queue)

        def control(
            self, changelist: Iterable[kevent] | None, max_events: int, timeout: float | None = None
        ) -> list[kevent]:
            changes = [
                Kevent(
                    change.ident,
                    change.filter,
                    change.flags,
                    change.fflags,
                    change.data,
                    change.udata,
                )
                for change in changelist or ()
            ]
            return [
                kevent(*event) for event in system.kevent(self._queue, changes, max_events, timeout)
            ]

    names: dict[str, object] = {"kqueue": kqueue, "kevent": kevent}
    names |= {f"KQ_FILTER_{number.name}": int(number) for number in Filter}
    names |= {f"KQ_EV_{flag.name}": int(flag) for flag in Flag}
    for name, value in names.items():
        setattr(select, name, value)
