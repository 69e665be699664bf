"""Numbers in messages, and texts in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def counted(number: int, noun: str) -> str:
    """Return ``number`` with ``noun``, which is in the singular: ``"1 node"``, ``"2,000 nodes"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def html_text(text: str) -> str:
    """Return ``text`` as HTML shows it, line by line."""
    import html  # only a notebook needs it

    return html.escape(text).replace("\n", "<br>")


def html_table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Return a table in HTML; without a ``head``, the first cell of each row is one."""
    lines = ["<table>"]
    if head:
        lines.append(f"<tr>{_cells('th', head)}</tr>")
    for row in rows:
        first = 0 if head else 1
        lines.append(f"<tr>{_cells('th', row[:first])}{_cells('td', row[first:])}</tr>")
    return "\n".join([*lines, "</table>"])


def _cells(tag: str, texts: Sequence[str]) -> str:
    # Notebooks align cells to the right, which is for numbers.
    return "".join(f'<{tag} style="text-align: left">{html_text(text)}</{tag}>' for text in texts)
