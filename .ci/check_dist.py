"""Builds an sdist and, from it, a wheel; looks into both; runs the demo from each when installed.

`python .ci/check_dist.py DIRECTORY` works in DIRECTORY and leaves `dist/` there.
"""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command and returns what it printed; a failure ends the check."""
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def check(condition: bool, what: str) -> None:
    """Ends the check with a sentence where a condition does not hold."""
    if not condition:
        sys.exit(f"dist: {what}")


def run_demo(package: Path, empty: Path) -> None:
    """Installs a package into an empty environment and runs the demo there."""
    venv.create(empty, with_pip=True, clear=True)
    python = empty / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", package, cwd=empty)
    printed = run(python, "-m", "pollster.demo", "--delay-step", "0.05", cwd=empty)
    expected = [*(f"RECEIVED: {number}" for number in range(5, 0, -1)), "FINISHED"]
    check(printed.splitlines() == expected, f"the demo of {package.name} printed {printed!r}")
    print(f"dist: the demo runs from {package.name}")


def main() -> int:
    """Builds, looks and runs."""
    work = Path(sys.argv[1]).resolve()
    dist = work / "dist"
    run(sys.executable, "-m", "build", "-o", dist, CHECKOUT, cwd=work)
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    check("-abi3-" in wheel.name, f"{wheel.name} is not abi3")
    check("pollster/py.typed" in names, "the wheel lacks py.typed")
    check(any(name.endswith("LICENSE") for name in names), "the wheel lacks the licence")
    modules = [name for name in names if name.endswith(".so")]
    check(len(modules) == 1, f"the wheel should have one extension module, not {modules}")
    strangers = [name for name in names if name.endswith((".c", ".h")) or "tests" in name]
    check(not strangers, f"the wheel should not have {strangers}")
    with tarfile.open(sdist) as archive:
        members = archive.getnames()
    for needed in ("selector.h", "kernel.h", "registrations.h", "epoll.c", "kqueue.c"):
        check(any(m.endswith(f"backend/{needed}") for m in members), f"the sdist lacks {needed}")
    for package in (wheel, sdist):
        run_demo(package, work / f"empty-{package.suffix[1:]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
