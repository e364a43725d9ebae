"""examples/supervisor while somebody kills its children at random, and changes its configuration.

For two seconds, or as long as the environment variable POLLSTER_KILLING_SECONDS says: a minute with
`tox -e supervisor`. What is done follows from POLLSTER_KILLING_SEED; what it meets is never the same.
"""

import contextlib
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from supervised import (
    ENDED,
    PATIENCE,
    STARTED,
    Supervised,
    is_gone,
    program,
    wait_until_ended,
)

SECONDS = float(os.environ.get("POLLSTER_KILLING_SECONDS", "2"))
SEED = int(os.environ.get("POLLSTER_KILLING_SEED", "1"))
NAMES = [f"program-{number}" for number in range(20)]
DEADLY = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
BETWEEN = 0.03  # seconds between two deeds, where the log says nothing

# Holds a lock for as long as it lives, so that a second one of its name finds it taken, and writes
# down its pid. It has a helper that has none of that and ends only when it is ended.
CHILD = """
import fcntl, os, signal, sys
signal.alarm(300)
name, version = sys.argv[1], os.environ["VERSION"]
def note(file):
    fd = os.open(f"{name}.{file}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)
if os.fork() == 0:
    note("helpers")
    while True:
        signal.pause()
lock = os.open(f"{name}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("twice")
note("pids")
os.write(1, b"up %s\\n" % version.encode())
while True:
    signal.pause()
"""


def configuration(names: list[str], version: str, changed: set[str]) -> str:
    """Writes a configuration of these programs, some of them with another version."""
    command = [sys.executable, "-I", "-S", "child.py"]
    return "".join(
        program(
            name,
            [*command, name],
            environment={"VERSION": "changed" if name in changed else version},
            back_off={"initial": 0.01, "factor": 1.5, "maximum": 0.2, "reset": 1},
            stop_timeout=PATIENCE,
        )
        for name in names
    )


class Book:
    """What the log tells of each program; a line that does not follow from the last is an error."""

    def __init__(self) -> None:
        self.started: dict[str, list[int]] = {name: [] for name in NAMES}
        self.alive: dict[str, int] = {}
        self.up: dict[str, str] = {}  # the version of those that are alive and say so
        self.deaths: dict[int, str] = {}
        self.stopped: set[int] = set()  # by the supervisor itself
        self.reloads = 0

    def read(self, lines: list[str]) -> None:
        """Goes on with further lines."""
        for line in lines:
            self.reloads += " has read " in line
            if found := STARTED.match(line):
                name, pid = found[1], int(found[2])
                assert name not in self.alive, f"it runs already: {line}"
                self.started[name].append(pid)
                self.alive[name] = pid
            elif found := ENDED.match(line):
                name, pid = found[1], int(found[2])
                assert self.alive.pop(name) == pid, f"it did not run: {line}"
                assert pid not in self.deaths, f"it had ended before: {line}"
                self.deaths[pid] = line
                self.up.pop(name, None)
            elif found := re.match(r"(\S+)\[(\d+)\]: up (\w+)", line):
                assert self.alive[found[1]] == int(found[2]), f"it does not run: {line}"
                self.up[found[1]] = found[3]
            elif found := re.match(r"supervisor: \S+: stopping pid (\d+)", line):
                self.stopped.add(int(found[1]))


class Killer:
    """Does something bad to a supervisor and its children, again and again."""

    def __init__(self, running: Supervised, book: Book) -> None:
        self.random = random.Random(SEED)
        self.running = running
        self.book = book
        self.killed: dict[int, signal.Signals] = {}
        self.deeds: Counter[str] = Counter()
        self._held: list[int] = []

    def act(self) -> None:
        """Does one thing."""
        for pid in self._held:
            self._send(pid, signal.SIGCONT)
        self._held.clear()
        chance = self.random.random()
        if chance < 0.75:
            self._kill()
        elif chance < 0.85:
            self._hold()
        else:
            self._reload(chance)

    def _victim(self) -> int | None:
        """Chooses a child: mostly one that is at its work, now and then one that just begins."""
        begun = self.random.random() < 0.2
        alive = self.book.alive.items()
        pids = [pid for name, pid in alive if begun or name in self.book.up]
        pids = [pid for pid in pids if pid not in self.killed]
        return self.random.choice(pids) if pids else None

    def _send(self, pid: int, number: signal.Signals) -> bool:
        with contextlib.suppress(ProcessLookupError):  # the supervisor was faster
            os.kill(pid, number)
            return True
        return False

    def _kill(self) -> None:
        number = self.random.choice(DEADLY)
        pid = self._victim()
        if pid and self._send(pid, number):
            self.killed[pid] = number
            self.deeds[number.name] += 1

    def _hold(self) -> None:
        pid = self._victim()
        if pid and self._send(pid, signal.SIGSTOP):
            self._held.append(pid)
            self.deeds["SIGSTOP and SIGCONT"] += 1

    def _reload(self, chance: float) -> None:
        names = [name for name in NAMES if self.random.random() < 0.95]
        changed = {name for name in names if self.random.random() < 0.1}
        text = configuration(names, "first", changed)
        if chance < 0.9:
            self.running.replace(text)
            self.deeds["file replaced"] += 1
        elif chance < 0.95:
            self.running.write(text)
            self.deeds["file written"] += 1
        else:
            self.running.signal(signal.SIGHUP)
            self.deeds["told to reload"] += 1


def check_accounts(book: Book, killer: Killer, folder: Path) -> None:
    """What the killer did, what the log tells and what the children wrote down is one story."""
    for pid, line in book.deaths.items():
        why = {killer.killed[pid].name} if pid in killer.killed else set()
        why |= {"SIGTERM"} if pid in book.stopped else set()
        assert any(f"was killed by {name} " in line for name in why), f"{line}: not by {why}"
    assert killer.killed.keys() <= book.deaths.keys()
    for name in NAMES:
        started = book.started[name]
        noted = numbers(folder / f"{name}.pids")
        # A child may be ended before it has written down anything, and then not without a reason.
        assert noted == [pid for pid in started if pid in noted]
        assert set(started) - set(noted) <= killer.killed.keys() | book.stopped
        assert not numbers(folder / f"{name}.twice")


def numbers(path: Path) -> list[int]:
    """Reads a file of pids, which may not be there."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_it_loses_no_child_while_they_are_killed_at_random(tmp_path: Path, queue: str) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    text = configuration(NAMES, "first", set())
    with Supervised(tmp_path, queue, text, cwd=tmp_path) as running:
        book = Book()
        killer = Killer(running, book)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            book.read(running.read_log(BETWEEN))
            killer.act()

        running.replace(configuration(NAMES, "last", set()))
        running.signal(signal.SIGHUP)
        patience = time.monotonic() + PATIENCE
        while book.up != dict.fromkeys(NAMES, "last"):
            assert time.monotonic() < patience, f"not all came back: {book.up}"
            book.read(running.read_log(PATIENCE))
        alive = dict(book.alive)

        running.signal(signal.SIGUSR1)
        for _ in NAMES:
            state = running.expect(r"supervisor: (\S+): running, pid (\d+), \d+ restarts, up .* s")
            assert alive.pop(state[1]) == int(state[2])
        deaths, starts = len(book.deaths), sum(map(len, book.started.values()))
        lost = len(killer.killed.keys() - book.deaths.keys())
        assert starts == deaths + len(NAMES)

        first = len(running.lines)
        running.stop()
        book.read(running.lines[first:])
        check_accounts(book, killer, tmp_path)
        assert all(is_gone(pid) for pids in book.started.values() for pid in pids)
        for path in tmp_path.glob("*.helpers"):
            for pid in numbers(path):
                wait_until_ended(pid, queue)
    deeds = ", ".join(f"{count} {deed}" for deed, count in killer.deeds.most_common())
    print(f"{queue}, {SECONDS:g} s, seed {SEED}: {deeds}; {book.reloads} readings")
    print(f"{len(killer.killed)} killed, {deaths} deaths seen, {starts} starts, {lost} lost")
