"""What the pages show can be run: blocks of code, commands, names, and what is printed.

A block in a language that no test here runs or reads fails `test_every_block_is_covered`.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import check_links
import pytest
from conftest import DEADLINE, environment
from test_repository import sessions

import lowering_hooks
from lowering_hooks import cli
from lowering_hooks.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text())


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


def blocks_of(page: str, text: str) -> Iterator[Block]:
    fence, opened, language, lines = "", 0, "", []
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r" {0,3}(`{3,}|~{3,})\s*([^`]*)$", line)
        if not fence and found:
            fence, opened, language, lines = found[1], number, found[2].strip(), []
        elif fence and found and found[1].startswith(fence) and not found[2]:
            yield Block(page, opened, language, "".join(f"{line}\n" for line in lines))
            fence = ""
        elif fence:
            lines.append(line)
    assert not fence, f"{page}:{opened}: this block has no end"


BLOCKS = [
    block
    for page in PAGES
    for block in blocks_of(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))
]


def blocks_in(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


SHELL = ("bash", "console", "sh", "shell")
# Blocks that only the site reads; `nox -s docs` fails where it cannot.
SITE = ("{command-help}", "{eval-rst}")


def test_every_block_is_covered() -> None:
    read = ("python", "text", *SHELL, *SITE)
    assert [f"{block}: {block.language or 'no language'}" for block in BLOCKS if block.language not in read] == []
    assert {"README.md", "docs/how-it-works.md"} <= {block.page for block in BLOCKS}


def test_blocks_are_found() -> None:
    page = "a\n```python\n1\n```\n\n~~~~ text\n```\nb\n~~~\n~~~~\n```\n\n```\n"
    assert list(blocks_of("page", page)) == [
        Block("page", 2, "python", "1\n"),
        Block("page", 6, "text", "```\nb\n~~~\n"),
        Block("page", 11, "", "\n"),
    ]
    with pytest.raises(AssertionError, match="page:1: this block has no end"):
        list(blocks_of("page", "```python\n1\n"))


# Python: the blocks of a page are run one after the other, as a reader would who goes through it.

# By page, the reader's own code that its blocks go on from.
READERS_OWN = {
    "README.md": """
import torch, torch._dynamo  # which 2.0 does not import by itself
def compiled(x): return torch.compile(lambda x: x + 1, backend="eager")(x)
x = torch.ones(2)
""",
}
# By page and first line, blocks that are not run, and why.
NOT_RUN: dict[tuple[str, str], str] = {}

RUN_BLOCKS = """
import json, sys
own, blocks = json.loads(sys.argv[1])
names = {"__name__": "__main__"}
exec(own, names)
for page, line, text in blocks:
    exec(compile("\\n" * line + text, page, "exec"), names)
"""


@pytest.mark.parametrize("page", sorted({block.page for block in blocks_in("python")}))
def test_python_blocks_run(page: str, cache: Path, tmp_path: Path) -> None:
    mine = [block for block in blocks_in("python") if block.page == page]
    reasons = [NOT_RUN[page, block.first_line] for block in mine if (page, block.first_line) in NOT_RUN]
    own = READERS_OWN.get(page, "")
    run = [block[:2] + (block.text,) for block in mine if (page, block.first_line) not in NOT_RUN]
    needs_torch = any(re.search(r"^\s*(import|from) torch\b", text, re.MULTILINE) for text in (own, *(t for *_, t in run)))
    if needs_torch and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed here")
    if not run:
        pytest.skip("; ".join(reasons))
    import json

    done = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS, json.dumps([own, run])],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=tmp_path,
        env=environment(cache),
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
