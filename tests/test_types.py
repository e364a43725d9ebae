"""What users' type checkers say of their programs, wherever these are kept."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAMS = sorted(Path(__file__).with_name("types").glob("*.py"))


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(program: Path) -> dict[int, str]:
    told = run("mypy", "--strict", "--cache-dir", ".mypy", program.name, cwd=program.parent)
    found = re.findall(rf"^{program.name}:(\d+): error: (.*)$", told, re.MULTILINE)
    return {int(line): message for line, message in found}


def pyright(program: Path) -> dict[int, str]:
    program.with_name("pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    told = run(
        "pyright", "--outputjson", "--pythonpath", sys.executable, program.name, cwd=program.parent
    )
    return {
        found["range"]["start"]["line"] + 1: found["message"]
        for found in json.loads(told)["generalDiagnostics"]
        if found["severity"] == "error"
    }


@pytest.mark.parametrize("check", [mypy, pyright])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_what_is_wrong_is_refused_and_nothing_else(
    tmp_path: Path, program: Path, check: Callable[[Path], dict[int, str]]
) -> None:
    if find_spec(check.__name__) is None:
        pytest.skip(f"{check.__name__} is not installed: tox -e type has it")
    copy = tmp_path / program.name  # outside of the checkout
    shutil.copy(program, copy)
    lines = program.read_text("utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    told = check(copy)
    assert told.keys() == wrong, told
