"""How Sphinx builds these pages: `sphinx-build -W -b html docs OUT`. It needs no network."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "pollster"
author = "The pollster maintainers"
copyright = author  # noqa: A001  # the name is Sphinx's
release = version = version_of("pollster-io")

extensions = [
    "kernel_pages",
    "linked_names",
    "myst_parser",
    "plain_text",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "extensions", "pictures", "speed"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
# The docstrings name things as Markdown does, in single backquotes.
default_role = "code"

# What a listing prints is not for copying, nor is a prompt.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
pygments_dark_style = "github-dark"
html_static_path = ["static"]
html_css_files = ["pictures.css"]
html_title = f"pollster {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
