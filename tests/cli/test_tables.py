"""Tables in Markdown."""

from __future__ import annotations

from lowering_hooks.cli.tables import table

HEADER, ROWS = ("case", "s"), [("INFO on", "1.5"), ("off", "")]


def test_a_table_of_a_page() -> None:
    """A table of a page has one space around each cell."""
    assert table(HEADER, ROWS) == "| case | s |\n| --- | --- |\n| INFO on | 1.5 |\n| off |  |"


def test_an_aligned_table() -> None:
    """An aligned table pads its cells to the width of their column."""
    lines = ["| case    | s   |", "|---------|-----|", "| INFO on | 1.5 |", "| off     |     |"]
    assert table(HEADER, iter(ROWS), aligned=True) == "\n".join(lines)
