"""How long a compile takes, and how much memory, against the depth of the model.

``python benchmarks/scaling.py OUTPUT.json [--quick]`` compiles the demo's decoder in the demo's processes:
each compile is the second of a fresh process, and is killed at its deadline.  A variant that came to its
deadline is not tried on deeper models of that case.  Two processes run at a time, which what grows
exponentially does not mind; what is a few percent apart is floor.py's.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from results import main

from lowering_hooks.cli import demo

# Seconds, for models of a depth that stock may hang on, and for deeper ones, which take long in any case.
DEADLINE, DEEP_DEADLINE = 20.0, 180.0
QUICK_DEADLINE = 5.0
# Layers.  Stock's text grows fourfold with each layer, which has two ops of two outputs.
SHALLOW, DEEP = (2, 4, 6, 8), (24, 100, 400)
# A logging handler changes nothing where no text is asked for, and a lowering fails before much is compiled:
# what the cases add is shown at fewer depths.
DEPTHS = {
    ("INFO off", demo.STOCK): (*SHALLOW, *DEEP),
    ("INFO off", demo.PLAIN_SET_PROXY): (2, *DEEP),
    ("INFO off", demo.IDEAL): (2, *DEEP),
    ("INFO off", demo.OURS): (2, *DEEP),
    ("INFO on", demo.STOCK): (2, 6, 8),
    ("INFO on", demo.PLAIN_SET_PROXY): (2, 100),
    ("INFO on", demo.OURS): (2, 100),
    (demo.FAILING, demo.STOCK): (2, 6, 8),
    (demo.FAILING, demo.PLAIN_SET_PROXY): (2, 6, 8),
    (demo.FAILING, demo.IDEAL): (2, 100),
    (demo.FAILING, demo.OURS): (2, 100),
}
QUICK = {("INFO on", variant): (8,) for variant in (demo.STOCK, demo.PLAIN_SET_PROXY, demo.IDEAL, demo.OURS)}


def measure(quick: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lowering-hooks-bench-") as folder:

        def rows_of(item: tuple[tuple[str, str], tuple[int, ...]]) -> list[dict[str, Any]]:
            (case, variant), depths = item
            return list(deeper_and_deeper(case, variant, depths, quick, folder))

        with ThreadPoolExecutor(2) as pool:
            found = pool.map(rows_of, (QUICK if quick else DEPTHS).items())
            return {"rows": [row for rows in found for row in rows]}


def deeper_and_deeper(
    case: str, variant: str, depths: tuple[int, ...], quick: bool, folder: str
) -> Iterator[dict[str, Any]]:
    """Compile one variant of one case at each depth, up to the first that comes to its deadline."""
    info, failing = next((info, failing) for name, info, failing in demo.CASES if name == case)
    for layers in depths:
        deadline = QUICK_DEADLINE if quick else DEADLINE if layers <= max(SHALLOW) else DEEP_DEADLINE
        spec = {"variant": variant, "info": info, "failing": failing, "shallow": 2, "layers": layers}
        events = demo.run_worker(spec, deadline, folder, f"{case}, {variant}, {layers} layers", sys.stderr)
        row = {"case": case, "variant": variant, "layers": layers, "deadline_seconds": deadline}
        row |= ended(events)
        yield row
        if row["seconds"] is None:
            return


def ended(events: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a process: None where the deadline ended it."""
    deep = events.get("deep")
    if deep is None:
        return {"seconds": None, "peak_mib": None, "characters": None, "error": None}
    return {name: deep[name] for name in ("seconds", "peak_mib", "characters", "error")}


if __name__ == "__main__":
    main(__doc__, measure)
