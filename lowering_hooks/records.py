"""Counts what lowering-hooks saw and did, for ``report()``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .describe.words import counted, html_table, html_text
from .inductor.site import NOWHERE, Site

# `Records` adds up its entries, to one for each op, once it has this many: a process that describes an op
# over and over must not grow.
_MAX_EVENTS: Final = 1_000
_YES: Final = {True: "yes", False: "no"}
_LONG_NUMBER: Final = 1_000_000


class OpReport(NamedTuple):
    """What was seen of one op, or of another target of an FX node.

    Attributes:
        op: The overload, such as ``"vllm.all_reduce.default"``; the name of another target, such as
            ``"cond"``; under ``set_proxy``, where the overload is not known, the op's name, such as
            ``"vllm::all_reduce"``.  For a text that is written after the lowering, this is the op that made
            the node whose text it is.
        graph: Inductor's number for the graph where the op was first met, such as ``"0"`` or
            ``"1 (backward)"``; empty where it is not known.
        node: The name of the FX node where the op was first met; empty where it is not known.
        fallbacks: How many times Inductor made a fallback for the op.  Inductor keeps a fallback for the life
            of the process, so this is 1 unless something forgot it; but Inductor makes one for each call of
            an op with an effect token.
        texts: How many texts lowering-hooks wrote of the op, or cut, for the log, for an error or elsewhere.
            Inductor's own text of an op that is not allowed is not among them where it is not cut.
        seconds: The seconds that all these texts took.
        shown: Whether one of them was shown: in an error, in a log line that INFO let through, or elsewhere.
        stock_characters: How many characters stock's texts in the place of those that were shown or cut would
            have had, at least: what was written of them, or what is certain to be written of the nearest 256
            IR nodes.
        cut: How many of the texts were Inductor's own, cut because they passed 100,000 characters.
        allowed: False where the op fell back while its namespace was not allowed, and still is not.
    """

    op: str
    graph: str
    node: str
    fallbacks: int
    texts: int
    seconds: float
    shown: bool
    stock_characters: int
    cut: int = 0
    allowed: bool = True


class Report(NamedTuple):
    """The ops that fell back implicitly, failed, or had a text cut, since the last reset.

    Attributes:
        ops: One entry for each op, in the order in which they were met.
    """

    ops: tuple[OpReport, ...]

    @property
    def seconds(self) -> float:
        """The seconds that all texts took."""
        return sum(op.seconds for op in self.ops)

    @property
    def not_allowed(self) -> tuple[str, ...]:
        """The sorted namespaces of ops that fell back implicitly and were not allowed then, nor are now."""
        return tuple(sorted({_namespace(op.op) for op in self.ops if op.fallbacks and not op.allowed}))

    def __str__(self) -> str:
        if not self.ops:
            return _EMPTY
        return "\n".join([*_in_columns(_rows(self)), *_advice(self)])

    def _repr_pretty_(self, printer: Any, _cycle: object) -> None:
        """Show the report in IPython as ``print`` does."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Show the report in a notebook as a table."""
        if not self.ops:
            return f"<p>{_EMPTY}</p>"
        table = html_table([_row(op) for op in self.ops], head=_HEAD)
        return "\n".join([table, *(f"<p>{html_text(line)}</p>" for line in _advice(self))])


_EMPTY: Final = "no op fell back implicitly, and no text was cut"
_HEAD: Final = (
    "op",
    "first met in",
    "fallbacks",
    "texts",
    "cut",
    "seconds in texts",
    "shown",
    "in stock, at least",
)
# The first columns are names, whose cells begin at the left; the others are numbers.
_LEFT: Final = ("op", "first met in")
_NAMES: Final = len(_LEFT)


def text_within(columns: int, report: Report) -> str:
    """Return the text of a report if it fits into so many columns, else with an op's names above its numbers.

    Nothing is left out, and a line of numbers is never broken: it takes up to 68 columns.
    """
    written = str(report)
    if not report.ops or max(map(len, written.splitlines())) <= columns:
        return written
    import textwrap  # only a narrow terminal needs it

    lines: list[str] = []
    rows = _rows(report)
    for row, numbers in zip(rows, _in_columns([row[_NAMES:] for row in rows]), strict=True):
        names = ", ".join(row[:_NAMES])
        for line in [names] if len(names) <= columns else row[:_NAMES]:
            lines += textwrap.wrap(line, columns, subsequent_indent="  ")
        lines.append(f"  {numbers}")
    for line in _advice(report):
        lines += textwrap.wrap(line, columns)
    return "\n".join(lines)


def _rows(report: Report) -> list[tuple[str, ...]]:
    return [_HEAD, *map(_row, report.ops)]


def _in_columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table, whose first row is a part of the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if head in _LEFT else cell.rjust(width)
            for head, cell, width in zip(rows[0], row, widths, strict=True)
        )
        for row in rows
    ]


def _advice(report: Report) -> list[str]:
    if not report.not_allowed:
        return []
    names = ", ".join(map(repr, report.not_allowed))
    return [
        (
            f"ops of {', '.join(report.not_allowed)} fell back without being allowed; "
            f"lowering_hooks.allow({names}) has them described in a few lines, where anybody reads them"
        )
    ]


def _row(op: OpReport) -> tuple[str, ...]:
    met_in = " of graph ".join(filter(None, (op.node, op.graph))) or "-"
    return (
        op.op,
        met_in,
        str(op.fallbacks),
        str(op.texts),
        str(op.cut),
        f"{op.seconds:.6f}",
        _YES[op.shown],
        in_words(op.stock_characters),
    )


def _namespace(op: str) -> str:
    """Return the namespace of ``"ns::op"`` or ``"ns.op.overload"``."""
    # PyTorch 2.0-2.15: a namespace may have dots, and neither name of an op has any.
    return op.partition("::")[0] if "::" in op else op.rsplit(".", 2)[0]


def in_words(characters: int) -> str:
    """Write a number of characters: "-" for 0, and such as "3.6e+13 characters" from a million on."""
    if not characters:
        return "-"
    if characters < _LONG_NUMBER:
        return counted(characters, "character")
    return f"{characters:.1e} characters"


class Records:
    """Collects, from any thread, what :class:`Report` shows.

    Each event is appended to a list, which is added up when a report is asked for.  Appending, copying and
    replacing a part of a list are each one step of the interpreter, so nobody waits for a lock here: not a
    signal handler or a finalizer that asks for the report while its own thread appends, nor a forked process.
    """

    def __init__(self) -> None:
        self._events: list[OpReport] = []
        # A thread that does not get this lock at once leaves the adding up to the one that holds it.
        self._adding_up = threading.Lock()

    def fell_back(self, op: str, site: Site = NOWHERE, *, allowed: bool = True) -> None:
        """Count a fallback."""
        self._append(_event(op, site)._replace(fallbacks=1, allowed=allowed))

    def described(self, op: str, site: Site, seconds: float, stock_characters: int, *, shown: bool) -> None:
        """Count a text of this package's own."""
        event = _event(op, site)
        self._append(event._replace(texts=1, seconds=seconds, shown=shown, stock_characters=stock_characters))

    def cut(self, op: str, site: Site, seconds: float, stock_characters: int, *, shown: bool) -> None:
        """Count a text of Inductor's own that passed the limit."""
        event = _event(op, site)
        self._append(
            event._replace(texts=1, cut=1, seconds=seconds, shown=shown, stock_characters=stock_characters)
        )

    def report(self, allows: Callable[[str], bool] = lambda _namespace: False) -> Report:
        """Return the report.

        Args:
            allows: Whether a namespace is allowed by now: the advice to allow it is not given again.
        """
        self._add_up()
        ops = _added_up(self._events.copy())
        return Report(tuple(op._replace(allowed=op.allowed or allows(_namespace(op.op))) for op in ops))

    def reset(self) -> None:
        """Forget what was counted."""
        self._events = []

    def forked(self) -> None:
        """Begin anew in a forked process: the counts are its parent's."""
        self._events = []
        # The thread that held the old lock may not be in this process.
        self._adding_up = threading.Lock()

    def _append(self, event: OpReport) -> None:
        self._events.append(event)
        if len(self._events) >= _MAX_EVENTS:
            self._add_up()

    def _add_up(self) -> None:
        """Replace the events by their sums, unless another thread is doing so."""
        if not self._adding_up.acquire(blocking=False):
            return
        try:
            events = self._events
            known = events.copy()
            events[: len(known)] = _added_up(known)  # other threads append behind these meanwhile
        finally:
            self._adding_up.release()


def _event(op: str, site: Site) -> OpReport:
    return OpReport(op, site.graph, site.node, 0, 0, 0.0, shown=False, stock_characters=0)


def _added_up(events: list[OpReport]) -> tuple[OpReport, ...]:
    """Return one entry for each op, in the order in which they were met."""
    ops: dict[str, OpReport] = {}
    for event in events:
        met = ops.get(event.op)
        ops[event.op] = event if met is None else _sum(met, event)
    return tuple(ops.values())


def _sum(met: OpReport, event: OpReport) -> OpReport:
    return met._replace(
        fallbacks=met.fallbacks + event.fallbacks,
        texts=met.texts + event.texts,
        seconds=met.seconds + event.seconds,
        shown=met.shown or event.shown,
        stock_characters=met.stock_characters + event.stock_characters,
        cut=met.cut + event.cut,
        allowed=met.allowed and event.allowed,
    )
