"""What the layer did: the counts behind ``report()``."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

_YES: Final = {True: "yes", False: "no"}


@dataclass(frozen=True)
class OpReport:
    """What was seen of one op.

    Attributes:
        op: The overload, such as ``"vllm.all_reduce.default"``; under ``set_proxy``, which is not told the
            overload, the op's name, such as ``"vllm::all_reduce"``.
        fallbacks: How many times a fallback was made for it.  Inductor keeps a fallback for the life of
            the process, so this is 1 unless something forgot it.
        texts: How many times it was described, for the log or for an error.
        seconds: The time all these texts took.
        shown: Whether one of them was in an error, or in a log line that INFO let through.
    """

    op: str
    fallbacks: int
    texts: int
    seconds: float
    shown: bool


@dataclass(frozen=True)
class Report:
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
        width = max(len(op.op) for op in self.ops)
        rows = [f"{'op':{width}}  fallbacks  texts  seconds in texts  shown"]
        rows += [
            f"{o.op:{width}}  {o.fallbacks:9}  {o.texts:5}  {o.seconds:16.6f}  {_YES[o.shown]}"
            for o in self.ops
        ]
        return "\n".join(rows)


class Records:
    """Collects, from any thread, what :class:`Report` shows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ops: dict[str, OpReport] = {}

    def fell_back(self, op: str) -> None:
        with self._lock:
            old = self._entry(op)
            self._ops[op] = replace(old, fallbacks=old.fallbacks + 1)

    def described(self, op: str, seconds: float, shown: bool) -> None:
        with self._lock:
            old = self._entry(op)
            self._ops[op] = replace(
                old, texts=old.texts + 1, seconds=old.seconds + seconds, shown=old.shown or shown
            )

    def report(self) -> Report:
        with self._lock:
            return Report(tuple(self._ops.values()))

    def reset(self) -> None:
        with self._lock:
            self._ops.clear()

    def _entry(self, op: str) -> OpReport:
        return self._ops.get(op) or OpReport(op, 0, 0, 0.0, False)
