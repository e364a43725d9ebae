"""What every program of examples/ has: a page, tests, and nothing but the public interface."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pollster

CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(path.parent for path in (CHECKOUT / "examples").glob("*/__main__.py"))
PICTURES = sorted((CHECKOUT / "docs" / "pictures").glob("*.svg"))

of_each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def imported(module: Path) -> Iterator[tuple[str, str]]:
    """Yields (module, name) of what a module imports from others."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", name.name) for name in node.names)


@of_each
def test_an_example_has_a_page_and_tests(example: Path) -> None:
    page = CHECKOUT / "docs" / f"{example.name}.md"
    assert f"python examples/{example.name}" in page.read_text("utf-8")
    index = (CHECKOUT / "docs" / "index.md").read_text("utf-8")
    assert f"\n{example.name}\n" in index, "the index does not lead to its page"
    assert f"({example.name}.md)" in index, "the index does not say what it is for"
    assert (CHECKOUT / "tests" / "examples" / f"test_{example.name}.py").is_file()


@of_each
def test_an_example_uses_public_names_alone(example: Path) -> None:
    for module in sorted(example.glob("*.py")):
        assert ast.get_docstring(ast.parse(module.read_text("utf-8"))), module
        for source, name in imported(module):
            assert source == "pollster" or not source.startswith("pollster."), module
            assert source != "pollster" or name in pollster.__all__, module


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_says_what_it_shows_in_light_and_dark(picture: Path) -> None:
    drawn = picture.read_text("utf-8")
    assert re.search(r"<title[^>]*>[^<]+</title>", drawn)
    assert "prefers-color-scheme: dark" in drawn
    pages = "".join(page.read_text("utf-8") for page in (CHECKOUT / "docs").rglob("*.md"))
    shown = rf"!\[[^\]]{{20,}}\]\((\.\./)*pictures/{picture.name}\)"
    assert re.search(shown, pages), "no page shows it with an alternative text"
