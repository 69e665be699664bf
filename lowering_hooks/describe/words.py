"""Numbers in messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return ``number`` with ``noun``, which is in the singular: ``"1 node"``, ``"2,000 nodes"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
