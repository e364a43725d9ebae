"""Checks the C sources: formatted as .clang-format says, and compiled without a warning."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
BACKEND = CHECKOUT / "pollster" / "backend"
KQUEUE = CHECKOUT / "tests" / "kqueue"
HEADERS = CHECKOUT / "tests" / "headers"
OTHERS = [CHECKOUT / "benchmarks" / "c"] + [
    CHECKOUT / "tests" / name for name in ("system_calls", "sanitizers")
]
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-fsyntax-only"]


def main() -> int:
    """Runs both checks; returns the exit code. HEADERS is compiled by check_headers.py."""
    sources = sorted(file for folder in [BACKEND, KQUEUE, *OTHERS] for file in folder.glob("*.c"))
    headers = sorted([*BACKEND.glob("*.h"), *KQUEUE.rglob("*.h"), *HEADERS.glob("*.[ch]")])
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("no C compiler: install one (Debian: gcc; macOS: xcode-select --install)")
        return 1
    folders = [BACKEND, KQUEUE / "include", sysconfig.get_path("include")]
    includes = [f"-I{folder}" for folder in folders]
    checks = [
        ["clang-format", "--dry-run", "--Werror", *map(str, [*sources, *headers])],
        *([compiler, *FLAGS, *includes, str(source)] for source in sources),
    ]
    return max(subprocess.run(check, check=False).returncode for check in checks)


if __name__ == "__main__":
    sys.exit(main())
