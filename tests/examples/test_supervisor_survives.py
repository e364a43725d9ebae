"""examples/supervisor while somebody kills its children at random, and changes its configuration.

For two seconds, or as long as the environment variable POLLSTER_KILLING_SECONDS says: a minute
with `tox -e supervisor`. What is done follows from POLLSTER_KILLING_SEED; what it meets is never
the same.
"""

import contextlib
import os
import random
import re
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from supervised import ENDED, PATIENCE, STARTED, Supervised, program

SECONDS = float(os.environ.get("POLLSTER_KILLING_SECONDS", "2"))
SEED = int(os.environ.get("POLLSTER_KILLING_SEED", "1"))
NAMES = [f"program-{number}" for number in range(20)]
DEADLY = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
BETWEEN = 0.03  # seconds between two deeds

# Has a FIFO open for as long as it or its helper lives, and a lock as long as it lives, so that a
# second one of its name finds it taken. It writes down its pid. The helper ends when it is killed.
CHILD = """
import fcntl, os, signal, sys
signal.alarm(300)
name, version = sys.argv[1], os.environ["VERSION"]
def note(file):
    fd = os.open(f"{name}.{file}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)
os.open("alive", os.O_WRONLY | os.O_NONBLOCK)
if os.fork() == 0:
    signal.alarm(300)
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


@dataclass
class Life:
    """A child from its start to its death. (Pids are used again within a minute.)"""

    name: str
    pid: int
    version: str = ""  # once it says so
    killed: signal.Signals | None = None
    stopped: bool = False  # by the supervisor itself
    death: str = ""  # the log's word

    @property
    def causes(self) -> set[str]:
        """What it can have died of."""
        return ({self.killed.name} if self.killed else set()) | (
            {"SIGTERM"} if self.stopped else set()
        )


class Book:
    """What the log tells of each child; a line that does not follow from the last is an error."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.alive: dict[str, Life] = {}
        self.reloads = 0

    def read(self, lines: list[str]) -> None:
        """Goes on with further lines."""
        for line in lines:
            self.reloads += " has read " in line
            if found := STARTED.match(line):
                assert found[1] not in self.alive, f"it runs already: {line}"
                self.alive[found[1]] = Life(found[1], int(found[2]))
                self.lives.append(self.alive[found[1]])
            elif found := ENDED.match(line):
                self._life(found, line).death = line
                del self.alive[found[1]]
            elif found := re.match(r"(\S+)\[(\d+)\]: up (\w+)", line):
                self._life(found, line).version = found[3]
            elif found := re.match(r"supervisor: (\S+): stopping pid (\d+)", line):
                self._life(found, line).stopped = True

    def _life(self, found: re.Match[str], line: str) -> Life:
        life = self.alive.get(found[1])
        assert life, f"it does not run: {line}"
        assert life.pid == int(found[2]), f"that is not {life}: {line}"
        return life


class Killer:
    """Does something bad to a supervisor and its children, again and again."""

    def __init__(self, running: Supervised, book: Book) -> None:
        self.random = random.Random(SEED)
        self.running = running
        self.book = book
        self.deeds: Counter[str] = Counter()
        self._held: list[Life] = []

    def act(self) -> None:
        """Does one thing."""
        for life in self._held:
            self._send(life, signal.SIGCONT)
        self._held.clear()
        chance = self.random.random()
        if chance < 0.75:
            self._kill()
        elif chance < 0.85:
            self._hold()
        else:
            self._reload(chance)

    def _victim(self) -> Life | None:
        """Chooses a child: mostly one that is at its work, now and then one that just begins."""
        begun = self.random.random() < 0.2
        lives = [life for life in self.book.alive.values() if begun or life.version]
        lives = [life for life in lives if not life.killed]
        return self.random.choice(lives) if lives else None

    def _send(self, life: Life, number: signal.Signals) -> bool:
        if not life.death:
            with contextlib.suppress(ProcessLookupError):  # the supervisor was faster
                os.kill(life.pid, number)
                return True
        return False

    def _kill(self) -> None:
        number = self.random.choice(DEADLY)
        life = self._victim()
        if life and self._send(life, number):
            life.killed = number
            self.deeds[number.name] += 1

    def _hold(self) -> None:
        life = self._victim()
        if life and self._send(life, signal.SIGSTOP):
            self._held.append(life)
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


def check_accounts(book: Book, folder: Path) -> None:
    """What was done to the children, what the log tells and what they wrote down is one story."""
    for life in book.lives:
        assert any(f"was killed by {cause} " in life.death for cause in life.causes), life
    for name in NAMES:
        assert not numbers(folder / f"{name}.twice")
        noted = numbers(folder / f"{name}.pids")
        for life in (life for life in book.lives if life.name == name):
            if noted and noted[0] == life.pid:
                noted.pop(0)
            else:  # it was ended before it wrote down anything
                assert not life.version, f"{life} is not among its records"
        assert not noted, f"the log has no start of {name} as {noted}"


def numbers(path: Path) -> list[int]:
    """Reads a file of pids, which may not be there."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def read_until(book: Book, running: Supervised, done: Callable[[], bool]) -> None:
    """Follows the log until something is so."""
    patience = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < patience, "\n".join(running.lines[-200:])
        book.read(running.read_log(PATIENCE))


def test_it_loses_no_child_while_they_are_killed_at_random(tmp_path: Path, queue: str) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        kill_at_random(tmp_path, queue)
        assert select.select([alive], [], [], PATIENCE)[0], "some are still there"
        assert os.read(alive, 1) == b""  # nobody has it open any more
    finally:
        os.close(alive)


def kill_at_random(folder: Path, queue: str) -> None:
    text = configuration(NAMES, "first", set())
    with Supervised(folder, queue, text, cwd=folder) as running:
        book = Book()
        killer = Killer(running, book)
        # A SIGHUP before it watches signals would have ended it.
        read_until(book, running, lambda: len(book.alive) == len(NAMES))
        end = time.monotonic() + SECONDS
        while (now := time.monotonic()) < end:
            while (left := now + BETWEEN - time.monotonic()) > 0:
                book.read(running.read_log(left))
            killer.act()

        running.replace(configuration(NAMES, "last", set()))
        running.signal(signal.SIGHUP)
        last = dict.fromkeys(NAMES, "last")
        read_until(
            book, running, lambda: {life.name: life.version for life in book.alive.values()} == last
        )
        running.signal(signal.SIGUSR1)
        for _ in NAMES:
            state = running.expect(r"supervisor: (\S+): running, pid (\d+), \d+ restarts, up .* s")
            assert book.alive[state[1]].pid == int(state[2])
        deaths = sum(bool(life.death) for life in book.lives)
        killed = sum(bool(life.killed) for life in book.lives)
        lost = sum(bool(life.killed) and not life.death for life in book.lives)
        assert (lost, len(book.lives)) == (0, deaths + len(NAMES))

        first = len(running.lines)
        running.stop()
        book.read(running.lines[first:])
        check_accounts(book, folder)
    deeds = ", ".join(f"{count} {deed}" for deed, count in killer.deeds.most_common())
    print(f"{queue}, {SECONDS:g} s, seed {SEED}: {deeds}; {book.reloads} readings")
    print(f"{killed} killed, {deaths} deaths seen, {len(book.lives)} starts, {lost} lost")
