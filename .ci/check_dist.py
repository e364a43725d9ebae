"""Builds an sdist and, from it, a wheel; looks into both; runs the tests against what is installed.

`python .ci/check_dist.py DIRECTORY` works in DIRECTORY and leaves `dist/` there. The wheel is built
for the oldest glibc that the compiler of the package `ziglang` knows symbols of and manylinux has a
name for; where there is no such compiler (macOS, the BSDs) it is built by the system's.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from modules import CHECKOUT, extensions, load_builder

LINUX = sys.platform.startswith("linux")
OLDEST_GLIBC = "2.17"
# What a checkout has and an sdist does not: what works on the project and not on the package.
NOT_IN_SDIST = (".ci/", ".github/", ".clang-format", ".gitignore", ".readthedocs.yaml")
TESTS = (
    "tests/conformance",
    "tests/test_demo.py",
    "tests/test_packaging.py",
    "tests/test_python.py",
)


def run(
    *command: str | Path, cwd: Path, more: Mapping[str, str] = {}, may_fail: bool = False
) -> str:
    """Runs a command with `more` in its environment; returns what it printed.

    A failure ends the check, unless it may be.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **more},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode and not may_fail:
        sys.exit(f"dist: {' '.join(words)} failed:\n{done.stdout}")
    return done.stdout


def check(condition: bool, what: str) -> None:
    """Ends the check with a sentence where a condition does not hold."""
    if not condition:
        sys.exit(f"dist: {what}")


def tracked() -> set[str]:
    """Returns the files of the checkout, those that are yet to be committed too."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=CHECKOUT)
    return {name for name in listed.splitlines() if (CHECKOUT / name).exists()}


def check_sdist(sdist: Path) -> None:
    """Checks that the sdist has what the checkout has, less what only works on the project."""
    with tarfile.open(sdist) as archive:
        members = [member.name for member in archive.getmembers() if member.isfile()]
    made = ("PKG-INFO", "setup.cfg")
    inside = {name.partition("/")[2] for name in members}
    inside = {name for name in inside if name not in made and ".egg-info/" not in name}
    expected = {name for name in tracked() if not name.startswith(NOT_IN_SDIST)}
    check(not expected - inside, f"the sdist lacks {sorted(expected - inside)}")
    check(not inside - expected, f"the sdist should not have {sorted(inside - expected)}")
    print(f"dist: {sdist.name} has the {len(inside)} files of the checkout")


def module_files(work: Path) -> set[str]:
    """Names the extension modules that the build makes here, as the files of a wheel."""
    limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
    suffix = ".abi3.so" if limited else sysconfig.get_config_var("EXT_SUFFIX")
    generated = work / "generated"
    generated.mkdir()
    modules = extensions(sys.platform, generated)
    return {module.name.replace(".", "/") + suffix for module in modules}


def check_wheel(wheel: Path, modules: set[str]) -> None:
    """Checks that the wheel has the package, its modules and the licence, and nothing else."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    metadata = {name for name in names if ".dist-info/" in name}
    package = {name for name in tracked() if name.startswith("pollster/")}
    expected = {name for name in package if not name.endswith((".c", ".h"))} | modules
    inside = names - metadata
    check(not expected - inside, f"the wheel lacks {sorted(expected - inside)}")
    check(not inside - expected, f"the wheel should not have {sorted(inside - expected)}")
    check(any(name.endswith("/licenses/LICENSE") for name in metadata), "it lacks the licence")
    print(f"dist: {wheel.name} has {', '.join(sorted(modules))}")


def build_wheel(sdist: Path, work: Path) -> Path:
    """Builds a wheel from the sdist; on Linux it gets the oldest manylinux tag that it may have."""
    compiler = {}
    ziglang = importlib.util.find_spec("ziglang")
    if LINUX and ziglang and ziglang.origin:
        zig = Path(ziglang.origin).with_name("zig")
        target = f"{os.uname().machine}-linux-gnu.{OLDEST_GLIBC}"
        compiler = {
            "CC": f"{shlex.quote(str(zig))} cc -target {target}",
            "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
        }
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-cache-dir",
    ]
    run(*pip, "-w", work / "built", sdist, cwd=work, more=compiler)
    (wheel,) = (work / "built").glob("*.whl")
    if not LINUX:
        return wheel
    scripts = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run("auditwheel", "repair", "-w", work / "dist", wheel, cwd=work, more=scripts)
    (wheel,) = (work / "dist").glob("*.whl")
    if compiler:
        tag = f"manylinux_{OLDEST_GLIBC.replace('.', '_')}_"
        check(tag in wheel.name, f"{wheel.name} should be {tag}")
    return wheel


def audit_abi(wheel: Path) -> None:
    """Checks that the wheel keeps to the limited API of the Python that its tag promises."""
    if "-abi3-" not in wheel.name:
        print(f"dist: {wheel.name} is for one Python alone: no limited API to check")
        return
    run(sys.executable, "-m", "abi3audit", "--strict", wheel, cwd=wheel.parent)
    print("dist: it keeps to the limited API")


def make_environment(python: str | Path, place: Path) -> Path:
    """Makes an empty environment for a Python; returns its interpreter."""
    shutil.rmtree(place, ignore_errors=True)
    run(python, "-m", "venv", place, cwd=place.parent)
    return place / "bin" / "python"


def pythons() -> Iterator[tuple[str, Path]]:
    """Yields (name, path) of every CPython from 3.11 on that is on PATH and can use abi3."""
    question = (
        "import sys, sysconfig;"
        "print(sys.implementation.name, sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
    )
    for name in (f"python3.{minor}" for minor in range(11, 30)):
        for path in (Path(folder, name) for folder in os.get_exec_path()):
            # A version manager's stand-in may be there without the Python that it stands for.
            answer = run(path, "-c", question, cwd=CHECKOUT, may_fail=True) if path.exists() else ""
            if answer == "cpython 0\n":
                yield name, path
                break


def unpack_tests(sdist: Path, work: Path) -> Path:
    """Unpacks what cibuildwheel takes along to the tests, and nothing else; returns the folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "unpacked", filter="data")
    (unpacked,) = (work / "unpacked").iterdir()
    settings = tomllib.loads((unpacked / "pyproject.toml").read_text("utf-8"))
    tree = work / "tests-alone"
    tree.mkdir()
    for name in settings["tool"]["cibuildwheel"]["test-sources"]:
        (unpacked / name).rename(tree / name)
    return tree


def run_tests(wheel: Path, sdist: Path, work: Path) -> None:
    """Runs the sdist's tests against the installed wheel, on each Python, with no checkout near.

    Those that need the C parts and the packaging most: tox runs all of them against a wheel, too.
    """
    tree = unpack_tests(sdist, work)
    groups = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    more = {"POLLSTER_BACKEND": load_builder().native()[0], "PYTHONSAFEPATH": "1"}
    found = list(pythons())
    check(bool(found), "there is no python3.11 or newer on PATH to try the wheel with")
    for name, path in found:
        python = make_environment(path, work / f"empty-{name}")
        run(python, "-m", "pip", "install", "-q", wheel, *groups["test"], cwd=work)
        where = run(python, "-c", "import pollster; print(pollster.__file__)", cwd=tree, more=more)
        check(str(work) in where, f"{name} imports the pollster of {where}")
        print(f"dist: the tests with {name}")
        tests: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        done = subprocess.run(tests, cwd=tree, env={**os.environ, **more}, check=False)
        check(done.returncode == 0, f"the tests with {name} failed")


def try_sdist(sdist: Path, work: Path) -> None:
    """Installs the sdist with the system's compiler, and runs the demo."""
    python = make_environment(sys.executable, work / "empty-sdist")
    install: list[str | Path] = [python, "-m", "pip", "install", "-q", "--no-cache-dir", sdist]
    refusal = run(*install, cwd=work, more={"CC": "no-such-cc"}, may_fail=True)
    for part in ("there is no C compiler (no-such-cc)", "apt-get install gcc"):
        check(part in refusal, f"without a compiler the build does not say {part!r}:\n{refusal}")
    run(*install, cwd=work)
    printed = run(python, "-m", "pollster.demo", "--delay-step", "0.05", cwd=work)
    expected = "".join(f"RECEIVED: {number}\n" for number in range(5, 0, -1)) + "FINISHED\n"
    check(printed.startswith(expected), f"the demo of the sdist printed {printed!r}")
    print("dist: the sdist installs with a compiler, and says what to install without one")


def main() -> int:
    """Builds, looks and runs."""
    work = Path(sys.argv[1]).resolve()
    shutil.rmtree(work, ignore_errors=True)
    (work / "dist").mkdir(parents=True)
    run(sys.executable, "-m", "build", "--sdist", "-o", work / "dist", CHECKOUT, cwd=work)
    (sdist,) = (work / "dist").glob("*.tar.gz")
    check_sdist(sdist)
    wheel = build_wheel(sdist, work)
    check_wheel(wheel, module_files(work))
    audit_abi(wheel)
    try_sdist(sdist, work)
    run_tests(wheel, sdist, work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
