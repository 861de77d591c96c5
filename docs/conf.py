"""How the pages of this folder become a site: `make docs`."""

import re
from importlib.metadata import version as version_of
from typing import Any

project = "Bide"
author = "The Bide maintainers"
version = release = version_of("bide")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
# The folder's own README is its table of contents where it is read as files; the site has index.md.
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"Bide {version}"

# Links to a heading, as they are written for readers of the files.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# Docstrings set code in single backticks.
default_role = "code"
# What a user writes, and not where it is defined.
add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_custom_sections = [("Raises", "params_style")]

_LEADS_OUT = re.compile(r"\[([^\]]+)\]\((?:\.\./){2,}[^)]*\)")


def _keep_inside(_app: Any, _name: str, source: list[str]) -> None:
    """A link to a file beside docs/ is for readers of the repository; the site keeps its words."""
    source[0] = _LEADS_OUT.sub(r"\1", source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _keep_inside)
