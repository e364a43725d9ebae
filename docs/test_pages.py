"""Runs the examples of these pages, on every back end of this machine.

The ```python blocks of a page are run in their order, as one program. A block in a tab that is
named for a back end is part of that one's program only. Where a ```text block follows a ```python
block at once, it is what that block prints. A ```console block that begins with `$ python` is a
command: it is run, and must print the lines of its block that are the same on every run
(`RECEIVED`, `FINISHED`).

By hand, for one page: `POLLSTER_BACKEND=epoll python docs/test_pages.py docs/tutorial.md`.
"""

import contextlib
import importlib
import io
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pollster import backend as backends

PAGES = Path(__file__).resolve().parent
KQUEUE = PAGES.parent / "tests" / "kqueue"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TAB = re.compile(r"^:::\{tab-item\} (epoll|kqueue)$.*?^:::$", re.MULTILINE | re.DOTALL)
SAME_ON_EVERY_RUN = ("RECEIVED", "FINISHED")
# Seconds that a page may take before it counts as hung; the tests' kqueue may have to be compiled.
LONGEST = 240.0
# What a page needs beside pollster: modules and programs. tox -e docs has all of them.
NEEDS = {"howto/loops.md": ("trio", "tkinter"), "howto/tls.md": ("openssl",)}
# What mypy is to take the system for: each has one of the kernels in `select`.
PLATFORMS = {"epoll": "linux", "kqueue": "darwin"}


class Block(NamedTuple):
    """One fenced block.

    `expected` is the output that the page shows for it, `backend` the one that it is about; None
    for none.
    """

    line: int
    code: str
    expected: str | None
    backend: str | None


def blocks(text: str, language: str) -> Iterator[Block]:
    """Yields a page's blocks of one language."""
    tabs = [(*tab.span(), tab[1]) for tab in TAB.finditer(text)]
    found = list(BLOCK.finditer(text))
    for block, after in zip_longest(found, found[1:]):
        if block[1] != language:
            continue
        follows = after and after[1] == "text" and not text[block.end() : after.start()].strip()
        line = text.count("\n", 0, block.start(2)) + 1
        tab = [name for begin, end, name in tabs if begin < block.start() < end]
        yield Block(line, block[2], after[2] if after and follows else None, *(tab or [None]))


def program(page: Path, backend: str) -> list[Block]:
    """Returns the blocks of a page's program on one back end."""
    every = blocks(page.read_text(encoding="utf-8"), "python")
    return [block for block in every if block.backend in (None, backend)]


def has_tabs(page: Path) -> bool:
    """Whether a page has programs of their own for the back ends."""
    return any(block.backend for block in blocks(page.read_text(encoding="utf-8"), "python"))


def run(page: Path, backend: str, directory: Path) -> None:
    """Runs a page as one program. Raises `AssertionError` where it prints something else.

    Where the page calls a kqueue and Python has none, the tests' is compiled into the directory.
    """
    if backend == "kqueue" and has_tabs(page) and not hasattr(select, "kqueue"):
        sys.path[:0] = [str(KQUEUE.parent), str(KQUEUE)]
        select_kqueue = importlib.import_module("select_kqueue")

        select_kqueue.install(directory)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in program(page, backend):
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


def missing(page: Path) -> list[str]:
    """Names what a page needs and this machine has not."""
    needed = NEEDS.get(str(page.relative_to(PAGES)), ())
    return [name for name in needed if not (find_spec(name) or shutil.which(name))]


def chosen_backends() -> tuple[str, ...]:
    """Names the back ends to run the examples on: the one that is asked for, or all."""
    chosen = os.environ.get("POLLSTER_BACKEND")
    return (chosen,) if chosen else backends.available()


def environment(backend: str) -> dict[str, str]:
    """Returns the environment in which Polls are that back end's."""
    return {**os.environ, "POLLSTER_BACKEND": backend}


@pytest.mark.parametrize("backend", chosen_backends())
@pytest.mark.parametrize("page", with_blocks("python"))
def test_examples_print_what_the_page_shows(
    page: Path, backend: str, pytestconfig: pytest.Config
) -> None:
    """Each page is a program of its own, in a process of its own."""
    if has_tabs(page) and sys.implementation.name != "cpython":
        pytest.skip("the tests' kqueue, as Python's, is built for CPython")
    if missing(page):
        pytest.skip(f"the page needs {', '.join(missing(page))}")
    directory = pytestconfig.cache.mkdir("kqueue")
    command = [sys.executable, "-W", "error", __file__, str(page), str(directory)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONGEST, env=environment(backend)
    )
    # stderr too: an unclosed socket is only complained about there.
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("backend", chosen_backends())
@pytest.mark.parametrize("page", with_blocks("console"))
def test_commands_print_what_the_page_shows(page: Path, backend: str) -> None:
    """The times in the output differ from run to run, the order of the answers does not."""
    for block in blocks(page.read_text(encoding="utf-8"), "console"):
        command, _, shown = block.code.partition("\n")
        python, *arguments = shlex.split(command.removeprefix("$ "))
        assert python == "python"
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=LONGEST,
            env=environment(backend),
        )
        assert done.returncode == 0, done.stderr
        printed, expected = (
            [line for line in text.splitlines() if line.startswith(SAME_ON_EVERY_RUN)]
            for text in (done.stdout, shown)
        )
        assert printed == expected, command


@pytest.mark.parametrize("backend", PLATFORMS)
def test_mypy_finds_nothing_in_the_examples(backend: str, tmp_path: Path) -> None:
    """Each page is a program of its own here, too, with its lines where they are on the page."""
    if find_spec("mypy") is None:
        pytest.skip("mypy is not installed: tox -e type has it")
    programs = []
    for page in sorted(PAGES.rglob("*.md")):
        if missing(page) or (backend != "epoll" and not has_tabs(page)):
            continue
        lines: list[str] = []
        for block in program(page, backend):
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
        if lines:
            name = "_".join(page.relative_to(PAGES).with_suffix("").parts)
            programs.append(f"{name}_page.py")
            (tmp_path / programs[-1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ".mypy"]
    command += ["--platform", PLATFORMS[backend], *programs]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        page, *directory = map(Path, sys.argv[1:])
        chosen = os.environ.get("POLLSTER_BACKEND") or backends.available()[0]
        run(page, chosen, *(directory or [Path(temporary)]))
