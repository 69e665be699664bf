"""``lowering-hooks check`` tells a Dockerfile or a CI job whether it works with the PyTorch that is there.

It compiles one small graph as stock and with lowering-hooks, each in a process of its own, and compares the
two.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from typing import IO, TYPE_CHECKING, Final

import lowering_hooks

from ..describe.words import counted
from ..inductor.modules import import_problem
from . import compile_process, demo
from .compile_process import OURS, STOCK, Ended, Spec, WorkerError
from .loaded_by_torch import line_of, why_torch_does_not_load_it

if TYPE_CHECKING:
    from ..status import Status

_CASE: Final = "INFO on"

# The exit statuses of `lowering-hooks check`.
WORKS, DIFFERS, NOT_CHECKED = 0, 1, 3


@dataclass(frozen=True)
class Verdict:
    """What the check found.

    Attributes:
        exit_status: 0 where something is hooked and the compile came out as stock's; 1 where nothing is
            hooked or the compile came out otherwise; 3 where stock itself does not compile here.
        words: The same in a sentence.
        status: What is hooked in this process.
        compiled: How the compile with lowering-hooks compares with stock's; None where there was none.
        stock_characters: The size of the text that stock logged; None where there was none.
        not_loaded_by_torch: What keeps ``import torch`` from loading lowering-hooks; None where nothing does.
    """

    exit_status: int
    words: str
    status: Status
    compiled: demo.Row | None = None
    stock_characters: int | None = None
    not_loaded_by_torch: str | None = field(default_factory=why_torch_does_not_load_it)

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return self.exit_status == WORKS

    def as_json(self) -> str:
        """Return the attributes as JSON."""
        return json.dumps(
            {
                "ok": self.ok,
                "exit_status": self.exit_status,
                "words": self.words,
                "status": self.status.as_dict(),
                "compiled": None if self.compiled is None else asdict(self.compiled),
                "stock_characters": self.stock_characters,
                "not_loaded_by_torch": self.not_loaded_by_torch,
            },
            indent=2,
        )

    def __str__(self) -> str:
        lines = [str(self.status), line_of(self.not_loaded_by_torch), ""]
        row = self.compiled
        if row is not None:
            rows = {
                "generated code": "identical to stock" if row.code_identical else "DIFFERENT from stock",
                "kernel strides": "identical to stock" if row.strides_identical else "DIFFERENT from stock",
                "result": row.result,
                "logged text": f"{counted(row.characters or 0, 'character')}, "
                f"{self.stock_characters or 0:,} in stock",
            }
            lines += [*(f"{label:14}  {value}" for label, value in rows.items()), ""]
        return "\n".join([*lines, self.words])


def run(progress: IO[str], device: str = "cpu") -> Verdict:
    """Compile, and compare.

    Args:
        progress: Where to write what is running, and for how long.
        device: ``"cpu"`` or ``"cuda"``.
    """
    progress.write("lowering-hooks check compiles a small graph twice; that takes some 10 to 30 s\n")
    progress.flush()
    specs = {variant: Spec(variant, layers=0, info=True, device=device) for variant in (STOCK, OURS)}
    with (
        tempfile.TemporaryDirectory(prefix="lowering-hooks-check-") as folder,
        compile_process.WorkersBeside(specs, folder) as workers,
    ):
        # While the others import PyTorch, this process does so as well.
        problem = import_problem()
        status = lowering_hooks.status()
        if problem:
            return Verdict(NOT_CHECKED, f"NOT checked: Inductor could not be imported: {problem}", status)
        if status.state != "active":
            return Verdict(DIFFERS, f"NOT hooked: {status.reason}", status)
        return _compared(workers, status, progress)


def _compared(workers: compile_process.WorkersBeside, status: Status, progress: IO[str]) -> Verdict:
    ended = workers.wait("compiling", progress)
    stock, ours = ended[STOCK], ended[OURS]
    if isinstance(stock, WorkerError) or stock.shallow.error:
        words = f"NOT checked: stock PyTorch does not compile here: {_cause(stock)}"
        return Verdict(NOT_CHECKED, words, status)
    if isinstance(ours, WorkerError):
        return Verdict(DIFFERS, f"does NOT work here, where stock compiles: {ours}", status)
    return _verdict(stock.shallow, ours, status)


def _cause(stock: compile_process.Compiled | WorkerError) -> str:
    """Return what kept stock from compiling, without the label of its process."""
    if isinstance(stock, WorkerError):
        return str(stock).partition(": ")[2]
    error = stock.shallow
    return f"{error.error}: {error.message.strip() or error.error}"


def _verdict(stock: Ended, ours: compile_process.Compiled, status: Status) -> Verdict:
    row = demo.row_of(_CASE, OURS, replace(ours, deep=ours.shallow), stock)
    if row.good:
        words = f"works: by {status.strategy}, what is compiled is what stock PyTorch makes"
    else:
        words = (
            "does NOT work here: what is compiled is not what stock PyTorch makes; "
            "LOWERING_HOOKS=0 switches it off"
        )
    return Verdict(WORKS if row.good else DIFFERS, words, status, row, stock.characters)
