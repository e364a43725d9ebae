"""Checks the C sources: formatted as .clang-format says, and compiled without a warning.

On Linux that is all of them, the kqueue files against the tests' own <sys/event.h>. Elsewhere what
is Linux's alone has its format looked at, and is named as not compiled.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
BACKEND = CHECKOUT / "pollster" / "backend"
KQUEUE = CHECKOUT / "tests" / "kqueue"
HEADERS = CHECKOUT / "tests" / "headers"
OTHERS = [KQUEUE, CHECKOUT / "benchmarks" / "c", CHECKOUT / "tests" / "system_calls"]
LINUX_ONLY = [BACKEND / "epoll", *OTHERS]
LINUX = sys.platform.startswith("linux")
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-fsyntax-only"]


def is_for_linux(source: Path) -> bool:
    """Whether only Linux has the headers that a file includes."""
    return source.parent in LINUX_ONLY


def main() -> int:
    """Runs both checks; returns the exit code. HEADERS is compiled by check_headers.py."""
    folders = [*OTHERS, CHECKOUT / "tests" / "sanitizers"]
    others = [file for folder in folders for file in folder.glob("*.c")]
    sources = sorted([*BACKEND.rglob("*.c"), *others])
    headers = sorted([*BACKEND.rglob("*.h"), *KQUEUE.rglob("*.h"), *HEADERS.glob("*.[ch]")])
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("no C compiler: install one (Debian: gcc; macOS: xcode-select --install)")
        return 1
    compiled = [source for source in sources if LINUX or not is_for_linux(source)]
    for source in sources:
        if source not in compiled:
            print(f"{source.relative_to(CHECKOUT)} is for Linux, and not compiled here")
    own = [KQUEUE / "include"] if LINUX else []
    includes = [f"-I{folder}" for folder in [BACKEND, *own, sysconfig.get_path("include")]]
    checks = [
        ["clang-format", "--dry-run", "--Werror", *map(str, [*sources, *headers])],
        *([*shlex.split(compiler), *FLAGS, *includes, str(source)] for source in compiled),
    ]
    return max(subprocess.run(check, check=False).returncode for check in checks)


if __name__ == "__main__":
    sys.exit(main())
