"""The demo: one decoder, compiled as stock, with a plain set proxy and with lowering-hooks.

Every compile runs in a process of its own (``compile_process.py``).
"""

from __future__ import annotations

import json
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Final

from ..compat import release_of
from ..describe.words import counted
from .compile_process import (
    ATEN_OP,
    CUSTOM_OP,
    NOTHING,
    OURS,
    PLAIN_SET_PROXY,
    SHALLOW_LAYERS,
    STOCK,
    VARIANTS,
    Compiled,
    Ended,
    Spec,
    run_worker,
)
from .tables import table

FAILING: Final = "failing op"
FAILING_ATEN: Final = "failing aten op"
EQUAL: Final = "equal to eager"
# Stock keeps the strides of untagged ops only on 2.6 and from 2.8 on.
AS_STOCK: Final = "NOT equal, nor is stock"


@dataclass(frozen=True)
class Case:
    """A situation in which the variants are compared.

    Attributes:
        name: What it is called in the table.
        info: Whether Inductor logs at INFO.
        failing: What fails: nothing, one of the decoder's own ops or one of PyTorch's.
    """

    name: str
    info: bool = False
    failing: str = NOTHING


CASES: Final = (
    Case("INFO off"),
    Case("INFO on", info=True),
    Case(FAILING, failing=CUSTOM_OP),
    Case(FAILING_ATEN, failing=ATEN_OP),
)
_FAILING_CASES: Final = tuple(case.name for case in CASES if case.failing)

# Deep enough that stock does not end.  From about 32 layers on it ends again: its text overflows Python's
# stack, and the compile fails with a RecursionError (seen on PyTorch 2.12.1).
DEFAULT_LAYERS: Final = 24
DEFAULT_DEADLINE: Final = 60.0


@dataclass(frozen=True)
class Row:
    """What came of one variant in one case.

    Attributes:
        case: ``"INFO off"``, ``"INFO on"``, ``"failing op"`` or ``"failing aten op"``.
        variant: ``"stock"``, ``"plain set proxy"`` or ``"lowering-hooks"``.
        seconds: How long the compile of the deep model took; None where the deadline ended it.
        characters: The size of the logged text, or of the error message; None where the deadline came first.
        result: ``"equal to eager"``, ``"NOT equal"`` or ``"FAILED"``, and ``"NOT equal, nor is stock"`` where
            stock's own shallow compile is not equal either; where an op fails, ``"same error"`` (as stock's),
            ``"OTHER ERROR"`` or ``"NO ERROR"``; ``"-"`` where the deadline came first.
        code_identical: Whether the shallow model's generated code is stock's, to the byte; None where an
            op fails, since no code is generated then.
        strides_identical: Whether the shallow model's kernels were handed the strides that stock hands them;
            None where an op fails, since no kernel runs then.
        error: The beginning of the message of an error that was not made on purpose.
    """

    case: str
    variant: str
    seconds: float | None
    characters: int | None
    result: str
    code_identical: bool | None
    strides_identical: bool | None
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether the compile ended, and came out as stock's."""
        if self.seconds is None:
            return False
        if self.case in _FAILING_CASES:
            return self.result == "same error"
        compared = (self.code_identical, self.strides_identical)
        return self.result in (EQUAL, AS_STOCK) and compared == (True, True)


@dataclass(frozen=True)
class Outcome:
    """Everything the demo found.

    Attributes:
        torch_version: The version of PyTorch that compiled.
        layers: The depth of the deep model.
        shallow_layers: The depth at which code and strides are compared.
        deadline: Seconds that the compile of the deep model had.
        rows: One for each case and variant.
        notes: Lines that explain the rows.
    """

    torch_version: str
    layers: int
    shallow_layers: int
    deadline: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every compile with lowering-hooks ended, and came out as stock's."""
        return all(row.good for row in self.rows if row.variant == OURS)

    @property
    def exit_status(self) -> int:
        """0 where every compile with lowering-hooks ended, and came out as stock's; else 1."""
        return 0 if self.ok else 1

    def as_json(self) -> str:
        """Return the attributes as JSON."""
        return json.dumps({"ok": self.ok, **asdict(self)}, indent=2)

    def as_text(self, columns: int) -> str:
        """Return the table if it fits into so many columns, else the same case by case."""
        written = str(self)
        if max(map(len, written.splitlines())) <= columns:
            return written
        lines = [f"compile of {counted(self.layers, 'layer')}, characters of text, result, code and strides"]
        for case in CASES:
            rows = [self._stacked(row) for row in self.rows if row.case == case.name]
            lines += ["", case.name, *(_columns(rows, columns) or _columns(rows, columns, split=3))]
        notes = [textwrap.fill(note, columns) if "\n" not in note else note for note in self.notes]
        return "\n".join([*lines, "", *notes])

    def _stacked(self, row: Row) -> tuple[str, ...]:
        _, variant, ended, characters, result, code, strides = self._cells(row)
        if code == strides:
            compared = code if code == "-" else f"both {code}"
        else:
            compared = f"code {code}, strides {strides}"
        return variant, ended, characters, result, compared

    def __str__(self) -> str:
        header = (
            "case",
            "variant",
            f"compile of {counted(self.layers, 'layer')}",
            "characters of text",
            "result",
            "generated code",
            "kernel strides",
        )
        cells = table(header, (self._cells(row) for row in self.rows), aligned=True)
        return "\n".join([cells, "", *self.notes])

    def _cells(self, row: Row) -> tuple[str, ...]:
        ended = f"no end in {self.deadline:g} s" if row.seconds is None else f"{row.seconds:.1f} s"
        return (
            row.case,
            row.variant,
            ended,
            "-" if row.characters is None else f"{row.characters:,}",
            row.result,
            *(
                "-" if same is None else "identical" if same else "DIFFERENT"
                for same in (row.code_identical, row.strides_identical)
            ),
        )


def _columns(rows: Sequence[Sequence[str]], columns: int, split: int = 0) -> list[str]:
    """Return the rows in columns below each other; none where that is wider than ``columns``.

    Args:
        rows: The cells.
        columns: How many characters a line may have; the second line of a row may have more.
        split: How many cells the first of two lines has; 0 for one line.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [list(map(str.ljust, row, widths)) for row in rows]
    if split:
        return [
            f"  {'  '.join(part).rstrip()}"
            for row in padded
            for part in (row[:split], [" " * widths[0], *row[split:]])
        ]
    lines = [f"  {'  '.join(row).rstrip()}" for row in padded]
    return lines if max(map(len, lines)) <= columns else []


def run(layers: int, deadline: float, progress: IO[str], device: str = "cpu") -> Outcome:
    """Run the demo.

    Args:
        layers: The depth of the model.
        deadline: Seconds that the compile of the deep model may take.
        progress: Where to write what is running, and for how long.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        WorkerError: A process ended without a result, as where PyTorch or g++ is missing.
    """
    shallow = min(SHALLOW_LAYERS, layers)
    rows: list[Row] = []
    torch_version, hooked = "", ""
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-demo-") as folder:
        for number, case in enumerate(CASES):
            stock: Ended | None = None
            for place, variant in enumerate(VARIANTS, start=1):
                spec = Spec(variant, layers, shallow, case.info, case.failing, device)
                done = f"{number * len(VARIANTS) + place} of {len(CASES) * len(VARIANTS)}"
                compiled = run_worker(spec, deadline, folder, f"{done}: {case.name}, {variant}", progress)
                stock = stock or compiled.shallow
                torch_version, hooked = compiled.torch, compiled.status or hooked
                rows.append(row_of(case.name, variant, compiled, stock))
    notes = (
        f"PyTorch {torch_version}, Python {sys.version.split()[0]}, {device.upper()}.",
        f"Code and strides are compared at {counted(shallow, 'layer')}, which stock survives.",
        *_notes(rows, torch_version, layers),
        "",
        hooked,
    )
    return Outcome(torch_version, layers, shallow, deadline, tuple(rows), notes)


def row_of(case: str, variant: str, compiled: Compiled, stock: Ended) -> Row:
    """Return what came of a variant beside what came of stock's shallow compile in the same case."""
    shallow, deep = compiled.shallow, compiled.deep
    failing = case in _FAILING_CASES
    return Row(
        case,
        variant,
        seconds=deep.seconds if deep else None,
        characters=deep.characters if deep else None,
        result=_result(shallow, deep, stock, failing=failing),
        # Where stock generated no code, nothing was compiled.
        code_identical=None if failing else bool(stock.code) and shallow.code == stock.code,
        strides_identical=None if failing else shallow.strides == stock.strides,
        error=deep.message if deep else "",
    )


def _result(shallow: Ended, deep: Ended | None, stock: Ended, *, failing: bool) -> str:
    if deep is None:
        return "-"
    if failing:
        same = deep.error == stock.error and deep.cause and stock.cause
        return "same error" if same else "OTHER ERROR" if deep.error else "NO ERROR"
    if deep.error:
        return "FAILED"
    if deep.equal and shallow.equal:
        return EQUAL
    return "NOT equal" if stock.equal else AS_STOCK


def _notes(rows: Sequence[Row], torch_version: str, layers: int) -> Iterator[str]:
    release = release_of(torch_version)
    for row in rows:
        if row.error:
            yield f"{row.case}, {row.variant}, {row.seconds:.1f} s: {row.error.strip().splitlines()[0]}"
        if row.variant != STOCK or row.seconds is None or row.error:
            continue
        if row.case == "INFO off" and release is not None and release.log_text == "lazy":
            yield (
                f"Stock is fine with INFO off: PyTorch {release.series} builds the text only where a log "
                "handler wants it."
            )
        else:
            deeper = f"more than {counted(layers, 'layer')}"
            yield f"{row.case}: stock ended; it takes {deeper} to keep it from that."
    if any(row.result == AS_STOCK for row in rows):
        yield (
            f"Stock itself, PyTorch {torch_version}, hands the experts' kernel, which reads rows as they lie "
            "in eager, a transposed tensor."
        )
    if any(row.variant == PLAIN_SET_PROXY and row.strides_identical is False for row in rows):
        yield (
            "A plain set proxy drops the layout constraint: the experts' kernel, which reads rows as they "
            "lie in eager, was handed a transposed tensor."
        )
