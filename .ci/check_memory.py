"""Runs Python programs with the extension modules under the sanitizers.

They are AddressSanitizer and UndefinedBehaviorSanitizer. A copy of the package is built with both,
and Python is started with their library loaded before it. Then come those of tests/programs, the
random one in great number, and the parts of the test suite that are about threads, forks, lifetime
and random use. Where the compiler's sanitizers are not in a library of their own (they are with GCC
on Linux) it says so and does nothing.

`python check_memory.py FOLDER [PROGRAMS]`; the copy comes into the folder.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modules import CHECKOUT

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
OPTIONS = {
    # Python itself frees much too late; programs ask about leaks while all that is held is known.
    "ASAN_OPTIONS": "detect_leaks=1:leak_check_at_exit=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",  # so that Python's objects are watched, too
    "PYTHONDONTWRITEBYTECODE": "1",
}
COPIED = ("pollster", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE")
STEPS, CYCLES = 1500, 100
TESTS = (
    "test_asyncio.py",
    "test_asyncio_iteration.py",
    "test_asyncio_kinds.py",
    "test_asyncio_transports.py",
    "test_lifetime.py",
    "test_python.py",
    "test_threads.py",
    "test_fork.py",
    "test_batch.py",
    "test_model.py",
    "test_timer_model.py",
    "test_timer_sharing.py",
    "test_closed_sources.py",
    "test_waker.py",
)
BUILD_KQUEUE = "import build_backends as b; b.main()"

# A leak is ours where our code called the allocator, or Python's for itself.
LEAK = re.compile(r"leak of .*?\n\n", re.DOTALL)
OURS = re.compile(r"#[1-3] .* (?:\S*/)?pollster/backend/\S+\.[ch]:\d+")


def library(compiler: str) -> str | None:
    """Returns where the sanitizers' library is, or None where there is none to be loaded."""
    asked = [compiler, "-print-file-name=libasan.so"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return found if os.path.isabs(found) else None


def build(compiler: str, copy: Path) -> None:
    """Copies the package and its tests, and builds it there."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy)
    environment = os.environ | {
        "CFLAGS": f"-g -O1 -fno-omit-frame-pointer {FLAGS}",
        "LDSHARED": f"{compiler} -shared {FLAGS}",
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join(map(str, (copy, copy / "tests"))),
    }
    for command in (["setup.py", "-q", "build_ext", "--inplace"], ["-c", BUILD_KQUEUE]):
        subprocess.run([sys.executable, *command], cwd=copy, env=environment, check=True)


def wrong_with(said: str, code: int) -> str:
    """Returns what a program had to say, if that is anything but its end and leaks of Python's."""
    if code or not said.startswith("done\n"):
        return f"{said}exit code {code}"
    return "".join(leak for leak in LEAK.findall(said) if OURS.search(leak))


class Runner:
    """Runs what is to be run in a copy."""

    def __init__(self, copy: Path, preload: str) -> None:
        self._copy = copy
        self._environment = os.environ | OPTIONS | {"PYTHONPATH": str(copy), "LD_PRELOAD": preload}

    def backends(self) -> list[str]:
        """Names the back ends that were built."""
        code = "import pollster.backend as b; print(*b.available())"
        command = [sys.executable, "-c", code]
        return subprocess.check_output(command, env=self._environment, text=True).split()

    def program(self, name: str, *arguments: str) -> str:
        """Runs a program; returns what is wrong, or ""."""
        done = subprocess.run(
            [sys.executable, str(self._copy / "tests" / "programs" / name), *arguments],
            cwd=self._copy,
            env=self._environment | {"POLLSTER_LEAKS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wrong = wrong_with(done.stdout, done.returncode)
        return f"{name} {' '.join(arguments)}:\n{wrong}\n" if wrong else ""

    def tests(self) -> bool:
        """Runs the parts of the suite. Whether they passed."""
        files = [str(self._copy / "tests" / name) for name in TESTS]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
        return subprocess.run(command, cwd=self._copy, env=self._environment).returncode == 0


def programs(backends: list[str], count: int) -> list[tuple[str, ...]]:
    """Lists them: each with its arguments."""
    listed: list[tuple[str, ...]] = []
    for backend in backends:
        listed += [("cycles.py", backend, str(CYCLES)), ("no_memory.py", backend)]
        listed += [
            ("random_program.py", backend, str(seed), str(STEPS), str(1 + seed % 3))
            for seed in range(count)
        ]
    return listed


def main() -> int:
    """Runs all; returns the exit code."""
    compiler = os.environ.get("CC") or shutil.which("cc") or "cc"
    preload = library(compiler)
    if not sys.platform.startswith("linux") or preload is None:
        print(f"left out: {compiler} on this system has no libasan.so to load before Python")
        return 0
    copy = Path(sys.argv[1]).resolve() / "copy"
    build(compiler, copy)
    runner = Runner(copy, preload)
    listed = programs(runner.backends(), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [said for said in pool.map(lambda one: runner.program(*one), listed) if said]
    print("".join(wrong), f"{len(wrong)} of {len(listed)} programs are not clean", sep="")
    return int(bool(wrong) or not runner.tests())


if __name__ == "__main__":
    sys.exit(main())
