"""Runs the C layer, without Python, in threads that do everything at once, under the sanitizers.

tests/sanitizers/driver.c with each back end of this system: ThreadSanitizer, and AddressSanitizer
with UndefinedBehaviorSanitizer. What this compiler or system does not have is named and left out.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from modules import BACKEND, CHECKOUT, load_builder

KQUEUE = CHECKOUT / "tests" / "kqueue"
DRIVER = CHECKOUT / "tests" / "sanitizers" / "driver.c"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-fno-omit-frame-pointer", "-pthread"]
SANITIZERS = ["thread", "address,undefined"]
OPTIONS = {"TSAN_OPTIONS": "halt_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1"}
LINUX = sys.platform.startswith("linux")


def sources(backend: str) -> list[str]:
    """Returns what to compile for a back end: on Linux kqueue is the tests' own."""
    files = [DRIVER, *load_builder().sources(backend)]
    if LINUX and backend == "kqueue":
        return [f"-I{KQUEUE / 'include'}", *map(str, [*files, *KQUEUE.glob("*.c")])]
    return [str(file) for file in files]


def run(command: list[str]) -> str:
    """Runs a command; returns what it had to say, "" where it went well and in silence."""
    done = subprocess.run(
        command, env=os.environ | OPTIONS, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    return said if done.returncode == 0 else said or f"exit code {done.returncode}"


def check(compiler: str, folder: Path, backend: str, sanitizer: str) -> str:
    """Compiles and runs the driver; returns what is wrong, or ""."""
    program = str(folder / f"{backend}-{sanitizer}")
    compile_it = [compiler, *FLAGS, f"-fsanitize={sanitizer}", f"-I{BACKEND}", *sources(backend)]
    wrong = run([*compile_it, "-o", program]) or run([program])
    if LINUX and backend == "kqueue":
        wrong = wrong or run([program, "no-user"])  # where wakers are pipes
    print(f"{backend}, {sanitizer}: {wrong or 'clean'}")
    return wrong


def works(compiler: str, folder: Path, sanitizer: str) -> bool:
    """Whether an empty program can be compiled with a sanitizer, and runs."""
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    program = str(folder / "empty")
    wrong = run([compiler, f"-fsanitize={sanitizer}", str(empty), "-o", program]) or run([program])
    if wrong:
        print(f"-fsanitize={sanitizer} is left out, {compiler} or this system can't: {wrong}")
    return not wrong


def main() -> int:
    """Runs all that works here; returns the exit code."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        print("no C compiler: install one (Debian: gcc; macOS: xcode-select --install)")
        return 1
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in SANITIZERS if works(compiler, folder, kind)]
    backends = dict.fromkeys([*load_builder().native(), *(["kqueue"] if LINUX else [])])
    with ThreadPoolExecutor(2) as pool:
        each = [
            pool.submit(check, compiler, folder, backend, kind)
            for backend in backends
            for kind in kinds
        ]
    return int(any(one.result() for one in each))


if __name__ == "__main__":
    sys.exit(main())
