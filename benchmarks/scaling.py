"""How long a compile takes, and how much memory, against the depth of the model.

``python benchmarks/scaling.py OUTPUT.json [--quick]`` compiles the demo's decoder in the demo's processes:
each compile is the second of a fresh process, and is killed at its deadline.  A variant that came to its
deadline is not tried on deeper models of that case.  One process runs at a time: of two, each was seen to take
nearly twice as long, where both compiled at once.  Each compile that ended is made in ROUNDS processes, which
stand far apart in time, and the fastest counts, as others use the machine too.  All are taken at one depth of
the stack: at six depths, the same compile of 60 layers took 1.6 to 2.6 s as stock, and ours 0.97 to 1.02 times
that at the same depth (PyTorch 2.15).  ``floor.py`` measures what is closer together.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from results import main

from lowering_hooks.cli.compile_process import IDEAL, OURS, PLAIN_SET_PROXY, STOCK, Compiled, Spec, run_worker
from lowering_hooks.cli.demo import CASES, FAILING

# Seconds that a compile may take: of a depth at which stock may hang, and of a deeper one, which takes long
# in any case.
DEADLINE, DEEP_DEADLINE = 20.0, 180.0
QUICK_DEADLINE = 5.0
ROUNDS = 2
# Numbers of layers.  Stock's text grows fourfold with each layer, which has two ops of two outputs.
SHALLOW, DEEP = (2, 4, 6, 8), (24, 100, 400)
# The cases beside the first are compiled at fewer depths: a log handler changes nothing where nobody asks for
# a text, and a lowering fails before much is compiled.
DEPTHS = {
    ("INFO off", STOCK): (*SHALLOW, *DEEP),
    ("INFO off", PLAIN_SET_PROXY): (2, *DEEP),
    ("INFO off", IDEAL): (2, *DEEP),
    ("INFO off", OURS): (2, *DEEP),
    ("INFO on", STOCK): (2, 6, 8),
    ("INFO on", PLAIN_SET_PROXY): (2, 100),
    ("INFO on", OURS): (2, 100),
    (FAILING, STOCK): (2, 6, 8),
    (FAILING, PLAIN_SET_PROXY): (2, 6, 8),
    (FAILING, IDEAL): (2, 100),
    (FAILING, OURS): (2, 100),
}
QUICK = {("INFO on", variant): (8,) for variant in (STOCK, PLAIN_SET_PROXY, IDEAL, OURS)}


def measure(quick: bool) -> dict[str, Any]:
    rounds = 1 if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as folder:
        rows = [
            row
            for (case, variant), depths in (QUICK if quick else DEPTHS).items()
            for row in deeper_and_deeper(case, variant, depths, quick, folder)
        ]
        for _ in range(rounds - 1):
            rows = [faster(row, folder) for row in rows]
    return {"rounds": rounds, "rows": rows}


def deeper_and_deeper(
    case: str, variant: str, depths: tuple[int, ...], quick: bool, folder: str
) -> Iterator[dict[str, Any]]:
    """Compile one variant of one case at each depth, up to the first that comes to its deadline."""
    for layers in depths:
        deadline = QUICK_DEADLINE if quick else DEADLINE if layers <= max(SHALLOW) else DEEP_DEADLINE
        row = row_of(case, variant, layers, deadline, folder)
        yield row
        if row["seconds"] is None:
            return


def faster(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the faster of a row that ended and another compile like it; any other row as it is."""
    if row["seconds"] is None:
        return row
    again = row_of(row["case"], row["variant"], row["layers"], row["deadline_seconds"], folder)
    return min(again, row, key=lambda either: either["seconds"] or math.inf)


def row_of(case: str, variant: str, layers: int, deadline: float, folder: str) -> dict[str, Any]:
    """Return the row of one compile in a process of its own."""
    settings = next(known for known in CASES if known.name == case)
    spec = Spec(variant, layers, 2, settings.info, settings.failing)
    compiled = run_worker(spec, deadline, folder, f"{case}, {variant}, {layers} layers", sys.stderr)
    row = {"case": case, "variant": variant, "layers": layers, "deadline_seconds": deadline}
    return row | ended(compiled)


def ended(compiled: Compiled) -> dict[str, Any]:
    """Return what a row keeps of the deep compile: None everywhere where the deadline ended it."""
    return {
        name: None if compiled.deep is None else getattr(compiled.deep, name)
        for name in ("seconds", "peak_mib", "characters", "error")
    }


if __name__ == "__main__":
    main(__doc__, measure)
