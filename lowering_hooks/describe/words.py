"""Numbers in messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number of things, such as ``"1 node"`` or ``"2,000 nodes"``.

    Args:
        number: How many things there are.
        noun: The word for one of them, whose plural ends in ``s``.
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
