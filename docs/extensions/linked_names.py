"""A Sphinx extension: links each public name to the reference, wherever a page mentions it.

Owns which mention means which name. A page writes names as code, as in any Markdown: `Poll`,
`poll.stats()`, `Trigger.EDGE`, `is_readable`. What could mean several things is left as it is.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import pollster

PACKAGE = "pollster"
MENTION = re.compile(r"(\.?[A-Za-z_]\w*(?:\.\w+)*)(\(.*\))?", re.DOTALL)
# What the pages call their objects, and which class these are of.
OBJECTS = {
    "poll": "Poll",
    "registry": "Registry",
    "poll.registry": "Registry",
    "event": "Event",
    "events": "Events",
    "waker": "Waker",
    "timer": "Timer",
}
# Methods that are meant when nothing stands before them.
ALONE = {
    **dict.fromkeys(
        ("register", "reregister", "deregister", "pause", "resume", "batch"), "Registry"
    ),
    "poll()": "Poll",
    "stats()": "Poll",
    "wake()": "Waker",
}


class LinkedNames(SphinxPostTransform):
    """Puts a link around each mention; after the page's own links, which are left alone."""

    default_priority = 200

    def run(self, **kwargs: Any) -> None:
        """Does so for one page."""
        domain = self.env.domains["py"]
        known = meanings(domain)
        for literal in list(self.document.findall(nodes.literal)):
            name = known.get(key(literal.astext()))
            if name is None or is_linked_or_title(literal):
                continue
            entry = domain.objects[name]
            if entry.docname == self.env.docname and is_within(literal, entry.node_id):
                continue  # the entry about this very name
            link = make_refnode(
                self.app.builder, self.env.docname, entry.docname, entry.node_id, [], name
            )
            literal.replace_self(link)
            link += literal


def key(text: str) -> str:
    """Returns a mention without its arguments: "poll.stats()" of "poll.stats()", "a" of "a"."""
    found = MENTION.fullmatch(text)
    return (found[1] + ("()" if found[2] else "")) if found else ""


def meanings(domain: PythonDomain) -> dict[str, str]:
    """Returns what each mention means: the full name of an object of the reference.

    A member that has no entry of its own is what its class' entry tells.
    """
    entries = {name for name, entry in domain.objects.items() if not entry.aliased}
    found: dict[str, str] = {}

    def add(mention: str, name: str) -> None:
        found[mention] = found[f"{mention}()"] = name

    for name in entries:
        parts = name.split(".")
        for begin in range(len(parts)):
            if begin < len(parts) - 1 or parts[-1][:1].isupper():
                add(".".join(parts[begin:]), name)
    classes = {name: getattr(pollster, name) for name in pollster.__all__}
    for owner, of_pollster in classes.items():
        entry = f"{PACKAGE}.{owner}"
        if not isinstance(of_pollster, type) or entry not in entries:
            continue
        shown = [word for word, meant in OBJECTS.items() if meant == owner]
        for member in filter(lambda member: not member.startswith("_"), dir(of_pollster)):
            own = f"{entry}.{member}" if f"{entry}.{member}" in entries else entry
            for word in [owner, *shown]:
                add(f"{word}.{member}", own)
            # `token`, `take`: anybody's word, if nothing shows more.
            if member.isupper() or member.startswith(("is_", "set_")):
                add(member, own)
    for mention, owner in ALONE.items():
        member = mention.removesuffix("()")
        found[f"{member}()"] = found[mention] = f"{PACKAGE}.{owner}.{member}"
    return found


def is_linked_or_title(node: nodes.Node) -> bool:
    """Whether it is part of a link already, or of a heading, whose text goes into menus."""
    while node := node.parent:
        if isinstance(node, nodes.reference | nodes.title):
            return True
    return False


def is_within(node: nodes.Node, entry: str) -> bool:
    """Whether it stands in the reference's entry of that id."""
    while node := node.parent:
        if isinstance(node, nodes.Element) and any(
            entry in child.get("ids", ())
            for child in node.children[:1]
            if isinstance(child, nodes.Element)
        ):
            return True
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Is called by Sphinx."""
    app.add_post_transform(LinkedNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
