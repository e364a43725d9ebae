"""Plays one recorded case against the kqueue under test, line by line.

A scenario performs what the recorded program did between its kevent() calls; the recorded lines say
what is called and what must come back. Where Linux itself answers differently the scenario gives
what is expected instead, together with the reason.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue
from recording import Case, Change, Entry, Result, Step

PATIENCE = 5.0  # seconds until something that must come is given up
GLIMPSE = 0.01  # seconds to wait for what must not come
ROOM = 16
UNKNOWN_FILTER = -20


def fd_of(thing: int | socket.socket) -> int:
    """Returns the number of a socket or of a number."""
    return thing if isinstance(thing, int) else thing.fileno()


def flag_value(names: Iterable[str]) -> int:
    """Returns the bits of recorded flag names."""
    return sum(int(name, 16) if name.startswith("0x") else Flag[name] for name in names)


def failure(label: str, error: OSError) -> str:
    """Returns the recorded program's words for a failed call."""
    return f"{label}=-1 errno={os.strerror(error.errno or 0)}"


def wait_until(condition: Callable[[], bool]) -> None:
    """Spins, yielding the processor, until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        os.sched_yield()


def is_asleep(thread: threading.Thread) -> bool:
    """Says whether the kernel has put the thread to sleep."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def drain(sock: socket.socket, at_least: int = 0) -> int:
    """Reads a non-blocking socket empty, and on until ``at_least`` bytes came."""
    count = 0

    def is_empty() -> bool:
        nonlocal count
        try:
            while chunk := sock.recv(1 << 16):
                count += len(chunk)
        except BlockingIOError:
            pass
        return count >= at_least

    wait_until(is_empty)
    return count


def fill(sock: socket.socket) -> int:
    """Writes until a non-blocking socket takes no more; returns the number of bytes."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += sock.send(bytes(1 << 16))
    return count


class Replay:
    """The state of one case's replay: its place in the recording, its queue and descriptors."""

    def __init__(self, case: Case, system: LinuxKqueue) -> None:
        self.case = case
        self.system = system
        self.steps = iter(case.steps)
        self.numbers: dict[int, int] = {}
        self.stack = contextlib.ExitStack()
        self.kq = self.queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stack.close()
        if kind is None:
            assert list(self.steps) == [], "recorded, but not replayed"

    # Descriptors.

    def keep(self, sock: socket.socket) -> socket.socket:
        """Closes the socket when the case is over."""
        return self.stack.enter_context(sock)

    def keep_fd(self, fd: int) -> int:
        """Closes the number when the case is over, unless the scenario did."""

        def close() -> None:
            with contextlib.suppress(OSError):
                os.close(fd)

        self.stack.callback(close)
        return fd

    def queue(self) -> int:
        """Returns a new queue."""
        return self.keep_fd(self.system.kqueue())

    def fresh_queue(self) -> None:
        """Goes on with a new queue, as the recorded program did in the middle of some cases."""
        self.kq = self.queue()

    def bind(self, recorded: int, thing: int | socket.socket) -> None:
        """Lets the number in the recording stand for this descriptor."""
        self.numbers[recorded] = fd_of(thing)

    def pair(
        self, recorded: int | None = None, kind: str = ""
    ) -> tuple[socket.socket, socket.socket]:
        """Returns ours, bound to the recorded number, and its peer; both non-blocking.

        The case's title says of which kind, and its first line which number, unless given.
        """
        if (kind or self.case.title)[:3].lower() == "tcp" or "tcp" in self.case.title:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                peer = socket.create_connection(listener.getsockname())
                ours, _ = listener.accept()
        else:
            ours, peer = socket.socketpair()
        for sock in (ours, peer):
            sock.setblocking(False)
            self.keep(sock)
        self.bind(self.first_ident() if recorded is None else recorded, ours)
        return ours, peer

    def first_ident(self) -> int:
        """Returns the number that the case speaks of first."""
        for step in self.case.steps:
            if isinstance(step, Change):
                return step.ident
            if isinstance(step, Result) and step.entries:
                return step.entries[0].ident
        raise AssertionError("the case names no descriptor")

    def register(
        self, thing: int | socket.socket, which: Filter, udata: int, flags: int = 0
    ) -> None:
        """Adds a knote that the recorded program added without saying so."""
        self.system.kevent(self.kq, [Kevent(fd_of(thing), which, Flag.ADD | flags, udata=udata)])

    def delete(self, thing: int | socket.socket, which: Filter, kq: int | None = None) -> None:
        """Deletes a knote without a line in the recording."""
        where = self.kq if kq is None else kq
        self.system.kevent(where, [Kevent(fd_of(thing), which, Flag.DELETE)])

    # Recorded lines.

    def next(self) -> Step:
        """Returns the next recorded line."""
        step = next(self.steps, None)
        assert step is not None, "the recording is over"
        return step

    def change(self, *udatas: int, kq: int | None = None, data: int | None = None) -> None:
        """Replays as many ``change`` lines as udata are given."""
        for udata in udatas:
            step = self.next()
            assert isinstance(step, Change)
            known = step.filter in Filter.__members__
            change = Kevent(
                self.numbers.get(step.ident, step.ident) % 2**64,
                Filter[step.filter] if known else UNKNOWN_FILTER,
                flag_value(step.flags),
                step.fflags,
                step.data if data is None else data,
                udata,
            )
            error = None
            try:
                self.system.kevent(self.kq if kq is None else kq, [change])
            except OSError as caught:
                error = os.strerror(caught.errno or 0)
            assert (change, error) == (change, step.error)

    def wait(
        self,
        note: str,
        room: int = ROOM,
        *,
        kq: int | None = None,
        ordered: bool = False,
        sizes: str = "",
        linux: list[Entry] | None = None,
        because: str = "",
    ) -> None:
        """Replays a ``wait`` line; the note has to be the recorded one.

        ``ordered``: the order matters, and all must come in one call.
        ``sizes``: why the numbers of bytes differ on Linux; they are not compared then.
        ``linux``: what comes on Linux instead, ``because`` of what.
        """
        assert bool(because) == (linux is not None)
        step = self.next()
        assert isinstance(step, Result)
        assert step.note == note
        expected = step.entries if linux is None else linux
        assert linux is not None or len(expected) == step.count
        self.expect(expected, room, self.kq if kq is None else kq, ordered, bool(sizes))

    def expect(self, expected: list[Entry], room: int, kq: int, ordered: bool, sizes: bool) -> None:
        """Waits for these entries; what comes over several calls is put together."""

        def comparable(entry: Entry) -> Entry:
            unpinned = entry.filter == "WRITE" or sizes
            return replace(entry, data=0) if unpinned and "ERROR" not in entry.flags else entry

        wanted = [comparable(entry) for entry in expected]
        seen: dict[tuple[str, int], Entry] = {}
        deadline = time.monotonic() + PATIENCE
        while True:
            timeout = max(deadline - time.monotonic(), 0) if expected else GLIMPSE
            for event in self.system.kevent(kq, room=room, timeout=timeout):
                entry = comparable(self.entry(event))
                seen[entry.filter, entry.ident] = entry
            got = list(seen.values())
            if not ordered:
                wanted, got = sorted(wanted, key=repr), sorted(got, key=repr)
            if got == wanted or ordered or not expected or time.monotonic() > deadline:
                assert got == wanted
                return

    def entry(self, event: Kevent) -> Entry:
        """Returns an event in the recording's words."""
        idents = {fd: recorded for recorded, fd in self.numbers.items()}
        flags = Flag(event.flags)
        text = os.strerror
        fails = Flag.EOF in flags and event.filter in (Filter.READ, Filter.WRITE)
        return Entry(
            Filter(event.filter).name,
            idents.get(event.ident, event.ident),
            frozenset(flag.name or "" for flag in flags),
            text(event.fflags) if fails and event.fflags else event.fflags,
            text(event.data) if Flag.ERROR in flags and event.data else event.data,
            event.udata,
        )

    def call(
        self, changes: list[tuple[Filter, int, Flag, int]], room: int, in_place: bool = False
    ) -> None:
        """Replays a ``rc=`` line.

        A change is its filter, recorded number, flags and udata.
        """
        step = self.next()
        assert isinstance(step, Result)
        assert step.note == ""
        given = [
            Kevent(self.numbers[ident], which, flags, udata=udata)
            for which, ident, flags, udata in changes
        ]
        ffi = self.system.ffi
        changelist = self.system.changelist(given)
        out = changelist if in_place else ffi.new("struct kevent[]", max(room, 1))
        count = self.system.lib.kevent(
            self.kq, changelist, len(given), out, room, ffi.new("struct timespec *")
        )
        error = os.strerror(ffi.errno) if count < 0 else None
        assert (count, error) == (step.count, step.error)
        got = [self.entry(event) for event in self.system.events(out, max(count, 0))]
        got = [
            replace(e, data=0) if e.filter == "WRITE" and "ERROR" not in e.flags else e for e in got
        ]
        wanted = [
            replace(e, data=0) if e.filter == "WRITE" and "ERROR" not in e.flags else e
            for e in step.entries
        ]
        assert got == wanted

    def saw(self, text: str, *, linux: str = "", because: str = "", prefix: bool = False) -> None:
        """Compares what we saw with the recorded line, or with what Linux says instead of it.

        ``prefix``: the recorded line goes on with something that is not reproduced, like a time.
        """
        assert bool(because) == bool(linux)
        step = self.next()
        recorded = step.note if isinstance(step, Result) and not step.entries else step
        if linux:
            assert isinstance(recorded, str)
            recorded = linux
        elif prefix:
            assert isinstance(recorded, str)
            recorded = recorded[: len(text)]
        assert text == recorded

    def passes(self, start: str, because: str) -> None:
        """Goes over a line that is not compared, for the reason given."""
        step = self.next()
        assert because
        assert isinstance(step, str)
        assert step.startswith(start)

    def recv(self, sock: socket.socket, *, linux: str = "", because: str = "") -> None:
        """Receives, and compares the outcome with the recorded one."""
        try:
            text = f"recv={len(sock.recv(1 << 16))}"
        except OSError as error:
            text = failure("recv", error)
        self.saw(text, linux=linux, because=because)

    def send(self, sock: socket.socket, *, linux: str = "", because: str = "") -> None:
        """Sends one byte, and compares the outcome with the recorded one."""
        try:
            text = f"send={sock.send(b'x')}"
        except OSError as error:
            text = failure("send", error)
        self.saw(text, linux=linux, because=because)

    def so_error(self, sock: socket.socket, *, linux: str = "", because: str = "") -> None:
        """Reads SO_ERROR, and compares its text: the numbers differ between systems."""
        assert bool(because) == bool(linux)
        step = self.next()
        assert isinstance(step, str)
        recorded = step.partition("(")[2].rstrip(")")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        text = os.strerror(number) if number else "No error: 0"
        assert text == (linux or recorded)

    # Threads.

    def blocked(self, *calls: Callable[[], object]) -> list[threading.Thread]:
        """Runs each in a thread and returns when all of them sleep in kevent()."""
        before = self.system.calls()
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
            self.stack.callback(thread.join)
        wait_until(lambda: self.system.calls() == before + len(threads))
        wait_until(lambda: all(map(is_asleep, threads)))
        return threads
