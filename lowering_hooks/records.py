"""What the layer did: the counts behind ``report()``."""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from .site import NOWHERE, Site
from .words import counted

_YES: Final = {True: "yes", False: "no"}


class OpReport(NamedTuple):
    """What was seen of one op.

    Attributes:
        op: The overload, such as ``"vllm.all_reduce.default"``; under ``set_proxy``, which is not told the
            overload, the op's name, such as ``"vllm::all_reduce"``.
        graph: Inductor's number for the graph where it was first met, such as ``"0"`` or ``"1 (backward)"``;
            empty where it is not known, as under ``set_proxy``.
        node: The name of the FX node where it was first met; empty where it is not known.
        fallbacks: How many times a fallback was made for it.  Inductor keeps a fallback for the life of
            the process, so this is 1 unless something forgot it.
        texts: How many times it was described, for the log or for an error.
        seconds: The time all these texts took.
        shown: Whether one of them was in an error, or in a log line that INFO let through.
        stock_characters: How many characters Inductor's own texts in the place of these would have had, at
            least: what is farther than the nearest 256 IR nodes, or not sure to be printed, is not counted.
    """

    op: str
    graph: str
    node: str
    fallbacks: int
    texts: int
    seconds: float
    shown: bool
    stock_characters: int


class Report(NamedTuple):
    """The ops of allowed namespaces that fell back implicitly or failed, since the last reset.

    Attributes:
        ops: One entry for each op, in the order they were met.
    """

    ops: tuple[OpReport, ...]

    @property
    def seconds(self) -> float:
        """The time spent describing ops, in seconds."""
        return sum(op.seconds for op in self.ops)

    def __str__(self) -> str:
        if not self.ops:
            return "no op of an allowed namespace fell back implicitly"
        head = ("op", "first met in", "fallbacks", "texts", "seconds in texts", "shown", "in stock, at least")
        rows = [head, *(_row(op) for op in self.ops)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )


def _row(op: OpReport) -> tuple[str, ...]:
    place = " of graph ".join(filter(None, (op.node, op.graph))) or "-"
    return (
        op.op,
        place,
        str(op.fallbacks),
        str(op.texts),
        f"{op.seconds:.6f}",
        _YES[op.shown],
        in_words(op.stock_characters),
    )


def in_words(characters: int) -> str:
    """Write a number of characters that is a lower bound."""
    if not characters:
        return "-"
    return counted(characters, "character") if characters < 1_000_000 else f"{characters:.1e} characters"


class Records:
    """Collects, from any thread, what :class:`Report` shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ops: dict[str, OpReport] = {}

    def fell_back(self, op: str, site: Site = NOWHERE) -> None:
        with self._lock:
            old = self._entry(op, site)
            self._ops[op] = old._replace(fallbacks=old.fallbacks + 1)

    def described(self, op: str, site: Site, seconds: float, shown: bool, stock_characters: int) -> None:
        with self._lock:
            old = self._entry(op, site)
            self._ops[op] = old._replace(
                texts=old.texts + 1,
                seconds=old.seconds + seconds,
                shown=old.shown or shown,
                stock_characters=old.stock_characters + stock_characters,
            )

    def report(self) -> Report:
        with self._lock:
            return Report(tuple(self._ops.values()))

    def reset(self) -> None:
        with self._lock:
            self._ops.clear()

    def forked(self) -> None:
        """Begin anew, in a forked process: the counts are its parent's, the lock may be held for ever."""
        self._lock = threading.Lock()
        self._ops = {}

    def _entry(self, op: str, site: Site) -> OpReport:
        return self._ops.get(op) or OpReport(op, site.graph, site.node, 0, 0, 0.0, False, 0)
