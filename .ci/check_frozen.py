"""Packs a program with PyInstaller's defaults and runs it: nothing that it needs may be missing.

Such tools find what a program imports by the import statements of its modules. They do not see what
C imports, or what is imported by a name that is put together.
"""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
import signal
import sys
import tempfile

from pollster import Interest, PathWatch, Poll, Process, Signals, Timer, Token, Waker

assert getattr(sys, "frozen", False)
with Poll() as poll, tempfile.NamedTemporaryFile() as file:
    waker = Waker(poll.registry, Token(1))
    waker.wake()
    poll.registry.register(Timer.after(0.001), Token(2), Interest.READABLE)
    signals, path = Signals(signal.SIGUSR1), PathWatch(file.name)
    poll.registry.register(signals, Token(3), Interest.READABLE)
    poll.registry.register(path, Token(4), Interest.READABLE)
    os.kill(os.getpid(), signal.SIGUSR1)
    file.write(b"x")
    file.flush()
    seen = set()
    while seen != {1, 2, 3, 4}:
        events = poll.poll(timeout=10)
        assert events, f"there came only {seen}"
        seen.update(event.token for event in events)
    Process(os.getppid()).close()
    print("packed, and works:", poll.backend)
"""


def main(folder: Path) -> int:
    """Packs and runs; returns the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    places = [f"--{name}path={folder / name}" for name in ("dist", "work", "spec")]
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=WARN", *places]
    subprocess.run([*command, str(program)], check=True)
    packed = folder / "dist" / "program" / "program"
    done = subprocess.run([str(packed)], capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
