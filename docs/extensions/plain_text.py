"""A Sphinx extension: beside the pages, `llms.txt` and `llms-full.txt`, for tools that read text.

`llms.txt` has a line for each page, `llms-full.txt` all of the pages as Markdown, in the order of
the menu; of the reference, which is made from docstrings, it has the text.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.text import TextBuilder
from sphinx.environment import BuildEnvironment
from sphinx.writers.text import TextWriter

INCLUDE = re.compile(r"^```\{include\} (\S+)\n(?:[^`\n].*\n)*```$", re.MULTILINE)
ABOUT = "Readiness for Python in the style of mio: epoll on Linux, kqueue on macOS and the BSDs."


def pages(env: BuildEnvironment) -> list[str]:
    """Returns the pages in the order of the menu."""
    found: list[str] = []

    def add(page: str) -> None:
        if page not in found:
            found.append(page)
            for child in env.toctree_includes.get(page, []):
                add(child)

    add(env.config.root_doc)
    return found


def text_of(app: Sphinx, page: str) -> str:
    """Returns a page as Markdown, or as text where it is made from docstrings."""
    path = Path(app.env.doc2path(page))
    source = path.read_text(encoding="utf-8")
    if "```{eval-rst}" in source:
        builder = TextBuilder(app, app.env)
        builder.init()
        tree = app.env.get_doctree(page)
        app.env.apply_post_transforms(tree, page)
        writer = TextWriter(builder)
        writer.document = tree
        writer.translate()
        return str(writer.output)

    def included(match: re.Match[str]) -> str:
        return (path.parent / match[1]).read_text(encoding="utf-8")

    return INCLUDE.sub(included, source)


def title_of(env: BuildEnvironment, page: str) -> str:
    """Returns a page's title."""
    return env.titles[page].astext()


def first_sentence(env: BuildEnvironment, page: str) -> str:
    """Returns the first sentence of a page's first paragraph."""
    for paragraph in env.get_doctree(page).findall(nodes.paragraph):
        if not isinstance(paragraph.parent, nodes.section):
            continue
        text = " ".join(paragraph.astext().split())
        return re.split(r"(?<=[.:]) ", text)[0].rstrip(":")
    return ""


def write(app: Sphinx, error: Exception | None) -> None:
    """Writes both files beside the pages."""
    if error or app.builder.format != "html":
        return
    env = app.env
    menu = pages(env)
    lines = [f"# {app.config.project} {app.config.release}\n", f"> {ABOUT}\n", "## Pages\n"]
    for page in menu:
        address = app.builder.get_target_uri(page)
        lines.append(f"- [{title_of(env, page)}]({address}): {first_sentence(env, page)}")
    lines.append("\n## All of it\n")
    lines.append("- [All pages as one text](llms-full.txt)")
    out = Path(app.outdir)
    (out / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = "\n\n".join(
        f"<!-- {app.builder.get_target_uri(page)} -->\n\n{text_of(app, page)}" for page in menu
    )
    (out / "llms-full.txt").write_text(whole, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Is called by Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
