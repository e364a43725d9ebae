"""What the extensions for Sphinx make of a mention of a name, and of a table of both kernels."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx", reason="tox -e docs has it")
sys.path.insert(0, str(Path(__file__).resolve().parent / "extensions"))

kernel_pages = importlib.import_module("kernel_pages")
linked_names = importlib.import_module("linked_names")

SYSTEMS = {system.name: system for system in kernel_pages.SYSTEMS}


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("Linux", "what epoll does"),
        ("macOS", "both; what epoll does"),
        ("FreeBSD", "both; FreeBSD 15: this; also that; other releases: the rest"),
        ("OpenBSD", "both; this; also that"),
        ("NetBSD", "both; the rest"),
    ],
)
def test_a_system_has_what_is_said_of_it(system: str, said: str) -> None:
    """Clauses that name other systems are left out, and "as Linux" is filled in."""
    cell = "both; macOS: as Linux; FreeBSD 15, OpenBSD: this; also that; others: the rest"
    assert kernel_pages.said_of(["what epoll does", cell], SYSTEMS[system]) == said


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda system: system.page)
def test_a_page_says_nothing_of_other_systems(system: Any) -> None:
    """The tables name systems in the way that the extension reads."""
    text = Path(__file__).with_name("kernels.md").read_text(encoding="utf-8")
    tables = (
        kernel_pages.page(system, text).partition("## What only one")[2].partition("## Time")[0]
    )
    others = [name for name in SYSTEMS if name != system.name and f"{name}: " in tables]
    assert not others


@pytest.mark.parametrize(
    ("mention", "key"),
    [
        ("Poll", "Poll"),
        ("poll.stats()", "poll.stats()"),
        ("Poll(backend='epoll')", "Poll()"),
        ("x = 1", ""),
    ],
)
def test_a_mention_is_known_without_its_arguments(mention: str, key: str) -> None:
    """The arguments of a call do not matter, and other code is no mention."""
    assert linked_names.key(mention) == key
