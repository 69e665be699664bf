"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, aligned: bool = False) -> str:
    """Return a table without a line break at its end.

    Args:
        header: The cells of its first line.
        rows: The cells of the others, as many as in the header.
        aligned: Whether the cells are padded, for those who read the text itself.
    """
    lines = [header, *rows]
    if not aligned:
        lines.insert(1, ("---",) * len(header))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    written = [f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(written)
