"""Checks that what the documentation links to is there: pages, places in them, files.

    python .ci/check_links.py HTML

HTML is the folder that Sphinx has built. Also checked are the links in Markdown files outside of
`docs`, such as README.md. Addresses elsewhere are not asked for: it needs no network.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHECKOUT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Page(HTMLParser):
    """What a page links to, and the places in it that others can link to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Is called for each element."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def is_internal(link: str) -> bool:
    """Whether it leads to a file of ours."""
    parts = urlsplit(link)
    return not parts.scheme and not parts.netloc


def broken_in_html(root: Path) -> Iterator[str]:
    """Yields each link of a built page that leads nowhere."""
    pages = {path: Page(path) for path in root.rglob("*.html")}
    if not pages:
        yield f"{root}: there is no page"
    for path, page in pages.items():
        for link in filter(is_internal, page.links):
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            there = pages.get(target)
            if not target.exists() or (there and place and place not in there.places):
                yield f"{path.relative_to(root)}: {link}"


def broken_in_markdown() -> Iterator[str]:
    """Yields each link of a Markdown file outside of `docs` that leads to no file."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        path = CHECKOUT / name
        if name.startswith("docs/"):
            continue  # Sphinx has made pages of them
        for link in filter(is_internal, LINK.findall(path.read_text(encoding="utf-8"))):
            target = urlsplit(link).path
            if target and not (path.parent / unquote(target)).exists():
                yield f"{name}: {link}"


def main(html: str) -> int:
    """Prints what is broken; returns 1 if anything is."""
    broken = [*broken_in_html(Path(html).resolve()), *broken_in_markdown()]
    print(*broken, sep="\n", end="\n" if broken else "")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
