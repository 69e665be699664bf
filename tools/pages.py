"""The check that a page is the one that its data make, which each program that writes a page has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def check(page: Path, text: str, command: str) -> int:
    """Compare a page with what its data make.

    Args:
        page: The page as it was written.
        text: What its data make.
        command: What writes it.

    Returns:
        An exit status: 1 where they differ, which is said on standard error.
    """
    if page.read_text() == text:
        return 0
    print(f"{page.name} is not what its data make: run {command}", file=sys.stderr)
    return 1
