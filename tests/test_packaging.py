"""What is written in two places says the same in both."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path

import _cffi_backend
import pytest

import pollster
from pollster.backend import NAMES, TYPES, build

HERE = Path(__file__).parent


def test_the_package_and_its_distribution_have_the_same_version() -> None:
    assert pollster.__version__ == version("pollster-io")


def test_each_back_end_is_built_somewhere_and_looked_for() -> None:
    assert [*build.SYSTEMS] == [*NAMES]


def test_each_type_that_is_named_is_made_when_pollster_is_imported() -> None:
    """Found by a random program of three threads: cffi made one twice, and ended the process."""
    files = Path(pollster.__file__).parent.rglob("*.py")
    code = "".join(file.read_text("utf-8") for file in files if file.name != "build.py")
    named = re.findall(r"ffi\.(?:cast|new|sizeof|typeof)\(\s*\"([^\"]+)\"", code)
    assert {*named} == {*TYPES}


def test_the_lowest_versions_tested_are_the_lowest_allowed() -> None:
    with HERE.with_name("pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    allowed = {
        *settings["build-system"]["requires"],
        *settings["project"]["dependencies"],
        *settings["dependency-groups"]["test"],
    }
    tested = (HERE / "lowest.txt").read_text("utf-8").splitlines()
    pins = {line for line in tested if not line.startswith("#")}
    assert pins == {needed.replace(">=", "==") for needed in allowed if ">=" in needed}


def test_without_tox_all_that_the_tests_need_is_installed() -> None:
    with HERE.with_name("pyproject.toml").open("rb") as file:
        needed = tomllib.load(file)["dependency-groups"]["test"]
    page = HERE.with_name("CONTRIBUTING.md").read_text("utf-8")
    (command,) = re.findall(r"pip install -q -e \. (.*)", page)
    assert set(command.split()) == {re.split(r"[<>=;]", one)[0] for one in needed}


def test_what_a_program_needs_is_seen_by_those_who_pack_it() -> None:
    """They follow import statements, and see nothing of what C imports."""
    places = {Path(pollster.__file__).parent.parent}
    if "_cffi_backend" not in sys.builtin_module_names:  # as PyPy has it
        places.add(Path(_cffi_backend.__file__).parent)
    finder = ModuleFinder([str(place) for place in places])
    finder.import_hook("pollster")
    code = "import pollster, sys; pollster.Poll().close(); print(*sys.modules)"
    run = [sys.executable, "-c", code]
    needed = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in needed if name.split(".")[0] in ("pollster", "_cffi_backend")}
    ours = {name for name in ours if not name.endswith(".lib")}  # cffi's, and no module of a file
    ours -= {*sys.builtin_module_names}
    assert "pollster._timeout" in ours
    assert ours - finder.modules.keys() == set()


def test_a_module_without_an_underscore_holds_a_public_name() -> None:
    folder = Path(pollster.__file__).parent
    names = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    names -= {"asyncio", "raw", "selectors"}  # what they hold is imported from there
    for name in names:
        module = importlib.import_module(f"pollster.{name}")
        assert set(module.__all__) & set(pollster.__all__), name


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "are not built in {}: run 'pip install -e .'"),
        ({"_python.abi3.so": b"of another system"}, "in {} can't be loaded"),
        ({"_python.another-python.so": b""}, "in {} can't be loaded"),
    ],
)
def test_without_its_c_parts_it_says_what_is_missing(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    package = Path(pollster.__file__).parent
    shutil.copytree(package, tmp_path / "pollster", ignore=shutil.ignore_patterns("*.so"))
    folder = tmp_path / "pollster" / "backend"
    for name, content in files.items():
        (folder / name).write_bytes(content)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pollster"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert said.format(folder) in done.stderr.splitlines()[-1]


def test_what_is_seldom_used_is_not_imported() -> None:
    program = "import pollster, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-Ic", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"dataclasses", "inspect", "asyncio", "cffi", "json"} & {*done.stdout.split()}
