"""Runs the examples of these pages.

The ```python blocks of a page are run in their order, as one program. Where a ```text block follows
a ```python block at once, it is what that block prints. A ```console block that begins with
`$ python` is a command: it is run, and must print the lines of its block that are the same on every
run (`RECEIVED`, `FINISHED`).

By hand, for one page: `python docs/test_pages.py docs/tutorial.md`.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PAGES = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAME_ON_EVERY_RUN = ("RECEIVED", "FINISHED")
LONGEST = 60.0  # seconds that a page may take before it counts as hung


class Block(NamedTuple):
    """One fenced block; `expected` is the output that the page shows for it, None for none."""

    line: int
    code: str
    expected: str | None


def blocks(text: str, language: str) -> Iterator[Block]:
    """Yields a page's blocks of one language."""
    found = list(BLOCK.finditer(text))
    for block, after in zip_longest(found, found[1:]):
        if block[1] != language:
            continue
        follows = after and after[1] == "text" and not text[block.end() : after.start()].strip()
        line = text.count("\n", 0, block.start(2)) + 1
        yield Block(line, block[2], after[2] if after and follows else None)


def run(page: Path) -> None:
    """Runs a page as one program. Raises `AssertionError` where it prints something else."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        printed = io.StringIO()
        code = "\n" * (block.line - 1) + block.code  # so that a traceback has the page's lines
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), names)
        if block.expected is not None and printed.getvalue() != block.expected:
            raise AssertionError(f"{page}:{block.line} printed\n{printed.getvalue()}")


def with_blocks(language: str) -> list[Any]:
    """Returns the pages that have such blocks, as pytest's parameters."""
    return [
        pytest.param(page, id=str(page.relative_to(PAGES)))
        for page in sorted(PAGES.rglob("*.md"))
        if any(blocks(page.read_text(encoding="utf-8"), language))
    ]


@pytest.mark.parametrize("page", with_blocks("python"))
def test_examples_print_what_the_page_shows(page: Path) -> None:
    """Each page is a program of its own, in a process of its own."""
    command = [sys.executable, "-W", "error", __file__, str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    # stderr too: an unclosed socket is only complained about there.
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", with_blocks("console"))
def test_commands_print_what_the_page_shows(page: Path) -> None:
    """The times in the output differ from run to run, the order of the answers does not."""
    for block in blocks(page.read_text(encoding="utf-8"), "console"):
        command, _, shown = block.code.partition("\n")
        python, *arguments = shlex.split(command.removeprefix("$ "))
        assert python == "python"
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=LONGEST
        )
        assert done.returncode == 0, done.stderr
        printed, expected = (
            [line for line in text.splitlines() if line.startswith(SAME_ON_EVERY_RUN)]
            for text in (done.stdout, shown)
        )
        assert printed == expected, command


def test_mypy_finds_nothing_in_the_examples(tmp_path: Path) -> None:
    """Each page is a program of its own here, too, with its lines where they are on the page."""
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed: tox -e type has it")
    programs = []
    for page in sorted(PAGES.rglob("*.md")):
        lines: list[str] = []
        for block in blocks(page.read_text(encoding="utf-8"), "python"):
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
        if lines:
            programs.append(f"{page.stem}_page.py")
            (tmp_path / programs[-1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ".mypy", *programs]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    run(Path(sys.argv[1]))
