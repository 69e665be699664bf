"""Builds the documentation site from the pages as they stand in the repository (``nox -s docs``).

The source folder is the repository itself, and this folder only the configuration: so a page outside of docs/
is a page like any other, and a link that works in a checkout works on the site.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.domains.python import PyObject

import lowering_hooks
import lowering_hooks.cli

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "lowering-hooks"
version = release = lowering_hooks.__version__
author = copyright = ""  # noqa: A001

root_doc = "README"
include_patterns = ["*.md", "docs/*.md"]
# Sphinx walks through every other folder: environments have too many files for that.
exclude_patterns = [".*", "build", "dist"]
nitpicky = True
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

# Anchors are those that forges give to headings, down to this level.
myst_heading_anchors = 3

# Dashes only: quotes stay plain, since they stand around names and values as well.
smartquotes_action = "D"
# Types that public functions name and the package does not export.
nitpick_ignore = [("py:class", "Allowing"), ("py:class", "BoundedIRState")]
python_use_unqualified_type_names = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
# Attributes are a list in the text of their class: NamedTuple has an empty docstring for each besides.
napoleon_use_ivar = True

# Light and dark, in fonts of the reader's machine: the site fetches nothing from anywhere.
html_theme = "furo"
html_title = f"lowering-hooks {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False

_INDEX = Path(__file__).with_name("README.md")
_FRONT_PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<title>lowering-hooks</title>
<meta http-equiv="refresh" content="0; url={0}.html">
<a href="{0}.html">lowering-hooks</a>
"""


class CommandHelp(Directive):
    """Shows what the commands in its content print, one a line, each with ``--help``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        printed = map(_printed, self.content)
        return [nodes.literal_block(text, text, language="text") for text in printed]


def _printed(command: str) -> str:
    """Return what a command line of lowering-hooks prints before it exits."""
    program, *arguments = shlex.split(command)
    if program != "lowering-hooks" or arguments[-1:] != ["--help"]:
        raise ValueError(f"not a command that only prints its help: {command}")
    printed = io.StringIO()
    os.environ |= {"COLUMNS": "90", "NO_COLOR": "1"}
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        lowering_hooks.cli.main(arguments)
    return printed.getvalue().rstrip()


def add_table_of_pages(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give the front page the pages that docs/README.md names, in the order of its table."""
    if page != root_doc:
        return
    pages = re.findall(r"^\| \[([^]]+)\]\(([^)]+)\.md\)", _INDEX.read_text(), re.MULTILINE)
    named = {
        os.path.normpath(f"/docs/{path}"): title for title, path in [("Documentation", "README"), *pages]
    }
    entries = "\n".join(f"{title} <{path}>" for path, title in named.items() if path != f"/{root_doc}")
    source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def write_front_page(app: Sphinx, error: Exception | None) -> None:
    """Write index.html, which leads to the front page: that is named after its source, as every page is."""
    if error is None:
        (Path(app.outdir) / "index.html").write_text(_FRONT_PAGE.format(root_doc))


def setup(app: Sphinx) -> None:
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as the docstrings have it; Sphinx says "Variables"
    app.add_directive("command-help", CommandHelp)
    app.connect("source-read", add_table_of_pages)
    app.connect("build-finished", write_front_page)
