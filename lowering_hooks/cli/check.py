"""``lowering-hooks check`` tells a Dockerfile or a CI job whether it works with the PyTorch that is there.

It compiles one small graph as stock and with lowering-hooks, each in a process of its own, and compares the
two.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Final

import lowering_hooks

from ..describe.words import counted
from ..inductor.modules import import_problem
from . import compile_process, demo
from .compile_process import OURS, SHALLOW_LAYERS, STOCK, Compiled, Spec

if TYPE_CHECKING:
    from ..status import Status

# The second compile of a process may take so many seconds; it takes one or two.
_DEADLINE: Final = 60.0
_CASE: Final = "INFO on"


@dataclass(frozen=True)
class Verdict:
    """What the check found.

    Attributes:
        ok: Whether something is hooked, and the compile came out as stock's.
        words: The same in a sentence.
        status: What is hooked in this process.
        compiled: How the compile with lowering-hooks compares with stock's; None where nothing is hooked.
        stock_characters: The size of the text that stock logged; None where nothing is hooked.
    """

    ok: bool
    words: str
    status: Status
    compiled: demo.Row | None = None
    stock_characters: int | None = None

    def as_json(self) -> str:
        """Return the attributes as JSON."""
        compiled = None if self.compiled is None else asdict(self.compiled)
        return json.dumps(
            {
                "ok": self.ok,
                "words": self.words,
                "status": self.status.as_dict(),
                "compiled": compiled,
                "stock_characters": self.stock_characters,
            },
            indent=2,
        )

    def __str__(self) -> str:
        lines = [str(self.status), ""]
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


def run(progress: IO[str]) -> Verdict:
    """Compile, and compare.

    Args:
        progress: Where to write what is running, and for how long.

    Raises:
        WorkerError: A compile's process ended without a result, as where g++ is missing.
    """
    problem = import_problem()
    status = lowering_hooks.status()
    if problem:
        return Verdict(
            ok=False, words=f"NOT checked: Inductor could not be imported: {problem}", status=status
        )
    if status.state != "active":
        return Verdict(ok=False, words=f"NOT hooked: {status.reason}", status=status)

    compiled: dict[str, Compiled] = {}
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-check-") as folder:
        for variant in (STOCK, OURS):
            spec = Spec(variant, layers=SHALLOW_LAYERS, info=True)
            compiled[variant] = compile_process.run_worker(spec, _DEADLINE, folder, variant, progress)
    stock = compiled[STOCK].shallow
    row = demo.row_of(_CASE, OURS, compiled[OURS], stock)
    if row.good:
        words = f"works: by {status.strategy}, what is compiled is what stock PyTorch makes"
    else:
        words = (
            "does NOT work here: what is compiled is not what stock PyTorch makes; "
            "LOWERING_HOOKS=0 switches it off"
        )
    return Verdict(row.good, words, status, row, stock.characters)
