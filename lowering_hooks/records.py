"""What lowering-hooks did: the counts behind ``report()``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from .describe.words import counted
from .inductor.site import NOWHERE, Site

# This many entries are added up to one for each op, so that a process which describes an op over and over
# does not grow.
_MAX_EVENTS: Final = 1_000
_YES: Final = {True: "yes", False: "no"}


class OpReport(NamedTuple):
    """What was seen of one op, or of another target of an FX node.

    Attributes:
        op: The overload, such as ``"vllm.all_reduce.default"``; the name of what else a node calls, such as
            ``"cond"``; under ``set_proxy``, where the overload is not known, the op's name, such as
            ``"vllm::all_reduce"``.  Of a text that is written after the lowering: the op that made the node
            whose text it is.
        graph: Inductor's number for the graph where it was first met, such as ``"0"`` or ``"1 (backward)"``;
            empty where it is not known.
        node: The name of the FX node where it was first met; empty where it is not known.
        fallbacks: How many times a fallback was made for it.  Inductor keeps a fallback for the life of
            the process, so this is 1 unless something forgot it; but it makes one for each call of an op with
            an effect token.
        texts: How many times it was described, for the log or for an error, or had a text cut.
        seconds: The time all these texts took.
        shown: Whether one of them was in an error, in a log line that INFO let through, or elsewhere.
        stock_characters: How many characters Inductor's own texts in the place of those that were shown or
            cut would have had, at least: what was written of them, or of the nearest 256 IR nodes what is
            certain to be written.
        cut: How many of the texts were Inductor's own, cut because they passed 100,000 characters.
        allowed: False where it fell back while its namespace was not allowed, and still is not.
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
        ops: One entry for each op, in the order they were met.
    """

    ops: tuple[OpReport, ...]

    @property
    def seconds(self) -> float:
        """The time spent in texts, in seconds."""
        return sum(op.seconds for op in self.ops)

    @property
    def not_allowed(self) -> tuple[str, ...]:
        """The namespaces, sorted, of ops that fell back implicitly without being allowed then or now."""
        return tuple(sorted({_namespace(op.op) for op in self.ops if op.fallbacks and not op.allowed}))

    def __str__(self) -> str:
        if not self.ops:
            return "no op fell back implicitly, and no text was cut"
        rows = [_HEAD, *(_row(op) for op in self.ops)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        if self.not_allowed:
            names = ", ".join(map(repr, self.not_allowed))
            lines.append(
                f"fell back without being allowed: ops of {', '.join(self.not_allowed)}; "
                f"lowering_hooks.allow({names}) has them described in a few lines, where anybody reads them"
            )
        return "\n".join(lines)


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


def _row(op: OpReport) -> tuple[str, ...]:
    place = " of graph ".join(filter(None, (op.node, op.graph))) or "-"
    return (
        op.op,
        place,
        str(op.fallbacks),
        str(op.texts),
        str(op.cut),
        f"{op.seconds:.6f}",
        _YES[op.shown],
        in_words(op.stock_characters),
    )


def _namespace(op: str) -> str:
    """Return the namespace of ``"ns::op"`` or ``"ns.op.overload"``."""
    return op.partition("::")[0] if "::" in op else op.partition(".")[0]


def in_words(characters: int) -> str:
    """Write a number of characters that is a lower bound."""
    if not characters:
        return "-"
    return counted(characters, "character") if characters < 1_000_000 else f"{characters:.1e} characters"


class Records:
    """Collects, from any thread, what :class:`Report` shows.

    What happens is appended to a list, and added up when somebody asks.  Appending, copying and replacing a
    part of a list are each one step of the interpreter, so nobody waits for a lock here: not a signal handler
    or a finalizer that asks for the report while its own thread appends, nor a forked process.
    """

    def __init__(self) -> None:
        self._events: list[OpReport] = []
        # Only ever tried, never waited for.
        self._adding_up = threading.Lock()

    def fell_back(self, op: str, site: Site = NOWHERE, allowed: bool = True) -> None:
        self._append(OpReport(op, site.graph, site.node, 1, 0, 0.0, False, 0, 0, allowed))

    def described(self, op: str, site: Site, seconds: float, shown: bool, stock_characters: int) -> None:
        self._append(OpReport(op, site.graph, site.node, 0, 1, seconds, shown, stock_characters))

    def cut(self, op: str, site: Site, seconds: float, shown: bool, stock_characters: int) -> None:
        self._append(OpReport(op, site.graph, site.node, 0, 1, seconds, shown, stock_characters, 1))

    def report(self, allows: Callable[[str], bool] = lambda namespace: False) -> Report:
        """Return the report.

        Args:
            allows: Says whether a namespace is allowed by now; the advice to allow it is not given again.
        """
        self._add_up()
        ops = _added_up(self._events.copy())
        return Report(tuple(op._replace(allowed=op.allowed or allows(_namespace(op.op))) for op in ops))

    def reset(self) -> None:
        self._events = []

    def forked(self) -> None:
        """Begin anew, in a forked process: the counts are its parent's."""
        self._events = []
        self._adding_up = threading.Lock()  # nobody may be left to release the old one

    def _append(self, event: OpReport) -> None:
        self._events.append(event)
        if len(self._events) >= _MAX_EVENTS:
            self._add_up()

    def _add_up(self) -> None:
        """Replace what has happened by its sums, unless somebody is doing so."""
        if not self._adding_up.acquire(blocking=False):
            return
        try:
            events = self._events
            known = events.copy()
            events[: len(known)] = _added_up(known)  # others append behind these meanwhile
        finally:
            self._adding_up.release()


def _added_up(events: list[OpReport]) -> tuple[OpReport, ...]:
    """Return one entry for each op, in the order they were met."""
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
